//! Several servers as one cluster of processes on loopback ports.

use crate::links::Links;
use crate::process::Server;
use crate::{LOOK_AGAIN, PATIENCE};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tenure_api::etcdserverpb::{
    HashKvRequest, StatusRequest, StatusResponse, maintenance_client::MaintenanceClient,
};
use tonic::{Request, transport::Channel};

/// What is between the members of a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Links,
    TlsLinks,
}

/// A cluster of processes. Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    directory: PathBuf,
    flags: Vec<String>,
    token: Option<String>,
    has_peer_tls: bool,
    /// The links between the members, if they go through the harness.
    pub links: Option<Links>,
    /// The members, in the order in which they were made.
    pub members: Vec<Server>,
}

impl Cluster {
    /// Members `m0`, `m1`, ... of a new cluster, not started. Their data are in `directory`; `flags` are for all.
    ///
    /// # Errors
    /// No port is free.
    pub fn new(program: &Path, directory: &Path, size: usize, flags: &[&str]) -> Result<Self> {
        Self::make_all(program, directory, size, flags, Between::Nothing)
    }

    /// [`Cluster::new`] with links between its members that can be cut and delayed. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// No port is free.
    pub fn with_links(program: &Path, directory: &Path, size: usize, flags: &[&str]) -> Result<Self> {
        Self::make_all(program, directory, size, flags, Between::Links)
    }

    /// [`Cluster::with_links`] with TLS between its members; `flags` say with which certificates.
    ///
    /// # Errors
    /// No port is free.
    pub fn with_tls_links(program: &Path, directory: &Path, size: usize, flags: &[&str]) -> Result<Self> {
        Self::make_all(program, directory, size, flags, Between::TlsLinks)
    }

