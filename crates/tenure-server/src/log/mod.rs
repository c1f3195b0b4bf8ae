//! Log lines in the form that operators of etcd know.
//!
//! The code logs with the macros of `tracing`; [`init`] makes lines of it, as zap writes them: `level`, `ts`, `caller`,
//! `msg`, then the fields in their order. Names of fields are etcd's, with dashes: `tracing::info!("data-dir" = %path,
//! "opened")`. Two things `tracing` has no word for: a level above error is given as a field, `level = "fatal"`, and a list
//! or a map as [`Json`].

mod line;
mod output;

pub use line::Json;

use line::Lines;
use output::Outputs;
use std::{io, path::PathBuf, sync::Arc};
use tracing_subscriber::layer::SubscriberExt;

/// The least level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For people who look for a fault.
    Debug,
    /// What an operator may want to know.
    #[default]
    Info,
    /// What an operator should look at.
    Warn,
    /// What went wrong. A healthy member writes none.
    Error,
    /// What went wrong so that the process cannot go on; [`Level::Fatal`] follows.
    Panic,
    /// Why the process ends.
    Fatal,
}

impl Level {
    /// The word in `--log-level` and in a line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Panic => "panic",
            Level::Fatal => "fatal",
        }
    }

    /// Reads the word, in small or capital letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "debug" | "DEBUG" => Some(Level::Debug),
            "info" | "INFO" | "" => Some(Level::Info),
            "warn" | "WARN" => Some(Level::Warn),
            "error" | "ERROR" => Some(Level::Error),
            "dpanic" | "DPANIC" | "panic" | "PANIC" => Some(Level::Panic),
            "fatal" | "FATAL" => Some(Level::Fatal),
            _ => None,
        }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// Columns for people.
    Console,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

/// When a log file is replaced by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes at which a new file is begun.
    pub file_bytes_max: u64,
    /// Days after which an old file is removed; nothing if never.
    pub age_days_max: Option<u32>,
    /// Old files that are kept; nothing if all.
    pub backups_max: Option<u32>,
}

impl Rotation {
    /// Reads `--log-rotation-config-json`.
    ///
    /// # Errors
    /// Text that is no such JSON, or what this version cannot do: local time in names, compression.
    pub fn parse(json: &str) -> Result<Self, String> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Json {
            maxsize: i64,
            maxage: i64,
            maxbackups: i64,
            localtime: bool,
            compress: bool,
        }
        let json: Json = serde_json::from_str(json).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => format!("invalid log rotation config: {error}"),
            _ => format!("improperly formatted log rotation config: {error}"),
        })?;
        if json.localtime || json.compress {
            return Err(
                "localtime and compress in --log-rotation-config-json are not supported by this version of \
                        Tenure"
                    .to_owned(),
            );
        }
        let bound = |value: i64| u32::try_from(value).ok().filter(|value| *value > 0);
        let megabytes = bound(json.maxsize).unwrap_or(100);
        Ok(Self {
            file_bytes_max: u64::from(megabytes) << 20,
            age_days_max: bound(json.maxage),
            backups_max: bound(json.maxbackups),
        })
    }
}

/// What the log of a process is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least level that is written.
    pub level: Level,
    /// The form of a line.
    pub format: Format,
    /// Where lines go: at least one.
    pub outputs: Vec<Output>,
    /// When the one file among the outputs is replaced.
    pub rotation: Option<Rotation>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: Level::Info, format: Format::Json, outputs: vec![Output::Stderr], rotation: None }
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A file cannot be written.
    #[error("open {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process has a log already: `init` was called twice, or the program that embeds the member has its own.
    #[error("the process already has a log")]
    Taken,
}

/// The beginning of a text that somebody unknown sent, as much of it as a line may have.
pub(crate) fn shortened(text: &str) -> &str {
    const BYTES_MAX: usize = 256;
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Makes the log of this process. A program that embeds a member may do without, and take the events of `tracing` its own
/// way.
///
/// # Errors
/// A file that cannot be written, or a log that is there already.
pub fn init(config: &LogConfig) -> Result<(), InitError> {
    let outputs = Arc::new(Outputs::open(config)?);
    let lines = Lines::new(config.level, config.format, outputs);
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::Taken)
}
