//! Flags, environment and configuration file, and the typed [`ServerConfig`] they become.
//!
//! * `settings`: the table of flags, and the value of each.
//! * `command_line`, `environment`, `file`: the three sources.
//! * `resolve`: the checks, in etcd's order and with etcd's messages, and the step to [`ServerConfig`].
//!
//! A program that embeds a member needs only [`ServerConfig`].

mod auth_token;
pub mod auto_compaction;
mod command_line;
mod discovery;
mod environment;
pub mod features;
mod file;
pub mod flag;
pub mod help;
mod resolve;
mod secrets;
pub mod settings;
mod tls;
pub mod url;
pub mod value;

pub use auth_token::{AuthToken, JwtOptions};
pub use auto_compaction::{AutoCompaction, AutoCompactor};
pub use discovery::{DiscoveryConfig, DiscoveryTls};
pub use features::{Feature, FeatureGates};
pub use flag::InitialClusterState;
pub(crate) use resolve::parse_cluster;
pub use resolve::resolve;
pub use secrets::without_secrets;
pub use settings::Settings;
pub use url::{EndpointUrl, Scheme, UrlError};

use crate::{limits, log::LogConfig, tls::TlsConfig};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

/// Where a member keeps its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In a directory, which is made when it is not there.
    Directory(PathBuf),
    /// In memory: gone when the server stops.
    Memory,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsDetail {
    /// Counters for each gRPC method.
    #[default]
    Basic,
    /// And a histogram of its duration.
    Extensive,
}

/// Pings on client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The shortest time that a client should leave between two pings.
    pub client_interval_min: Duration,
    /// The silence after which the server pings; nothing if it never does.
    pub interval: Option<Duration>,
    /// How long a ping may stay unanswered before the connection is closed; nothing if for ever.
    pub timeout: Option<Duration>,
}

/// Options of listening sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
}

