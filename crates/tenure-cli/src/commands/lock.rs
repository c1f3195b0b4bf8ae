//! `lock`: holds a lock until a signal comes or a command ends.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    output::Answer,
};
use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStringExt, process::ExitStatusExt},
    process::{Command, ExitStatus},
};
use tenure_client::{
    Ttl,
    concurrency::{Mutex, MutexGuard, Session},
    raw::etcdserverpb::RangeRequest,
};
use tokio::signal::unix::{SignalKind, signal};

/// `lock`.
pub static SPEC: Spec = Spec {
    words: "lock <lockname> [exec-command arg1 arg2 ...]",
    about: "Holds a named lock",
    group: Some(Group::Concurrency),
    flags: &[Flag::new("ttl", Kind::Int, "seconds after which the lock is free if this program dies")
        .default("10")],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let Some((name, command)) = arguments.split_first() else {
            let message = "lock takes a lock name argument and an optional command to execute";
            return Err(Failure::bad_args(message));
        };
        let (client, printer) = call.connect().await?;
        let ttl = call.int("ttl");
        let session = Session::builder(&client).ttl(Ttl::seconds(ttl)).open().await?;
        let guard = until_interrupted(&session, Mutex::new(&session, name).lock()).await?;
        if let Some((program, arguments)) = command.split_first() {
            let outcome = execute(program, arguments, &guard).await;
            // The lock is free when this program ends; why the command failed matters more.
            let end = session.close().await;
            return outcome.and(end.map_err(Failure::from));
        }
        printer.print(&Answer::Range(client.raw().call(&key(guard.key())).await?))?;
        tokio::select! {
            signal = interrupted() => signal?,
            _ = session.expired() => return Err(Failure::new(Exit::Error, "session expired")),
        }
        Ok(session.close().await?)
    })
}

/// A read of one key.
pub(super) fn key(key: &[u8]) -> RangeRequest {
    RangeRequest { key: key.to_vec().into(), ..Default::default() }
}

/// Waits for a place in line to become the first. A signal, or a failure, gives up all that the session holds.
pub(super) async fn until_interrupted<T>(
    session: &Session,
    waiting: impl Future<Output = tenure_client::Result<T>>,
) -> Result<T, Failure> {
    tokio::select! {
        first = waiting => {
            if first.is_err() {
                // Why there is no place matters more than that the lease lives on for its time.
                session.clone().close().await.ok();
            }
            Ok(first?)
        }
        signal = interrupted() => {
            signal?;
            session.clone().close().await?;
            Err(Failure::new(Exit::Error, "context canceled"))
        }
    }
}

/// SIGINT or SIGTERM came.
pub(super) async fn interrupted() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Io, error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Runs the user's command and waits for its end.
async fn execute(program: &[u8], arguments: &[Vec<u8>], guard: &MutexGuard) -> Result<(), Failure> {
    let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut command = Command::new(os(program));
    command.args(arguments.iter().map(|argument| os(argument)));
    command.env("ETCD_LOCK_KEY", os(guard.key())).env("ETCD_LOCK_REV", guard.held_revision().to_string());
    let waited = tokio::task::spawn_blocking(move || command.status()).await;
    match waited.map_err(|error| Failure::new(Exit::Io, error))? {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(child_exit(status), status_words(status))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let program = crate::go::quote::quote(program);
            let message = format!("exec: {program}: executable file not found in $PATH");
            Err(Failure::new(Exit::Error, message))
        }
        Err(error) => Err(Failure::new(Exit::Error, format!("exec: {}: {error}", lossy(program)))),
    }
}

/// The code to exit with after a child that failed.
fn child_exit(status: ExitStatus) -> Exit {
    // A child that a signal ended has no code; etcdctl makes -1 of it.
    Exit::Child(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// How a child ended, in Go's words.
pub(super) fn status_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup".to_owned(),
        2 => "interrupt".to_owned(),
        3 => "quit".to_owned(),
        6 => "aborted".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        13 => "broken pipe".to_owned(),
        14 => "alarm clock".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}
