//! Runs a script against a server of its own.

use super::{
    Block, Script,
    normalise::Volatile,
    servers::{Other, Servers},
};
use crate::{
    LOOK_AGAIN, PATIENCE, http,
    process::{Server, Target, exit_code},
    rpc::{self, Method, Received, Stream, message_type},
    text,
};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::StreamExt;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use regex::{Captures, Regex};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::{LazyLock, OnceLock},
    time::Instant,
};
use tempfile::TempDir;
use tenure_api::etcdserverpb::{AuthenticateRequest, auth_client::AuthClient};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    signal::unix::{Signal, SignalKind, signal},
};
use tonic::{
    Request,
    metadata::{MetadataKey, MetadataMap},
    transport::Channel,
};

/// How long an `etcdctl` waits for a server, unless the script says. Its own two and five seconds are too short where many work.
const CTL_PATIENCE: [&str; 2] = ["--dial-timeout=60s", "--command-timeout=60s"];

/// What a run is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which server.
    pub target: Target,
    /// Its program.
    pub program: PathBuf,
    /// Which etcdctl, and the directory it is in. `Target::Tenured` stands for `tenurectl`. Without one, scripts that need it
    /// are skipped.
    pub ctl: Option<(Target, PathBuf)>,
    /// Whose etcdctl's output with etcd 3.5 is the plain one of these scripts.
    pub plain: Target,
    /// The directory of the newest etcdutl and of the etcd that serves what was restored.
    pub restorer: Option<PathBuf>,
    /// Whether the outputs become the expected ones.
    pub update: bool,
}

impl Options {
    /// The server, and the etcdctl if there is one.
    fn facts(&self) -> Vec<String> {
        let mut facts = vec![self.target.to_string()];
        match &self.ctl {
            Some((Target::Tenured, _)) => facts.extend(["ctl-3.7", "tenurectl"].map(str::to_owned)),
            Some((etcd, _)) => facts.push(etcd.to_string().replace("etcd", "ctl")),
            None => {}
        }
        facts
    }

    /// Whether what is printed is the plain output.
    fn is_plain(&self) -> bool {
        self.target == Target::Etcd35 && self.ctl.as_ref().is_some_and(|(ctl, _)| *ctl == self.plain)
    }
}

/// How a script went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every output was as expected.
    Passed,
    /// It was not run, and why.
    Skipped(String),
    /// What differed.
    Failed(String),
}

/// Runs the script of a file, and writes it again if the outputs are to become the expected ones.
///
/// # Errors
/// The file cannot be read, is no script, or the server does not start.
pub async fn run_file(path: &Path, options: &Options) -> Result<Outcome> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut script = Script::parse(&text).with_context(|| path.display().to_string())?;
    if !script.is_for(&options.facts()) {
        return Ok(Outcome::Skipped(format!("not for {}", options.facts().join(" with "))));
    }
    if script.needs(&["etcdctl"]) && options.ctl.is_none() {
        return Ok(Outcome::Skipped("etcdctl is not on this machine".to_owned()));
    }
    if script.needs(&["etcdutl", "serve-restored"]) && options.restorer.is_none() {
        return Ok(Outcome::Skipped("etcdutl is not on this machine".to_owned()));
    }
    let directory = TempDir::new()?;
    let flags = script.flags(&options.target.to_string());
    let servers = Servers::start(&options.program, directory.path(), &script, &flags).await?;
    let mut session = Session::new(options, directory, servers).await?;
    let mut differences = String::new();
    for block in script.blocks_mut() {
        let facts = session.facts(block);
        let mut output = session.output(block).await;
        // Figures are counted by other threads than those that answer: they may come a moment later.
        let deadline = Instant::now() + PATIENCE;
        while block.reads_figures()
            && !options.update
            && block.expected(&facts) != output
            && Instant::now() < deadline
        {
            tokio::time::sleep(LOOK_AGAIN).await;
            output = session.output(block).await;
        }
        if options.update {
            block.update(&facts, options.is_plain(), output);
        } else if block.expected(&facts) != output {
            differences.push_str(&difference(block, &facts, &output));
        }
    }
    if options.update && script.render() != text {
        fs::write(path, script.render())?;
    }
    if differences.is_empty() {
        return Ok(Outcome::Passed);
    }
    Ok(Outcome::Failed(format!("{differences}\nthe server's log ends with\n{}", session.server.log_tail())))
}

