//! Passwords that are typed.

use crate::exit::{Exit, Failure};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, BufRead, Write};

/// Asks for a password on standard output and reads it, unseen, from standard input.
///
/// # Errors
/// Nothing can be read.
pub fn ask(prompt: &str) -> io::Result<String> {
    let mut out = io::stdout().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    let read = unseen(read_line);
    writeln!(out)?;
    read
}

/// A line of standard input, without its end.
fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The first word of standard input; nothing if there is none.
#[must_use]
pub fn first_word() -> String {
    let line = read_line().unwrap_or_default();
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// What is typed meanwhile is not shown, if there is a terminal.
fn unseen<T>(read: impl FnOnce() -> T) -> T {
    let stdin = io::stdin();
    let Ok(before) = tcgetattr(&stdin) else { return read() };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    if tcsetattr(&stdin, OptionalActions::Now, &silent).is_err() {
        return read();
    }
    let value = read();
    // A terminal that takes it away but does not give it back has gone.
    tcsetattr(&stdin, OptionalActions::Now, &before).ok();
    value
}

/// Asks for a new password twice.
///
/// # Errors
/// It is empty, or not the same both times.
pub fn ask_twice(user: &str) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::bad_args(format!("failed to ask password: {error}"));
    let first = ask(&format!("Password of {user}: ")).map_err(failed)?;
    if first.is_empty() {
        return Err(Failure::bad_args("empty password"));
    }
    let again = ask(&format!("Type password of {user} again for confirmation: ")).map_err(failed)?;
    if first != again {
        return Err(Failure::bad_args("given passwords are different"));
    }
    Ok(first)
}

/// Asks for the password of `--user`.
///
/// # Errors
/// Nothing can be read.
pub fn ask_for_user() -> Result<String, Failure> {
    ask("Password: ").map_err(|error| Failure::new(Exit::Error, error))
}