/// Everything that one member needs to know. [`ServerConfig::default`] is what `tenured` without flags has; the `with_`
/// methods change what programs most often change.
///
/// ```
/// use tenure_server::config::{EndpointUrl, ServerConfig};
///
/// let config = ServerConfig::in_memory().with_name("test").listening_on(EndpointUrl::http("127.0.0.1", 0));
/// assert_eq!(config.name, "test");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The name of this member.
    pub name: String,
    /// Where the data is.
    pub storage: Storage,
    /// A directory of its own for the write-ahead log.
    pub wal_directory: Option<PathBuf>,
    /// Where to listen for gRPC, and for HTTP unless `listen_client_http_urls` is given. May be empty in a program that
    /// uses the in-process channel alone.
    pub listen_client_urls: Vec<EndpointUrl>,
    /// Where to listen for HTTP alone.
    pub listen_client_http_urls: Vec<EndpointUrl>,
    /// Where to listen for metrics and health alone.
    pub listen_metrics_urls: Vec<EndpointUrl>,
    /// Where to listen for other members. Empty in a program whose member is and stays alone.
    pub listen_peer_urls: Vec<EndpointUrl>,
    /// The URLs given to clients in the member list. Empty: those that are listened on.
    pub advertise_client_urls: Vec<EndpointUrl>,
    /// The URLs given to other members.
    pub initial_advertise_peer_urls: Vec<EndpointUrl>,
    /// Names and peer URLs of the first members, or of all members of the cluster that is joined. Empty: this member alone,
    /// at `initial_advertise_peer_urls`. Ignored by a member that has data.
    pub initial_cluster: BTreeMap<String, Vec<EndpointUrl>>,
    /// A word that keeps clusters with the same members apart; it goes into the ids of member and cluster.
    pub initial_cluster_token: String,
    /// The registry that names the first members of a new cluster, instead of `initial_cluster`. Ignored by a member that has data.
    pub discovery: Option<DiscoveryConfig>,
    /// Whether to bootstrap or to join. Ignored by a member that has data.
    pub initial_cluster_state: InitialClusterState,
    /// Remove every other member when this one starts: it goes on alone with its data. Of a majority that still runs it must not be
    /// used.
    pub force_new_cluster: bool,
    /// Time between two heartbeats of a leader. Above 0, at most a fifth of `election_timeout`.
    pub heartbeat_interval: Duration,
    /// Time without a heartbeat until an election. At most 50 s.
    pub election_timeout: Duration,
    /// The silence after which a stream from another member is given up. A third of it is the time between signs of life, so it must not
    /// be much less than what the other members have.
    pub raft_read_timeout: Duration,
    /// How long a write to another member may wait.
    pub raft_write_timeout: Duration,
    /// Shorten the first election after a start.
    pub initial_election_tick_advance: bool,
    /// Ask whether an election could be won before it is begun.
    pub pre_vote: bool,
    /// Refuse changes of membership that would lose the quorum.
    pub strict_reconfig_check: bool,
    /// The most learners in the cluster.
    pub learners_max: u32,
    /// Committed entries between two Raft snapshots.
    pub snapshot_count_entries: u64,
    /// Entries that are kept behind a Raft snapshot for members that lag.
    pub snapshot_catchup_entries: u64,
    /// Bytes of data at which no more writes are taken; nothing if there is no quota.
    pub quota_backend_bytes: Option<u64>,
    /// The most operations in one transaction.
    pub txn_ops_max: u32,
    /// The largest replicated request.
    pub request_bytes_max: usize,
    /// The most streams that one connection may have open.
    pub concurrent_streams_max: u32,
    /// Pings on client connections.
    pub keepalive: Keepalive,
    /// Options of listening sockets.
    pub socket: SocketOptions,
    /// When to compact without being asked.
    pub auto_compaction: AutoCompaction,
    /// The most revisions that one step of a compaction removes.
    pub compaction_batch_limit: u32,
    /// The pause between two steps of a compaction.
    pub compaction_sleep_interval: Duration,
    /// Time between two comparisons of the data of all members; nothing for none.
    pub corrupt_check_time: Option<Duration>,
    /// Time between two comparisons of the hashes of compactions, with the feature `CompactHashCheck`.
    pub compact_hash_check_time: Duration,
    /// Time between two looks whether a downgrade is done; zero for none.
    pub downgrade_check_time: Duration,
    /// Time between the progress notifications of a quiet watch.
    pub watch_progress_notify_interval: Duration,
    /// An entry that takes longer to apply is logged.
    pub warning_apply_duration: Duration,
    /// A request that takes longer is logged.
    pub warning_unary_request_duration: Duration,
    /// Origins that browsers may call from; empty, or one that is `*`, allows all.
    pub cors: BTreeSet<String>,
    /// Host names that HTTP requests may use; empty, or one that is `*`, allows all.
    pub host_whitelist: BTreeSet<String>,
    /// How much is measured.
    pub metrics: MetricsDetail,
    /// What users get when they log in.
    pub auth_token: AuthToken,
    /// The cost of hashing a password, from 4 to 31.
    pub bcrypt_cost: u32,
    /// How long a simple token lives without being used.
    pub auth_token_ttl: Duration,
    /// Wait for the disk before a write is acknowledged. Without it a crash of the machine loses writes.
    pub fsync: bool,
    /// Features that were switched.
    pub features: FeatureGates,
    /// TLS of the `https://` and `unixs://` URLs for clients and for metrics.
    pub client_tls: Option<TlsConfig>,
    /// TLS between members.
    pub peer_tls: Option<TlsConfig>,
    /// Years for which a certificate that the member makes itself is valid.
    pub self_signed_cert_validity_years: u32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let local = |port| vec![EndpointUrl::http("localhost", port)];
        Self {
            name: "default".to_owned(),
            storage: Storage::Directory(PathBuf::from("default.tenure")),
            wal_directory: None,
            listen_client_urls: local(2379),
            listen_client_http_urls: Vec::new(),
            listen_metrics_urls: Vec::new(),
            listen_peer_urls: local(2380),
            advertise_client_urls: local(2379),
            initial_advertise_peer_urls: local(2380),
            initial_cluster: BTreeMap::new(),
            initial_cluster_token: "etcd-cluster".to_owned(),
            discovery: None,
            initial_cluster_state: InitialClusterState::New,
            force_new_cluster: false,
            heartbeat_interval: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1_000),
            raft_read_timeout: Duration::from_secs(5),
            raft_write_timeout: Duration::from_secs(5),
            initial_election_tick_advance: true,
            pre_vote: true,
            strict_reconfig_check: true,
            learners_max: 1,
            snapshot_count_entries: 10_000,
            snapshot_catchup_entries: 5_000,
            quota_backend_bytes: Some(QUOTA_BYTES_DEFAULT),
            txn_ops_max: limits::TXN_OPS_MAX_DEFAULT,
            request_bytes_max: limits::REQUEST_BYTES_MAX_DEFAULT,
            concurrent_streams_max: u32::MAX,
            keepalive: Keepalive {
                client_interval_min: Duration::from_secs(5),
                interval: Some(Duration::from_secs(7_200)),
                timeout: Some(Duration::from_secs(20)),
            },
            socket: SocketOptions::default(),
            auto_compaction: AutoCompaction::Off,
            compaction_batch_limit: 1_000,
            compaction_sleep_interval: Duration::from_millis(10),
            corrupt_check_time: None,
            compact_hash_check_time: Duration::from_secs(60),
            downgrade_check_time: Duration::from_secs(5),
            watch_progress_notify_interval: Duration::from_secs(600),
            warning_apply_duration: Duration::from_millis(100),
            warning_unary_request_duration: Duration::from_millis(300),
            cors: BTreeSet::from(["*".to_owned()]),
            host_whitelist: BTreeSet::from(["*".to_owned()]),
            metrics: MetricsDetail::Basic,
            auth_token: AuthToken::Simple,
            bcrypt_cost: 10,
            auth_token_ttl: Duration::from_secs(300),
            fsync: true,
            features: FeatureGates::default(),
            client_tls: None,
            peer_tls: None,
            self_signed_cert_validity_years: 1,
        }
    }
}

