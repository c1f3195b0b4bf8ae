//! Every bound of the server in one place, with the relations that must hold between them.
//!
//! A name says what is bounded, in which unit, and that it is a bound. Whoever adds a queue adds its bound here.

use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

// --- requests

/// The largest replicated request when `--max-request-bytes` is not given (Q7).
pub const REQUEST_BYTES_MAX_DEFAULT: usize = 1_536 * KIB;

/// What a gRPC message may be larger than the replicated request it becomes (Q7).
pub const GRPC_OVERHEAD_BYTES: usize = 512 * KIB;

/// The largest answer on the wire: etcd sends up to what a signed 32-bit length can say.
pub const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// The operations of one transaction when `--max-txn-ops` is not given (T1).
pub const TXN_OPS_MAX_DEFAULT: u32 = 128;

/// The entries that may be committed and not yet applied before new requests get "too many requests" (Q8).
pub const UNAPPLIED_ENTRIES_MAX: u64 = 5_000;

/// The largest gRPC message that is decoded, for a bound on replicated requests.
///
/// * `request_bytes_max`: the value of `--max-request-bytes`.
#[must_use]
pub const fn decoded_bytes_max(request_bytes_max: usize) -> usize {
    request_bytes_max.saturating_add(GRPC_OVERHEAD_BYTES)
}

// --- connections

/// Descriptors that client connections leave for the log, the store and the process itself.
pub const RESERVED_DESCRIPTORS: u64 = 150;

/// Bytes of one connection that wait for its flush before writes go through to the socket.
pub const CONNECTION_WRITE_BYTES_MAX: usize = 256 * KIB;

/// The write buffer that a connection keeps while it is idle; what is larger is given back.
pub const CONNECTION_WRITE_BYTES_KEPT: usize = 32 * KIB;

/// Bytes of answers that HTTP/2 holds per stream before its producer waits.
pub const STREAM_SEND_BYTES_MAX: usize = MIB;

/// Bytes that a client may send on one stream before the server has taken them.
pub const STREAM_WINDOW_BYTES: u32 = MIB as u32;

/// Bytes that a client may send on all streams of a connection before the server has taken them.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * MIB as u32;

/// The largest HTTP/2 frame that is accepted.
pub const FRAME_BYTES_MAX: u32 = 64 * KIB as u32;

/// Streams of one connection that its client has reset and the server has not yet seen: above it is an attack.
pub const RESET_STREAMS_MAX: usize = 1_024;

/// All header fields of one request together.
pub const HEADER_BYTES_MAX: u32 = 64 * KIB as u32;

/// How long an HTTP/1.1 client may take for the header of a request.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(300);

/// Bytes in flight in each direction of an in-process channel.
pub const IN_PROCESS_BYTES_MAX: usize = 256 * KIB;

/// How long connections may go on with what they have begun when the member stops.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long streams may take to end once the member has stopped.
pub const STREAMS_END_GRACE: Duration = Duration::from_secs(1);

/// The pause of a listener after an accept that failed for want of resources.
pub const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The pause before a member that starts tries again what the others did not answer.
pub const START_RETRY_PAUSE: Duration = Duration::from_millis(100);

// --- TLS

/// How long a TLS handshake may take, from the connection to the verified certificate (A15: GHSA-6vch-q96h-7gc3).
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS handshakes of one kind of listener that may be under way at once; one more ends the oldest.
pub const TLS_HANDSHAKES_MAX: usize = 1_024;

/// Bytes of a handshake that are read at once before its client has said what it wants.
pub const TLS_HELLO_READ_BYTES: usize = 2 * KIB;

/// Name servers that are asked for the names of an address.
pub const NAME_SERVERS_MAX: usize = 3;

/// How long one of them may take. All of them together leave time for the handshake.
pub const NAME_SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer of a name server that is read.
pub const NAME_ANSWER_BYTES_MAX: usize = 4 * KIB;

/// How long a client that is turned away may take to read why.
pub const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a client that is turned away which are taken and dropped.
pub const PARTING_BYTES_MAX: usize = 64 * KIB;

// --- metrics

/// Distinct `client-api-version` values that are counted apart; the header is the client's to choose.
pub const CLIENT_VERSIONS_MAX: usize = 32;