    fn make_all(
        program: &Path,
        directory: &Path,
        size: usize,
        flags: &[&str],
        between: Between,
    ) -> Result<Self> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut cluster = Self {
            program: program.to_path_buf(),
            directory: directory.to_path_buf(),
            flags,
            token: None,
            links: (between != Between::Nothing).then(Links::default),
            has_peer_tls: between == Between::TlsLinks,
            members: Vec::new(),
        };
        for _ in 0..size {
            cluster.make()?;
        }
        let text = cluster.text();
        for (at, member) in cluster.members.iter_mut().enumerate() {
            member.join(&format!("m{at}"), &text);
        }
        Ok(cluster)
    }

    /// Members `m0`, `m1`, ... that are to find each other by a discovery, not started; `flags` say where.
    ///
    /// # Errors
    /// No port is free.
    pub fn discovering(program: &Path, directory: &Path, size: usize, flags: &[&str]) -> Result<Self> {
        let mut cluster = Self::new(program, directory, size, flags)?;
        for (at, member) in cluster.members.iter_mut().enumerate() {
            member.discover(&format!("m{at}"));
        }
        Ok(cluster)
    }

    /// [`Cluster::new`], started and ready.
    ///
    /// # Errors
    /// A process ends, or there is no leader within [`PATIENCE`].
    pub async fn start(program: &Path, directory: &Path, size: usize, flags: &[&str]) -> Result<Self> {
        let mut cluster = Self::new(program, directory, size, flags)?;
        cluster.launch().await?;
        Ok(cluster)
    }

    /// Starts all members, and waits until they are ready.
    ///
    /// # Errors
    /// A process ends, or there is no leader within [`PATIENCE`].
    pub async fn launch(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.launch()?;
        }
        for at in 0..self.members.len() {
            self.ready(at).await?;
        }
        Ok(())
    }

    /// The links of a cluster that was made with some.
    ///
    /// # Errors
    /// It was not.
    pub fn links(&self) -> Result<&Links> {
        self.links.as_ref().context("the members of this cluster talk to each other directly")
    }

    fn make(&mut self) -> Result<usize> {
        let at = self.members.len();
        let data = self.directory.join(format!("m{at}"));
        let mut member = Server::new(&self.program, &data, &self.flags)?;
        if self.has_peer_tls {
            member.use_peer_tls();
        }
        if let Some(links) = &mut self.links {
            member.advertise_peer(links.open_door(member.peer_address(), member.process())?.to_string());
        }
        self.members.push(member);
        Ok(at)
    }

    /// A member that joins, not started: its peer URL is to be added first. Returns its place.
    ///
    /// # Errors
    /// No port is free.
    pub fn make_joiner(&mut self) -> Result<usize> {
        let at = self.make()?;
        let text = self.text();
        self.members[at].join_existing();
        self.members[at].join(&format!("m{at}"), &text);
        Ok(at)
    }

    /// Makes a member forget everything and join again when it is next started, as `m<at>` of the cluster of all members here.
    ///
    /// # Errors
    /// The member runs, or its directory cannot be removed.
    pub fn wipe(&mut self, at: usize) -> Result<()> {
        ensure!(!self.members[at].is_running(), "m{at} runs");
        self.members[at].join_existing();
        // Its contents, not the directory: that may be a disk of its own.
        for entry in fs::read_dir(self.members[at].data())? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
        }
        Ok(())
    }

    /// `--initial-cluster` of all members.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_of(0..self.members.len())
    }

    fn text_of(&self, places: impl IntoIterator<Item = usize>) -> String {
        let pairs = places.into_iter().map(|at| format!("m{at}={}", self.members[at].peer_url()));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// Has the next start of a member be told that the members at these places are the cluster.
    pub fn tell(&mut self, at: usize, places: &[usize]) {
        let text = self.text_of(places.iter().copied());
        self.members[at].join(&format!("m{at}"), &text);
    }

    /// Waits until a member answers and knows a leader.
    ///
    /// # Errors
    /// It ends, or does not within [`PATIENCE`].
    pub async fn ready(&mut self, at: usize) -> Result<StatusResponse> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let member = &mut self.members[at];
            ensure!(!member.has_ended()?, "m{at} has ended\n{}", member.log_tail());
            if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_secs(2), self.status(at)).await
                && status.leader != 0
            {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "m{at} is not ready\n{}", self.members[at].log_tail());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A new connection to a member.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn channel(&self, at: usize) -> Result<Channel> {
        self.members[at].channel().await
    }

    /// Who looks at the members from now on, once authentication is on: the token of a user.
    pub fn use_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    /// What a member says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn status(&self, at: usize) -> Result<StatusResponse> {
        let mut maintenance = MaintenanceClient::new(self.channel(at).await?);
        let mut request = Request::new(StatusRequest {});
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.parse()?);
        }
        Ok(maintenance.status(request).await?.into_inner())
    }

    /// Waits until a running member leads and says so: its place.
    ///
    /// # Errors
    /// None does within [`PATIENCE`].
    pub async fn leader(&self) -> Result<usize> {
        let found = until("a leader", || async {
            for at in (0..self.members.len()).filter(|at| self.members[*at].is_running()) {
                let asked = tokio::time::timeout(Duration::from_secs(2), self.status(at)).await;
                if let Ok(Ok(status)) = asked
                    && status.header.as_ref().is_some_and(|header| header.member_id == status.leader)
                {
                    return Ok(Some(at));
                }
            }
            Ok(None)
        });
        found.await
    }

    /// Waits until all running members have the same hash at the same revision: the revision.
    ///
    /// # Errors
    /// They do not within [`PATIENCE`].
    pub async fn equal(&self) -> Result<i64> {
        until("all members are equal", || async {
            let mut answers = Vec::new();
            for at in (0..self.members.len()).filter(|at| self.members[*at].is_running()) {
                let Ok(channel) = self.channel(at).await else { return Ok(None) };
                let asked = MaintenanceClient::new(channel).hash_kv(HashKvRequest { revision: 0 }).await;
                let Ok(answer) = asked else { return Ok(None) };
                let answer = answer.into_inner();
                answers.push((answer.hash_revision, answer.hash, answer.compact_revision));
            }
            let first = answers.first().copied().context("nobody runs")?;
            Ok(answers.iter().all(|answer| *answer == first).then_some(first.0))
        })
        .await
    }
}

/// Looks again and again until a fact is there.
///
/// # Errors
/// It is not within [`PATIENCE`], or looking fails.
pub async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, look: impl Fn() -> F) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(fact) = look().await? {
            return Ok(fact);
        }
        if Instant::now() >= deadline {
            bail!("not within {PATIENCE:?}: {what}");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
