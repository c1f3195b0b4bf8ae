//! How a command ends: etcdctl's exit codes, and the line on standard error that goes with them.

use std::{fmt, process::ExitCode};
use tenure_api::error::{EtcdError, status_text};
use tonic::{Code, Status};

/// Why a command failed, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The server refused, or could not be asked in time.
    Error,
    /// The connection could not be made or used.
    BadConnection,
    /// What was typed into `txn` or `watch -i` is not understood.
    InvalidInput,
    /// A flag has a value that is not supported.
    BadFeature,
    /// The server ended what should have gone on.
    Interrupted,
    /// A local file, pipe or process failed.
    Io,
    /// Arguments are missing, too many or malformed.
    BadArgs,
    /// The code of a command that was run on the user's behalf.
    Child(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Error => 1,
            Exit::BadConnection => 2,
            Exit::InvalidInput => 3,
            Exit::BadFeature => 4,
            Exit::Interrupted => 5,
            Exit::Io => 6,
            Exit::BadArgs => 128,
            Exit::Child(code) => code,
        }
    }
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: Option<String>,
}

impl Failure {
    /// A failure that is told as `Error: {message}`.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: Some(message.to_string()) }
    }

    /// A failure whose reason is on standard error already.
    #[must_use]
    pub fn told(exit: Exit) -> Self {
        Failure { exit, message: None }
    }

    /// Whether this is what a server has said.
    #[must_use]
    pub fn says(&self, error: EtcdError) -> bool {
        self.message.as_deref() == Some(error.text())
    }

    /// Wrong arguments.
    pub fn bad_args(message: impl fmt::Display) -> Self {
        Failure::new(Exit::BadArgs, message)
    }

    /// The same failure under another code.
    #[must_use]
    pub fn with_exit(self, exit: Exit) -> Self {
        Failure { exit, ..self }
    }

    /// The same failure in other words, made of those it has.
    #[must_use]
    pub fn map_message(self, words: impl FnOnce(String) -> String) -> Self {
        Failure { message: self.message.map(words), ..self }
    }

    /// The code that the process should exit with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The reason, without `Error: `; empty if it was told already.
    #[must_use]
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    /// Writes the reason to standard error and answers the code to exit with.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if let Some(message) = &self.message {
            eprintln!("Error: {message}");
        }
        ExitCode::from(self.exit.code())
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::new(Exit::Error, status_message(&status))
    }
}

/// What etcd's client says about a status: the bare text of an error that it knows, everything otherwise.
#[must_use]
pub fn status_message(status: &Status) -> String {
    match EtcdError::from_status(status) {
        Some(error) if error.known_to_clients() => error.text().to_owned(),
        _ => status_text(status.code(), &description(status)),
    }
}

/// The description of a status. A transport's says only "transport error"; the causes behind it say more.
fn description(status: &Status) -> String {
    let mut text = status.message().to_owned();
    if !matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal) {
        return text;
    }
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// An error of the operating system in Go's words: without the number, in lower case.
#[must_use]
pub fn os_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
