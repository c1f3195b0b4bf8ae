//! Clusters of several members, as processes.

use super::{
    config,
    server::{program, target},
};
use futures::future::try_join_all;
use std::path::PathBuf;
use tempfile::TempDir;
use tenure_client::{Client, ClientConfig};
use tenure_harness::process::{Server, Target};

/// Members of one cluster, each a process with its own ports. They end, and their data goes away, when it is dropped.
pub struct TestCluster {
    members: Vec<Server>,
    program: PathBuf,
    directory: TempDir,
}

/// Makes elections quick.
const TIMING: [&str; 4] = ["--heartbeat-interval", "50", "--election-timeout", "500"];

/// The kinds of server that clusters are made of: that of the suite if it can, or every real etcd on this machine.
pub fn cluster_targets() -> Vec<Target> {
    let real = [Target::Etcd35, Target::Etcd34];
    let wanted = target().filter(|target| real.contains(target)).map_or(real.to_vec(), |target| vec![target]);
    let found: Vec<Target> = wanted.into_iter().filter(|&target| program(target).is_some()).collect();
    if found.is_empty() {
        eprintln!("skipped: no real etcd is on this machine");
    }
    found
}

impl TestCluster {
    /// Starts so many members of a kind that [`cluster_targets`] names.
    pub async fn start(target: Target, members: usize) -> Self {
        let program = program(target).expect("its program is there");
        let directory = TempDir::new().expect("a directory");
        let mut cluster = TestCluster { members: Vec::new(), program, directory };
        for _ in 0..members {
            cluster.prepare();
        }
        let initial = cluster.initial_cluster();
        for member in &mut cluster.members {
            member.add_flags(["--initial-cluster", &initial]);
        }
        try_join_all(cluster.members.iter_mut().map(Server::start_again)).await.expect("the members start");
        cluster
    }

    /// One member more, which is not started.
    fn prepare(&mut self) -> usize {
        let number = self.members.len();
        let data = self.directory.path().join(format!("m{number}"));
        let mut member = Server::new(&self.program, &data, &[]).expect("ports");
        member.add_flags(TIMING);
        member.add_flags(["--name", &format!("m{number}")]);
        self.members.push(member);
        number
    }

    fn initial_cluster(&self) -> String {
        let members = self.members.iter().enumerate();
        let members = members.map(|(number, member)| format!("m{number}=http://{}", member.peer_address()));
        members.collect::<Vec<_>>().join(",")
    }

    /// One learner more.
    pub async fn add_learner(&mut self) -> usize {
        let number = self.prepare();
        let peer_url = format!("http://{}", self.members[number].peer_address());
        // The URL of a port that is free now; etcd asks for five seconds of health first.
        super::eventually("a learner", async || {
            self.client().await.cluster().member_add_as_learner([&peer_url]).await.ok()
        })
        .await;
        let initial = self.initial_cluster();
        let learner = &mut self.members[number];
        learner.add_flags(["--initial-cluster", &initial, "--initial-cluster-state", "existing"]);
        learner.start_again().await.expect("the learner starts");
        number
    }

    /// `127.0.0.1:PORT` of a member.
    pub fn endpoint(&self, member: usize) -> String {
        self.members[member].address()
    }

    /// Of all members.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Server::address).collect()
    }

    /// A member's process, for signals.
    pub fn member(&mut self, member: usize) -> &mut Server {
        &mut self.members[member]
    }

    /// A client of all members.
    pub async fn client(&self) -> Client {
        Client::connect(ClientConfig::new(self.endpoints())).await.expect("a member answers")
    }

    /// A client of one member.
    pub async fn client_of(&self, member: usize) -> Client {
        Client::connect(config(self.endpoint(member))).await.expect("the member answers")
    }

    /// The number of the member that leads.
    pub async fn leader(&self, client: &Client) -> usize {
        super::eventually("a leader", async || {
            for member in 0..self.members.len() {
                let status = client.maintenance().status(self.endpoint(member)).await;
                if status.is_ok_and(|status| status.leader == status.header.member_id) {
                    return Some(member);
                }
            }
            None
        })
        .await
    }
}
