//! Tokens in a cluster: who knows them, and when they end.

use crate::support::{INVALID, OK, guard, log_in, text};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tenure_harness::cluster::{Cluster, until};
use tonic::transport::Channel;

const MEMBERS: usize = 3;

fn tenured() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenured"))
}

/// Three members with authentication, and the tokens of root and alice, given out by the first.
struct Guarded {
    cluster: Cluster,
    root: String,
    alice: String,
    _directory: TempDir,
}

impl Guarded {
    /// * `own`: flags of each member.
    async fn start(own: impl Fn(usize) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut cluster =
            Cluster::new(tenured(), directory.path(), MEMBERS, &["--bcrypt-cost=4"]).expect("a cluster");
        for (at, member) in cluster.members.iter_mut().enumerate() {
            member.add_flags(own(at));
            member.launch().expect("it starts");
        }
        for at in 0..MEMBERS {
            cluster.ready(at).await.expect("it is ready");
        }
        let (root, alice) = guard(&cluster.channel(0).await.expect("a channel")).await;
        cluster.use_token(&root);
        Self { cluster, root, alice, _directory: directory }
    }

    async fn channel(&self, at: usize) -> Channel {
        self.cluster.channel(at).await.expect("a channel")
    }

    /// What a member tells the bearer of a token who reads there.
    async fn read(&self, at: usize, token: &str) -> String {
        text(&self.channel(at).await, token, "KV/Range", r#"key: "a" serializable: true"#).await
    }

    /// Waits until a member tells the bearer this, and until then the other.
    async fn turns(&self, at: usize, token: &str, from: &str, to: &str) {
        let turned = until("the token is told of otherwise", || async {
            let told = self.read(at, token).await;
            assert!(told == from || told == to, "member {at}: {told}");
            Ok((told == to).then_some(()))
        });
        turned.await.expect("in time");
    }

    async fn run(&self, at: usize, token: &str, method: &str, request: &str) {
        let done = until(method, || async {
            let told = text(&self.channel(at).await, token, method, request).await;
            // There may be no leader for a moment.
            assert!(told == OK || told.starts_with("Unavailable: "), "{method} {request}: {told}");
            Ok((told == OK).then_some(()))
        });
        done.await.expect("an answer");
    }

    async fn log_in(&self, at: usize, name: &str, password: &str) -> String {
        log_in(&self.channel(at).await, name, password).await.expect("logged in")
    }

    /// Kills the leader, and waits until another leads and takes a put of the bearer's, who must not be refused: his place.
    async fn kill_leader(&mut self, token: &str) -> usize {
        let dead = self.cluster.leader().await.expect("a leader");
        self.cluster.members[dead].kill().expect("it ran");
        let survivor = (dead + 1) % MEMBERS;
        let put = until("a put is taken", || async {
            let told = text(&self.channel(survivor).await, token, "KV/Put", r#"key: "a""#).await;
            assert!(!told.contains("token") && !told.contains("old"), "{told}");
            Ok((told == OK).then_some(()))
        });
        put.await.expect("another leads");
        dead
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a4_a_simple_token_is_known_to_every_member_and_outlives_the_leader() {
    let mut guarded = Guarded::start(|_| Vec::new()).await;
    for by in 0..MEMBERS {
        let token = guarded.log_in(by, "alice", "alice's password").await;
        for at in 0..MEMBERS {
            // A member that has not applied the log-in yet waits for it.
            assert_eq!(guarded.read(at, &token).await, OK, "given out by {by}, shown to {at}");
        }
    }
    let alice = guarded.alice.clone();
    let dead = guarded.kill_leader(&alice).await;
    guarded.cluster.members[dead].launch().expect("it starts again");
    // The member that was away holds no token any more, as with etcd; the others do.
    let mine = until("it takes a log-in", || async {
        let Ok(channel) = guarded.cluster.channel(dead).await else { return Ok(None) };
        Ok(log_in(&channel, "alice", "alice's password").await.ok())
    });
    let mine = mine.await.expect("it is back");
    assert_eq!(guarded.read(dead, &alice).await, INVALID);
    for at in 0..MEMBERS {
        assert_eq!(guarded.read(at, &mine).await, OK, "{at}");
        let told = guarded.read(at, &alice).await;
        assert_eq!(told, if at == dead { INVALID } else { OK }, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_a_token_ends_on_every_member() {
    let guarded = Guarded::start(|_| Vec::new()).await;
    let (root, alice) = (&guarded.root, &guarded.alice);
    guarded.run(1, root, "Auth/UserChangePassword", r#"name: "alice" password: "new""#).await;
    for at in 0..MEMBERS {
        guarded.turns(at, alice, OK, INVALID).await;
    }
    let alice = guarded.log_in(2, "alice", "new").await;
    guarded.run(0, root, "Auth/UserDelete", r#"name: "alice""#).await;
    for at in 0..MEMBERS {
        guarded.turns(at, &alice, OK, INVALID).await;
    }
    guarded.run(1, root, "Auth/AuthDisable", "").await;
    for at in 0..MEMBERS {
        // Nobody is asked; then everybody is again, and the old token is none.
        guarded.turns(at, "nonsense", INVALID, OK).await;
    }
    guarded.run(2, "", "Auth/AuthEnable", "").await;
    for at in 0..MEMBERS {
        guarded.turns(at, root, OK, INVALID).await;
    }
    let root = guarded.log_in(1, "root", "root's password").await;
    for at in 0..MEMBERS {
        assert_eq!(guarded.read(at, &root).await, OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_a_signed_token_is_good_at_every_member_and_after_restarts() {
    let key = |name: &str| -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/auth/testdata").join(name)
    };
    let mut guarded = Guarded::start(|at| {
        // The last can only verify.
        let (what, file) =
            if at < 2 { ("priv-key", key("es256.key")) } else { ("pub-key", key("es256.crt")) };
        vec![format!("--auth-token=jwt,sign-method=ES256,{what}={},ttl=1h", file.display())]
    })
    .await;
    let (root, alice) = (guarded.root.clone(), guarded.alice.clone());
    for at in 0..MEMBERS {
        guarded.turns(at, &alice, "PermissionDenied: etcdserver: permission denied", OK).await;
    }
    let dead = guarded.kill_leader(&alice).await;
    guarded.cluster.members[dead].launch().expect("it starts again");
    guarded.cluster.ready(dead).await.expect("it is back");
    assert_eq!(guarded.read(dead, &alice).await, OK, "nothing was held for it that could be lost");
    let refused =
        log_in(&guarded.channel(2).await, "alice", "alice's password").await.expect_err("no key to sign");
    assert_eq!(refused.message(), "auth: token signing attempted with verify-only key");
    guarded.run(0, &root, "Auth/RoleAdd", r#"name: "other""#).await;
    for at in 0..MEMBERS {
        guarded.turns(at, &alice, OK, "InvalidArgument: etcdserver: revision of auth store is old").await;
    }
}