/// Runs the scripts below a directory whose paths from there contain `filter`, `at_once` of them at a time, each with a server
/// of its own. Results come in the order of the paths.
///
/// # Errors
/// The directory cannot be read.
pub async fn run_directory(
    directory: &Path,
    filter: &str,
    at_once: usize,
    options: &Options,
) -> Result<Vec<(PathBuf, Outcome)>> {
    let mut paths = Vec::new();
    collect(directory, &mut paths)?;
    paths.sort();
    let name = |path: &Path| path.strip_prefix(directory).unwrap_or(path).to_string_lossy().into_owned();
    paths.retain(|path| name(path).contains(filter));
    let runs = paths.into_iter().map(|path| async move {
        let outcome =
            run_file(&path, options).await.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        (path, outcome)
    });
    Ok(futures::stream::iter(runs).buffered(at_once).collect().await)
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            paths.push(path);
        }
    }
    Ok(())
}

fn difference(block: &Block, facts: &[String], output: &[String]) -> String {
    let mut text = format!("$ {}\n", block.command.join("\n+ "));
    let expected = block.expected(facts);
    expected
        .iter()
        .filter(|line| !output.contains(line))
        .for_each(|line| text.push_str(&format!("  - {line}\n")));
    output
        .iter()
        .filter(|line| !expected.contains(line))
        .for_each(|line| text.push_str(&format!("  + {line}\n")));
    if !text.contains("\n  ") {
        text.push_str(&format!("  the order differs; printed:\n  {}\n", output.join("\n  ")));
    }
    text
}

/// A command that goes on while others run.
struct Background {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

struct Session<'a> {
    options: &'a Options,
    directory: TempDir,
    server: Server,
    /// The other members.
    others: Vec<Other>,
    /// Where the first member listens with TLS.
    tls: Option<String>,
    channel: Channel,
    volatile: Volatile,
    /// What `{revision}` stands for.
    revision: i64,
    /// What every call brings along.
    metadata: MetadataMap,
    streams: BTreeMap<String, Stream>,
    background: BTreeMap<String, Background>,
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern compiles")
}

static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\{(lease-\d+|added-\d+|member-\d|client-\d|revision|member|cluster|dir|data|clients?|tls|[a-z]:\d+)\}",
    )
});

impl<'a> Session<'a> {
    async fn new(options: &'a Options, directory: TempDir, servers: Servers) -> Result<Self> {
        let Servers { first: server, others, tls } = servers;
        let channel = server.channel().await?;
        let mut session = Self {
            options,
            directory,
            server,
            others,
            tls,
            channel,
            volatile: Volatile::default(),
            revision: 0,
            metadata: MetadataMap::new(),
            streams: BTreeMap::new(),
            background: BTreeMap::new(),
        };
        session.meet().await?;
        Ok(session)
    }

    /// Learns who answers, after every start of the server.
    async fn meet(&mut self) -> Result<()> {
        self.streams.clear();
        self.channel = self.server.channel().await?;
        self.volatile.identity = rpc::identity(self.channel.clone()).await?;
        self.volatile.addresses = [self.server.address(), self.server.peer_address()];
        self.volatile.directory = self.directory.path().display().to_string();
        self.volatile.tls.clone_from(&self.tls);
        let others = self.others.iter();
        self.volatile.others =
            others.map(|other| (other.id, [other.server.address(), other.server.peer_address()])).collect();
        Ok(())
    }

