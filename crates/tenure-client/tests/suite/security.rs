//! TLS and sockets of the file system.

use crate::support::{PATIENCE, TestServer, config, eventually, impatient, real_etcd, soon};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tenure_client::{Client, ClientConfig, Error, EtcdError, KeyRange, Permission, TlsConfig};
use tenure_server::{Server, config::ServerConfig, tls::CertificateFiles};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A certificate authority, and a directory for what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::with(CertificateParams::default())
    }

    /// What `openssl req -x509` makes: one certificate, which is the authority's, the server's and the client's.
    fn alone(hosts: &[&str]) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let authority = Self::with(CertificateParams::new(hosts).expect("hosts"));
        for name in ["server", "client"] {
            authority.write(name, &authority.issuer.pem(), authority.issuer.key());
        }
        authority
    }

    fn with(mut params: CertificateParams) -> Self {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let directory = TempDir::new().expect("a directory");
        std::fs::write(directory.path().join("ca.crt"), issuer.pem()).expect("a file");
        Authority { issuer, directory }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// Signs a certificate for these host names and addresses; it and its key are in `NAME.crt` and `NAME.key`.
    fn sign(&self, name: &str, hosts: &[&str]) {
        self.sign_until(name, hosts, SystemTime::now() + DAY);
    }

    /// As [`Authority::sign`], good until some time.
    fn sign_until(&self, name: &str, hosts: &[&str], until: SystemTime) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = ((until - 10 * DAY).into(), until.into());
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(name, &certificate.pem(), &key);
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        std::fs::write(self.path(&format!("{name}.crt")), certificate).expect("a file");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
    }

    fn trusted(&self) -> TlsConfig {
        TlsConfig::default().trust(self.path("ca.crt"))
    }

    fn trusted_as(&self, name: &str) -> TlsConfig {
        self.trusted().identity(self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
    }
}

/// A server that speaks TLS, and the endpoint that does.
struct Secured {
    _server: Kind,
    host_and_port: String,
    authority: Authority,
}

/// What serves until it is dropped.
enum Kind {
    /// A real etcd, which listens without TLS beside, for its harness.
    Process { _server: TestServer },
    /// Tenure inside this process.
    Embedded { _server: Server },
}

impl Secured {
    /// Every server that there is: an embedded one, and a real etcd. `hosts` are in their certificates.
    async fn each(hosts: &[&str], asks_for_certificate: bool) -> Vec<Self> {
        Self::each_of(|| Self::authority(hosts), asks_for_certificate).await
    }

    /// The same, each with an authority of its own.
    async fn each_of(authority: impl Fn() -> Authority, asks_for_certificate: bool) -> Vec<Self> {
        let mut all = vec![Self::embedded(authority(), asks_for_certificate).await];
        all.extend(Self::real_etcd(authority(), asks_for_certificate).await);
        all
    }

    fn authority(hosts: &[&str]) -> Authority {
        let authority = Authority::new();
        authority.sign("server", hosts);
        authority.sign("client", &[]);
        authority
    }

    async fn embedded(authority: Authority, asks_for_certificate: bool) -> Self {
        let files = CertificateFiles::new(authority.path("server.crt"), authority.path("server.key"));
        let mut tls = tenure_server::tls::TlsConfig::new(files);
        if asks_for_certificate {
            tls.trusted_ca = Some(authority.path("ca.crt"));
            tls.client_cert_auth = true;
        }
        let url = "https://127.0.0.1:0".parse().expect("a URL");
        let mut config = ServerConfig::in_memory().listening_on(url);
        config.client_tls = Some(tls);
        let server = Server::start(config).await.expect("the server starts");
        let host_and_port = server.client_urls()[0].address().to_owned();
        Secured { _server: Kind::Embedded { _server: server }, host_and_port, authority }
    }

