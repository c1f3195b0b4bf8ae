//! Both ends in one process, without sockets.

use super::*;
use crate::auth::CertificateName;
use crate::config::{SocketOptions, Storage};
use crate::edge::{Listener, Remote, Role, Transport, admit};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use tempfile::TempDir;
use tenure_harness::pki::{Authority, Identity, Owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn files(identity: &Identity) -> CertificateFiles {
    CertificateFiles::new(&identity.certificate, &identity.key)
}

/// Members of a cluster: an authority, and for each member a certificate.
struct Members {
    directory: TempDir,
    authority: Authority,
}

impl Members {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "authority").unwrap();
        Self { directory, authority }
    }

    fn issue(&self, name: &str, hosts: &[&str]) -> Identity {
        self.authority.issue(name, &Owner::named(name).at(hosts)).unwrap()
    }

    fn config(&self, identity: &Identity) -> TlsConfig {
        let mut config = TlsConfig::new(files(identity));
        config.trusted_ca = Some(self.authority.certificate().to_owned());
        config.client_cert_auth = true;
        config.checks_address = true;
        config
    }
}

/// What one end had of a handshake.
type End<T> = Result<T, String>;

/// Lets a member connect to another as `host`, coming from `address`; what came of it on either side. Each byte that is told apart
/// makes sure that the other end holds too.
async fn connect(
    from: Option<TlsConfig>,
    to: TlsConfig,
    host: &str,
    address: IpAddr,
) -> (End<()>, End<Option<String>>) {
    let acceptor = Arc::new(TlsAcceptor::new(to, Endpoint::Peer).unwrap());
    let connector = TlsConnector::new(from).unwrap();
    let (near, far): (DuplexStream, DuplexStream) = duplex(64 << 10);
    let accepting = async {
        let Ok(mut secured) = acceptor.accept(far, "somebody", Some(address)).await else {
            return Err("refused".to_owned());
        };
        let told: io::Result<()> = async {
            secured.stream.write_all(b"hello").await?;
            secured.stream.flush().await?;
            secured.stream.read_u8().await.map(drop)
        }
        .await;
        told.map_err(|error| error.to_string())?;
        Ok(secured.common_name)
    };
    let connecting = async {
        let mut stream = connector.connect(near, host).await.map_err(|error| error.to_string())?;
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.map_err(|error| error.to_string())?;
        stream.write_all(b"!").await.map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())
    };
    tokio::join!(connecting, accepting)
}

#[tokio::test]
async fn members_verify_each_other() {
    let members = Members::new();
    let one = members.config(&members.issue("one", &["127.0.0.1"]));
    let two = members.config(&members.issue("two", &["127.0.0.1", "localhost"]));
    for host in ["127.0.0.1", "localhost"] {
        let (connected, accepted) = connect(Some(one.clone()), two.clone(), host, HOME).await;
        assert_eq!((connected, accepted), (Ok(()), Ok(Some("one".to_owned()))));
    }
    let (connected, accepted) = connect(Some(one.clone()), two.clone(), "elsewhere.example", HOME).await;
    assert!(connected.unwrap_err().contains("x509: "), "another name");
    assert!(accepted.is_err());
    // Nobody, and one whom the other's authority does not know.
    let stranger = Members::new();
    let unknown = stranger.config(&stranger.issue("stranger", &["127.0.0.1"]));
    for from in [None, Some(TlsConfig { trusted_ca: one.trusted_ca.clone(), ..unknown })] {
        let (connected, accepted) = connect(from, two.clone(), "127.0.0.1", HOME).await;
        assert!(connected.is_err() && accepted.is_err(), "{connected:?}");
    }
}

