//! Metrics under the names of etcd.
//!
//! [`Metrics`] holds a handle of every metric; whoever has something to count takes the handle once and keeps it. Each
//! server has a registry of its own, so that several can live in one process.

pub mod grpc;
pub mod methods;
mod process;

pub use grpc::{GrpcMetrics, MethodMetrics, RequestType};
pub use methods::{METHODS, Method, MethodType};
pub use process::descriptors_limit;

use crate::config::{Feature, FeatureGates, MetricsDetail, help::ETCD_VERSION};
use parking_lot::Mutex;
use process::ProcessMetrics;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, exponential_buckets,
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tenure_core::types::MemberId;

/// The type of a text of metrics.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

macro_rules! metric {
    (@type counter) => { IntCounter };
    (@type gauge) => { IntGauge };
    (@type histogram) => { Histogram };
    (@type counters) => { IntCounterVec };
    (@type gauges) => { IntGaugeVec };
    (@type histograms) => { HistogramVec };
    (@make counter, $name:literal, $help:literal, [], ()) => { IntCounter::new($name, $help)? };
    (@make gauge, $name:literal, $help:literal, [], ()) => { IntGauge::new($name, $help)? };
    (@make histogram, $name:literal, $help:literal, [], ($start:literal, $factor:literal, $count:literal)) => {
        Histogram::with_opts(
            HistogramOpts::new($name, $help).buckets(exponential_buckets($start, $factor, $count)?),
        )?
    };
    (@make counters, $name:literal, $help:literal, [$($label:literal),+], ()) => {
        IntCounterVec::new(Opts::new($name, $help), &[$($label),+])?
    };
    (@make gauges, $name:literal, $help:literal, [$($label:literal),+], ()) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$($label),+])?
    };
    (@make histograms, $name:literal, $help:literal, [$($label:literal),+],
        ($start:literal, $factor:literal, $count:literal)) => {
        HistogramVec::new(
            HistogramOpts::new($name, $help).buckets(exponential_buckets($start, $factor, $count)?),
            &[$($label),+],
        )?
    };
}

macro_rules! metrics {
    ($($kind:ident $field:ident = $name:literal [$($label:literal),*] ($($bucket:literal),*), $help:literal;)*) => {
        /// A handle of every metric that has no place of its own.
        #[derive(Debug)]
        pub struct Handles {
            $(
                #[doc = concat!("`", $name, "`: ", $help)]
                pub $field: metric!(@type $kind),
            )*
        }

        impl Handles {
            fn new(registry: &Registry) -> prometheus::Result<Self> {
                $(
                    let $field = metric!(@make $kind, $name, $help, [$($label),*], ($($bucket),*));
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { $($field,)* })
            }
        }
    };
}

