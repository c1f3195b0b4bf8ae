//! `tenured`: a member as a process.
//!
//! Read the configuration, make the log, start the server, tell the init system, and wait: for a signal, or for the member
//! that has to stop by itself. Exit codes are etcd's: 2 for a flag that cannot be read, 1 for anything else that is wrong.

use std::{collections::BTreeMap, process::ExitCode};
use tenure_server::{
    Server, StartError,
    config::{
        self, AutoCompaction, ConfigError, EndpointUrl, Invocation, Notice, ServerConfig, Start, Storage,
        help::{self, ETCD_VERSION, TENURE_VERSION},
        value::format_duration,
    },
    discovery::DiscoveryError,
    log::{self, Json, LogConfig},
    member::BootError,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let shown = config::without_secrets(&arguments);
    match config::read(arguments.get(1..).unwrap_or_default(), &environment) {
        Ok(Invocation::Help) => print(&format!("{}{}", help::USAGE, help::flags())),
        Ok(Invocation::Version) => print(&help::version()),
        Ok(Invocation::Serve(start)) => serve(*start, &shown),
        Err(error) => refuse(&error, &shown),
    }
}

/// Writes to standard output; a reader that went away, such as `head`, is no fault.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says what is wrong with the configuration: as a usage on the terminal, or as lines of the log that was not reached.
fn refuse(error: &ConfigError, arguments: &[String]) -> ExitCode {
    if error.exit_code == 2 {
        eprintln!("{error}\n{}", help::USAGE);
    } else if log::init(&LogConfig::default()).is_ok() {
        tracing::info!(args = ?Json(arguments), "Running: ");
        let fields: BTreeMap<_, _> = error.fields.iter().cloned().collect();
        if fields.is_empty() {
            tracing::warn!(%error, "failed to verify flags");
        } else {
            tracing::error!(level = "fatal", fields = ?Json(&fields), "{error}");
        }
    }
    ExitCode::from(error.exit_code)
}

fn serve(start: Start, arguments: &[String]) -> ExitCode {
    if let Err(error) = log::init(&start.log) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    log_panics();
    tracing::info!(args = ?Json(arguments), "Running: ");
    start.notices.iter().for_each(log_notice);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal("cannot start the runtime", &error),
    };
    let ended = runtime.block_on(run(start.server));
    // What is left are tasks of clients that do not read; they end with the process.
    runtime.shutdown_background();
    match ended {
        Ended::Failed => ExitCode::FAILURE,
        Ended::Left => ExitCode::SUCCESS,
        Ended::Signalled(signal) => die_of(signal),
    }
}

/// How a served member came to its end.
enum Ended {
    /// It did not start, or stopped by itself; the log says why.
    Failed,
    /// It was removed from its cluster.
    Left,
    /// Somebody asked.
    Signalled(SignalKind),
}

async fn run(config: ServerConfig) -> Ended {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return failed("cannot listen for signals", &error),
    };
    let member_initialized = has_data(&config);
    log_configuration(&config, member_initialized);
    let starting = Server::start(config.clone());
    let server = tokio::select! {
        started = starting => match started {
            Ok(server) => server,
            Err(error) => {
                explain(&error, &config);
                return failed("failed to start", &error);
            }
        },
        // Nobody is served yet, and whatever is on disk is whole at every moment.
        kind = signals.next() => return Ended::Signalled(kind),
    };
    tracing::info!(
        "local-member-id" = format!("{:x}", server.member().id().0),
        "advertise-client-urls" = ?Json(&texts(&config.advertise_client_urls)),
        "listen-client-urls" = ?Json(&texts(server.client_urls())),
        "listen-metrics-urls" = ?Json(&texts(&config.listen_metrics_urls)),
        "now serving peer/client/metrics"
    );
    notify_ready();
    tokio::select! {
        halted = server.halted() => {
            // As etcd: who was told to go ends well.
            if server.member().is_removed() {
                tracing::info!(reason = %halted, "the member has left its cluster");
                return Ended::Left;
            }
            let ended = failed("the member cannot go on", &halted);
            drop(server);
            ended
        }
        kind = signals.next() => {
            shut_down(server, &config, kind, &mut signals).await
        }
    }
}

/// What etcd says, too, of a start that fails.
fn explain(error: &StartError, config: &ServerConfig) {
    let StartError::Boot(BootError::Discovery(DiscoveryError::Full)) = error else { return };
    let Some(discovery) = &config.discovery else { return };
    tracing::warn!(
        "discovery-token" = discovery.token,
        "discovery-endpoints" = ?Json(&discovery.endpoints),
        %error,
        "failed to bootstrap; discovery token was already used"
    );
    tracing::warn!("do not reuse discovery token; generate a new one to bootstrap a cluster");
}

async fn shut_down(server: Server, config: &ServerConfig, kind: SignalKind, signals: &mut Signals) -> Ended {
    tracing::info!(signal = signal_name(kind), "received signal; shutting down");
    tracing::info!(name = config.name, "closing etcd server");
    tokio::select! {
        stopped = server.shutdown() => match stopped {
            Ok(()) => tracing::info!(name = config.name, "closed etcd server"),
            Err(error) => return failed("the member did not stop cleanly", &error),
        },
        // Asked twice: what was acknowledged is in the log, the next start reads it.
        again = signals.next() => {
            tracing::warn!(signal = signal_name(again), "received another signal; stopping at once");
        }
    }
    Ended::Signalled(kind)
}

/// The signals that ask a member to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

fn signal_name(kind: SignalKind) -> &'static str {
    if kind == SignalKind::interrupt() { "interrupt" } else { "terminated" }
}