    async fn real_etcd(authority: Authority, asks_for_certificate: bool) -> Option<Self> {
        real_etcd()?;
        let port = tenure_harness::port::free_port().expect("a port");
        let path = |file: &str| authority.path(file).display().to_string();
        let (certificate, key, ca) = (path("server.crt"), path("server.key"), path("ca.crt"));
        let mut flags = vec!["--cert-file", &certificate, "--key-file", &key];
        if asks_for_certificate {
            flags.extend(["--client-cert-auth", "--trusted-ca-file", &ca]);
        }
        let more = format!("https://127.0.0.1:{port}");
        let server = TestServer::real_etcd_listening(&more, &flags).await?;
        let host_and_port = format!("127.0.0.1:{port}");
        Some(Secured { _server: Kind::Process { _server: server }, host_and_port, authority })
    }

    fn config(&self, tls: TlsConfig) -> ClientConfig {
        ClientConfig::new([format!("https://{}", self.host_and_port)]).tls(tls).dial_timeout(PATIENCE)
    }

    /// The same as this user, or as whom the certificate names.
    fn config_as(&self, certificate: &str, user: Option<&str>) -> ClientConfig {
        let config = self.config(self.authority.trusted_as(certificate));
        match user {
            Some(user) => config.user(user, format!("{user}-password")),
            None => config,
        }
    }

    async fn works(&self, config: ClientConfig) {
        let client = soon(Client::connect(config)).await.expect("it connects");
        client.put("k", "v").await.expect("it writes");
        assert_eq!(client.get("k").await.expect("it reads").count, 1);
    }
}

