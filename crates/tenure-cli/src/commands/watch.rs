//! `watch`: shows changes as they happen, and runs a command for each.

use super::{
    lock::{not_started, status_words},
    txn,
};
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure, error_text, status_text},
    go::quote::quote,
    output::{self, Answer, Printer, wire},
};
use std::{
    ffi::OsString,
    io::BufRead,
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::{Command, Stdio},
};
use tenure_client::{
    Client, Error, KeyRange, ResponseHeader, WatchStream,
    raw::{etcdserverpb::WatchResponse, mvccpb::Event},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Lines of standard input that wait to be understood.
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
        let watch = Words::of(call, &default)?.understood(call).map_err(Failure::bad_args)?;
        let (client, printer) = call.connect_patiently().await?;
        if let Some(watching) = watch.start(&client, &printer).await? {
            watching.follow(&printer).await?;
        }
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

/// Words apart: what to watch, and what to run.
struct Words {
    range: Vec<OsString>,
    command: Vec<OsString>,
}

impl Words {
    /// The range is what the environment says if there is none.
    ///
    /// # Errors
    /// There is no command where one must be, or a range twice.
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
        Ok(Words { range, command: command.unwrap_or_default() })
    }

    /// What they ask for, together with the flags.
    ///
    /// # Errors
    /// What is wrong with them.
    fn understood(self, call: &Call) -> Result<Watch, String> {
        let (key, end) = match self.range.as_slice() {
            [key] => (key.as_bytes(), None),
            [key, end] => (key.as_bytes(), Some(end.as_bytes())),
            _ => return Err("bad number of arguments".to_owned()),
        };
        let range = match (call.flag("prefix"), end) {
            (true, Some(_)) => return Err("`range_end` and `--prefix` are mutually exclusive".to_owned()),
            (true, None) => KeyRange::prefix(key),
            (false, end) => KeyRange::between(key, end.unwrap_or_default()),
        };
        let start_revision = call.int("rev");
        if start_revision < 0 {
            return Err(format!(
                "bad revision {start_revision}: revisions count from 1, 0 means from now on"
            ));
        }
        Ok(Watch {
            range,
            start_revision,
            prev_kv: call.flag("prev-kv"),
            progress_notify: call.flag("progress-notify"),
            command: self.command,
        })
    }
}

/// A range to watch, and what to run for each event.
#[derive(Clone, Debug)]
struct Watch {
    range: KeyRange,
    start_revision: i64,
    prev_kv: bool,
    progress_notify: bool,
    command: Vec<OsString>,
}

impl Watch {
    /// Begins to watch; nothing if the server refuses, which is shown.
    async fn start(self, client: &Client, printer: &Printer) -> Result<Option<Watching>, Failure> {
        let KeyRange { key, end } = self.range;
        let watch = client.watch(key).range_end(end).start_revision(self.start_revision).created_notify();
        let watch = if self.prev_kv { watch.prev_kv() } else { watch };
        let watch = if self.progress_notify { watch.progress_notify() } else { watch };
        match watch.await {
            Ok(stream) => {
                Ok(Some(Watching { stream, command: self.command, header: ResponseHeader::default() }))
            }
            Err(error) => {
                let reason = match &error {
                    // A refusal is told as it came: as a text, or as a status that was printed.
                    Error::Rpc { message, .. } => message.clone(),
                    Error::Etcd { error, code } => status_text(*code, error.text()),
                    error => error_text(error),
                };
                ended(&reason, WatchResponse { canceled: true, ..Default::default() }, printer).map(|()| None)
            }
        }
    }
}

/// A watch that has begun.
struct Watching {
    stream: WatchStream,
    command: Vec<OsString>,
    /// Of the last answer.
    header: ResponseHeader,
}

impl Watching {
    /// Shows what the watcher is told until the server ends it.
    async fn follow(mut self, printer: &Printer) -> Result<(), Failure> {
        let mut end = WatchResponse { canceled: true, ..Default::default() };
        while let Some(told) = self.stream.next().await {
            let response = match told {
                Ok(response) => response,
                Err(error) => {
                    if let Error::Compacted { compact_revision } = error {
                        end.compact_revision = compact_revision;
                    }
                    // Who asked, without a revision: nothing was told up to one.
                    end.header = Some(wire::header(&ResponseHeader { revision: 0, ..self.header }));
                    return ended(&error_text(&error), end, printer);
                }
            };
            self.header = response.header;
            if !response.created {
                show(wire::watch(&response), printer, &self.command).await?;
            }
        }
        Ok(())
    }
}

/// Shows why there is nothing more to come.
fn ended(reason: &str, response: WatchResponse, printer: &Printer) -> Result<(), Failure> {
    eprintln!("watch was canceled ({reason})");
    printer.print(&Answer::Watch(response))
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
        // What is typed is for this program, and the rest of a script's input for the script.
        .stdin(Stdio::null())
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", quote(event.r#type().as_str_name().as_bytes()))
        .env("ETCD_WATCH_KEY", quote(&pair.key))
        .env("ETCD_WATCH_VALUE", quote(&pair.value));
    let waited = tokio::task::spawn_blocking(move || command.status()).await;
    let reason = match waited.map_err(|error| Failure::new(Exit::Io, error))? {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status_words(status),
        Err(error) => not_started(words[0].as_bytes(), &error),
    };
    let words: Vec<String> = words.iter().map(|word| quote(word.as_bytes())).collect();
    eprintln!("command [{}] error ({reason})", words.join(" "));
    Err(Failure::told(Exit::Error))
}

/// Starts a watcher for each line `watch ...`, asks all of them for their progress for each line `progress`.
async fn interactive(call: &Call, default: DefaultRange) -> Result<(), Failure> {
    let (client, printer) = call.connect_patiently().await?;
    let mut lines = input_lines();
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
                if let Some(watching) = watch.start(&client, &printer).await? {
                    watchers.spawn(async move { watching.follow(&printer).await });
                }
            }
            // Nobody watches: nobody is asked.
            Some(Request::Progress) => client.watcher().request_progress().await,
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
            if call.flag("help") {
                return Err(Failure::bad_args("pflag: help requested"));
            }
            match Words::of(&call, default)?.understood(&call) {
                Ok(watch) => Ok(Some(Request::Watch(Box::new(watch)))),
                Err(reason) => {
                    eprintln!("Invalid command {line} ({reason})");
                    Ok(None)
                }
            }
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
