//! What a flag is: its place in the help, and how its value is read from the command line, the environment and the
//! configuration file.

use super::{
    features::FeatureGates,
    settings::Settings,
    url::{EndpointUrl, join, parse_list},
    value::{Span, format_span, parse_bool, parse_signed, parse_span, parse_unsigned},
};
use std::collections::BTreeSet;

/// The sections of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// This member.
    Member,
    /// Its place in a cluster.
    Clustering,
    /// TLS, CORS and host names.
    Security,
    /// Users and tokens.
    Auth,
    /// Profiles and metrics.
    Monitoring,
    /// Log lines.
    Logging,
    /// Traces.
    Tracing,
    /// Whatever is tuned.
    Features,
    /// What can lose data.
    Unsafe,
}

impl Group {
    /// All of them, in the order of the help.
    pub const ALL: [Group; 9] = [
        Group::Member,
        Group::Clustering,
        Group::Security,
        Group::Auth,
        Group::Monitoring,
        Group::Logging,
        Group::Tracing,
        Group::Features,
        Group::Unsafe,
    ];

    /// The heading in the help.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Group::Member => "Member",
            Group::Clustering => "Clustering",
            Group::Security => "Security",
            Group::Auth => "Auth",
            Group::Monitoring => "Profiling and Monitoring",
            Group::Logging => "Logging",
            Group::Tracing => "Distributed tracing",
            Group::Features => "Features",
            Group::Unsafe => {
                "CAUTIOUS with unsafe flags! They may break the guarantees given by the consensus protocol"
            }
        }
    }
}

/// What this version does with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As etcd does.
    Full,
    /// It is read and checked, and tunes something of etcd's that Tenure has not: a warning says so when it is given.
    NoEffect,
    /// It asks for what this version cannot do: the start fails when it is given another value than its default.
    Refused,
}

/// How the configuration file writes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileForm {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Number,
    /// A text.
    Text,
    /// A whole number of nanoseconds.
    Nanoseconds,
    /// A YAML list of texts.
    List,
}

/// A type that a flag can have.
pub trait FlagValue {
    /// Whether the flag may stand without a value, as Go's bool flags.
    const IS_BOOL: bool = false;
    /// How the configuration file writes it.
    const FILE_FORM: FileForm = FileForm::Text;

    /// Takes a value.
    ///
    /// # Errors
    /// What follows `invalid value "..." for flag -name: `.
    fn set(&mut self, text: &str) -> Result<(), String>;

    /// The value as the help shows it.
    fn show(&self) -> String;
}