    fn facts(&self, block: &Block) -> Vec<String> {
        let mut facts = self.options.facts();
        // What was spawned before is an etcdctl as a rule.
        let is_spawned =
            ["read ", "wait ", "interrupt "].iter().any(|word| block.command[0].starts_with(word));
        if !is_spawned && !block.command[0].contains("etcdctl ") {
            facts.truncate(1);
        }
        facts
    }

    /// What a command prints, as scripts write it.
    async fn output(&mut self, block: &Block) -> Vec<String> {
        let mut output = match self.run(block).await {
            Ok(output) => output,
            Err(error) => vec![format!("FAILED: {error:#}")],
        };
        output.iter_mut().for_each(|line| *line = line.trim_end().to_owned());
        output
    }

    async fn run(&mut self, block: &Block) -> Result<Vec<String>> {
        let command = block.command.join(" ");
        if let Some((command, words)) = command.split_once(" | only ") {
            let mut lines = self.command_lines(command, block).await?;
            lines.retain(|line| words.split_whitespace().any(|word| line.starts_with(word)));
            return Ok(lines);
        }
        if let Some(command) = command.strip_suffix(" | sorted") {
            let mut lines = self.command_lines(command, block).await?;
            lines.sort();
            return Ok(lines);
        }
        if let Some(command) = command.strip_suffix(" | silent") {
            let lines = self.command_lines(command, block).await?;
            let ok = !lines.iter().any(|line| line.starts_with("exit ") || line.contains("etcdserver: "));
            return Ok(if ok { Vec::new() } else { lines });
        }
        self.command_lines(&command, block).await
    }