/// The quota when none is given: 2 GiB.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 << 30;
/// The largest quota that etcd suggests.
pub const QUOTA_BYTES_SUGGESTED_MAX: u64 = 8 << 30;

impl ServerConfig {
    /// A member whose data is in memory and that listens nowhere: for tests and for the in-process channel.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { storage: Storage::Memory, ..Self::default() }.without_listeners()
    }

    /// A member whose data is in a directory.
    #[must_use]
    pub fn in_directory(directory: impl AsRef<Path>) -> Self {
        Self { storage: Storage::Directory(directory.as_ref().to_owned()), ..Self::default() }
    }

    /// Names the member.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Listens for clients on one URL, and advertises it. Port 0 lets the system choose; the member then advertises what
    /// it has bound.
    #[must_use]
    pub fn listening_on(mut self, url: EndpointUrl) -> Self {
        let chosen_later = url.host_port().is_some_and(|(_, port)| port == "0");
        self.advertise_client_urls = if chosen_later { Vec::new() } else { vec![url.clone()] };
        self.listen_client_urls = vec![url];
        self
    }

    /// Listens for other members on one URL and advertises it to them. The port must be known: other members are told of it
    /// before it is bound.
    #[must_use]
    pub fn with_peer_url(mut self, url: EndpointUrl) -> Self {
        self.listen_peer_urls = vec![url.clone()];
        self.initial_advertise_peer_urls = vec![url];
        self
    }

    /// Does not listen for other members: this one is and stays alone.
    #[must_use]
    pub fn without_peers(mut self) -> Self {
        self.listen_peer_urls.clear();
        self
    }

    /// The first members of a new cluster, this one among them, by name.
    #[must_use]
    pub fn with_initial_cluster(mut self, members: BTreeMap<String, Vec<EndpointUrl>>) -> Self {
        self.initial_cluster = members;
        self
    }

    /// Joins a cluster that runs and in which this member was added.
    #[must_use]
    pub fn joining(mut self) -> Self {
        self.initial_cluster_state = InitialClusterState::Existing;
        self
    }

    /// Names and peer URLs of the first members.
    #[must_use]
    pub fn founders(&self) -> BTreeMap<String, Vec<EndpointUrl>> {
        if self.initial_cluster.is_empty() {
            return BTreeMap::from([(self.name.clone(), self.initial_advertise_peer_urls.clone())]);
        }
        self.initial_cluster.clone()
    }

    /// Listens nowhere.
    #[must_use]
    pub fn without_listeners(mut self) -> Self {
        self.listen_peer_urls.clear();
        self.listen_client_urls.clear();
        self.listen_client_http_urls.clear();
        self.listen_metrics_urls.clear();
        self.advertise_client_urls.clear();
        self
    }

    /// Sets the quota; nothing for none.
    #[must_use]
    pub fn with_quota_bytes(mut self, quota: Option<u64>) -> Self {
        self.quota_backend_bytes = quota;
        self
    }

    /// Sets automatic compaction.
    #[must_use]
    pub fn with_auto_compaction(mut self, policy: AutoCompaction) -> Self {
        self.auto_compaction = policy;
        self
    }

    /// Where the data is, unless it is in memory.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match &self.storage {
            Storage::Directory(path) => Some(path),
            Storage::Memory => None,
        }
    }

    /// How long a request may take on the server: 5 s for queues and disks, and two elections.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election_timeout
    }

    /// Heartbeat intervals in one election timeout, at least 1.
    #[must_use]
    pub fn election_ticks(&self) -> u32 {
        let heartbeat = self.heartbeat_interval.as_nanos().max(1);
        u32::try_from(self.election_timeout.as_nanos() / heartbeat).unwrap_or(u32::MAX).max(1)
    }
}

