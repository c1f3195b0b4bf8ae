//! `watch`: shows changes as they happen, and runs a command for each.

use super::{lock::status_words, txn};
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    connection::Connection,
    exit::{Exit, Failure},
    go::quote::quote,
    output::{self, Answer, Printer},
    session::prefix_end,
    watcher::{Told, Watcher},
};
use std::{
    ffi::OsString,
    io::BufRead,
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::Command,
    sync::Arc,
};
use tenure_api::{
    etcdserverpb::{WatchCreateRequest, WatchResponse},
    mvccpb::Event,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};

/// Lines of standard input that wait to be understood, and requests for progress that wait to be sent.
const QUEUE_MAX: usize = 16;

/// `watch`.
pub static SPEC: Spec = Spec {
    words: "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    about: "Shows changes of keys as they happen",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("interactive", Kind::Bool, "read watch and progress commands from standard input")
            .short('i'),
        Flag::new("prefix", Kind::Bool, "all keys that begin with the key"),
        Flag::new("rev", Kind::Int, "begin with this revision"),
        Flag::new("prev-kv", Kind::Bool, "show the pair before each event"),
        Flag::new("progress-notify", Kind::Bool, "show the revision now and then while nothing happens"),
    ],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let default = DefaultRange::from_environment()?;
        if call.flag("interactive") {
            return interactive(call, default).await;
        }
        let watch = Watch::of(call, &default)?;
        let (connection, printer) = call.connect().await?;
        let (_progress, requests) = broadcast::channel(1);
        watch.follow(Arc::new(connection), printer, requests).await?;
        Err(Failure::new(Exit::Interrupted, "watch is canceled by the server"))
    })
}

/// What `ETCDCTL_WATCH_KEY` and `ETCDCTL_WATCH_RANGE_END` name.
#[derive(Clone, Debug, Default)]
struct DefaultRange {
    words: Vec<OsString>,
}

impl DefaultRange {
    fn from_environment() -> Result<Self, Failure> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match (variable("ETCDCTL_WATCH_KEY"), variable("ETCDCTL_WATCH_RANGE_END")) {
            (None, Some(end)) => {
                let end = quote(end.as_bytes());
                let message = format!("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}");
                Err(Failure::bad_args(message))
            }
            (key, end) => Ok(DefaultRange { words: key.into_iter().chain(end).collect() }),
        }
    }
}

/// A range to watch, and what to run for each event.
#[derive(Clone, Debug)]
struct Watch {
    create: WatchCreateRequest,
    command: Vec<OsString>,
}

impl Watch {
    /// What the words ask for.
    fn of(call: &Call, default: &DefaultRange) -> Result<Self, Failure> {
        let mut range = call.before_separator();
        let command = call.after_separator();
        if command.as_ref().is_some_and(Vec::is_empty) {
            let message = "bad number of arguments (found separator --, but no commands)";
            return Err(Failure::bad_args(message));
        }
        if !range.is_empty() && !default.words.is_empty() {
            let message = "bad number of arguments (found conflicting environment key)";
            return Err(Failure::bad_args(message));
        }
        if range.is_empty() {
            range.clone_from(&default.words);
        }
        let (key, end) = match range.as_slice() {
            [key] => (key.as_bytes(), None),
            [key, end] => (key.as_bytes(), Some(end.as_bytes())),
            _ => return Err(Failure::bad_args("bad number of arguments")),
        };
        let prefix = call.flag("prefix");
        let (key, range_end) = match (prefix, end) {
            (true, Some(_)) => {
                return Err(Failure::bad_args("`range_end` and `--prefix` are mutually exclusive"));
            }
            (true, None) if key.is_empty() => (b"\0".as_slice(), vec![0]),
            (true, None) => (key, prefix_end(key)),
            (false, end) => (key, end.unwrap_or_default().to_vec()),
        };
        let create = WatchCreateRequest {
            key: key.to_vec().into(),
            range_end: range_end.into(),
            start_revision: call.int("rev"),
            prev_kv: call.flag("prev-kv"),
            progress_notify: call.flag("progress-notify"),
            ..Default::default()
        };
        Ok(Watch { create, command: command.unwrap_or_default() })
    }