impl FlagValue for bool {
    const IS_BOOL: bool = true;
    const FILE_FORM: FileForm = FileForm::Bool;

    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = parse_bool(text)?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for u64 {
    const FILE_FORM: FileForm = FileForm::Number;

    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = parse_unsigned(text)?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// `--max-concurrent-streams`, the one flag of 32 bits; etcd reads it with other messages.
impl FlagValue for u32 {
    const FILE_FORM: FileForm = FileForm::Number;

    fn set(&mut self, text: &str) -> Result<(), String> {
        let wide = parse_unsigned(text).map_err(|error| match error.as_str() {
            "parse error" => format!("strconv.ParseUint: parsing {text:?}: invalid syntax"),
            _ => format!("strconv.ParseUint: parsing {text:?}: {error}"),
        })?;
        *self = u32::try_from(wide)
            .map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for i64 {
    const FILE_FORM: FileForm = FileForm::Number;

    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = parse_signed(text)?;
        Ok(())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FlagValue for String {
    fn set(&mut self, text: &str) -> Result<(), String> {
        text.clone_into(self);
        Ok(())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl FlagValue for Span {
    const FILE_FORM: FileForm = FileForm::Nanoseconds;

    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = parse_span(text).map_err(|_| "parse error".to_owned())?;
        Ok(())
    }

    fn show(&self) -> String {
        format_span(*self)
    }
}

impl FlagValue for Vec<EndpointUrl> {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self =
            if text.is_empty() { Vec::new() } else { parse_list(text).map_err(|error| error.to_string())? };
        Ok(())
    }

    fn show(&self) -> String {
        join(self)
    }
}

/// `--cors`: origins, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(pub BTreeSet<String>);

impl Default for Origins {
    fn default() -> Self {
        Self(BTreeSet::from(["*".to_owned()]))
    }
}

impl FlagValue for Origins {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0 = match text {
            "*" => BTreeSet::from(["*".to_owned()]),
            "" => BTreeSet::new(),
            _ => {
                let urls = parse_list(text).map_err(|error| error.to_string())?;
                urls.iter().map(ToString::to_string).collect()
            }
        };
        Ok(())
    }

    fn show(&self) -> String {
        show_set(&self.0)
    }
}

/// A set of texts, such as `--log-outputs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordSet(pub BTreeSet<String>);

impl WordSet {
    /// A set of one.
    #[must_use]
    pub fn of(word: &str) -> Self {
        Self(BTreeSet::from([word.to_owned()]))
    }
}

impl FlagValue for WordSet {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0 = if text.is_empty() { BTreeSet::new() } else { text.split(',').map(str::to_owned).collect() };
        Ok(())
    }

    fn show(&self) -> String {
        show_set(&self.0)
    }
}

fn show_set(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// A [`WordSet`] that the configuration file writes as a YAML list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordList(pub Vec<String>);

impl FlagValue for WordList {
    const FILE_FORM: FileForm = FileForm::List;

    fn set(&mut self, text: &str) -> Result<(), String> {
        self.0 = if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() };
        Ok(())
    }

    fn show(&self) -> String {
        self.0.join(",")
    }
}

/// `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialClusterState {
    /// Bootstrap a cluster.
    #[default]
    New,
    /// Join one that exists.
    Existing,
}

impl FlagValue for InitialClusterState {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = match text {
            "new" => InitialClusterState::New,
            "existing" => InitialClusterState::Existing,
            _ => return Err("invalid value".to_owned()),
        };
        Ok(())
    }

    fn show(&self) -> String {
        match self {
            InitialClusterState::New => "new".to_owned(),
            InitialClusterState::Existing => "existing".to_owned(),
        }
    }
}

/// `--discovery-fallback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiscoveryFallback {
    /// Stop.
    #[default]
    Exit,
    /// Become a proxy of the API that etcd removed.
    Proxy,
}

impl FlagValue for DiscoveryFallback {
    fn set(&mut self, text: &str) -> Result<(), String> {
        *self = match text {
            "exit" => DiscoveryFallback::Exit,
            "proxy" => DiscoveryFallback::Proxy,
            _ => return Err("invalid value".to_owned()),
        };
        Ok(())
    }

    fn show(&self) -> String {
        match self {
            DiscoveryFallback::Exit => "exit".to_owned(),
            DiscoveryFallback::Proxy => "proxy".to_owned(),
        }
    }
}

/// `--v2-deprecation`: checked, and then always `write-only`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V2Deprecation;

impl FlagValue for V2Deprecation {
    fn set(&mut self, text: &str) -> Result<(), String> {
        const STAGES: [&str; 4] = ["write-only", "write-only-skip-check", "write-only-drop-data", "gone"];
        match text.split(',').find(|stage| !STAGES.contains(stage)) {
            Some(unknown) => Err(format!("invalid value {unknown:?}")),
            None => Ok(()),
        }
    }

    fn show(&self) -> String {
        "write-only".to_owned()
    }
}

impl FlagValue for FeatureGates {
    fn set(&mut self, text: &str) -> Result<(), String> {
        self.add(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// One flag of the table in [`super::settings`].
#[derive(Clone, Copy)]
pub struct Flag {
    /// The name after the dashes.
    pub name: &'static str,
    /// Its section of the help.
    pub group: Group,
    /// What this version does with it.
    pub support: Support,
    /// The key in the configuration file, nested ones with dots; empty if the file has none.
    pub file_key: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it may stand without a value.
    pub is_bool: bool,
    /// How the configuration file writes it.
    pub file_form: FileForm,
    /// Takes a value.
    pub set: fn(&mut Settings, &str) -> Result<(), String>,
    /// The present value.
    pub show: fn(&Settings) -> String,
}

impl Flag {
    /// The environment variable that gives the flag.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

impl std::fmt::Debug for Flag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flag").field("name", &self.name).finish_non_exhaustive()
    }
}