// --- watch

/// The shortest `--watch-progress-notify-interval`.
pub const WATCH_PROGRESS_INTERVAL_MIN: Duration = Duration::from_millis(100);

// --- member

/// Commands that may be under way at once; more get "too many requests" (Q8).
pub const PROPOSALS_MAX: usize = 5_000;

/// Bytes of commands that may be under way at once; more get "too many requests".
pub const PROPOSAL_BYTES_MAX: usize = 256 << 20;

/// Jobs that wait for the WAL thread. More than can wait: each holds at least one command that was let in, or is one of the node's own.
pub const WAL_JOBS_MAX: usize = 2 * PROPOSALS_MAX;

/// Groups of entries that wait for the apply thread; as for the WAL thread.
pub const APPLY_JOBS_MAX: usize = 2 * PROPOSALS_MAX;

/// Bytes of records that a restart would have to make again from the log before a checkpoint is made.
pub const BACKLOG_BYTES_MAX: u64 = 64 << 20;

/// Log-ins and new passwords that wait for a thread.
pub const PASSWORDS_QUEUED_MAX: usize = 4_096;

/// Passwords that are known to be right without being hashed again.
pub const PASSWORDS_KNOWN_MAX: usize = 4_096;

/// The most threads that hash passwords.
const PASSWORD_THREADS_MAX: usize = 4;

/// The threads that hash passwords: half of the processors at most, so that log-ins do not stop everything else.
#[must_use]
pub fn password_threads() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).clamp(1, PASSWORD_THREADS_MAX)
}

/// How often a log-in begins again because users changed meanwhile.
pub const LOG_IN_ATTEMPTS_MAX: usize = 8;

/// Simple tokens that a member holds; of more the least recently used end early.
pub const SIMPLE_TOKENS_MAX: usize = 200_000;

/// The pause between two looks whether the entry that made a token is applied.
pub const TOKEN_WAIT_STEP: Duration = Duration::from_millis(5);

/// Changes of the small tables that wait in memory before a checkpoint is made.
pub const BACKLOG_TABLE_CHANGES_MAX: usize = 50_000;

/// Entries that are applied before those who wait for them are told.
pub const APPLY_GROUP_ENTRIES: usize = 512;

/// Keys that one step of a range looks at while it holds the state.
pub const SCAN_STEP_KEYS: usize = 2_000;

/// How often a read begins again because a compaction overtook it.
pub const READ_ATTEMPTS_MAX: usize = 8;

/// Keys that one step of a compaction changes while it holds the state.
pub const COMPACT_STEP_KEYS: usize = 256;

/// The longest pause between two steps of a compaction.
pub const COMPACT_PAUSE_MAX: Duration = Duration::from_millis(1);

/// Compactions that wait to be carried out; of more the last become one.
pub const COMPACTIONS_WAITING_MAX: usize = 64;

/// Revisions with events that are kept in memory for those who watch.
pub const TAIL_REVISIONS_MAX: usize = 10_000;

/// Bytes of events that are kept in memory for those who watch.
pub const TAIL_BYTES_MAX: usize = 64 << 20;

/// Deliveries that wait for one watch stream before its watchers fall behind.
pub const MAILBOX_DELIVERIES_MAX: usize = 1_024;

/// Bytes that wait for one watch stream before its watchers fall behind.
pub const MAILBOX_BYTES_MAX: usize = 16 << 20;

/// Revisions with events that are read from history at once (W7).
pub const CATCH_UP_REVISIONS_MAX: usize = 1_000;

/// Bytes that are read from history at once.
pub const CATCH_UP_BYTES_MAX: usize = 4 << 20;

// --- other members

/// One message of another member, etcd's bound.
pub const PEER_MESSAGE_BYTES_MAX: usize = 512 << 20;

/// Messages that wait in one stream to another member; more are dropped, and Raft sends again.
pub const PEER_STREAM_MESSAGES_MAX: usize = 4_096;

/// Bytes of entries that wait in one stream to another member. They are shared with the log in memory.
pub const PEER_STREAM_BYTES_MAX: usize = 128 << 20;

