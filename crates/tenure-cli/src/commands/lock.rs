//! `lock`: holds a lock until a signal comes or a command ends.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    output::Answer,
    session::{First, Place, Session},
};
use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStringExt, process::ExitStatusExt},
    process::{Command, ExitStatus},
    sync::Arc,
};
use tenure_api::error::UnlistedError;
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
        let (connection, printer) = call.connect().await?;
        let ttl = call.int("ttl");
        let ttl = if ttl > 0 { ttl } else { 60 };
        let session = Session::start(Arc::new(connection), ttl).await?;
        let (place, first) = acquire(&session, name).await?;
        if let Some((program, arguments)) = command.split_first() {
            let outcome = execute(program, arguments, &place, first.revision).await;
            // The lock is free when this program ends; why the command failed matters more.
            let end = session.end().await;
            return outcome.and(end);
        }
        printer.print(&Answer::Range(first.pairs))?;
        tokio::select! {
            signal = interrupted() => signal?,
            () = session.lost() => return Err(Failure::new(Exit::Error, "session expired")),
        }
        session.end().await
    })
}

/// Waits for the lock. Answers the place in line that holds it.
async fn acquire(session: &Session, name: &[u8]) -> Result<(Place, First), Failure> {
    let place = session.line_up(name, b"").await?;
    let first = tokio::select! {
        first = session.wait_first(&place) => first?,
        signal = interrupted() => {
            signal?;
            session.end().await?;
            return Err(Failure::new(Exit::Error, UnlistedError::ContextCanceled));
        }
    };
    match first.pairs.kvs.is_empty() {
        true => Err(Failure::new(Exit::Error, UnlistedError::MutexSessionExpired)),
        false => Ok((place, first)),
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
async fn execute(program: &[u8], arguments: &[Vec<u8>], place: &Place, revision: i64) -> Result<(), Failure> {
    let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let mut command = Command::new(os(program));
    command.args(arguments.iter().map(|argument| os(argument)));
    command.env("ETCD_LOCK_KEY", os(&place.key)).env("ETCD_LOCK_REV", revision.to_string());
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
