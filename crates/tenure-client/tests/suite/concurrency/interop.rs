//! Together with etcd's own tools.

use super::{line, session, stand_in_line};
use crate::support::{TestServer, soon, target};
use std::{path::PathBuf, process::Stdio};
use tenure_client::concurrency::{Election, Mutex};
use tenure_harness::process::Target;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// The etcdctl of each etcd on this machine that fits the server. Says so if there is none.
fn etcdctls() -> Vec<PathBuf> {
    let wanted = match target() {
        None | Some(Target::Tenured) => Target::ETCDS.to_vec(),
        Some(etcd) => vec![etcd],
    };
    let programs: Vec<PathBuf> =
        wanted.iter().filter_map(|target| Some(target.directory()?.join("etcdctl"))).collect();
    if programs.is_empty() {
        eprintln!("skipped: etcdctl is not on this machine");
    }
    programs
}

/// A process of etcdctl, and the lines that it prints.
struct Etcdctl {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Etcdctl {
    fn start(program: &PathBuf, server: &TestServer, arguments: &[&str]) -> Self {
        let mut child = Command::new(program)
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &server.endpoint()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Etcdctl { child, lines }
    }

    async fn line(&mut self) -> String {
        soon(self.lines.next_line()).await.unwrap().expect("a line")
    }

    /// As from a terminal.
    async fn interrupt(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        soon(self.child.wait()).await.unwrap();
    }
}

#[tokio::test]
async fn locks_and_etcdctl_lock_exclude_each_other() {
    for program in etcdctls() {
        let server = TestServer::start().await;
        let client = server.client().await;
        let sessions = [session(&server).await, session(&server).await];
        let held = Mutex::new(&sessions[0], "lock").lock().await.unwrap();
        let mut etcdctl = Etcdctl::start(&program, &server, &["lock", "lock"]);
        stand_in_line(&client, "lock/", 2).await;
        let waiting = tokio::spawn({
            let mutex = Mutex::new(&sessions[1], "lock");
            async move { mutex.lock().await.unwrap() }
        });
        let pairs = stand_in_line(&client, "lock/", 3).await;
        held.unlock().await.unwrap();
        // It prints its key once it has the lock.
        assert_eq!(etcdctl.line().await, pairs[1].key_text());
        assert!(!waiting.is_finished());
        assert!(Mutex::new(&sessions[0], "lock").try_lock().await.is_err());
        etcdctl.interrupt().await;
        let next = soon(waiting).await.unwrap();
        assert_eq!(next.revision(), pairs[2].create_revision);
        // The other way round: it gives up at once what it never had.
        let etcdctl = Etcdctl::start(&program, &server, &["lock", "lock"]);
        stand_in_line(&client, "lock/", 2).await;
        etcdctl.interrupt().await;
        stand_in_line(&client, "lock/", 1).await;
        assert!(next.is_held());
    }
}

#[tokio::test]
async fn elections_and_etcdctl_elect_have_the_same_leader() {
    for program in etcdctls() {
        let server = TestServer::start().await;
        let client = server.client().await;
        let election = Election::new(&session(&server).await, "e");
        let mut leaders = election.observe();
        let mut listening = Etcdctl::start(&program, &server, &["elect", "--listen", "e"]);
        let leadership = election.campaign("ours").await.unwrap();
        assert_eq!(listening.line().await, leadership.key().escape_ascii().to_string());
        assert_eq!(listening.line().await, "ours");
        assert_eq!(soon(leaders.next()).await.unwrap().unwrap().kv.value, "ours");
        leadership.proclaim("ours again").await.unwrap();
        assert_eq!(listening.line().await, leadership.key().escape_ascii().to_string());
        assert_eq!(listening.line().await, "ours again");
        let mut etcdctl = Etcdctl::start(&program, &server, &["elect", "e", "theirs"]);
        let pairs = stand_in_line(&client, "e/", 2).await;
        leadership.resign().await.unwrap();
        assert_eq!(etcdctl.line().await, pairs[1].key_text());
        assert_eq!(etcdctl.line().await, "theirs");
        assert_eq!(election.leader().await.unwrap().kv, pairs[1]);
        let waiting = tokio::spawn({
            let election = election.clone();
            async move { election.campaign("ours once more").await.unwrap() }
        });
        stand_in_line(&client, "e/", 2).await;
        etcdctl.interrupt().await;
        let leadership = soon(waiting).await.unwrap();
        assert_eq!(line(&client, "e/").await[0].key, leadership.key());
        for expected in ["ours again", "theirs", "ours once more"] {
            assert_eq!(soon(leaders.next()).await.unwrap().unwrap().kv.value, expected);
        }
    }
}
