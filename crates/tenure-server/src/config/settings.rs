//! The table of flags: the one place where a flag's name, type, default, section and meaning are written.
//!
//! [`Settings`] is what all sources together say, before it is checked and becomes a [`super::ServerConfig`].

use super::{
    features::FeatureGates,
    flag::{
        DiscoveryFallback, Flag, FlagValue, Group, InitialClusterState, Origins, Support, V2Deprecation,
        WordList, WordSet,
    },
    url::EndpointUrl,
    value::Span,
};
use std::collections::BTreeSet;

const fn span(nanoseconds: i64) -> Span {
    Span { nanoseconds }
}

const MILLISECONDS: i64 = 1_000_000;
const SECONDS: i64 = 1_000 * MILLISECONDS;

/// Zap's rotation settings when none are given.
pub const LOG_ROTATION_DEFAULT: &str =
    r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#;

macro_rules! flags {
    ($(
        $group:ident {
            $($name:literal $field:ident: $kind:ty = $default:expr, $support:ident, $file:literal, $help:expr;)*
        }
    )*) => {
        /// The value of every flag, and which were given.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(
                #[doc = concat!("`--", $name, "`")]
                pub $field: $kind,
            )*)*
            /// `client-transport-security.allowed-cn` of the file, which has no flag.
            pub client_allowed_common_names: Vec<String>,
            /// `discovery-config.client.secure.server-name` of the file, which has no flag.
            pub discovery_server_name: String,
            /// `discovery-config.client.auth.token` of the file, which has no flag.
            pub discovery_auth_token: String,
            /// The names of the flags that the command line, the environment or the file gave.
            pub given: BTreeSet<&'static str>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self {
                    $($($field: $default,)*)*
                    client_allowed_common_names: Vec::new(),
                    discovery_server_name: String::new(),
                    discovery_auth_token: String::new(),
                    given: BTreeSet::new(),
                }
            }
        }

        /// Every flag, section by section in the order of the help.
        pub const FLAGS: &[Flag] = &[$($(
            Flag {
                name: $name,
                group: Group::$group,
                support: Support::$support,
                file_key: $file,
                help: $help,
                is_bool: <$kind as FlagValue>::IS_BOOL,
                file_form: <$kind as FlagValue>::FILE_FORM,
                set: |settings, text| FlagValue::set(&mut settings.$field, text),
                show: |settings| FlagValue::show(&settings.$field),
            },
        )*)*];
    };
}

