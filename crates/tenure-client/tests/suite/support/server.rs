//! A server of its own for every test.

use super::config;
use std::path::PathBuf;
use tempfile::TempDir;
use tenure_client::Client;
use tenure_harness::process::{self, Target, free_port};
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
    Embedded { server: Option<Server>, port: u16 },
    /// A process.
    Process(process::Server),
}

/// Which server the suite runs against.
pub fn target() -> Option<Target> {
    match std::env::var("TENURE_TARGET").as_deref() {
        Err(_) | Ok("embedded") => None,
        Ok(name) => Some(name.parse().expect("TENURE_TARGET is embedded, tenured, etcd-3.4 or etcd-3.5")),
    }
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

impl TestServer {
    /// Starts the server that the suite runs against.
    pub async fn start() -> Self {
        match target() {
            None => Self::embedded().await,
            Some(target) => Self::process(target, &[]).await.expect("the program of TENURE_TARGET is there"),
        }
    }

    async fn embedded() -> Self {
        let directory = TempDir::new().expect("a directory");
        let port = free_port().expect("a port");
        let mut server = TestServer { run: Run::Embedded { server: None, port }, directory };
        server.start_again().await;
        server
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
        let wanted = target().into_iter().chain([Target::Tenured, Target::Etcd35, Target::Etcd34]);
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
            Run::Embedded { server, port } => {
                let url = EndpointUrl::http("127.0.0.1", *port);
                let config = ServerConfig::in_directory(self.directory.path().join("data"))
                    .with_name("default")
                    .listening_on(url);
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

    /// The process, for signals. Panics for an embedded server.
    pub fn as_process(&mut self) -> &mut process::Server {
        match &mut self.run {
            Run::Process(server) => server,
            Run::Embedded { .. } => panic!("an embedded server is no process"),
        }
    }
}
