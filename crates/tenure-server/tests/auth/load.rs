//! Many log-ins at once.

use crate::support::{OK, config, guard, log_in, start, text};
use std::collections::BTreeSet;
use std::path::Path;
use tenure_harness::{PATIENCE, cluster::until, process::Server as Process};
use tenure_server::{config::ServerConfig, limits::PASSWORDS_QUEUED_MAX};
use tokio::task::JoinSet;
use tonic::Code;

/// A member whose log-ins cost what they cost everywhere, and who has patience: on a busy machine thousands are not there in seven seconds.
fn busy() -> ServerConfig {
    ServerConfig { bcrypt_cost: 10, election_timeout: PATIENCE, ..config() }
}

/// A thousand log-ins cost a few hashes.
#[tokio::test]
async fn a7_many_who_log_in_at_once_are_soon_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    // It has patience, too.
    let flags = ["--bcrypt-cost=10", "--election-timeout=50000"].map(str::to_owned);
    let server = Process::start(program, &directory.path().join("data"), &flags).await.expect("tenured");
    let channel = server.channel().await.expect("a channel");
    guard(&channel).await;
    // Of the processors, not of the clock: others work here, too.
    let time = || server.cpu_time().expect("it runs");
    let begun = time();
    log_in(&channel, "alice", "wrong").await.expect_err("it is wrong");
    let (one, begun) = (time() - begun, time());
    let logging_in: Vec<_> = (0..1_000)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { log_in(&channel, "alice", "alice's password").await })
        })
        .collect();
    let mut tokens = BTreeSet::new();
    for one in logging_in {
        tokens.insert(one.await.expect("a task").expect("logged in"));
    }
    assert_eq!(tokens.len(), 1_000, "each has a token of his own");
    // A thousand hashes would take four times as long.
    let took = time() - begun;
    assert!(took < 250 * one, "{took:?}, where one hash takes {one:?}");
}

/// Whoever tries passwords fills the queue of those that are hashed, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a7_a_flood_of_guesses_is_refused_and_keeps_nobody_else_out() {
    let server = start(busy()).await;
    let channel = server.channel();
    guard(&channel).await;
    let mut guesses = JoinSet::new();
    for number in 0..PASSWORDS_QUEUED_MAX + 200 {
        let channel = channel.clone();
        guesses.spawn(async move { log_in(&channel, "alice", &format!("guess {number}")).await });
    }
    let refused = loop {
        let answer = guesses.join_next().await.expect("the queue is full").expect("a task");
        let error = answer.expect_err("a guess");
        if error.code() != Code::InvalidArgument {
            break error;
        }
    };
    // Its code is lost, as in etcd.
    let told = (refused.code(), refused.message());
    assert_eq!(told, (Code::Unknown, "etcdserver: too many requests"));
    // Whose password is known is let in past the queue, and requests do not wait for it.
    let alice = log_in(&channel, "alice", "alice's password").await.expect("alice logs in");
    assert_eq!(text(&channel, &alice, "KV/Put", r#"key: "a""#).await, OK);
    while guesses.try_join_next().is_some() {}
    assert!(!guesses.is_empty(), "there was no queue any more");
    // Whoever has gone does not hold his place.
    guesses.shutdown().await;
    let wrong = until("the queue is empty", || async {
        let error = log_in(&channel, "alice", "wrong").await.expect_err("it is wrong");
        Ok((error.code() == Code::InvalidArgument).then_some(error))
    });
    let wrong = wrong.await.expect("the queue is passed over");
    assert_eq!(wrong.message(), "etcdserver: authentication failed, invalid user ID or password");
    server.shutdown().await.expect("stopped");
}

/// Whoever is nobody does not fill the log, and a password is not cut without a word when it is set.
#[tokio::test(flavor = "multi_thread")]
async fn a7_a8_names_and_passwords_that_are_too_long() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = Path::new(env!("CARGO_BIN_EXE_tenured"));
    let data = directory.path().join("data");
    let server = Process::start(program, &data, &["--bcrypt-cost=4".to_owned()]).await.expect("tenured");
    let channel = server.channel().await.expect("a channel");
    let (root, _) = guard(&channel).await;
    let long = "n".repeat(1 << 20);
    for (name, password) in [(&long[..], "x"), ("alice", &long)] {
        let refused = log_in(&channel, name, password).await.expect_err("it is wrong");
        assert_eq!(refused.message(), "etcdserver: authentication failed, invalid user ID or password");
    }
    let line = until("it is in the log", || async {
        let log = std::fs::read_to_string(server.log())?;
        Ok(log.lines().find(|line| line.contains("\"user\":\"nnn")).map(str::to_owned))
    });
    let line = line.await.expect("a line");
    assert!(line.contains("invalid authentication was requested") && line.len() < 1_000, "{}", line.len());
    let add = format!(r#"name: "carol" password: "{}""#, "p".repeat(73));
    assert_eq!(
        text(&channel, &root, "Auth/UserAdd", &add).await,
        "Unknown: bcrypt: password length exceeds 72 bytes"
    );
}