#[tokio::test]
async fn a_member_must_come_from_where_its_certificate_says() {
    let members = Members::new();
    let two = members.config(&members.issue("two", &["127.0.0.1"]));
    let elsewhere: IpAddr = "127.0.0.9".parse().unwrap();
    for (hosts, from, is_good) in [
        (&["127.0.0.1"][..], HOME, true),
        (&["127.0.0.1"], elsewhere, false),
        (&["localhost"], HOME, true),
        (&["localhost"], elsewhere, false),
        (&[], elsewhere, true),
    ] {
        let one = members.config(&members.issue("one", hosts));
        let (_, accepted) = connect(Some(one.clone()), two.clone(), "127.0.0.1", from).await;
        assert_eq!(accepted.is_ok(), is_good, "{hosts:?} from {from}: {accepted:?}");
        let lenient = TlsConfig { checks_address: false, ..two.clone() };
        let (_, accepted) = connect(Some(one), lenient, "127.0.0.1", from).await;
        assert!(accepted.is_ok(), "--peer-skip-client-san-verification");
    }
}

#[tokio::test]
async fn the_reason_against_an_address_is_etcds() {
    let members = Members::new();
    let reason = async |hosts: &[&str]| {
        let identity = members.issue("one", hosts);
        let key = material::certified_key(&files(&identity), &material::provider(None)).unwrap();
        certificate::check_address(&key.cert[0], "127.0.0.9".parse().unwrap()).await.unwrap_err()
    };
    assert_eq!(reason(&["10.0.0.1"]).await, "x509: certificate is valid for 10.0.0.1, not 127.0.0.9");
    let named = reason(&["localhost"]).await;
    assert!(named.starts_with(r#"tls: "127.0.0.9" does not match any of DNSNames ["localhost"]"#), "{named}");
}

#[tokio::test]
async fn allowed_names_and_revocations_count_on_both_sides() {
    let members = Members::new();
    let (one, two) =
        (members.issue("one", &["127.0.0.1"]), members.issue("two", &["127.0.0.1", "two.example"]));
    let list = members.directory.path().join("revoked.crl");
    members.authority.revoke(&list, &[&one]).unwrap();
    let (one, two) = (members.config(&one), members.config(&two));
    let names = |config: &TlsConfig, names: &[&str]| TlsConfig {
        allowed_common_names: names.iter().map(|&name| name.to_owned()).collect(),
        ..config.clone()
    };
    let hosts = |config: &TlsConfig, host: &str| TlsConfig {
        allowed_hostnames: vec![host.to_owned()],
        ..config.clone()
    };
    let revoking = |config: &TlsConfig| TlsConfig { crl: Some(list.clone()), ..config.clone() };
    for (from, to, is_good) in [
        (names(&one, &["two"]), names(&two, &["zero", "one"]), true),
        (names(&one, &["zero"]), two.clone(), false),
        (one.clone(), names(&two, &["two"]), false),
        (hosts(&one, "two.example"), two.clone(), true),
        (hosts(&one, "one.example"), two.clone(), false),
        (one.clone(), hosts(&two, "one.example"), false),
        (one.clone(), revoking(&two), false),
        (two.clone(), revoking(&one), true),
        (revoking(&two), one.clone(), false),
        (revoking(&one), two.clone(), true),
    ] {
        let (connected, accepted) = connect(Some(from.clone()), to.clone(), "127.0.0.1", HOME).await;
        let is_through = connected.is_ok() && accepted.is_ok();
        assert_eq!(is_through, is_good, "{from:?} to {to:?}: {connected:?}, {accepted:?}");
    }
}

#[tokio::test]
async fn members_with_certificates_of_their_own_making_connect() {
    let directory = tempfile::tempdir().unwrap();
    let peers = |name: &str| {
        let data = directory.path().join(name);
        let mut config =
            ServerConfig { storage: Storage::Directory(data.clone()), ..ServerConfig::in_memory() };
        config.listen_peer_urls = vec!["https://127.0.0.1:2380".parse().unwrap()];
        let made = TlsConfig::new(generated_files(&data, "peer"));
        config.peer_tls = Some(TlsConfig { is_generated: true, checks_address: true, ..made });
        (PeerTls::new(&config).unwrap(), config.peer_tls.unwrap())
    };
    let ((_, one), (peers, two)) = (peers("one"), peers("two"));
    assert!(peers.acceptor.is_some());
    let (connected, accepted) = connect(Some(one.clone()), two, "127.0.0.1", HOME).await;
    assert_eq!((connected, accepted), (Ok(()), Ok(None)));
    // The same certificate would do with an authority: it is for both sides.
    assert!(one.identity.certificate.ends_with("fixtures/peer/cert.pem"));
}

#[test]
fn an_etcds_directory_gets_no_certificate() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("member/snap")).unwrap();
    std::fs::write(directory.path().join("member/snap/db"), "a database").unwrap();
    let error = generate(directory.path(), "client", &[], 1).unwrap_err().to_string();
    assert!(error.contains("belongs to etcd"), "{error}");
    assert!(!directory.path().join("fixtures").exists());
}