    /// Shows what the watcher is told until the server ends it. Asks for progress whenever `requests` says so.
    async fn follow(
        self,
        connection: Arc<Connection>,
        printer: Printer,
        mut requests: broadcast::Receiver<()>,
    ) -> Result<(), Failure> {
        let mut watcher = Watcher::new(connection, self.create);
        let mut asks = true;
        loop {
            let told = tokio::select! {
                told = watcher.next() => told,
                ask = requests.recv(), if asks => {
                    match ask {
                        Ok(()) => watcher.request_progress().await,
                        // One answer serves all that were missed.
                        Err(broadcast::error::RecvError::Lagged(_)) => watcher.request_progress().await,
                        Err(broadcast::error::RecvError::Closed) => asks = false,
                    }
                    continue;
                }
            };
            match told {
                Told::End(reason, response) => {
                    eprintln!("watch was canceled ({reason})");
                    return printer.print(&Answer::Watch(response));
                }
                Told::News(response) => show(response, &printer, &self.command).await?,
            }
        }
    }
}

async fn show(response: WatchResponse, printer: &Printer, command: &[OsString]) -> Result<(), Failure> {
    let revision = response.header.unwrap_or_default().revision;
    if response.events.is_empty() && revision != 0 {
        output::write(format!("progress notify: {revision}\n"))?;
    }
    let events = if command.is_empty() { Vec::new() } else { response.events.clone() };
    printer.print(&Answer::Watch(response))?;
    for event in events {
        execute(command.to_vec(), revision, event).await?;
    }
    Ok(())
}

/// Runs the user's command for an event and waits for its end.
async fn execute(words: Vec<OsString>, revision: i64, event: Event) -> Result<(), Failure> {
    let pair = event.kv.clone().unwrap_or_default();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", quote(event.r#type().as_str_name().as_bytes()))
        .env("ETCD_WATCH_KEY", quote(&pair.key))
        .env("ETCD_WATCH_VALUE", quote(&pair.value));
    let waited = tokio::task::spawn_blocking(move || command.status()).await;
    let reason = match waited.map_err(|error| Failure::new(Exit::Io, error))? {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status_words(status),
        Err(error) => error.to_string(),
    };
    let words: Vec<String> = words.iter().map(|word| quote(word.as_bytes())).collect();
    eprintln!("command [{}] error ({reason})", words.join(" "));
    Err(Failure::told(Exit::Error))
}

/// Starts a watcher for each line `watch ...`, asks all of them for their progress for each line `progress`.
async fn interactive(call: &Call, default: DefaultRange) -> Result<(), Failure> {
    let (connection, printer) = call.connect().await?;
    let connection = Arc::new(connection);
    let mut lines = input_lines();
    let (progress, _) = broadcast::channel(QUEUE_MAX);
    let mut watchers = JoinSet::new();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            Some(ended) = watchers.join_next() => {
                // A watcher that the server ended leaves the others alone; a command that failed ends all.
                ended.map_err(|error| Failure::new(Exit::Error, error))??;
                continue;
            }
        };
        let Some(line) = line else {
            return Err(Failure::new(Exit::InvalidInput, "error reading watch request line: EOF"));
        };
        match understand(&line, &default)? {
            Some(Request::Watch(watch)) => {
                watchers.spawn(watch.follow(connection.clone(), printer, progress.subscribe()));
            }
            // Nobody watches: nobody is asked.
            Some(Request::Progress) => drop(progress.send(())),
            None => {}
        }
    }
}

enum Request {
    Watch(Box<Watch>),
    Progress,
}

/// What a line asks for; nothing if it was complained about.
fn understand(line: &str, default: &DefaultRange) -> Result<Option<Request>, Failure> {
    let words = txn::words(line)?;
    let Some((first, rest)) = words.split_first() else {
        eprintln!("Invalid command: {line} (watch and progress supported)");
        return Ok(None);
    };
    match first.as_bytes() {
        b"progress" => Ok(Some(Request::Progress)),
        b"watch" if rest.is_empty() && default.words.is_empty() => {
            eprintln!("Invalid command {line} (command type or key is not provided)");
            Ok(None)
        }
        b"watch" => {
            let call = SPEC.parse(rest.to_vec(), &[]).map_err(Failure::bad_args)?;
            Ok(Some(Request::Watch(Box::new(Watch::of(&call, default)?))))
        }
        _ => {
            eprintln!("Invalid command {line} (only support watch)");
            Ok(None)
        }
    }
}

/// The lines of standard input, read by a thread of their own.
fn input_lines() -> mpsc::Receiver<String> {
    let (lines, queue) = mpsc::channel(QUEUE_MAX);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            match input.read_until(b'\n', &mut line) {
                // A last line without end is no command.
                Ok(_) if line.pop() == Some(b'\n') => {
                    let line = OsString::from_vec(line).to_string_lossy().into_owned();
                    if lines.blocking_send(line).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    queue
}
