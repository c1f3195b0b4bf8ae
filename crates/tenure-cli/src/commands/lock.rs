//! `lock`: holds a lock until a signal comes or a command ends.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure, os_words},
    go::quote::quote,
    output::Answer,
    settings::Settings,
};
use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStringExt, process::ExitStatusExt},
    process::{Command, ExitStatus, Stdio},
};
use tenure_client::{
    Client, Ttl,
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
        let settings = call.settings()?;
        let client = settings.clone().patient().connect().await?;
        let ttl = call.int("ttl");
        let session = Session::builder(&client).ttl(Ttl::seconds(ttl)).open().await?;
        let guard = until_interrupted(&session, &settings, Mutex::new(&session, name).lock()).await?;
        if let Some((program, arguments)) = command.split_first() {
            let outcome = execute(program, arguments, &guard).await;
            // The lock is free when this program ends; why the command failed matters more.
            return outcome.and(close(session, &settings).await);
        }
        show(&client, &session, &settings, guard.key()).await?;
        tokio::select! {
            signal = interrupted() => signal?,
            _ = session.expired() => return Err(Failure::new(Exit::Error, "session expired")),
        }
        close(session, &settings).await
    })
}

/// Shows the key by which something is held. What cannot be shown is not held any longer.
pub(super) async fn show(
    client: &Client,
    session: &Session,
    settings: &Settings,
    key: &[u8],
) -> Result<(), Failure> {
    let request = RangeRequest { key: key.to_vec().into(), ..Default::default() };
    let shown = match client.raw().call(&request).await {
        Ok(pair) => settings.printer.print(&Answer::Range(pair)),
        Err(error) => Err(error.into()),
    };
    if shown.is_err() {
        // Why it is not shown matters more than that the lease lives on for its time.
        close(session.clone(), settings).await.ok();
    }
    shown
}

/// Ends a session with all that it holds. A server that is gone is not waited for without end: the lease ends by itself.
pub(super) async fn close(session: Session, settings: &Settings) -> Result<(), Failure> {
    Ok(settings.in_time(session.close()).await?)
}

/// Waits for a place in line to become the first. A signal, or a failure, gives up all that the session holds.
pub(super) async fn until_interrupted<T>(
    session: &Session,
    settings: &Settings,
    waiting: impl Future<Output = tenure_client::Result<T>>,
) -> Result<T, Failure> {
    tokio::select! {
        first = waiting => {
            if first.is_err() {
                // Why there is no place matters more than that the lease lives on for its time.
                close(session.clone(), settings).await.ok();
            }
            Ok(first?)
        }
        signal = interrupted() => {
            signal?;
            close(session.clone(), settings).await?;
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
    // The rest of a script's input is not the command's.
    command.stdin(Stdio::null());
    command.env("ETCD_LOCK_KEY", os(guard.key())).env("ETCD_LOCK_REV", guard.held_revision().to_string());
    let waited = tokio::task::spawn_blocking(move || command.status()).await;
    match waited.map_err(|error| Failure::new(Exit::Io, error))? {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(child_exit(status), status_words(status))),
        Err(error) => Err(Failure::new(Exit::Error, not_started(program, &error))),
    }
}

/// Why a program could not be started, in Go's words. A name without a slash is looked for in `$PATH`.
pub(super) fn not_started(program: &[u8], error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && !program.contains(&b'/') {
        return format!("exec: {}: executable file not found in $PATH", quote(program));
    }
    format!("fork/exec {}: {}", lossy(program), os_words(error))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_program_does_not_start() {
        let missing = io::Error::from_raw_os_error(2);
        let forbidden = io::Error::from_raw_os_error(13);
        assert_eq!(not_started(b"x", &missing), "exec: \"x\": executable file not found in $PATH");
        assert_eq!(not_started(b"./x", &missing), "fork/exec ./x: no such file or directory");
        assert_eq!(not_started(b"/etc/passwd", &forbidden), "fork/exec /etc/passwd: permission denied");
    }
}
