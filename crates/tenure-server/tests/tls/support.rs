//! A member with TLS, and foreign clients.

use serde_json::Value;
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tenure_harness::{
    PATIENCE,
    pki::{Authority, Identity, Owner},
    port::free_port,
    process::Target,
};

/// An authority, a server's certificate and a client's, as files.
pub struct World {
    pub directory: TempDir,
    pub authority: Authority,
    pub server: Identity,
    pub alice: Identity,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "authority").unwrap();
        let server = authority.issue("server", &Owner::local_server()).unwrap();
        let alice = authority.issue("alice", &Owner::named("alice")).unwrap();
        Self { directory, authority, server, alice }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `--cert-file` and `--key-file`.
    pub fn server_flags(&self) -> Vec<String> {
        vec![flag("cert-file", &self.server.certificate), flag("key-file", &self.server.key)]
    }

    /// And what demands a certificate of clients.
    pub fn strict_flags(&self) -> Vec<String> {
        let mut flags = self.server_flags();
        flags.push(flag("trusted-ca-file", self.authority.certificate()));
        flags.push("--client-cert-auth".to_owned());
        flags
    }
}

pub fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// A member as a process, ended when it is dropped.
pub struct Member {
    child: Child,
    log: PathBuf,
    /// `127.0.0.1:PORT` of the first listener for clients.
    pub address: String,
}

impl Member {
    /// Starts with TLS on one port.
    pub fn start(world: &World, flags: &[String]) -> Self {
        Self::listening(world, "https://127.0.0.1:0", flags)
    }

    /// Starts with `--listen-client-urls`, and waits until it serves.
    pub fn listening(world: &World, url: &str, flags: &[String]) -> Self {
        let log = world.path(&format!("log-{}", free_port().unwrap()));
        let child = command(world, url, flags).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut member = Self { child, log, address: String::new() };
        let line = member.line(|line| text(line, "msg").starts_with("serving client traffic"));
        member.address = text(&line, "address").to_owned();
        member.line(|line| line["msg"] == "now serving peer/client/metrics");
        member
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// All lines of the log so far; a half one at the end is left for later.
    pub fn lines(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line of the log.
    #[track_caller]
    pub fn line(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        let seen = soon(|| {
            found = self.lines().into_iter().find(|line| is_it(line));
            found.is_some()
        });
        assert!(seen, "not in the log: {:#?}", self.lines());
        found.unwrap()
    }

    /// Waits for a connection that was turned away, with this in its reason.
    #[track_caller]
    pub fn rejection(&self, reason: &str) -> Value {
        self.line(|line| {
            line["msg"] == "rejected connection on client endpoint" && text(line, "error").contains(reason)
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `tenured` with a data directory in the world.
pub fn command(world: &World, url: &str, flags: &[String]) -> Command {
    let peer = format!("http://127.0.0.1:{}", free_port().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenured"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCD_")) {
        command.env_remove(name);
    }
    let advertised = url.replace(":0", ":1");
    command
        .arg("--name=m1")
        .arg(flag("data-dir", &world.path("data")))
        .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={advertised}")])
        .args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")])
        .args(flags)
        .stdin(Stdio::null());
    command
}

/// What a start that fails says.
pub fn refusal(world: &World, url: &str, flags: &[String]) -> String {
    let ended = command(world, url, flags).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let log = String::from_utf8(ended.stderr).unwrap();
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    text(&line, "error").to_owned()
}

pub fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

/// Asks again until it is so.
pub fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client of another make, if it is on this machine; if not, a line says so.
pub fn foreign(program: &str) -> Option<Command> {
    let found = Command::new(program)
        .arg("--version")
        .output()
        .or_else(|_| Command::new(program).arg("version").output());
    if found.is_err() {
        eprintln!("skipped: {program} is not on this machine");
        return None;
    }
    Some(Command::new(program))
}

/// An etcdctl that trusts the authority and shows a certificate, if it is on this machine. One that is turned away tries again until its
/// time is over: [`hurried`] has less.
pub fn etcdctl(
    target: Target,
    world: &World,
    member: &Member,
    identity: Option<&Identity>,
) -> Option<Command> {
    let Some(directory) = target.directory() else {
        eprintln!("skipped: etcdctl of {target} is not on this machine");
        return None;
    };
    let mut command = Command::new(directory.join("etcdctl"));
    command.env("ETCDCTL_API", "3").arg("--command-timeout=60s").arg("--dial-timeout=60s");
    command.arg("--endpoints").arg(member.url()).arg("--cacert").arg(world.authority.certificate());
    if let Some(identity) = identity {
        command.arg("--cert").arg(&identity.certificate).arg("--key").arg(&identity.key);
    }
    Some(command)
}

/// For an etcdctl that is to be turned away.
pub fn hurried(command: &mut Command) -> &mut Command {
    command.arg("--command-timeout=10s").arg("--dial-timeout=5s")
}

/// curl that trusts the authority and shows a certificate.
pub fn curl(world: &World, identity: Option<&Identity>) -> Option<Command> {
    let mut command = foreign("curl")?;
    command
        .args(["--silent", "--show-error", "--max-time", "60"])
        .arg("--cacert")
        .arg(world.authority.certificate());
    if let Some(identity) = identity {
        command.arg("--cert").arg(&identity.certificate).arg("--key").arg(&identity.key);
    }
    Some(command)
}

/// What a client prints; it must be happy.
#[track_caller]
pub fn success(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What a client prints that must not be happy.
#[track_caller]
pub fn failure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}: {}", both(&output));
    both(&output)
}

pub fn both(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// OpenSSL's client on a port: what it says of the handshake.
pub fn s_client(member: &Member, arguments: &[&str]) -> Option<String> {
    let mut command = foreign("openssl")?;
    command.args(["s_client", "-connect", &member.address]).args(arguments).stdin(Stdio::null());
    Some(both(&command.output().unwrap()))
}

/// Sends bytes and reads to the end of the connection, which must come in order and not as a reset.
pub fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}
