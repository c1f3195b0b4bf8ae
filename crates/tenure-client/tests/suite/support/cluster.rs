//! Clusters of several members, as processes.

use super::{
    config,
    server::{program, target},
};
use tempfile::TempDir;
use tenure_client::{Client, ClientConfig, MemberId, Result};
use tenure_harness::{
    cluster::Cluster,
    process::{Server, Target},
};

/// Members of one cluster, each a process with its own ports. They end, and their data goes away, when it is dropped.
pub struct TestCluster {
    cluster: Cluster,
    _directory: TempDir,
}

/// How soon a leader is missed: late enough for one that a busy machine holds up.
const TIMING: [&str; 4] = ["--heartbeat-interval", "100", "--election-timeout", "1500"];

/// The kind of server that clusters are made of: that of the suite, as a process. Beside an embedded server tenured, or a real
/// etcd if that is not built. Nothing if there is none on this machine: then a line says so.
pub fn cluster_target() -> Option<Target> {
    let wanted = match target() {
        Some(target) => vec![target],
        None => std::iter::once(Target::Tenured).chain(Target::ETCDS).collect(),
    };
    let found = wanted.into_iter().find(|&target| program(target).is_some());
    if found.is_none() {
        eprintln!("skipped: no program that clusters can be made of is on this machine");
    }
    found
}

impl TestCluster {
    /// Starts so many members of [`cluster_target`]'s kind. Nothing if there is none.
    pub async fn start(members: usize) -> Option<Self> {
        Self::of(cluster_target()?, members).await
    }

    /// Starts so many members. Nothing if their program is not on this machine.
    pub async fn of(target: Target, members: usize) -> Option<Self> {
        let program = program(target)?;
        let directory = TempDir::new().expect("a directory");
        let cluster = Cluster::start(&program, directory.path(), members, &TIMING).await;
        Some(TestCluster { cluster: cluster.expect("the members start"), _directory: directory })
    }

    /// One learner more.
    pub async fn add_learner(&mut self) -> usize {
        let number = self.cluster.make_joiner().expect("ports");
        let peer_url = format!("http://{}", self.member(number).peer_address());
        let client = self.client_of(0).await;
        // The URL of a port that is free now; etcd asks for five seconds of health first.
        super::eventually("a learner", async || {
            client.cluster().member_add_as_learner([&peer_url]).await.ok()
        })
        .await;
        self.member(number).start_again().await.expect("the learner starts");
        number
    }

    /// `127.0.0.1:PORT` of a member.
    pub fn endpoint(&self, member: usize) -> String {
        self.cluster.members[member].address()
    }

    /// Of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.cluster.members.iter().map(Server::address).collect()
    }

    /// A member's process, for signals.
    pub fn member(&mut self, member: usize) -> &mut Server {
        &mut self.cluster.members[member]
    }

    /// A client of all members.
    pub async fn client(&self) -> Client {
        Client::connect(ClientConfig::new(self.endpoints()).dial_timeout(super::PATIENCE))
            .await
            .expect("a member answers")
    }

    /// A client of one member.
    pub async fn client_of(&self, member: usize) -> Client {
        Client::connect(config(self.endpoint(member))).await.expect("the member answers")
    }

    /// Waits until every member has applied all that is acknowledged by now.
    pub async fn level(&self) -> Result<()> {
        for member in 0..self.cluster.members.len() {
            self.client_of(member).await.get("any").await?;
        }
        Ok(())
    }

    /// The id of a member.
    pub async fn id(&self, member: usize) -> MemberId {
        let status = self.client_of(member).await.maintenance().status(self.endpoint(member)).await;
        status.expect("the member answers").header.member_id
    }

    /// The number of the member that leads.
    pub async fn leader(&self) -> usize {
        self.cluster.leader().await.expect("a leader")
    }
}
