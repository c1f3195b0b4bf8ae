//! A server of its own for every test.

use super::config;
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
use tenure_client::{Client, Code};
use tenure_harness::{
    port::free_port,
    process::{self, Target},
};
use tenure_server::{
    Server,
    config::{EndpointUrl, ServerConfig},
};

/// A running server. It ends, and its data goes away, when it is dropped.
pub struct TestServer {
    run: Run,
    directory: TempDir,
}

enum Run {
    /// Inside this process; nothing while it is stopped.
    Embedded { server: Option<Server>, port: u16, auth_token_ttl: Duration },
    /// A process.
    Process(process::Server),
}

/// Which server the suite runs against.
pub fn target() -> Option<Target> {
    match std::env::var("TENURE_TARGET").as_deref() {
        Err(_) | Ok("embedded") => None,
        Ok(name) => {
            Some(name.parse().expect("TENURE_TARGET is embedded, tenured, etcd-3.4, etcd-3.5 or etcd-3.7"))
        }
    }
}

/// Whether the suite's server says in order how far a watch is. etcd 3.4.23 and 3.5.1 do not: what they say proves nothing beyond
/// what was told.
pub fn answers_in_order() -> bool {
    !matches!(target(), Some(Target::Etcd34 | Target::Etcd35))
}

/// Whether the suite's server survives that a wire is cut while a transaction that only reads is carried out. etcd 3.5.1 ends with a panic.
pub fn survives_cut_reads() -> bool {
    target() != Some(Target::Etcd35)
}

/// Where the program of a target is, if it is on this machine.
pub fn program(target: Target) -> Option<PathBuf> {
    let program = match target.directory() {
        Some(directory) => directory.join("etcd"),
        // Tests are in target/debug/deps, programs one directory up.
        None => std::env::current_exe().ok()?.parent()?.parent()?.join("tenured"),
    };
    program.exists().then_some(program)
}

/// How long tokens live unless a test says otherwise.
pub const AUTH_TOKEN_TTL: Duration = Duration::from_secs(300);

/// How often embedded servers tell quiet watches how far they have come.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// As cheap as bcrypt can be.
const BCRYPT_COST: u32 = 4;

/// The real etcd to use: that of the suite, or the newest on this machine. Nothing if there is none: then a line says so.
pub fn real_etcd() -> Option<Target> {
    let wanted = target().into_iter().chain(Target::ETCDS);
    let found = wanted.into_iter().find(|&target| target != Target::Tenured && program(target).is_some());
    if found.is_none() {
        eprintln!("skipped: no real etcd is on this machine");
    }
    found
}

impl TestServer {
    /// Starts the server that the suite runs against.
    pub async fn start() -> Self {
        match target() {
            None => Self::embedded(AUTH_TOKEN_TTL).await,
            Some(target) => Self::process(target, &[]).await.expect("the program of TENURE_TARGET is there"),
        }
    }

    async fn embedded(auth_token_ttl: Duration) -> Self {
        let directory = TempDir::new().expect("a directory");
        let port = free_port().expect("a port");
        let mut server = TestServer { run: Run::Embedded { server: None, port, auth_token_ttl }, directory };
        server.start_again().await;
        server
    }

    /// Starts a server with users and roles, whose tokens live so long: that of the suite, or a real etcd if that one has none.
    pub async fn with_auth(auth_token_ttl: Duration) -> Option<Self> {
        let flags = [
            "--bcrypt-cost",
            &BCRYPT_COST.to_string(),
            "--auth-token-ttl",
            &auth_token_ttl.as_secs().to_string(),
        ];
        let server = match target() {
            None => Self::embedded(auth_token_ttl).await,
            Some(target) => Self::process(target, &flags).await?,
        };
        match server.client().await.auth().role_list().await {
            Err(error) if error.code() == Code::Unimplemented => {}
            _ => return Some(server),
        }
        eprintln!("the server has no users and roles yet: a real etcd is used instead");
        Self::real_etcd(&flags).await
    }

