//! `tenured` as a process: what it prints, what it logs, how it ends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::{net::UnixDatagram, process::ExitStatusExt},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

fn tenured() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenured"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command
}

fn output(arguments: &[&str]) -> Output {
    tenured().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn last_line(log: &[u8]) -> serde_json::Value {
    serde_json::from_str(text(log).lines().last().unwrap()).unwrap()
}

/// A member that serves, and its log.
struct Member {
    child: Child,
    log: BufReader<ChildStderr>,
    lines: Vec<serde_json::Value>,
}

impl Member {
    fn start(directory: &Path, configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = tenured();
        command
            .args([
                "--name=m1",
                "--listen-client-urls=http://127.0.0.1:0",
                "--listen-peer-urls=http://127.0.0.1:0",
                "--advertise-client-urls=http://127.0.0.1:1",
            ])
            .arg(format!("--data-dir={}", directory.join("m1.tenure").display()))
            .stderr(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log, lines: Vec::new() }
    }

    /// Reads the log up to a message; every line on the way is JSON and none is an error.
    fn wait_for(&mut self, message: &str) -> serde_json::Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "no {message:?} in {:#?}", self.lines);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            assert!(!["error", "panic", "fatal"].contains(&line["level"].as_str().unwrap()), "{line}");
            self.lines.push(line.clone());
            if line["msg"] == message {
                return line;
            }
        }
    }

    fn address(&mut self) -> String {
        self.wait_for("ready to serve client requests");
        let line = self.wait_for("serving client traffic insecurely; this is strongly discouraged!");
        assert_eq!(line["traffic"], "grpc+http");
        line["address"].as_str().unwrap().to_owned()
    }

    fn stop_by(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.wait_for("closed etcd server");
        self.child.wait().unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn version_and_help_end_with_0() {
    let version = output(&["--version"]);
    assert!(version.status.success());
    assert_eq!(text(&version.stdout).lines().next(), Some("etcd Version: 3.7.1"));
    for flag in ["-h", "--help"] {
        let help = output(&[flag]);
        assert!(help.status.success() && text(&help.stdout).contains("\nMember:\n  --name 'default'\n"));
    }
}

#[test]
fn a_flag_that_cannot_be_read_ends_with_2_and_a_wrong_one_with_1() {
    let unknown = output(&["--nope"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).starts_with("flag provided but not defined: -nope\nUsage:\n"));
    let wrong = output(&["--election-timeout=1"]);
    assert_eq!(wrong.status.code(), Some(1));
    let line = last_line(&wrong.stderr);
    assert_eq!(line["msg"], "failed to verify flags");
    assert_eq!(
        line["error"],
        "--election-timeout[1ms] should be at least as 5 times as --heartbeat-interval[100ms]"
    );
}

#[test]
fn what_cannot_be_joined_or_bound_ends_with_1() {
    let directory = tempfile::tempdir().unwrap();
    let data = format!("--data-dir={}", directory.path().join("m1.tenure").display());
    // Nobody is at port 1; at the ports that are etcd's own there may be anybody.
    let joining = output(&[
        &data,
        "--listen-client-urls=http://127.0.0.1:0",
        "--advertise-client-urls=http://127.0.0.1:1",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--initial-advertise-peer-urls=http://127.0.0.1:1",
        "--initial-cluster=default=http://127.0.0.1:1",
        "--initial-cluster-state=existing",
    ]);
    assert_eq!(joining.status.code(), Some(1));
    assert!(text(&joining.stderr).contains("cannot fetch cluster info from peer urls"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    let listen = format!("--listen-client-urls={url}");
    let bound = output(&[&data, &listen, &format!("--advertise-client-urls={url}")]);
    assert_eq!(bound.status.code(), Some(1));
    let line = last_line(&bound.stderr);
    assert_eq!((line["level"].as_str(), line["msg"].as_str()), (Some("fatal"), Some("failed to start")));
    assert!(line["error"].as_str().unwrap().contains("Address already in use"), "{line}");
    assert!(!directory.path().join("m1.tenure/member").exists(), "nothing was made");
}

#[test]
fn a_member_serves_tells_the_init_system_and_stops_by_the_signal_it_got() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let init = UnixDatagram::bind(&socket).unwrap();
    let mut member = Member::start(directory.path(), |command| {
        command.args(["--snapshot-catchup-entries=1000", "--listen-metrics-urls=http://127.0.0.1:0"]);
        command.env("NOTIFY_SOCKET", &socket).env("ETCD_PRE_VOTE", "true");
    });
    let configured = member.wait_for("starting an etcd server");
    assert_eq!(configured["snapshot-catchup-entries"], 1000);
    assert_eq!(configured["member-initialized"], false);
    let address = member.address();
    assert!(get(&address, "/readyz").ends_with("\r\n\r\nok\n"));
    assert!(get(&address, "/version").contains(r#""etcdserver":"3.7.1""#));
    let mut told = [0; 16];
    let length = init.recv(&mut told).unwrap();
    assert_eq!(&told[..length], b"READY=1");
    member.wait_for("successfully notified init daemon");
    assert_eq!(member.stop_by(Signal::TERM).signal(), Some(15));

    // The same directory again, stopped from the terminal.
    let mut member = Member::start(directory.path(), |_| {});
    assert_eq!(member.wait_for("starting an etcd server")["member-initialized"], true);
    member.address();
    assert_eq!(member.stop_by(Signal::INT).signal(), Some(2));
}