    async fn command_lines(&mut self, command: &str, block: &Block) -> Result<Vec<String>> {
        if command.contains("{revision}") {
            let answer = rpc::unary(
                self.channel.clone(),
                Method::find("KV/Range")?.path(),
                self.request(everything()),
                PATIENCE,
            );
            let message = Method::find("KV/Range")?.decode(answer.await??)?;
            self.revision = revision(&message);
        }
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "grpc" => self.grpc(rest).await,
            "as" => self.become_user(rest).await,
            "open" => self.open(rest).await,
            "send" => self.send(rest).await,
            "recv" => self.receive(rest).await,
            "close" => self.stream(rest).map(Stream::close).map(|()| Vec::new()),
            "drop" => self.streams.remove(rest).context("no such stream").map(|_| Vec::new()),
            "etcdctl" | "etcdutl" => self.tool(name, rest, &block.input).await,
            "spawn" => self.spawn(rest).await,
            "read" => self.read(rest).await,
            "write" => self.write(rest, &block.input).await,
            "interrupt" => self.interrupt(rest).await,
            "wait" => self.wait(rest).await,
            "http" => self.http(rest).await,
            "settle" => self.settle().await,
            "metrics" => self.metrics(rest).await,
            "fill" => self.fill(rest).await,
            "restart" => self.restart(false).await,
            "kill" => self.restart(true).await,
            "serve-restored" => self.serve_restored(rest).await,
            other => bail!("no command {other}"),
        }
    }

    /// Puts what is known of the run into a command: lease ids in hexadecimal for etcdctl, in decimal for gRPC.
    fn expand(&self, text: &str, hexadecimal: bool) -> String {
        let id = |id: u64| if hexadecimal { format!("{id:x}") } else { id.to_string() };
        let replaced = PLACEHOLDER.replace_all(text, |found: &Captures<'_>| match &found[1] {
            "revision" => self.revision.to_string(),
            "member" => id(self.volatile.identity.member),
            "cluster" => id(self.volatile.identity.cluster),
            "dir" => self.directory.path().display().to_string(),
            "data" => self.server.data().display().to_string(),
            "client" => self.server.address(),
            "clients" => {
                let others = self.others.iter().map(|other| other.server.address());
                std::iter::once(self.server.address()).chain(others).collect::<Vec<_>>().join(",")
            }
            "tls" => self.tls.clone().unwrap_or_default(),
            name => match name.split_once(':') {
                Some((letter, count)) => letter.repeat(count.parse().unwrap_or_default()),
                None => self.numbered(name, id).unwrap_or_else(|| name.to_owned()),
            },
        });
        replaced.into_owned()
    }

    /// What a name such as `lease-1` stands for, if it is known.
    fn numbered(&self, name: &str, id: impl Fn(u64) -> String) -> Option<String> {
        let (kind, number) = name.rsplit_once('-')?;
        let number: usize = number.parse().ok()?;
        // The first member has no number.
        let other = || self.others.get(number.checked_sub(2)?);
        Some(match kind {
            "lease" => id(self.volatile.leases.get(number.checked_sub(1)?)?.cast_unsigned()),
            "added" => id(*self.volatile.added.get(number.checked_sub(1)?)?),
            "member" => id(other()?.id),
            "client" => other()?.server.address(),
            _ => return None,
        })
    }

    fn show(&mut self, message: &DynamicMessage) -> Vec<String> {
        // Grants announce ids; answers about leases repeat them.
        if let Some(Value::I64(id)) = message.get_field_by_name("ID").as_deref() {
            self.volatile.learn_lease(*id);
        }
        let kind = message.descriptor().name().to_owned();
        let mut lines = text::lines(message, self.volatile.identity);
        if kind == "LeaseTimeToLiveResponse" {
            // The keys come in no order.
            lines.sort_by_key(|line| line.starts_with("keys").then(|| line.clone()));
        }
        lines.iter().map(|line| self.volatile.message_line(&kind, line)).collect()
    }

    async fn grpc(&mut self, rest: &str) -> Result<Vec<String>> {
        let (name, request) = rest.split_once(' ').unwrap_or((rest, ""));
        let method = Method::find(name)?;
        let request = method.encode(&self.expand(request, false))?;
        if method.is_server_streaming() {
            let mut stream =
                Stream::open(self.channel.clone(), method, self.metadata.clone(), Some(request)).await?;
            stream.close();
            return self.drain(stream).await;
        }
        match rpc::unary(self.channel.clone(), method.path(), self.request(request), PATIENCE).await? {
            Ok(answer) => {
                let message = method.decode(answer)?;
                Ok(self.show(&message))
            }
            Err(status) => Ok(vec![status_line(&status)]),
        }
    }

    fn request(&self, message: Bytes) -> Request<Bytes> {
        let mut request = Request::new(message);
        request.metadata_mut().clone_from(&self.metadata);
        request
    }

    /// `as USER PASSWORD`: `grpc` and `open` bring the token of this user from now on; `as nobody`: none; `as HEADER: VALUE`: this.
    async fn become_user(&mut self, rest: &str) -> Result<Vec<String>> {
        self.metadata.clear();
        if rest == "nobody" {
            return Ok(Vec::new());
        }
        if let Some((header, value)) = rest.split_once(": ") {
            let header = MetadataKey::from_bytes(header.as_bytes())?;
            self.metadata.insert(header, value.trim_matches('"').parse()?);
            return Ok(Vec::new());
        }
        let (name, password) = rest.split_once(' ').context("as USER PASSWORD")?;
        let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
        match AuthClient::new(self.channel.clone()).authenticate(request).await {
            Ok(answer) => {
                self.metadata.insert("token", answer.into_inner().token.parse()?);
                Ok(Vec::new())
            }
            Err(status) => Ok(vec![status_line(&status)]),
        }
    }

    async fn drain(&mut self, mut stream: Stream) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            match stream.receive(PATIENCE).await? {
                Received::Message(message) => {
                    lines.push(format!(
                        "message {}",
                        lines.iter().filter(|l: &&String| l.starts_with("message")).count() + 1
                    ));
                    let shown = self.show(&message);
                    lines.extend(shown.into_iter().map(|line| format!("  {line}")));
                }
                Received::End(status) => {
                    lines.push(status_line(&status));
                    return Ok(lines);
                }
            }
        }
    }

    async fn open(&mut self, rest: &str) -> Result<Vec<String>> {
        let (name, rest) = rest.split_once(' ').context("open NAME Service/Method [request]")?;
        let (method, first) =
            rest.split_once(' ').map_or((rest, None), |(method, first)| (method, Some(first)));
        let method = Method::find(method)?;
        let first = first.map(|text| method.encode(&self.expand(text, false))).transpose()?;
        let stream = Stream::open(self.channel.clone(), method, self.metadata.clone(), first).await?;
        self.streams.insert(name.to_owned(), stream);
        Ok(Vec::new())
    }

    fn stream(&mut self, name: &str) -> Result<&mut Stream> {
        self.streams.get_mut(name).with_context(|| format!("no stream {name}"))
    }

    async fn send(&mut self, rest: &str) -> Result<Vec<String>> {
        let (name, request) = rest.split_once(' ').unwrap_or((rest, ""));
        let request = self.expand(request, false);
        self.stream(name)?.send(&request).await?;
        Ok(Vec::new())
    }

    /// `recv NAME [COUNT]`: the next messages of a stream. `recv NAME after LINE`: the next one that is not this line alone, which
    /// may come as often as time wants it.
    async fn receive(&mut self, rest: &str) -> Result<Vec<String>> {
        if let Some((name, passed)) = rest.split_once(" after ") {
            return self.receive_after(name, passed).await;
        }
        let (name, count) = rest.split_once(' ').unwrap_or((rest, "1"));
        let count: usize = count.parse()?;
        let mut lines = Vec::new();
        for number in 1..=count {
            if count > 1 {
                lines.push(format!("message {number}"));
            }
            let received = self.stream(name)?.receive(PATIENCE).await?;
            lines.extend(self.show_received(&received));
            if matches!(received, Received::End(_)) {
                break;
            }
        }
        Ok(lines)
    }

    async fn receive_after(&mut self, name: &str, passed: &str) -> Result<Vec<String>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let received = self.stream(name)?.receive(PATIENCE).await?;
            let lines = self.show_received(&received);
            if lines != [passed] {
                return Ok(lines);
            }
            ensure!(Instant::now() < deadline, "nothing comes after {passed}");
        }
    }

    fn show_received(&mut self, received: &Received) -> Vec<String> {
        match received {
            Received::Message(message) => self.show(message),
            Received::End(status) => vec![status_line(status)],
        }
    }

    fn command(&self, program: &str, arguments: &str) -> Result<Command> {
        let directory = match program {
            "etcdutl" => self.options.restorer.as_deref(),
            _ => self.options.ctl.as_ref().map(|(_, directory)| directory.as_path()),
        };
        let directory = directory.with_context(|| format!("{program} is not on this machine"))?;
        let ours = self.options.ctl.as_ref().is_some_and(|(ctl, _)| *ctl == Target::Tenured);
        let file = if ours && program == "etcdctl" { "tenurectl" } else { program };
        let mut command = Command::new(directory.join(file));
        let mut arguments = words(&self.expand(arguments, true))?;
        // Variables stand before the arguments, as in a shell before the program.
        while let Some((name, value)) = arguments.first().and_then(|word| word.split_once('='))
            && name.starts_with("ETCDCTL_")
        {
            command.env(name, value);
            arguments.remove(0);
        }
        if program == "etcdctl" {
            // Of a flag that is given twice the last one counts.
            command.args(CTL_PATIENCE);
            if !arguments.iter().any(|word| word.starts_with("--endpoints")) {
                command.args(["--endpoints", &self.server.address()]);
            }
        }
        command
            .args(arguments)
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }

    async fn tool(&mut self, program: &str, rest: &str, input: &[String]) -> Result<Vec<String>> {
        let (arguments, decode) = rest.split_once(" | decode ").map_or((rest, None), |(a, b)| (a, Some(b)));
        let mut text = input.join("\n");
        if !input.is_empty() {
            text.push('\n');
        }
        let child = self.command(program, arguments)?.spawn()?;
        let output = output_of(child, self.expand(&text, true).as_bytes()).await?;
        let mut lines = match decode {
            Some(kind) => {
                let message = DynamicMessage::decode(message_type(kind)?, output.stdout.as_slice())?;
                self.show(&message)
            }
            None => self.tool_lines(rest, &output.stdout, ""),
        };
        lines.extend(self.tool_lines(rest, &output.stderr, "! "));
        let code = exit_code(output.status);
        if code != 0 {
            lines.push(format!("exit {code}"));
        }
        Ok(lines)
    }

    fn tool_lines(&mut self, command: &str, bytes: &[u8], prefix: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines()
            // Logs of the client library, in JSON and in the console's form.
            .filter(|line| {
                !line.starts_with("{\"level\"") && !line.contains("\tinfo\t") && !line.contains("\tINFO\t")
            })
            .filter(|line| prefix.is_empty() || !(line.is_empty() || line.starts_with("Deprecated: ")))
            .map(|line| {
                self.volatile.learn(line);
                let line = if command.contains("endpoint status") {
                    self.volatile.status_line(line)
                } else if command.contains("snapshot status") {
                    self.volatile.snapshot_line(line)
                } else {
                    self.volatile.line(line)
                };
                format!("{prefix}{line}")
            })
            .collect()
    }

    /// `spawn NAME PROGRAM ARGUMENTS`: what it prints is read with `read`.
    async fn spawn(&mut self, rest: &str) -> Result<Vec<String>> {
        let mut parts = rest.splitn(3, ' ');
        let name = parts.next().context("spawn NAME PROGRAM")?;
        let program = parts.next().context("spawn NAME PROGRAM")?;
        make_interruptible()?;
        let mut child = self.command(program, parts.next().unwrap_or_default())?.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("standard output is piped")?).lines();
        self.background.insert(name.to_owned(), Background { child, lines });
        Ok(Vec::new())
    }

    fn background(&mut self, name: &str) -> Result<&mut Background> {
        self.background.get_mut(name).with_context(|| format!("no background command {name}"))
    }

    /// `read NAME COUNT`: the next lines of a background command.
    async fn read(&mut self, rest: &str) -> Result<Vec<String>> {
        let (name, count) = rest.split_once(' ').unwrap_or((rest, "1"));
        let mut lines = Vec::new();
        for _ in 0..count.parse()? {
            let next = self.background(name)?.lines.next_line();
            let next = tokio::time::timeout(PATIENCE, next).await.context("it prints nothing")??;
            let Some(line) = next else {
                lines.push("end of output".to_owned());
                break;
            };
            self.volatile.learn(&line);
            lines.push(self.volatile.line(&line));
        }
        Ok(lines)
    }

    async fn write(&mut self, name: &str, input: &[String]) -> Result<Vec<String>> {
        let text = self.expand(&(input.join("\n") + "\n"), true);
        let stdin = self.background(name)?.child.stdin.as_mut().context("standard input is piped")?;
        stdin.write_all(text.as_bytes()).await?;
        stdin.flush().await?;
        Ok(Vec::new())
    }

    async fn interrupt(&mut self, name: &str) -> Result<Vec<String>> {
        let pid = self.background(name)?.child.id().context("it has ended")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a process id is not 0")?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.wait(name).await
    }

    /// Waits for the end of a background command and prints what it still had to say.
    async fn wait(&mut self, name: &str) -> Result<Vec<String>> {
        let mut background = self.background.remove(name).context("no such background command")?;
        let mut lines = Vec::new();
        while let Some(line) = tokio::time::timeout(PATIENCE, background.lines.next_line())
            .await
            .context("it does not end")??
        {
            lines.push(self.volatile.line(&line));
        }
        let mut errors = Vec::new();
        let mut stderr = background.child.stderr.take().context("standard error is piped")?;
        tokio::time::timeout(PATIENCE, stderr.read_to_end(&mut errors))
            .await
            .context("it does not end")??;
        lines.extend(self.tool_lines("", &errors, "! "));
        let status =
            tokio::time::timeout(PATIENCE, background.child.wait()).await.context("it does not end")??;
        let code = exit_code(status);
        if code != 0 {
            lines.push(format!("exit {code}"));
        }
        Ok(lines)
    }

    async fn http(&mut self, rest: &str) -> Result<Vec<String>> {
        let (method, target) = rest.split_once(' ').context("http METHOD PATH")?;
        let response = http::request(&self.server.address(), method, target).await?;
        let mut lines = vec![response.status.clone()];
        for name in ["allow", "content-type", "x-content-type-options"] {
            lines.extend(response.header(name).map(|value| format!("{name}: {value}")));
        }
        let body = String::from_utf8_lossy(&response.body).into_owned();
        lines.extend(body.lines().map(|line| self.volatile.line(line)));
        Ok(lines)
    }

    /// `settle`: waits until the storage has the version of the cluster. etcd 3.7 raises it in the first seconds after a start.
    async fn settle(&mut self) -> Result<Vec<String>> {
        let minor = |page: &str, part: &str| {
            let (_, version) = page.split_once(&format!("\"{part}\":\""))?;
            Some(version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>())
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let response = http::request(&self.server.address(), "GET", "/version").await?;
            let page = String::from_utf8_lossy(&response.body);
            // etcd before 3.6 has no version of its storage.
            let storage = minor(&page, "storage");
            if storage.is_none() || storage == minor(&page, "etcdcluster") {
                return Ok(Vec::new());
            }
            ensure!(Instant::now() < deadline, "the storage keeps its version: {page}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// `metrics NAME...`: the samples with these names.
    async fn metrics(&mut self, rest: &str) -> Result<Vec<String>> {
        let response = http::request(&self.server.address(), "GET", "/metrics").await?;
        ensure!(response.status == "200 OK", "/metrics: {}", response.status);
        let body = String::from_utf8_lossy(&response.body).into_owned();
        let mut lines = Vec::new();
        for name in rest.split_whitespace() {
            let samples = body.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
            let before = lines.len();
            lines.extend(samples.map(|line| self.volatile.line(line)));
            if lines.len() == before {
                lines.push(format!("{name} is not there"));
            }
        }
        Ok(lines)
    }

    /// `fill PREFIX COUNT BYTES [AT-ONCE]`: puts until one is refused, one after the other or as many at once.
    async fn fill(&mut self, rest: &str) -> Result<Vec<String>> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (prefix, count, bytes, at_once) = match words[..] {
            [prefix, count, bytes] => (prefix, count, bytes, 1),
            [prefix, count, bytes, at_once] => (prefix, count, bytes, at_once.parse()?),
            _ => bail!("fill PREFIX COUNT BYTES [AT-ONCE]"),
        };
        let method = Method::find("KV/Put")?;
        let value = "v".repeat(bytes.parse()?);
        let (session, method, value) = (&*self, &method, value.as_str());
        let puts = (0..count.parse()?).map(|number: u32| async move {
            let request = method.encode(&format!("key: \"{prefix}{number:06}\" value: \"{value}\""))?;
            let request = session.request(request);
            rpc::unary(session.channel.clone(), method.path(), request, PATIENCE).await
        });
        let mut puts = futures::stream::iter(puts).buffered(at_once);
        while let Some(put) = puts.next().await {
            if let Err(status) = put? {
                return Ok(vec![status_line(&status)]);
            }
        }
        Ok(vec!["all were put".to_owned()])
    }

    async fn restart(&mut self, kill: bool) -> Result<Vec<String>> {
        if kill {
            self.server.kill()?;
        } else {
            self.server.terminate().await?;
        }
        self.server.start_again().await?;
        self.meet().await?;
        Ok(Vec::new())
    }

    /// `serve-restored FILE`: restores a backup with etcdutl and goes on with a real etcd that serves it.
    async fn serve_restored(&mut self, file: &str) -> Result<Vec<String>> {
        let directory = self.options.restorer.clone().context("etcdutl is not on this machine")?;
        let data = self.directory.path().join("restored");
        let port = crate::port::free_port()?;
        let peer = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(directory.join("etcdutl"));
        command.args(["snapshot", "restore", &self.expand(file, true), "--data-dir"]).arg(&data);
        command.args([
            "--initial-cluster",
            &format!("default={peer}"),
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        let output = command.kill_on_drop(true).output().await?;
        ensure!(output.status.success(), "restore: {}", String::from_utf8_lossy(&output.stderr));
        self.server = Server::start_restored(&directory.join("etcd"), &data, port).await?;
        self.meet().await?;
        Ok(Vec::new())
    }
}

/// A count of all keys.
fn everything() -> bytes::Bytes {
    let method = Method::find("KV/Range")
        .and_then(|method| method.encode(r#"key: "\000" range_end: "\000" count_only: true"#));
    method.expect("a constant request is of its type")
}

fn revision(message: &DynamicMessage) -> i64 {
    let header = message.get_field_by_name("header");
    let revision =
        header.as_deref().and_then(Value::as_message).and_then(|header| header.get_field_by_name("revision"));
    revision.as_deref().and_then(Value::as_i64).unwrap_or_default()
}

/// Has SIGINT end this process, which it does in any case, but for one that a shell started in the background: there it is
/// ignored, and every program started from here would ignore it too. A signal that is handled is not ignored by them.
fn make_interruptible() -> Result<()> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let waits = || -> Result<(tokio::runtime::Runtime, Signal)> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let signal = runtime.block_on(async { signal(SignalKind::interrupt()) })?;
                Ok((runtime, signal))
            };
            match waits() {
                Ok((runtime, mut signal)) => {
                    sender.send(Ok(())).ok();
                    runtime.block_on(signal.recv());
                    std::process::exit(130);
                }
                Err(error) => sender.send(Err(format!("{error:#}"))).ok(),
            }
        });
        receiver.recv().unwrap_or_else(|error| Err(error.to_string()))
    });
    done.clone().map_err(anyhow::Error::msg)
}