#[tokio::test]
async fn a_url_with_tls_is_not_listened_on_without_a_certificate() {
    let url: EndpointUrl = "https://127.0.0.1:0".parse().unwrap();
    let refused = Listener::bind(&url, Role::Both, SocketOptions::default(), None).await;
    let text = "cannot listen on TLS for https://127.0.0.1:0: KeyFile and CertFile are not presented";
    assert_eq!(refused.unwrap_err().to_string(), text);
    let mut config = ServerConfig::in_memory();
    config.listen_peer_urls = vec![url.clone()];
    assert_eq!(PeerTls::new(&config).unwrap_err().to_string(), text);
    config.listen_metrics_urls = vec![url];
    assert_eq!(for_clients(&config, 1).unwrap_err().to_string(), text);
}

#[tokio::test]
async fn a6_a_certificate_names_a_user_only_where_clients_must_show_one() {
    let members = Members::new();
    let (server, alice) = (members.issue("server", &["localhost"]), members.issue("alice", &[]));
    let nameless = members.authority.issue("nameless", &Owner::named("")).unwrap();
    let admitted = async |client: &Identity, client_cert_auth: bool| {
        let config = TlsConfig { client_cert_auth, checks_address: false, ..members.config(&server) };
        let acceptor = Arc::new(TlsAcceptor::new(config, Endpoint::Client).unwrap());
        let connector = TlsConnector::new(Some(members.config(client))).unwrap();
        let (near, far) = duplex(64 << 10);
        let (admitted, connected) = tokio::join!(
            admit(Transport::Memory(far), Remote::InProcess, Some(&acceptor)),
            connector.connect(near, "localhost")
        );
        connected.unwrap();
        admitted.unwrap().user.map(|CertificateName(name)| name)
    };
    assert_eq!(admitted(&alice, true).await.as_deref(), Some("alice"));
    assert_eq!(admitted(&alice, false).await, None);
    assert_eq!(admitted(&nameless, true).await, None);
}

#[test]
fn lists_are_read_in_der_too() {
    let members = Members::new();
    let path = |name: &str| members.directory.path().join(name);
    let one = members.issue("one", &[]);
    members.authority.revoke(&path("list.pem"), &[&one]).unwrap();
    let found = material::revoked(&path("list.pem")).unwrap();
    assert_eq!(found.len(), 1);
    let pem = std::fs::read(path("list.pem")).unwrap();
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateRevocationListDer::from_pem_slice(&pem).unwrap();
    std::fs::write(path("list.der"), &der).unwrap();
    assert_eq!(material::revoked(&path("list.der")).unwrap(), found);
    let wrong = material::revoked(members.authority.certificate()).unwrap_err().to_string();
    assert!(wrong.contains("certificate revocation list") && wrong.contains("authority.crt"), "{wrong}");
    assert!(material::revoked(Path::new("/nonexistent/list")).is_err());
}