/// Why no client can be made, once the server has said something.
async fn refusal(config: ClientConfig) -> String {
    let config = config.dial_timeout(PATIENCE).connection_wait(Duration::from_secs(2));
    eventually("a refusal", async || {
        let error = Client::connect(&config).await.expect_err("it is refused");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        Some(error.to_string()).filter(|text| !text.contains("not answered yet"))
    })
    .await
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_its_name() {
    for secured in Secured::each(&["127.0.0.1", "db.example"], false).await {
        let trusted = secured.authority.trusted();
        secured.works(secured.config(trusted.clone())).await;
        // Without a scheme, since TLS is configured; with the text instead of the file; by another name.
        secured.works(ClientConfig::new([&secured.host_and_port]).tls(trusted.clone())).await;
        let text = std::fs::read(secured.authority.path("ca.crt")).unwrap();
        secured.works(secured.config(TlsConfig::default().trust(text))).await;
        secured.works(secured.config(trusted.clone().server_name("db.example"))).await;

        let error = refusal(secured.config(trusted.server_name("other.example"))).await;
        assert!(error.contains("other.example"), "{error}");
        // Of the same name, but with another key.
        let error = refusal(secured.config(Authority::new().trusted())).await;
        assert!(error.contains("invalid peer certificate"), "{error}");
        let error = refusal(secured.config(TlsConfig::default())).await;
        assert!(error.contains("UnknownIssuer") && error.contains("TlsConfig::trust"), "{error}");
        secured.works(secured.config(TlsConfig::default().danger_skip_verification())).await;
    }
}

#[tokio::test]
async fn what_openssl_makes_is_taken_by_a_client_that_trusts_it() {
    for secured in Secured::each_of(|| Authority::alone(&["127.0.0.1", "db.example"]), true).await {
        let tls = || secured.authority.trusted_as("client");
        secured.works(secured.config(tls())).await;
        secured.works(secured.config(tls().server_name("db.example"))).await;
        let error = refusal(secured.config(tls().server_name("elsewhere.example"))).await;
        assert!(error.contains("not valid for name"), "{error}");
        let error = refusal(secured.config(Authority::alone(&["127.0.0.1"]).trusted())).await;
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() {
    for secured in Secured::each(&["db.example"], false).await {
        let error = refusal(secured.config(secured.authority.trusted())).await;
        assert!(error.contains("127.0.0.1") && error.contains("db.example"), "{error}");
    }
}

#[tokio::test]
async fn a_client_certificate_that_is_required_is_asked_for() {
    for secured in Secured::each(&["127.0.0.1"], true).await {
        secured.works(secured.config(secured.authority.trusted_as("client"))).await;
        let error = refusal(secured.config(secured.authority.trusted())).await;
        assert!(error.to_lowercase().contains("certificate"), "{error}");
        assert!(!error.contains("taken effect"), "no request was made: {error}");
        // One that another authority has signed.
        let stranger = Authority::new();
        stranger.sign("client", &[]);
        let (certificate, key) = (stranger.path("client.crt"), stranger.path("client.key"));
        let error = refusal(secured.config(secured.authority.trusted().identity(certificate, key))).await;
        assert!(error.to_lowercase().contains("certificate") || error.contains("UnknownCA"), "{error}");
    }
}

#[tokio::test]
async fn certificates_are_read_for_every_connection() {
    for secured in Secured::each(&["127.0.0.1"], true).await {
        let authority = &secured.authority;
        let file = |name: &str| authority.path(name);
        let (good, bad) = (std::fs::read(file("client.crt")).unwrap(), b"no certificate".to_vec());
        let proxy = crate::support::Proxy::to(&secured.host_and_port).await;
        let tls = authority.trusted_as("client");
        let config = ClientConfig::new([format!("https://{}", proxy.endpoint())]).tls(tls);
        let client = impatient(config.connection_wait(Duration::from_secs(1))).await;
        client.put("k", "v").await.unwrap();
        std::fs::write(file("client.crt"), bad).unwrap();
        proxy.cut();
        let error = eventually("the refusal", async || {
            let error = client.get("k").await.err()?;
            error.to_string().contains("client.crt").then_some(error)
        })
        .await;
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        std::fs::write(file("client.crt"), good).unwrap();
        eventually("a connection", async || client.get("k").await.ok()).await;
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_told_at_once() {
    let authority = Authority::new();
    authority.sign("client", &[]);
    let missing = TlsConfig::default().trust(Path::new("no/such/ca.crt"));
    let garbage = TlsConfig::default().trust(b"garbage".to_vec());
    let mixed = authority.trusted().identity(authority.path("client.crt"), authority.path("ca.crt"));
    for (tls, part) in [(missing, "no/such/ca.crt"), (garbage, "no certificate"), (mixed, "private key")] {
        let error = Client::connect(ClientConfig::new(["https://127.0.0.1:1"]).tls(tls)).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test]
async fn plain_and_tls_that_meet_are_told_apart() {
    for secured in Secured::each(&["127.0.0.1"], false).await {
        let error = refusal(ClientConfig::new([format!("http://{}", secured.host_and_port)])).await;
        // A server of TLS may close such a connection without a word.
        assert!(error.contains("TLS"), "{error}");
        assert!(!error.contains("taken effect"), "no request was made: {error}");
        let plain = TestServer::start().await;
        let tls = secured.authority.trusted();
        let error = refusal(ClientConfig::new([format!("https://{}", plain.endpoint())]).tls(tls)).await;
        assert!(error.contains("does the server speak it?"), "{error}");
    }
}

/// A server closes a connection with a reset if it has not read all that was sent.
#[tokio::test]
async fn plain_and_tls_that_meet_are_told_apart_by_a_reset_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.peek(&mut [0]).await.unwrap();
            socket.set_zero_linger().unwrap();
        }
    });
    let error = refusal(config(format!("http://{address}"))).await;
    assert!(error.contains("does it want TLS?"), "{error}");
    let error = refusal(config(format!("https://{address}"))).await;
    assert!(error.contains("does the server speak it?"), "{error}");
}

#[tokio::test]
async fn who_speaks_another_protocol_is_no_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            drop(tokio::io::AsyncWriteExt::write_all(&mut socket, b"220 mail.example ESMTP\r\n").await);
        }
    });
    let error = refusal(config(address)).await;
    assert!(error.contains("does not speak HTTP/2"), "{error}");
}

#[tokio::test]
async fn a_server_is_reached_by_a_socket_of_the_file_system() {
    // etcd takes host and port of a unix URL as the name of the socket, in its working directory.
    let Some(server) = TestServer::real_etcd_listening("unix://localhost:1", &[]).await else { return };
    let socket = server.directory().join("localhost:1");
    for endpoint in [format!("unix://{}", socket.display()), format!("unix:{}", socket.display())] {
        let client = soon(Client::connect(config(endpoint))).await.unwrap();
        client.put("k", "v").await.unwrap();
        assert_eq!(server.client().await.get("k").await.unwrap().count, 1);
    }
    let error = refusal(config(format!("unix:{}", server.directory().join("nobody").display()))).await;
    assert!(error.contains("nobody"), "{error}");
}