/// Something to tell the operator once the log is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it is a warning.
    pub is_warning: bool,
    /// The message.
    pub message: String,
    /// What belongs to it.
    pub fields: Vec<(&'static str, String)>,
}

impl Notice {
    fn info(message: &str) -> Self {
        Self { is_warning: false, message: message.to_owned(), fields: Vec::new() }
    }

    fn warn(message: &str) -> Self {
        Self { is_warning: true, ..Self::info(message) }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConfigError {
    /// etcd's text where etcd has the error.
    pub text: String,
    /// What belongs to it.
    pub fields: Vec<(&'static str, String)>,
    /// What the process ends with: 2 for a flag that cannot be read, 1 for what is read and wrong.
    pub exit_code: u8,
}

impl ConfigError {
    fn usage(text: String) -> Self {
        Self { text, fields: Vec::new(), exit_code: 2 }
    }

    fn invalid(text: String) -> Self {
        Self { text, fields: Vec::new(), exit_code: 1 }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }
}

impl From<UrlError> for ConfigError {
    fn from(error: UrlError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// What the process was started for.
#[derive(Clone, Debug)]
pub enum Invocation {
    /// Print [`help`].
    Help,
    /// Print [`help::version`].
    Version,
    /// Serve.
    Serve(Box<Start>),
}

/// All that a start needs.
#[derive(Clone, Debug)]
pub struct Start {
    /// For the member.
    pub server: ServerConfig,
    /// For the log of the process.
    pub log: LogConfig,
    /// To be logged first.
    pub notices: Vec<Notice>,
}

/// Reads everything that configures a member.
///
/// * `arguments`: the command line without the name of the program.
/// * `environment`: the variables of the process.
///
/// # Errors
/// What cannot be read or used; see [`ConfigError::exit_code`].
pub fn read(arguments: &[String], environment: &BTreeMap<String, String>) -> Result<Invocation, ConfigError> {
    let mut settings = Settings::default();
    let mut notices = Vec::new();
    let asked = command_line::read(arguments, &mut settings, &mut notices)?;
    if asked.help {
        return Ok(Invocation::Help);
    }
    if asked.version {
        return Ok(Invocation::Version);
    }
    let from_environment =
        || environment.get(environment::CONFIG_FILE).filter(|path| !path.is_empty()).cloned();
    match asked.config_file.filter(|path| !path.is_empty()).or_else(from_environment) {
        Some(path) => {
            settings = Settings::default();
            let text = std::fs::read_to_string(&path)
                .map_err(|error| ConfigError::invalid(format!("open {path}: {error}")))?;
            file::read(&text, &mut settings, &mut notices)?;
            let text = "loaded server configuration, other configuration command line flags and environment \
                        variables will be ignored if provided";
            notices.push(Notice::info(text).with("path", path));
        }
        None => environment::read(environment, &mut settings, &mut notices)?,
    }
    let (server, log) = resolve(&settings, &mut notices)?;
    Ok(Invocation::Serve(Box::new(Start { server, log, notices })))
}

#[cfg(test)]
mod tests;
