//! How a command ends: etcdctl's exit codes, and the line on standard error that goes with them.

use crate::log::{self, Level};
use std::{fmt, process::ExitCode};
use tenure_client::{Code, Error};

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
    /// What is behind a message that says too little.
    cause: Option<String>,
}

impl Failure {
    /// A failure that is told as `Error: {message}`.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: Some(message.to_string()), cause: None }
    }

    /// A failure whose reason is on standard error already.
    #[must_use]
    pub fn told(exit: Exit) -> Self {
        Failure { exit, message: None, cause: None }
    }

    /// A failure told with its code, which etcd's client leaves out of the errors that it knows, but not of those of streams.
    #[must_use]
    pub fn from_status(error: Error) -> Self {
        match &error {
            Error::Etcd { error, code } => Failure::new(Exit::Error, status_text(*code, error.text())),
            _ => Failure::from(error),
        }
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

    /// Writes a line with what is behind the message, if there is something.
    pub fn log_cause(&self) {
        if let Some(cause) = &self.cause {
            let advice = crate::secure::advice(cause).map(|advice| ("hint", advice));
            let fields: Vec<_> = [("error", cause.as_str())].into_iter().chain(advice).collect();
            log::line(Level::Warn, "no endpoint answered in time", &fields);
        }
    }

    /// Writes the reason to standard error and answers the code to exit with.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        self.log_cause();
        if let Some(message) = &self.message {
            eprintln!("Error: {message}");
        }
        ExitCode::from(self.exit.code())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = match &error {
            Error::Unreachable { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        Failure { exit: Exit::Error, message: Some(error_text(&error)), cause }
    }
}

/// Code and text of an error that a server answered.
#[must_use]
pub fn status_text(code: Code, message: &str) -> String {
    Error::Rpc { code, message: message.to_owned() }.to_string()
}

/// What etcd's client says of an error: the bare text of those that it knows, code and text of others.
#[must_use]
pub fn error_text(error: &Error) -> String {
    match error {
        Error::Etcd { error, .. } if error.known_to_clients() => error.text().to_owned(),
        Error::Etcd { error, code } => status_text(*code, error.text()),
        Error::Compacted { .. } => tenure_client::EtcdError::Compacted.text().to_owned(),
        Error::Timeout { .. } | Error::Unreachable { .. } => "context deadline exceeded".to_owned(),
        Error::ConnectionLost { reason } => status_text(Code::Unavailable, reason),
        Error::RequestTooLarge { request_bytes, request_bytes_max } => {
            let text =
                format!("trying to send message larger than max ({request_bytes} vs. {request_bytes_max})");
            status_text(Code::ResourceExhausted, &text)
        }
        other => other.to_string(),
    }
}

/// An error of the operating system in Go's words: without the number, in lower case.
#[must_use]
pub fn os_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