metrics! {
    gauges server_alarms = "etcd_debugging_server_alarms" ["server_id", "alarm_type"] (),
        "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with type of this alarm";
    gauges feature_enabled = "etcd_server_feature_enabled" ["name", "stage"] (),
        "Whether or not a feature is enabled. 1 is enabled, 0 is not.";
    gauges go_version = "etcd_server_go_version" ["server_go_version"] (),
        "Which Go version server is running with. This server is not written in Go.";
    gauges server_version = "etcd_server_version" ["server_version"] (),
        "Which version is running. 1 for 'server_version' label with current version.";
    gauges cluster_version = "etcd_cluster_version" ["cluster_version"] (),
        "Which version is running. 1 for 'cluster_version' label with current cluster version";
    gauges server_id = "etcd_server_id" ["server_id"] (),
        "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.";
    gauge has_leader = "etcd_server_has_leader" [] (),
        "Whether or not a leader exists. 1 is existence, 0 is not.";
    gauge is_leader = "etcd_server_is_leader" [] (),
        "Whether or not this member is a leader. 1 if is, 0 otherwise.";
    gauge is_learner = "etcd_server_is_learner" [] (),
        "Whether or not this member is a learner. 1 if is, 0 otherwise.";
    counter leader_changes_seen = "etcd_server_leader_changes_seen_total" [] (),
        "The number of leader changes seen.";
    counters learner_promote_failures = "etcd_server_learner_promote_failures" ["Reason"] (),
        "The total number of failed learner promotions (likely learner not ready) while this member is leader.";
    counter learner_promote_successes = "etcd_server_learner_promote_successes" [] (),
        "The total number of successful learner promotions while this member is leader.";
    counter heartbeat_send_failures = "etcd_server_heartbeat_send_failures_total" [] (),
        "The total number of leader heartbeat send failures (likely overloaded from slow disk).";
    gauge proposals_applied = "etcd_server_proposals_applied_total" [] (),
        "The total number of consensus proposals applied.";
    gauge proposals_committed = "etcd_server_proposals_committed_total" [] (),
        "The total number of consensus proposals committed.";
    counter proposals_failed = "etcd_server_proposals_failed_total" [] (),
        "The total number of failed proposals seen.";
    gauge proposals_pending = "etcd_server_proposals_pending" [] (),
        "The current number of pending proposals to commit.";
    gauge quota_backend_bytes = "etcd_server_quota_backend_bytes" [] (),
        "Current backend storage quota size in bytes.";
    counter read_indexes_failed = "etcd_server_read_indexes_failed_total" [] (),
        "The total number of failed read indexes seen.";
    counter slow_read_indexes = "etcd_server_slow_read_indexes_total" [] (),
        "The total number of pending read indexes not in sync with leader's or timed out read index requests.";
    counter slow_apply = "etcd_server_slow_apply_total" [] (),
        "The total number of slow apply requests (likely overloaded from slow disk).";
    gauge snapshot_apply_in_progress = "etcd_server_snapshot_apply_in_progress_total" [] (),
        "1 if the server is applying the incoming snapshot. 0 if none.";
    counter health_success = "etcd_server_health_success" [] (),
        "The total number of successful health checks";
    counter health_failures = "etcd_server_health_failures" [] (),
        "The total number of failed health checks";
    gauges healthcheck = "etcd_server_healthcheck" ["type", "name"] (),
        "The result of each kind of healthcheck.";
    counters healthchecks = "etcd_server_healthchecks_total" ["type", "name", "status"] (),
        "The total number of each kind of healthcheck.";
    counter lease_expired = "etcd_debugging_server_lease_expired_total" [] (),
        "The total number of expired leases.";
    histogram watch_send_loop_watch_stream =
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds" [] (0.001, 2.0, 14),
        "The total duration in seconds of running through the send loop watch stream response all events.";
    histogram watch_send_loop_watch_stream_per_event =
        "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds" [] (0.001, 2.0, 14),
        "The average duration in seconds of running through the send loop watch stream response, per event.";
    histogram watch_send_loop_control_stream =
        "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds" [] (0.001, 2.0, 14),
        "The total duration in seconds of running through the send loop control stream response.";
    histogram watch_send_loop_progress =
        "etcd_debugging_server_watch_send_loop_progress_duration_seconds" [] (0.001, 2.0, 14),
        "The total duration in seconds of running through the progress loop control stream response.";

    gauge db_open_read_transactions = "etcd_mvcc_db_open_read_transactions" [] (),
        "The number of currently open read transactions";
    gauge db_total_size = "etcd_mvcc_db_total_size_in_bytes" [] (),
        "Total size of the underlying database physically allocated in bytes.";
    gauge db_total_size_in_use = "etcd_mvcc_db_total_size_in_use_in_bytes" [] (),
        "Total size of the underlying database logically in use in bytes.";
    counter mvcc_put = "etcd_mvcc_put_total" [] (), "Total number of puts seen by this member.";
    counter mvcc_delete = "etcd_mvcc_delete_total" [] (), "Total number of deletes seen by this member.";
    counter mvcc_range = "etcd_mvcc_range_total" [] (), "Total number of ranges seen by this member.";
    counter mvcc_txn = "etcd_mvcc_txn_total" [] (), "Total number of txns seen by this member.";
    histogram mvcc_hash = "etcd_mvcc_hash_duration_seconds" [] (0.01, 2.0, 15),
        "The latency distribution of storage hash operation.";
    histogram mvcc_hash_rev = "etcd_mvcc_hash_rev_duration_seconds" [] (0.01, 2.0, 15),
        "The latency distribution of storage hash by revision operation.";
    gauge compact_revision = "etcd_debugging_mvcc_compact_revision" [] (),
        "The revision of the last compaction in store.";
    gauge current_revision = "etcd_debugging_mvcc_current_revision" [] (), "The current revision of store.";
    counter db_compaction_keys = "etcd_debugging_mvcc_db_compaction_keys_total" [] (),
        "Total number of db keys compacted.";
    gauge db_compaction_last = "etcd_debugging_mvcc_db_compaction_last" [] (),
        "The unix time of the last db compaction. Resets to 0 on start.";
    histogram db_compaction_pause_milliseconds =
        "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds" [] (1.0, 2.0, 13),
        "Bucketed histogram of db compaction pause duration.";
    histogram db_compaction_total_milliseconds =
        "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds" [] (100.0, 2.0, 14),
        "Bucketed histogram of db compaction total duration.";
    histogram index_compaction_pause_milliseconds =
        "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds" [] (0.5, 2.0, 14),
        "Bucketed histogram of index compaction pause duration.";
    counter mvcc_events = "etcd_debugging_mvcc_events_total" [] (),
        "Total number of events sent by this member.";
    gauge mvcc_keys = "etcd_debugging_mvcc_keys_total" [] (), "Total number of keys.";
    gauge mvcc_pending_events = "etcd_debugging_mvcc_pending_events_total" [] (),
        "Total number of pending events to be sent.";
    gauge mvcc_slow_watchers = "etcd_debugging_mvcc_slow_watcher_total" [] (),
        "Total number of unsynced slow watchers.";
    gauge mvcc_put_bytes = "etcd_debugging_mvcc_total_put_size_in_bytes" [] (),
        "The total size of put kv pairs seen by this member.";
    gauge mvcc_watch_streams = "etcd_debugging_mvcc_watch_stream_total" [] (), "Total number of watch streams.";
    gauge mvcc_watchers = "etcd_debugging_mvcc_watcher_total" [] (), "Total number of watchers.";

    histogram backend_commit = "etcd_disk_backend_commit_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of commit called by backend.";
    histogram backend_defrag = "etcd_disk_backend_defrag_duration_seconds" [] (0.1, 2.0, 13),
        "The latency distribution of backend defragmentation.";
    histogram backend_snapshot = "etcd_disk_backend_snapshot_duration_seconds" [] (0.01, 2.0, 17),
        "The latency distribution of backend snapshots.";
    gauge defrag_inflight = "etcd_disk_defrag_inflight" [] (),
        "Whether or not defrag is active on the member. 1 means active, 0 means not.";
    histogram wal_fsync = "etcd_disk_wal_fsync_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of fsync called by WAL.";
    gauge wal_write_bytes = "etcd_disk_wal_write_bytes_total" [] (), "Total number of bytes written in WAL.";
    histogram wal_write = "etcd_disk_wal_write_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of write called by WAL.";
    histogram backend_commit_rebalance =
        "etcd_debugging_disk_backend_commit_rebalance_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of commit.rebalance called by bboltdb backend.";
    histogram backend_commit_spill =
        "etcd_debugging_disk_backend_commit_spill_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of commit.spill called by bboltdb backend.";
    histogram backend_commit_write =
        "etcd_debugging_disk_backend_commit_write_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of commit.write called by bboltdb backend.";

    counter client_received_bytes = "etcd_network_client_grpc_received_bytes_total" [] (),
        "The total number of bytes received from grpc clients.";
    counter client_sent_bytes = "etcd_network_client_grpc_sent_bytes_total" [] (),
        "The total number of bytes sent to grpc clients.";
    gauges active_peers = "etcd_network_active_peers" ["Local", "Remote"] (),
        "The current number of active peer connections.";
    counters disconnected_peers = "etcd_network_disconnected_peers_total" ["Local", "Remote"] (),
        "The total number of disconnected peers.";
    counters peer_sent_bytes = "etcd_network_peer_sent_bytes_total" ["To"] (),
        "The total number of bytes sent to peers.";
    counters peer_received_bytes = "etcd_network_peer_received_bytes_total" ["From"] (),
        "The total number of bytes received from peers.";
    counters peer_sent_failures = "etcd_network_peer_sent_failures_total" ["To"] (),
        "The total number of send failures from peers.";
    counters peer_received_failures = "etcd_network_peer_received_failures_total" ["From"] (),
        "The total number of receive failures from peers.";
    histograms peer_round_trip = "etcd_network_peer_round_trip_time_seconds" ["To"] (0.0001, 2.0, 16),
        "Round-Trip-Time histogram between peers";
    counters snapshot_send_success = "etcd_network_snapshot_send_success" ["To"] (),
        "Total number of successful snapshot sends";
    gauges snapshot_send_inflights = "etcd_network_snapshot_send_inflights_total" ["To"] (),
        "Total number of inflight snapshot sends";
    counters snapshot_send_failures = "etcd_network_snapshot_send_failures" ["To"] (),
        "Total number of snapshot send failures";
    histograms snapshot_send_seconds = "etcd_network_snapshot_send_total_duration_seconds" ["To"] (0.1, 2.0, 10),
        "Total latency distributions of v3 snapshot sends";
    counters snapshot_receive_success = "etcd_network_snapshot_receive_success" ["From"] (),
        "Total number of successful snapshot receives";
    gauges snapshot_receive_inflights = "etcd_network_snapshot_receive_inflights_total" ["From"] (),
        "Total number of inflight snapshot receives";
    counters snapshot_receive_failures = "etcd_network_snapshot_receive_failures" ["From"] (),
        "Total number of snapshot receive failures";
    histograms snapshot_receive_seconds =
        "etcd_network_snapshot_receive_total_duration_seconds" ["From"] (0.1, 2.0, 10),
        "Total latency distributions of v3 snapshot receives";
    gauges known_peers = "etcd_network_known_peers" ["Local", "Remote"] (), "The current number of known peers.";
    counters stream_failures = "etcd_network_server_stream_failures_total" ["Type", "API"] (),
        "The total number of stream failures from the local server.";

    histogram snap_db_fsync = "etcd_snap_db_fsync_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of fsyncing .snap.db file";
    histogram snap_db_save = "etcd_snap_db_save_total_duration_seconds" [] (0.1, 2.0, 10),
        "The total latency distributions of v3 snapshot save";
    histogram snap_fsync = "etcd_snap_fsync_duration_seconds" [] (0.001, 2.0, 14),
        "The latency distributions of fsync called by snap.";
    histogram snap_save_marshalling = "etcd_debugging_snap_save_marshalling_duration_seconds" [] (0.001, 2.0, 14),
        "The marshalling cost distributions of save called by snapshot.";
    histogram snap_save = "etcd_debugging_snap_save_total_duration_seconds" [] (0.001, 2.0, 14),
        "The total latency distributions of save called by snapshot.";

    counter lease_granted = "etcd_debugging_lease_granted_total" [] (), "The total number of granted leases.";
    counter lease_renewed = "etcd_debugging_lease_renewed_total" [] (),
        "The number of renewed leases seen by the leader.";
    counter lease_revoked = "etcd_debugging_lease_revoked_total" [] (), "The total number of revoked leases.";
    histogram lease_ttl = "etcd_debugging_lease_ttl_total" [] (1.0, 2.0, 24), "Bucketed histogram of lease TTLs.";
    gauge auth_revision = "etcd_debugging_auth_revision" [] (), "The current revision of auth store.";

    counter store_expires = "etcd_debugging_store_expires_total" [] (), "Total number of expired keys.";
    counter store_watch_requests = "etcd_debugging_store_watch_requests_total" [] (),
        "Total number of incoming watch requests (new or reestablished).";
    gauge store_watchers = "etcd_debugging_store_watchers" [] (), "Count of currently active watchers.";

    gauge proxy_cache_hits = "etcd_grpc_proxy_cache_hits_total" [] (), "Total number of cache hits";
    gauge proxy_cache_keys = "etcd_grpc_proxy_cache_keys_total" [] (), "Total number of keys/ranges cached";
    gauge proxy_cache_misses = "etcd_grpc_proxy_cache_misses_total" [] (), "Total number of cache misses";
    counter proxy_events_coalescing = "etcd_grpc_proxy_events_coalescing_total" [] (),
        "Total number of events coalescing";
    gauge proxy_watchers_coalescing = "etcd_grpc_proxy_watchers_coalescing_total" [] (),
        "Total number of current watchers coalescing";

    gauge scrapes_in_flight = "promhttp_metric_handler_requests_in_flight" [] (),
        "Current number of scrapes being served.";
    counters scrapes = "promhttp_metric_handler_requests_total" ["code"] (),
        "Total number of scrapes by HTTP status code.";
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is timed; the labels `op` and `type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// All of them.
            pub const ALL: &[Operation] = &[$(Operation::$name,)*];

            /// The value of the label.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Operation::$name => stringify!($name),)*
                }
            }
        }
    };
}

operations! {
    /// A read of keys.
    Range,
    /// A transaction that writes nothing.
    ReadonlyTxn,
    /// A put.
    Put,
    /// A deletion.
    DeleteRange,
    /// A transaction that writes.
    Txn,
    /// A compaction.
    Compaction,
    /// A lease that begins.
    LeaseGrant,
    /// A lease that ends.
    LeaseRevoke,
    /// What is left of leases.
    LeaseCheckpoint,
    /// An alarm.
    Alarm,
    /// The cluster's version.
    ClusterVersionSet,
    /// The name and URLs of a member.
    ClusterMemberAttrSet,
    /// A downgrade.
    DowngradeInfoSet,
    /// A log-in.
    Authenticate,
    /// Authentication switched on.
    AuthEnable,
    /// Authentication switched off.
    AuthDisable,
    /// A user that is made.
    AuthUserAdd,
    /// A user that is removed.
    AuthUserDelete,
    /// Another password.
    AuthUserChangePassword,
    /// A role granted to a user.
    AuthUserGrantRole,
    /// A role taken from a user.
    AuthUserRevokeRole,
    /// A role that is made.
    AuthRoleAdd,
    /// A role that is removed.
    AuthRoleDelete,
    /// A permission given to a role.
    AuthRoleGrantPermission,
    /// A permission taken from a role.
    AuthRoleRevokePermission,
}

/// A histogram for each operation and outcome, looked up at its first observation and never again.
#[derive(Debug)]
pub struct Timings {
    histograms: HistogramVec,
    version: Option<&'static str>,
    resolved: [[OnceLock<Histogram>; 2]; Operation::ALL.len()],
}

impl Timings {
    fn new(histograms: HistogramVec, version: Option<&'static str>) -> Self {
        Self { histograms, version, resolved: std::array::from_fn(|_| [OnceLock::new(), OnceLock::new()]) }
    }

    /// Counts one operation.
    pub fn observe(&self, operation: Operation, success: bool, took: Duration) {
        let histogram = self.resolved[operation as usize][usize::from(success)].get_or_init(|| {
            let outcome = if success { "true" } else { "false" };
            match self.version {
                Some(version) => self.histograms.with_label_values(&[version, operation.as_str(), outcome]),
                None => self.histograms.with_label_values(&[operation.as_str(), outcome]),
            }
        });
        histogram.observe(took.as_secs_f64());
    }
}

/// Reads values that are only looked at when somebody asks, such as sizes.
pub type Refresh = Box<dyn Fn(&Handles) + Send + Sync>;

/// All metrics of a server.
pub struct Metrics {
    registry: Registry,
    /// Every metric without a place of its own.
    pub handles: Handles,
    /// gRPC calls.
    pub grpc: GrpcMetrics,
    /// `etcd_server_apply_duration_seconds`: what the state machine took for an entry.
    pub apply: Timings,
    /// `etcd_server_request_duration_seconds`: what a request took from admission to answer.
    pub request: Timings,
    /// `etcd_server_range_duration_seconds`, indexed by success.
    pub range: [Histogram; 2],
    process: ProcessMetrics,
    refresh: Mutex<Vec<Refresh>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Makes all metrics, at 0.
    ///
    /// * `detail`: whether the durations of gRPC calls are kept as well.
    ///
    /// # Errors
    /// A name that stands twice in the table: the tests would have failed.
    pub fn new(detail: MetricsDetail) -> prometheus::Result<Arc<Self>> {
        let registry = Registry::new();
        let histograms = |name: &str, help: &str, labels: &[&str], start, count| {
            let buckets = exponential_buckets(start, 2.0, count)?;
            let histograms = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
            registry.register(Box::new(histograms.clone()))?;
            Ok::<_, prometheus::Error>(histograms)
        };
        let apply = histograms(
            "etcd_server_apply_duration_seconds",
            "The latency distributions of v2 apply called by backend.",
            &["version", "op", "success"],
            0.0001,
            20,
        )?;
        let request = histograms(
            "etcd_server_request_duration_seconds",
            "Response latency distribution in seconds for each type.",
            &["type", "success"],
            0.001,
            14,
        )?;
        let range = histograms(
            "etcd_server_range_duration_seconds",
            "The latency distributions of txn.Range",
            &["success"],
            0.0001,
            20,
        )?;
        let metrics = Self {
            handles: Handles::new(&registry)?,
            grpc: GrpcMetrics::new(&registry, detail == MetricsDetail::Extensive)?,
            apply: Timings::new(apply, Some("v3")),
            request: Timings::new(request, None),
            range: ["false", "true"].map(|success| range.with_label_values(&[success])),
            process: ProcessMetrics::new(&registry)?,
            refresh: Mutex::new(Vec::new()),
            registry,
        };
        metrics.handles.server_version.with_label_values(&[ETCD_VERSION]).set(1);
        metrics.handles.go_version.with_label_values(&["none"]).set(1);
        for code in ["200", "500", "503"] {
            metrics.handles.scrapes.with_label_values(&[code]).reset();
        }
        Ok(Arc::new(metrics))
    }

    /// Says who this member is.
    pub fn identify(&self, member: MemberId, features: &FeatureGates) {
        self.handles.server_id.with_label_values(&[&format!("{:x}", member.0)]).set(1);
        let id = format!("{:x}", member.0);
        self.handles.known_peers.with_label_values(&[&id, &id]).set(1);
        for feature in Feature::ALL {
            let stage = feature.stage().as_str();
            let on = i64::from(features.enabled(*feature));
            self.handles.feature_enabled.with_label_values(&[feature.name(), stage]).set(on);
        }
    }

    /// Says which version the cluster has, as `major.minor`.
    pub fn set_cluster_version(&self, version: &str) {
        self.handles.cluster_version.reset();
        self.handles.cluster_version.with_label_values(&[version]).set(1);
    }

    /// Has values read each time somebody asks for the metrics.
    pub fn on_scrape(&self, refresh: impl Fn(&Handles) + Send + Sync + 'static) {
        self.refresh.lock().push(Box::new(refresh));
    }

    /// The text of all metrics.
    ///
    /// # Errors
    /// A metric that cannot be written as text.
    pub fn encode(&self) -> prometheus::Result<Vec<u8>> {
        {
            // One scrape at a time refreshes: two would count the processor's time twice.
            let refresh = self.refresh.lock();
            self.process.refresh();
            for refresh in refresh.iter() {
                refresh(&self.handles);
            }
        }
        let mut text = Vec::with_capacity(256 << 10);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Registers a gauge that is no part of etcd's table, for what Tenure alone has.
    ///
    /// * `name`: begins with `tenure_`.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn register_gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        let gauge = Gauge::new(name, help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }
}

#[cfg(test)]
mod tests;