/// Bytes that one write to a stream collects.
pub const PEER_WRITE_BYTES: usize = 256 << 10;

/// Messages that wait to be posted to another member while there is no stream.
pub const PEER_POSTS_MAX: usize = 64;

/// A message that is posted.
pub const PEER_POST_BYTES_MAX: usize = 64 << 20;

/// Members, beyond which none is taken at its word that it is one.
pub const PEERS_MAX: usize = 128;

/// The least `--raft-read-timeout` and `--raft-write-timeout`.
pub const PEER_TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// An answer that is read whole from the peer port of another member.
pub const PEER_ANSWER_BYTES_MAX: usize = 4 << 20;

/// A request on the peer port that is not a message.
pub const PEER_REQUEST_BYTES_MAX: usize = 64 << 10;

/// The pause before a stream is asked for again.
pub const PEER_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a member that was removed is still told what is queued for it, etcd's time.
pub const PEER_LET_GO: Duration = Duration::from_secs(5);

/// How long another member may take to say its version.
pub const PEER_VERSION_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause before a leader that did not answer about a lease is asked again.
pub const LEASE_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Snapshots that are sent to other members at once. Each is a file as large as the database.
pub const PEER_SNAPSHOTS_MAX: usize = 4;

/// Pieces of a snapshot that wait for the network or for the disk.
pub const PEER_SNAPSHOT_PIECES_MAX: usize = 4;

/// One piece of a snapshot to another member.
pub const PEER_SNAPSHOT_PIECE_BYTES: usize = 256 << 10;

/// How long another member may take to receive and take up a snapshot, etcd's time.
pub const PEER_SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Bytes of an answer of the registry of a discovery.
pub const DISCOVERY_ANSWER_BYTES_MAX: usize = 4 << 20;

/// The longest pause before the registry of a discovery is asked again.
pub const DISCOVERY_PAUSE_MAX: Duration = Duration::from_secs(32);

/// Records of a snapshot that are sorted by their keys at once.
pub const LOAD_RUN_RECORDS: usize = 128 << 10;

/// Bytes of their keys.
pub const LOAD_RUN_KEY_BYTES: usize = 16 << 20;

/// Connections that other members may have here.
pub const PEER_CONNECTIONS_MAX: usize = 1_024;

// --- answers that wait for a client that does not read

/// Responses of a watch stream.
pub const WATCH_RESPONSES_QUEUED_MAX: usize = 16;

/// Responses of a keep-alive stream.
pub const KEEP_ALIVE_RESPONSES_QUEUED_MAX: usize = 16;

/// Responses of a health stream: the status, and the last one when the member stops.
pub const HEALTH_RESPONSES_QUEUED_MAX: usize = 2;

/// Responses of a stream that observes an election.
pub const OBSERVE_RESPONSES_QUEUED_MAX: usize = 16;

/// Chunks of a snapshot.
pub const SNAPSHOT_CHUNKS_QUEUED_MAX: usize = 8;

/// Chunks of a streamed range.
pub const RANGE_CHUNKS_QUEUED_MAX: usize = 2;

const _: () = {
    assert!(
        decoded_bytes_max(REQUEST_BYTES_MAX_DEFAULT) == 2 * MIB,
        "the default limit is 2 MiB on the wire"
    );
    assert!(ANSWER_BYTES_MAX > decoded_bytes_max(REQUEST_BYTES_MAX_DEFAULT), "what was put can be read");
    assert!(CONNECTION_WINDOW_BYTES >= STREAM_WINDOW_BYTES, "one stream can use its window");
    assert!(FRAME_BYTES_MAX >= 16 * KIB as u32 && FRAME_BYTES_MAX < 1 << 24, "HTTP/2's own bounds");
    assert!(FRAME_BYTES_MAX <= STREAM_WINDOW_BYTES, "a frame fits the window");
    assert!(CONNECTION_WRITE_BYTES_KEPT <= CONNECTION_WRITE_BYTES_MAX, "what is kept was allowed");
    assert!(
        CONNECTION_WRITE_BYTES_MAX >= 64 * KIB && CONNECTION_WRITE_BYTES_MAX <= MIB,
        "see edge::coalesce"
    );
};