/// Ends the process by the signal it was asked with, so that its parent sees the reason. The first process of a container
/// cannot die of a signal and ends with 0.
fn die_of(kind: SignalKind) -> ExitCode {
    use rustix::process::{Pid, getpid, kill_process};
    let signal = match kind == SignalKind::interrupt() {
        true => rustix::process::Signal::INT,
        false => rustix::process::Signal::TERM,
    };
    if getpid() == Pid::INIT {
        return ExitCode::SUCCESS;
    }
    restore_default(kind);
    match kill_process(getpid(), signal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives a signal back to the system.
fn restore_default(kind: SignalKind) {
    // SAFETY: `signal` with SIG_DFL installs no code of ours, so there is none that could run in a handler, and it touches
    // no memory of this process. The number is SIGTERM or SIGINT, for which it cannot fail. The runtime that had its own
    // handler there is shut down and wants no more signals.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(kind.as_raw_value(), libc::SIG_DFL);
    }
}

fn fatal(message: &str, error: &dyn std::fmt::Display) -> ExitCode {
    failed(message, error);
    ExitCode::FAILURE
}

fn failed(message: &str, error: &dyn std::fmt::Display) -> Ended {
    tracing::error!(level = "fatal", %error, "{message}");
    Ended::Failed
}

/// Makes a line of a panic, so that the log stays JSON.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let stacktrace = std::backtrace::Backtrace::capture().to_string();
        let reason = panic.payload_as_str().unwrap_or("unknown");
        tracing::error!(level = "panic", location, stacktrace, "panic: {reason}");
    }));
}

fn log_notice(notice: &Notice) {
    let fields: BTreeMap<_, _> = notice.fields.iter().cloned().collect();
    match (notice.is_warning, fields.is_empty()) {
        (true, true) => tracing::warn!("{}", notice.message),
        (true, false) => tracing::warn!(fields = ?Json(&fields), "{}", notice.message),
        (false, true) => tracing::info!("{}", notice.message),
        (false, false) => tracing::info!(fields = ?Json(&fields), "{}", notice.message),
    }
}

/// The initial cluster as the flag has it.
fn cluster_text(config: &ServerConfig) -> String {
    let pairs = config
        .founders()
        .into_iter()
        .flat_map(|(name, urls)| urls.into_iter().map(move |url| format!("{name}={url}")));
    pairs.collect::<Vec<_>>().join(",")
}

fn texts(urls: &[EndpointUrl]) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

/// Whether the data directory has been used.
fn has_data(config: &ServerConfig) -> bool {
    match &config.storage {
        Storage::Memory => false,
        Storage::Directory(path) => path.join("member").is_dir(),
    }
}

/// The line with everything that was configured; tools look for fields of it.
fn log_configuration(config: &ServerConfig, member_initialized: bool) {
    let directory = match &config.storage {
        Storage::Memory => String::new(),
        Storage::Directory(path) => path.display().to_string(),
    };
    let (cors, hosts) = (&config.cors, &config.host_whitelist);
    tracing::info!(
        "etcd-version" = ETCD_VERSION,
        "tenure-version" = TENURE_VERSION,
        os = std::env::consts::OS,
        arch = std::env::consts::ARCH,
        "max-cpu-available" = std::thread::available_parallelism().map_or(1, usize::from),
        "member-initialized" = member_initialized,
        name = config.name,
        "data-dir" = directory,
        "wal-dir" = config.wal_directory.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "heartbeat-interval" = format_duration(config.heartbeat_interval),
        "election-timeout" = format_duration(config.election_timeout),
        "initial-election-tick-advance" = config.initial_election_tick_advance,
        "snapshot-count" = config.snapshot_count_entries,
        "snapshot-catchup-entries" = config.snapshot_catchup_entries,
        "listen-peer-urls" = ?Json(&texts(&config.listen_peer_urls)),
        "initial-advertise-peer-urls" = ?Json(&texts(&config.initial_advertise_peer_urls)),
        "advertise-client-urls" = ?Json(&texts(&config.advertise_client_urls)),
        "listen-client-urls" = ?Json(&texts(&config.listen_client_urls)),
        "listen-metrics-urls" = ?Json(&texts(&config.listen_metrics_urls)),
        cors = ?Json(cors),
        "host-whitelist" = ?Json(hosts),
        "initial-cluster" = cluster_text(config),
        "initial-cluster-state" = ?config.initial_cluster_state,
        "initial-cluster-token" = config.initial_cluster_token,
        "quota-backend-bytes" = config.quota_backend_bytes.unwrap_or(0),
        "max-request-bytes" = config.request_bytes_max,
        "max-concurrent-streams" = config.concurrent_streams_max,
        "pre-vote" = config.pre_vote,
        "feature-gates" = %config.features,
        "auto-compaction-mode" = config.auto_compaction.mode(),
        "auto-compaction-retention" = config.auto_compaction.retention(),
        fsync = config.fsync,
        "max-learners" = config.learners_max,
        "v2-deprecation" = "write-only",
        "starting an etcd server"
    );
    if config.auto_compaction == AutoCompaction::Off {
        tracing::debug!("automatic compaction is off");
    }
}

/// Tells systemd, if it started us, that the member serves.
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    match send_ready(&path.to_string_lossy()) {
        Ok(()) => tracing::info!("successfully notified init daemon"),
        Err(error) => tracing::error!(%error, "failed to notify systemd for readiness"),
    }
}

fn send_ready(path: &str) -> std::io::Result<()> {
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    #[cfg(target_os = "linux")]
    let address = match path.strip_prefix('@') {
        Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    #[cfg(not(target_os = "linux"))]
    let address = SocketAddr::from_pathname(path)?;
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}