// name, field: type = default, support, key in the file, meaning.
flags! {
    Member {
        "name" name: String = "default".to_owned(), Full, "name",
            "The name of this member, for people and for --initial-cluster.";
        "data-dir" data_dir: String = String::new(), Full, "data-dir",
            "The directory that holds all data of the member.";
        "wal-dir" wal_dir: String = String::new(), Full, "wal-dir",
            "A directory of its own for the write-ahead log, to put it on another disk.";
        "snapshot-count" snapshot_count: u64 = 10_000, Full, "snapshot-count",
            "Committed entries between two Raft snapshots.";
        "heartbeat-interval" heartbeat_interval_ms: u64 = 100, Full, "heartbeat-interval",
            "Milliseconds between two heartbeats of the leader.";
        "election-timeout" election_timeout_ms: u64 = 1_000, Full, "election-timeout",
            "Milliseconds without a heartbeat after which an election begins.";
        "initial-election-tick-advance" initial_election_tick_advance: bool = true, Full,
            "initial-election-tick-advance",
            "Shorten the first election after a start.";
        "listen-peer-urls" listen_peer_urls: Vec<EndpointUrl> = vec![EndpointUrl::http("localhost", 2380)], Full,
            "listen-peer-urls",
            "Where to listen for other members.";
        "listen-client-urls" listen_client_urls: Vec<EndpointUrl> = vec![EndpointUrl::http("localhost", 2379)], Full,
            "listen-client-urls",
            "Where to listen for clients: gRPC, and HTTP unless --listen-client-http-urls is given.";
        "listen-client-http-urls" listen_client_http_urls: Vec<EndpointUrl> = vec![], Full, "listen-client-http-urls",
            "Where to listen for HTTP alone; --listen-client-urls then serves gRPC alone.";
        "max-snapshots" max_snapshots: u64 = 5, NoEffect, "max-snapshots",
            "Snapshot files to keep (0 keeps all). Deprecated in etcd 3.6.";
        "max-wals" max_wals: u64 = 5, NoEffect, "max-wals",
            "Log files to keep (0 keeps all).";
        "memory-mlock" memory_mlock: bool = false, NoEffect, "memory-mlock",
            "Keep the memory of the member from being swapped out.";
        "quota-backend-bytes" quota_backend_bytes: i64 = 0, Full, "quota-backend-bytes",
            "Bytes of data at which the member takes no more writes (0 means 2 GiB, negative means no quota).";
        "backend-bbolt-freelist-type" backend_freelist_type: String = "map".to_owned(), NoEffect,
            "backend-bbolt-freelist-type",
            "How etcd's database keeps its free pages (array or map).";
        "backend-batch-interval" backend_batch_interval: Span = span(0), NoEffect, "backend-batch-interval",
            "The longest time between two commits of etcd's database.";
        "backend-batch-limit" backend_batch_limit: i64 = 0, NoEffect, "backend-batch-limit",
            "The most operations between two commits of etcd's database.";
        "max-txn-ops" max_txn_ops: u64 = 128, Full, "max-txn-ops",
            "The most operations in one transaction.";
        "max-request-bytes" max_request_bytes: u64 = 1_572_864, Full, "max-request-bytes",
            "The most bytes in one client request.";
        "max-concurrent-streams" max_concurrent_streams: u32 = u32::MAX, Full, "max-concurrent-streams",
            "The most streams that one client connection may have open.";
        "grpc-keepalive-min-time" grpc_keepalive_min_time: Span = span(5 * SECONDS), Full, "grpc-keepalive-min-time",
            "The shortest time that a client should leave between two pings.";
        "grpc-keepalive-interval" grpc_keepalive_interval: Span = span(7_200 * SECONDS), Full,
            "grpc-keepalive-interval",
            "The time after which the server pings a silent client (0 never does).";
        "grpc-keepalive-timeout" grpc_keepalive_timeout: Span = span(20 * SECONDS), Full, "grpc-keepalive-timeout",
            "How long such a ping may stay unanswered before the connection is closed (0 for ever).";
        "socket-reuse-port" socket_reuse_port: bool = false, Full, "socket-options.reuse-port",
            "Set SO_REUSEPORT on listeners, so that a port in use can be bound again.";
        "socket-reuse-address" socket_reuse_address: bool = false, Full, "socket-options.reuse-address",
            "Set SO_REUSEADDR on listeners, so that an address in TIME_WAIT can be bound.";
        "enable-grpc-gateway" enable_grpc_gateway: bool = true, Full, "enable-grpc-gateway",
            "Serve the JSON gateway. This version has none yet: /v3/ answers 404.";
        "raft-read-timeout" raft_read_timeout: Span = span(5 * SECONDS), Full, "",
            "The silence after which a connection to another member is given up; a third of it is the time between signs of life.";
        "raft-write-timeout" raft_write_timeout: Span = span(5 * SECONDS), Full, "",
            "How long a write to another member may wait.";
        "feature-gates" feature_gates: FeatureGates = FeatureGates::default(), Full, "feature-gates",
            "Features to switch, as A=true,B=false. Options are:";
    }
    Clustering {
        "initial-advertise-peer-urls" initial_advertise_peer_urls: Vec<EndpointUrl>
            = vec![EndpointUrl::http("localhost", 2380)], Full, "initial-advertise-peer-urls",
            "Where other members reach this one.";
        "initial-cluster" initial_cluster: String = "default=http://localhost:2380".to_owned(), Full, "initial-cluster",
            "The members of a new cluster, or of the one that is joined, as name=URL,name=URL.";
        "initial-cluster-state" initial_cluster_state: InitialClusterState = InitialClusterState::New, Full,
            "initial-cluster-state",
            "Whether to bootstrap a cluster ('new') or to join one ('existing'). Ignored once the member has data.";
        "initial-cluster-token" initial_cluster_token: String = "etcd-cluster".to_owned(), Full,
            "initial-cluster-token",
            "A word that keeps clusters with the same members apart.";
        "advertise-client-urls" advertise_client_urls: Vec<EndpointUrl>
            = vec![EndpointUrl::http("localhost", 2379)], Full, "advertise-client-urls",
            "Where clients reach this member; given to them in the member list.";
        "discovery-token" discovery_token: String = String::new(), Full, "discovery-config.token",
            "Discovery: the token of the cluster.";
        "discovery-endpoints" discovery_endpoints: WordSet = WordSet::default(), Full,
            "discovery-config.client.endpoints",
            "Discovery: the gRPC endpoints of the service.";
        "discovery-dial-timeout" discovery_dial_timeout: Span = span(2 * SECONDS), Full,
            "discovery-config.client.dial-timeout",
            "Discovery: how long dialling may take.";
        "discovery-request-timeout" discovery_request_timeout: Span = span(5 * SECONDS), Full,
            "discovery-config.client.request-timeout",
            "Discovery: how long a request may take.";
        "discovery-keepalive-time" discovery_keepalive_time: Span = span(2 * SECONDS), Full,
            "discovery-config.client.keepalive-time",
            "Discovery: time between pings.";
        "discovery-keepalive-timeout" discovery_keepalive_timeout: Span = span(6 * SECONDS), Full,
            "discovery-config.client.keepalive-timeout",
            "Discovery: how long a ping may stay unanswered.";
        "discovery-insecure-transport" discovery_insecure_transport: bool = true, Full,
            "discovery-config.client.secure.insecure-transport",
            "Discovery: connect without TLS.";
        "discovery-insecure-skip-tls-verify" discovery_insecure_skip_tls_verify: bool = false, Full,
            "discovery-config.client.secure.insecure-skip-tls-verify",
            "Discovery: do not verify the certificate of the service. For tests only.";
        "discovery-cert" discovery_cert: String = String::new(), Full, "discovery-config.client.secure.cert",
            "Discovery: certificate file of this client.";
        "discovery-key" discovery_key: String = String::new(), Full, "discovery-config.client.secure.key",
            "Discovery: key file of this client.";
        "discovery-cacert" discovery_cacert: String = String::new(), Full,
            "discovery-config.client.secure.cacert",
            "Discovery: certificate authorities that the service is verified against.";
        "discovery-user" discovery_user: String = String::new(), Full, "discovery-config.client.auth.username",
            "Discovery: user[:password].";
        "discovery-password" discovery_password: String = String::new(), Full,
            "discovery-config.client.auth.password",
            "Discovery: password, if --discovery-user has none.";
        "discovery-fallback" discovery_fallback: DiscoveryFallback = DiscoveryFallback::Exit, Full, "",
            "What to do when discovery fails; only 'exit' is left.";
        "discovery-srv" discovery_srv: String = String::new(), Refused, "discovery-srv",
            "The domain whose SRV records name the members.";
        "discovery-srv-name" discovery_srv_name: String = String::new(), Refused, "discovery-srv-name",
            "A suffix to the service name in those records.";
        "strict-reconfig-check" strict_reconfig_check: bool = true, Full, "strict-reconfig-check",
            "Refuse changes of membership that would lose the quorum.";
        "pre-vote" pre_vote: bool = true, Full, "pre-vote",
            "Ask whether an election could be won before it is begun.";
        "auto-compaction-retention" auto_compaction_retention: String = "0".to_owned(), Full,
            "auto-compaction-retention",
            "What automatic compaction keeps; 0 switches it off.";
        "auto-compaction-mode" auto_compaction_mode: String = "periodic".to_owned(), Full, "auto-compaction-mode",
            "What the retention counts: 'periodic' a time ('5m'; hours without a unit), 'revision' revisions.";
        "v2-deprecation" v2_deprecation: V2Deprecation = V2Deprecation, NoEffect, "v2-deprecation",
            "The phase of etcd's v2 store; always 'write-only'. Deprecated.";
    }
    Security {
        "cert-file" cert_file: String = String::new(), Full, "client-transport-security.cert-file",
            "The certificate that clients see.";
        "key-file" key_file: String = String::new(), Full, "client-transport-security.key-file",
            "Its key.";
        "client-cert-auth" client_cert_auth: bool = false, Full, "client-transport-security.client-cert-auth",
            "Demand a certificate from clients; its common name is the user (needs --trusted-ca-file).";
        "client-cert-file" client_cert_file: String = String::new(), Full,
            "client-transport-security.client-cert-file",
            "The certificate that this member shows as a client, if not --cert-file.";
        "client-key-file" client_key_file: String = String::new(), Full,
            "client-transport-security.client-key-file",
            "Its key.";
        "client-crl-file" client_crl_file: String = String::new(), Full, "",
            "Revoked certificates of clients.";
        "client-cert-allowed-hostname" client_cert_allowed_hostname: WordList = WordList::default(), Full,
            "client-transport-security.allowed-hostname",
            "Names of which the certificate of a client must have one.";
        "trusted-ca-file" trusted_ca_file: String = String::new(), Full,
            "client-transport-security.trusted-ca-file",
            "Authorities that the certificates of clients are verified against.";
        "auto-tls" auto_tls: bool = false, Full, "client-transport-security.auto-tls",
            "TLS for clients with a certificate that the member makes itself.";
        "peer-cert-file" peer_cert_file: String = String::new(), Full, "peer-transport-security.cert-file",
            "The certificate that other members see.";
        "peer-key-file" peer_key_file: String = String::new(), Full, "peer-transport-security.key-file",
            "Its key.";
        "peer-client-cert-auth" peer_client_cert_auth: bool = false, Full,
            "peer-transport-security.client-cert-auth",
            "Demand a certificate from other members.";
        "peer-client-cert-file" peer_client_cert_file: String = String::new(), Full,
            "peer-transport-security.client-cert-file",
            "The certificate that this member shows to others, if not --peer-cert-file.";
        "peer-client-key-file" peer_client_key_file: String = String::new(), Full,
            "peer-transport-security.client-key-file",
            "Its key.";
        "peer-trusted-ca-file" peer_trusted_ca_file: String = String::new(), Full,
            "peer-transport-security.trusted-ca-file",
            "Authorities that the certificates of members are verified against.";
        "peer-cert-allowed-cn" peer_cert_allowed_cn: WordList = WordList::default(), Full,
            "peer-transport-security.allowed-cn",
            "Common names of which the certificate of a member must have one.";
        "peer-cert-allowed-hostname" peer_cert_allowed_hostname: WordList = WordList::default(), Full,
            "peer-transport-security.allowed-hostname",
            "Names of which the certificate of a member must have one.";
        "peer-auto-tls" peer_auto_tls: bool = false, Full, "peer-transport-security.auto-tls",
            "TLS between members with certificates that they make themselves.";
        "self-signed-cert-validity" self_signed_cert_validity: u64 = 1, Full, "self-signed-cert-validity",
            "Years for which a certificate made by the member is valid.";
        "peer-crl-file" peer_crl_file: String = String::new(), Full, "",
            "Revoked certificates of members.";
        "cipher-suites" cipher_suites: WordList = WordList::default(), Full, "cipher-suites",
            "TLS cipher suites to speak, by their names in Go (empty: all that are sound).";
        "cors" cors: Origins = Origins::default(), Full, "cors",
            "Origins that browsers may call from (empty or * allows all).";
        "host-whitelist" host_whitelist: WordSet = WordSet::of("*"), Full, "host-whitelist",
            "Host names that HTTP requests without TLS may use (empty or * allows all).";
        "tls-min-version" tls_min_version: String = "TLS1.2".to_owned(), Full, "tls-min-version",
            "The oldest TLS to speak: TLS1.2 or TLS1.3.";
        "tls-max-version" tls_max_version: String = String::new(), Full, "tls-max-version",
            "The newest TLS to speak: TLS1.2 or TLS1.3 (empty sets no bound).";
    }
    Auth {
        "auth-token" auth_token: String = "simple".to_owned(), Full, "auth-token",
            "The kind of token: 'simple', or 'jwt' with options: jwt,sign-method=ES256,priv-key=FILE,pub-key=FILE,ttl=5m.";
        "bcrypt-cost" bcrypt_cost: u64 = 10, Full, "bcrypt-cost",
            "The cost of hashing a password, from 4 to 31.";
        "auth-token-ttl" auth_token_ttl_s: u64 = 300, Full, "auth-token-ttl",
            "Seconds for which a simple token lives without being used.";
    }
    Monitoring {
        "enable-pprof" enable_pprof: bool = false, NoEffect, "enable-pprof",
            "Serve the profiles of Go's runtime, which this server has not.";
        "metrics" metrics: String = "basic".to_owned(), Full, "metrics",
            "How much to measure: 'basic', or 'extensive' with a histogram for each gRPC method.";
        "listen-metrics-urls" listen_metrics_urls: Vec<EndpointUrl> = vec![], Full, "listen-metrics-urls",
            "Where to listen for /metrics, /health, /livez and /readyz alone.";
    }
    Logging {
        "logger" logger: String = "zap".to_owned(), Full, "logger",
            "The form of the log; only 'zap'.";
        "log-outputs" log_outputs: WordList = WordList(vec!["default".to_owned()]), Full, "log-outputs",
            "Where the log goes: 'default' or 'stderr', 'stdout', or paths of files.";
        "log-level" log_level: String = "info".to_owned(), Full, "log-level",
            "The least level that is logged: debug, info, warn, error, panic, or fatal.";
        "log-format" log_format: String = "json".to_owned(), Full, "log-format",
            "The form of a line: json or console.";
        "enable-log-rotation" enable_log_rotation: bool = false, Full, "enable-log-rotation",
            "Begin a new log file when the present one is full.";
        "log-rotation-config-json" log_rotation_config_json: String = LOG_ROTATION_DEFAULT.to_owned(), Full,
            "log-rotation-config-json",
            "How to rotate: maxsize in MB, maxage in days and maxbackups in files (0 sets no bound).";
        "warning-unary-request-duration" warning_unary_request_duration: Span = span(300 * MILLISECONDS), Full,
            "warning-unary-request-duration",
            "A request that takes longer is logged.";
    }
    Tracing {
        "enable-distributed-tracing" enable_distributed_tracing: bool = false, Refused, "enable-distributed-tracing",
            "Send traces to an OpenTelemetry collector.";
        "distributed-tracing-address" distributed_tracing_address: String = "localhost:4317".to_owned(), NoEffect,
            "distributed-tracing-address",
            "The collector.";
        "distributed-tracing-service-name" distributed_tracing_service_name: String = "etcd".to_owned(), NoEffect,
            "distributed-tracing-service-name",
            "The name of the service in traces, the same for all members.";
        "distributed-tracing-instance-id" distributed_tracing_instance_id: String = String::new(), NoEffect,
            "distributed-tracing-instance-id",
            "The name of this member in traces.";
        "distributed-tracing-sampling-rate" distributed_tracing_sampling_rate: i64 = 0, NoEffect,
            "distributed-tracing-sampling-rate",
            "Traces to send of a million.";
    }
    Features {
        "corrupt-check-time" corrupt_check_time: Span = span(0), Full, "corrupt-check-time",
            "Time between comparisons of the data of all members.";
        "compact-hash-check-time" compact_hash_check_time: Span = span(60 * SECONDS), Full,
            "compact-hash-check-time",
            "Time between comparisons of the hashes of compactions.";
        "compaction-batch-limit" compaction_batch_limit: i64 = 0, Full, "compaction-batch-limit",
            "The most revisions that one step of a compaction removes.";
        "peer-skip-client-san-verification" peer_skip_client_san_verification: bool = false, Full,
            "peer-transport-security.skip-client-san-verification",
            "Do not compare the names in a member's certificate with its address.";
        "watch-progress-notify-interval" watch_progress_notify_interval: Span = span(0), Full,
            "watch-progress-notify-interval",
            "Time between the progress notifications of a quiet watch.";
        "warning-apply-duration" warning_apply_duration: Span = span(100 * MILLISECONDS), Full,
            "warning-apply-duration",
            "An entry that takes longer to apply is logged.";
        "bootstrap-defrag-threshold-megabytes" bootstrap_defrag_threshold_megabytes: u64 = 0, NoEffect,
            "bootstrap-defrag-threshold-megabytes",
            "Defragment at start if that frees so much. Tenure gives space back while it runs.";
        "max-learners" max_learners: i64 = 1, Full, "max-learners",
            "The most learners in the cluster.";
        "compaction-sleep-interval" compaction_sleep_interval: Span = span(0), Full, "compaction-sleep-interval",
            "The pause between two steps of a compaction.";
        "downgrade-check-time" downgrade_check_time: Span = span(5 * SECONDS), Full, "downgrade-check-time",
            "Time between looks at the progress of a downgrade.";
        "snapshot-catchup-entries" snapshot_catchup_entries: u64 = 5_000, Full, "snapshot-catchup-entries",
            "Entries that are kept behind a Raft snapshot for members that lag.";
    }
    Unsafe {
        "force-new-cluster" force_new_cluster: bool = false, Full, "force-new-cluster",
            "Make a new cluster of this member alone, with its data: every other member is removed.";
        "unsafe-no-fsync" unsafe_no_fsync: bool = false, Full, "unsafe-no-fsync",
            "Do not wait for the disk. A crash of the machine loses acknowledged writes.";
    }
}

/// Flags that etcd once had: they are taken without a value, and nothing else happens.
pub const IGNORED: [&str; 15] = [
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
];

/// The flag of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

impl Settings {
    /// Gives a flag a value.
    ///
    /// # Errors
    /// What follows `invalid value "..." for flag -name: `.
    pub fn give(&mut self, flag: &'static Flag, text: &str) -> Result<(), String> {
        (flag.set)(self, text)?;
        self.given.insert(flag.name);
        Ok(())
    }

    /// Whether a source gave the flag.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }
}