fn status_line(status: &tonic::Status) -> String {
    match status.code() {
        tonic::Code::Ok => "end of stream".to_owned(),
        code => format!("{code:?}: {}", status.message()),
    }
}

/// Runs a command to its end, with `input` to read. One that ends without reading it has done nothing wrong: a command under a
/// lock does not get it, and who refuses its flags does not look.
async fn output_of(mut child: Child, input: &[u8]) -> Result<Output> {
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    let feed = async move {
        match stdin.write_all(input).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    };
    // At once: a command that prints while it reads would wait for a reader, and its writer for it.
    let both = async { tokio::try_join!(feed, child.wait_with_output()) };
    let ((), output) = tokio::time::timeout(PATIENCE, both).await.context("it does not end")??;
    Ok(output)
}

/// Splits a command line as a shell would: blanks, single and double quotes, backslashes.
fn words(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (char, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (char, Some(open)) if char == open => quote = None,
            (char, Some(_)) => word.get_or_insert_default().push(char),
            ('\'' | '"', None) => {
                word.get_or_insert_default();
                quote = Some(char);
            }
            (' ', None) => words.extend(word.take()),
            (char, None) => word.get_or_insert_default().push(char),
        }
    }
    ensure!(quote.is_none(), "a quote is open: {line}");
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        assert_eq!(words(r#"put "a b" '' c\ d 'e"f'"#).unwrap(), ["put", "a b", "", "c d", "e\"f"]);
        assert!(words("put 'a").is_err());
    }

    #[tokio::test]
    async fn a_command_need_not_read_its_input_and_may_answer_while_it_does() {
        let piped = |program: &str| {
            let mut command = Command::new(program);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        // More than a pipe holds.
        let input = vec![b'x'; 1 << 20];
        assert_eq!(output_of(piped("false"), &input).await.unwrap().status.code(), Some(1));
        assert_eq!(output_of(piped("cat"), &input).await.unwrap().stdout, input);
    }
}