#[tokio::test]
async fn an_embedded_server_is_reached_by_a_socket_of_the_file_system() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("tenure.sock");
    let url = tenure_server::config::EndpointUrl::unix(&socket.display().to_string());
    let config_of_server = ServerConfig::in_memory().listening_on(url);
    let server = Server::start(config_of_server).await.unwrap();
    let client = soon(Client::connect(config(format!("unix:{}", socket.display())))).await.unwrap();
    client.put("k", "v").await.unwrap();
    assert_eq!(client.get("k").await.unwrap().count, 1);
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_either_side() {
    let yesterday = SystemTime::now() - DAY;
    for secured in Secured::each(&["127.0.0.1"], true).await {
        let authority = &secured.authority;
        secured.works(secured.config_as("client", None)).await;
        authority.sign_until("client", &[], yesterday);
        let error = refusal(secured.config_as("client", None)).await;
        assert!(error.to_lowercase().contains("certificate"), "{error}");
        authority.sign("client", &[]);
        secured.works(secured.config_as("client", None)).await;
        authority.sign_until("server", &["127.0.0.1"], yesterday);
        // The server reads its files again, as the client does.
        let error = refusal(secured.config_as("client", None)).await;
        assert!(error.contains("expired"), "{error}");
    }
}

#[tokio::test]
async fn a6_the_common_name_of_a_certificate_is_the_user_and_a_password_comes_first() {
    for secured in Secured::each(&["127.0.0.1"], true).await {
        let authority = &secured.authority;
        for name in ["alice", "mallory"] {
            authority.sign(name, &[]);
        }
        let alice = soon(Client::connect(secured.config_as("alice", None))).await.expect("it connects");
        let auth = alice.auth();
        auth.user_add("root", "root-password").await.unwrap();
        auth.user_grant_role("root", "root").await.unwrap();
        auth.role_add("writer").await.unwrap();
        let permission = Permission::read_write(KeyRange::key("a"));
        auth.role_grant_permission("writer", permission).await.unwrap();
        auth.user_add("alice", "alice-password").await.unwrap();
        auth.user_grant_role("alice", "writer").await.unwrap();
        auth.enable().await.unwrap();

        alice.put("a", "1").await.unwrap();
        assert!(alice.put("b", "1").await.unwrap_err().is(EtcdError::PermissionDenied));
        let mallory = soon(Client::connect(secured.config_as("mallory", None))).await.expect("it connects");
        assert!(mallory.get("a").await.unwrap_err().is(EtcdError::PermissionDenied));
        let root =
            soon(Client::connect(secured.config_as("mallory", Some("root")))).await.expect("root logs in");
        root.put("b", "1").await.unwrap();
        // His token ends with authentication; he gets another when it is on again.
        root.auth().disable().await.unwrap();
        alice.put("b", "2").await.unwrap();
        alice.auth().enable().await.unwrap();
        root.put("b", "3").await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_of_the_file_system_may_speak_tls() {
    let authority = Secured::authority(&["localhost", "db.example"]);
    let socket = authority.path("tenure.sock");
    let url = format!("unixs://{}", socket.display());
    let files = CertificateFiles::new(authority.path("server.crt"), authority.path("server.key"));
    let mut config_of_server = ServerConfig::in_memory().listening_on(url.parse().expect("a URL"));
    config_of_server.client_tls = Some(tenure_server::tls::TlsConfig::new(files));
    let server = Server::start(config_of_server).await.unwrap();
    let config = |tls: TlsConfig| ClientConfig::new([&url]).tls(tls).dial_timeout(PATIENCE);
    for tls in [authority.trusted(), authority.trusted().server_name("db.example")] {
        let client = soon(Client::connect(config(tls))).await.unwrap();
        client.put("k", "v").await.unwrap();
        assert_eq!(client.get("k").await.unwrap().count, 1);
    }
    let error = refusal(config(Authority::new().trusted())).await;
    assert!(error.contains("invalid peer certificate"), "{error}");
    server.shutdown().await.unwrap();
}