    /// Starts a server that tells quiet watches often how far they have come. Nothing if the target cannot.
    pub async fn with_progress() -> Option<Self> {
        let interval = format!("{}ms", PROGRESS_INTERVAL.as_millis());
        let flag = match target() {
            None => return Some(Self::start().await),
            Some(Target::Tenured | Target::Etcd37) => "--watch-progress-notify-interval",
            Some(Target::Etcd35 | Target::Etcd34) => "--experimental-watch-progress-notify-interval",
        };
        Self::process(target()?, &[flag, &interval]).await
    }

    /// A process of the suite's kind; a real etcd for the embedded server, which takes no flags.
    pub async fn process_of_suite(flags: &[&str]) -> Option<Self> {
        match target() {
            Some(target) => Self::process(target, flags).await,
            None => Self::real_etcd(flags).await,
        }
    }

    /// A real etcd that listens for clients at one URL more.
    pub async fn real_etcd_listening(more: &str, flags: &[&str]) -> Option<Self> {
        let target = real_etcd()?;
        let directory = TempDir::new().expect("a directory");
        let data = directory.path().join("data");
        let mut server = process::Server::new(&program(target)?, &data, &[]).expect("ports");
        let urls = format!("{},{more}", server.url());
        server.run_in(directory.path());
        server.add_flags(["--listen-client-urls", &urls]);
        server.add_flags(flags.iter().copied());
        server.start_again().await.expect("the server starts");
        Some(TestServer { run: Run::Process(server), directory })
    }

    /// A real etcd: that of the suite, or the newest on this machine.
    pub async fn real_etcd(flags: &[&str]) -> Option<Self> {
        Self::process(real_etcd()?, flags).await
    }

    /// Starts a process, with more flags. Nothing if its program is not on this machine: then a line says so.
    pub async fn process(target: Target, flags: &[&str]) -> Option<Self> {
        let Some(program) = program(target) else {
            eprintln!("skipped: the program of {target} is not on this machine");
            return None;
        };
        let directory = TempDir::new().expect("a directory");
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let server = process::Server::start(&program, &directory.path().join("data"), &flags).await;
        Some(TestServer { run: Run::Process(server.expect("the server starts")), directory })
    }

    /// A process of any kind, for what cannot be done to an embedded server: tenured if it is built, else a real etcd.
    pub async fn any_process() -> Option<Self> {
        let wanted = target().into_iter().chain([Target::Tenured]).chain(Target::ETCDS);
        let Some(target) = wanted.into_iter().find(|&target| program(target).is_some()) else {
            eprintln!("skipped: no server's program is on this machine");
            return None;
        };
        Self::process(target, &[]).await
    }

    /// `127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        match &self.run {
            Run::Embedded { port, .. } => format!("127.0.0.1:{port}"),
            Run::Process(server) => server.address(),
        }
    }

    /// A client of this server.
    pub async fn client(&self) -> Client {
        Client::connect(config(self.endpoint())).await.expect("the server answers")
    }

    /// Stops in an orderly way. The data stays.
    pub async fn stop(&mut self) {
        match &mut self.run {
            Run::Embedded { server, .. } => {
                server.take().expect("it runs").shutdown().await.expect("it stops in order");
            }
            Run::Process(server) => drop(server.terminate().await.expect("it ends")),
        }
    }

    /// Starts a server that was stopped or killed, on the same data and port.
    pub async fn start_again(&mut self) {
        match &mut self.run {
            Run::Embedded { server, port, auth_token_ttl } => {
                let url = EndpointUrl::http("127.0.0.1", *port);
                let mut config = ServerConfig::in_directory(self.directory.path().join("data"))
                    .with_name("default")
                    .listening_on(url)
                    .without_peers();
                config.auth_token_ttl = *auth_token_ttl;
                config.bcrypt_cost = BCRYPT_COST;
                config.watch_progress_notify_interval = PROGRESS_INTERVAL;
                *server = Some(Server::start(config).await.expect("the server starts"));
            }
            Run::Process(server) => server.start_again().await.expect("the server starts"),
        }
    }

    /// Stops and starts.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Where its data is, and its sockets.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The process, for signals. Panics for an embedded server.
    pub fn as_process(&mut self) -> &mut process::Server {
        match &mut self.run {
            Run::Process(server) => server,
            Run::Embedded { .. } => panic!("an embedded server is no process"),
        }
    }
}
