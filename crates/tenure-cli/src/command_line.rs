//! How words become a call: a tree of commands, read by `clap` after the rules of the Go libraries that etcdctl is
//! made with. Commands may be shortened to a unique prefix, flags stand anywhere, the last of a repeated flag
//! holds, `--` ends the flags.

use crate::{
    commands,
    exit::{Exit, Failure},
    go::{duration, number, quote::quote},
    help,
    output::Printer,
    settings::{self, Settings},
};
use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::ValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{ffi::OsString, os::unix::ffi::OsStringExt, pin::Pin, time::Duration};
use tenure_client::Client;

/// What a flag's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A truth value; the flag alone means true.
    Bool,
    /// Any text.
    Text,
    /// Texts separated by commas; a repeated flag adds to them.
    Texts,
    /// An integer of 64 bits.
    Int,
    /// An integer of 64 bits without sign.
    Uint,
    /// A length of time.
    Duration,
}

/// A flag as help shows it.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name after `--`.
    pub name: &'static str,
    /// The letter after `-`.
    pub short: Option<char>,
    /// What its value is.
    pub kind: Kind,
    /// The value without the flag; empty for that of the kind: false, no text, 0.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Flag {
    /// A flag without a letter, whose default is that of its kind.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Flag { name, short: None, kind, default: "", help }
    }

    /// The same flag with a letter.
    #[must_use]
    pub const fn short(self, short: char) -> Self {
        Flag { short: Some(short), ..self }
    }

    /// The same flag with a default.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Flag { default, ..self }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).value_name(self.name);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        let parser: ValueParser = match self.kind {
            Kind::Bool => ValueParser::new(number::parse_bool),
            Kind::Text | Kind::Texts => ValueParser::string(),
            Kind::Int => ValueParser::new(|text: &str| number::parse_int(text, 0)),
            Kind::Uint => ValueParser::new(|text: &str| number::parse_uint(text, 0)),
            Kind::Duration => ValueParser::new(duration::parse),
        };
        let arg = arg.value_parser(parser);
        match self.kind {
            Kind::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
            Kind::Texts => arg.num_args(1).allow_hyphen_values(true).action(ArgAction::Append),
            _ => arg.num_args(1).allow_hyphen_values(true),
        }
    }
}

/// Under which heading a command stands in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys, leases, watches.
    KeyValue,
    /// Members and their disks.
    Maintenance,
    /// Locks and elections.
    Concurrency,
    /// Users and roles.
    Authentication,
    /// Everything else.
    Utility,
    /// Commands of earlier versions that another program has now: no help lists them, and they are refused with what
    /// they say about themselves.
    Elsewhere,
}

/// What a command does, once.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'a>>;

/// A command: its words, and what it does.
#[derive(Debug)]
pub struct Spec {
    /// The name, then its arguments in words.
    pub words: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What it does, at length; empty if the line says it all.
    pub long: &'static str,
    /// Under which heading it stands; commands below another have none.
    pub group: Option<Group>,
    /// Its own flags.
    pub flags: &'static [Flag],
    /// Flags that it shares with the commands below it.
    pub shared: &'static [Flag],
    /// The commands below it.
    pub commands: &'static [&'static Spec],
    /// What it does; nothing for one that only has commands below it.
    pub run: Option<for<'a> fn(&'a Call) -> Pending<'a>>,
}

impl Spec {
    /// What a command is made from.
    pub const EMPTY: Spec = Spec {
        words: "",
        about: "",
        long: "",
        group: None,
        flags: &[],
        shared: &[],
        commands: &[],
        run: None,
    };

    /// The name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or_default()
    }

    /// The command below this one whose name is `word`, or the only one whose name begins with it.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<&'static Spec> {
        if let Some(spec) = self.commands.iter().find(|spec| spec.name() == word) {
            return Some(spec);
        }
        let mut found = self.commands.iter().filter(|spec| spec.name().starts_with(word));
        match (found.next(), found.next()) {
            (Some(spec), None) => Some(spec),
            _ => None,
        }
    }

    /// The command with all below it, as scripts for shells need it.
    #[must_use]
    pub fn tree(&self, globals: &[Flag]) -> Command {
        let globals = &[globals, self.shared].concat();
        let flags = self.flags.iter().chain(globals).map(|flag| flag.arg().help(flag.help));
        let command = Command::new(self.name()).about(self.about).disable_help_subcommand(true).args(flags);
        let below = self.commands.iter().filter(|spec| spec.group != Some(Group::Elsewhere));
        command.subcommands(below.map(|spec| spec.tree(globals)))
    }

    /// What `clap` has to know of the command itself: its flags, and that it takes any arguments.
    fn parser(&self, globals: &[Flag]) -> Command {
        let help = Flag::new("help", Kind::Bool, "").short('h');
        let flags = self.flags.iter().chain(globals).chain(std::iter::once(&help)).map(Flag::arg);
        let words = |name: &'static str| {
            Arg::new(name).value_parser(ValueParser::os_string()).num_args(0..).action(ArgAction::Append)
        };
        Command::new(self.name())
            .no_binary_name(true)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .args(flags)
            .arg(words(ARGUMENTS))
            .arg(words(AFTER_SEPARATOR).last(true))
    }

    /// Reads the words after the command's name. `globals` are the flags that it shares with all others.
    ///
    /// # Errors
    /// A flag that is unknown or has a bad value; the message is that of etcdctl.
    pub fn parse(&'static self, words: Vec<OsString>, globals: &[Flag]) -> Result<Call, String> {
        let has_separator = words.iter().any(|word| word == "--");
        match self.parser(globals).try_get_matches_from(&words) {
            Ok(matches) => Ok(Call { spec: self, matches, has_separator }),
            Err(error) => {
                let flags: Vec<&Flag> = self.flags.iter().chain(globals).collect();
                Err(message(&error, &flags, &words))
            }
        }
    }
}

const ARGUMENTS: &str = "arguments";
const AFTER_SEPARATOR: &str = "after-separator";

/// A command with the words it was given.
#[derive(Debug)]
pub struct Call {
    spec: &'static Spec,
    matches: ArgMatches,
    has_separator: bool,
}

impl Call {
    /// What is no flag: the words before and after `--`.
    #[must_use]
    pub fn arguments(&self) -> Vec<Vec<u8>> {
        [self.before_separator(), self.after_separator().unwrap_or_default()]
            .concat()
            .into_iter()
            .map(OsString::into_vec)
            .collect()
    }

    /// What is no flag, before `--`.
    #[must_use]
    pub fn before_separator(&self) -> Vec<OsString> {
        self.words(ARGUMENTS)
    }

    /// The words after `--`; nothing without one.
    #[must_use]
    pub fn after_separator(&self) -> Option<Vec<OsString>> {
        self.has_separator.then(|| self.words(AFTER_SEPARATOR))
    }

    fn words(&self, name: &str) -> Vec<OsString> {
        self.matches.get_many::<OsString>(name).map(|words| words.cloned().collect()).unwrap_or_default()
    }

    /// Whether the flag stands on the command line.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.matches.contains_id(name)
    }

    /// The value of a flag of kind [`Kind::Bool`].
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        let default = || self.declared(name).is_some_and(|flag| flag.default == "true");
        self.matches.get_one::<bool>(name).copied().unwrap_or_else(default)
    }

    /// The value of a flag of kind [`Kind::Int`].
    #[must_use]
    pub fn int(&self, name: &str) -> i64 {
        let default = || self.declared(name).and_then(|flag| flag.default.parse().ok()).unwrap_or_default();
        self.matches.get_one::<i64>(name).copied().unwrap_or_else(default)
    }

    /// The value of a flag of kind [`Kind::Uint`].
    #[must_use]
    pub fn uint(&self, name: &str) -> u64 {
        let default = || self.declared(name).and_then(|flag| flag.default.parse().ok()).unwrap_or_default();
        self.matches.get_one::<u64>(name).copied().unwrap_or_else(default)
    }

    /// The value of a flag of kind [`Kind::Text`].
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let default = || self.declared(name).map(|flag| flag.default.to_owned()).unwrap_or_default();
        self.matches.get_one::<String>(name).cloned().unwrap_or_else(default)
    }

    /// The values of a flag of kind [`Kind::Texts`], each as it was given; nothing without the flag.
    #[must_use]
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.matches.get_many::<String>(name).map(|values| values.cloned().collect())
    }

    /// The value of a flag of kind [`Kind::Duration`]; nothing without the flag.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.matches.get_one::<Duration>(name).copied()
    }

    fn declared(&self, name: &str) -> Option<&'static Flag> {
        self.spec.flags.iter().find(|flag| flag.name == name)
    }

    /// The flags that all commands share, and the variables of the environment that stand for them.
    ///
    /// # Errors
    /// A variable that contradicts a flag or is malformed; a flag that is not supported.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Settings::of(self)
    }

    /// A client as the shared flags describe it, and the format to print answers in. Nothing is sent yet but a log-in.
    ///
    /// # Errors
    /// As [`Call::settings`] and [`Settings::connect`].
    pub async fn connect(&self) -> Result<(Client, Printer), Failure> {
        let settings = self.settings()?;
        Ok((settings.connect().await?, settings.printer))
    }

    /// [`Call::connect`] for what goes on until it is interrupted: it waits for a server without end.
    ///
    /// # Errors
    /// As [`Call::connect`].
    pub async fn connect_patiently(&self) -> Result<(Client, Printer), Failure> {
        let settings = self.settings()?.patient();
        Ok((settings.connect().await?, settings.printer))
    }
}

/// Finds the command, reads its words, runs it. `words` starts with the name of the program.
///
/// # Errors
/// Whatever the command fails with.
pub async fn execute(words: Vec<OsString>) -> Result<(), Failure> {
    let (path, words) = find(words.into_iter().skip(1).collect())?;
    let spec = path[path.len() - 1];
    if spec.group == Some(Group::Elsewhere) {
        return Err(Failure::new(Exit::Error, spec.about));
    }
    let shared = path.iter().flat_map(|spec| spec.shared);
    let globals: Vec<Flag> = settings::FLAGS.iter().chain(shared).copied().collect();
    let call = spec.parse(words, &globals).map_err(|message| {
        eprintln!("Error: {message}\n{}", help::usage(&path));
        Failure::told(Exit::Error)
    })?;
    match spec.run {
        Some(run) if !call.flag("help") => run(&call).await,
        _ => {
            print!("{}", help::text(&path));
            Ok(())
        }
    }
}

/// The commands from the root to the one that is meant, and the words that are left. Shared flags may stand
/// before the command.
fn find(mut words: Vec<OsString>) -> Result<(Vec<&'static Spec>, Vec<OsString>), Failure> {
    let mut path: Vec<&'static Spec> = vec![&commands::ROOT];
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let spec = path[path.len() - 1];
        let word = word.to_string_lossy().into_owned();
        if word == "--" || spec.commands.is_empty() {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            at += if takes_next(&word, spec) { 2 } else { 1 };
            continue;
        }
        match spec.find(&word) {
            Some(found) => {
                path.push(found);
                words.remove(at);
            }
            None if path.len() == 1 => return Err(unknown_command(&word)),
            None => break,
        }
    }
    Ok((path, words))
}

/// Whether the value of a flag is the word after it.
fn takes_next(word: &str, spec: &Spec) -> bool {
    let mut flags =
        settings::FLAGS.iter().chain(spec.flags).chain(spec.shared).filter(|flag| flag.kind != Kind::Bool);
    match word.strip_prefix("--") {
        Some(name) => flags.any(|flag| flag.name == name),
        None => flags
            .any(|flag| flag.short.is_some_and(|short| word.strip_prefix('-') == Some(&*short.to_string()))),
    }
}

fn unknown_command(word: &str) -> Failure {
    let mut message = format!("unknown command {} for \"{}\"\n", quote(word.as_bytes()), help::PROGRAM);
    let near: Vec<&str> =
        commands::ROOT.commands.iter().map(|spec| spec.name()).filter(|name| is_near(name, word)).collect();
    if !near.is_empty() {
        message.push_str(&format!("\nDid you mean this?\n\t{}\n\n", near.join("\n\t")));
    }
    message.push_str(&format!("Run '{} --help' for usage.", help::PROGRAM));
    Failure::new(Exit::Error, message)
}

fn is_near(name: &str, word: &str) -> bool {
    const DISTANCE_MAX: usize = 2;
    name.starts_with(word) || edit_distance(name.as_bytes(), word.as_bytes()) <= DISTANCE_MAX
}

/// How many letters must be put in, taken out or replaced to make one word of the other.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// What is wrong with the flags, in the words of the Go library. `words` are those that were read.
fn message(error: &clap::Error, flags: &[&Flag], words: &[OsString]) -> String {
    let last = words.last().map(|word| word.to_string_lossy()).unwrap_or_default();
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let name = context(ContextKind::InvalidArg).split([' ', '=', '[']).next().unwrap_or_default();
    let value = context(ContextKind::InvalidValue);
    let flag = flags.iter().find(|flag| name.strip_prefix("--") == Some(flag.name));
    let short = flag.and_then(|flag| flag.short);
    match error.kind() {
        ErrorKind::UnknownArgument => match name.strip_prefix("--") {
            Some(rest) if rest.is_empty() || rest.starts_with('-') => {
                let mut words = words.iter().map(|word| word.to_string_lossy());
                let word = words.find(|word| *word != "--" && word.starts_with(name));
                format!("bad flag syntax: {}", word.unwrap_or(name.into()))
            }
            Some(_) => format!("unknown flag: {name}"),
            None => {
                let letter = name.trim_start_matches('-');
                let letter = if letter.is_empty() { "=" } else { letter };
                format!(
                    "unknown shorthand flag: '{letter}' in {}",
                    word_with(letter, words).unwrap_or(name.into())
                )
            }
        },
        ErrorKind::ValueValidation => {
            let shown = short.map_or_else(|| name.to_owned(), |short| format!("-{short}, {name}"));
            let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            format!("invalid argument {} for \"{shown}\" flag: {reason}", quote(value.as_bytes()))
        }
        ErrorKind::InvalidValue if value.is_empty() => match short {
            Some(short) if *last == format!("-{short}") => {
                format!("flag needs an argument: '{short}' in {last}")
            }
            _ => format!("flag needs an argument: {name}"),
        },
        _ => {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

/// The word of letters that this letter stands in.
fn word_with<'a>(letter: &str, words: &'a [OsString]) -> Option<std::borrow::Cow<'a, str>> {
    let words = words.iter().map(|word| word.to_string_lossy());
    let mut candidates = words.filter(|word| word.starts_with('-') && !word.starts_with("--"));
    candidates.find(|word| word.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: Spec =
        Spec { words: "x", flags: &[Flag::new("count", Kind::Uint, "").default("7")], ..Spec::EMPTY };

    fn parse(words: &[&str]) -> Result<Call, String> {
        SPEC.parse(words.iter().map(OsString::from).collect(), settings::FLAGS)
    }

    #[test]
    fn an_unknown_letter_is_told_with_its_word() {
        let unknown = |words: &[&str]| parse(words).expect_err("it is refused");
        assert_eq!(unknown(&["a", "-xw", "json"]), "unknown shorthand flag: 'x' in -xw");
        assert_eq!(unknown(&["-x"]), "unknown shorthand flag: 'x' in -x");
        assert_eq!(unknown(&["-="]), "unknown shorthand flag: '=' in -=");
        assert_eq!(unknown(&["a", "---x=1"]), "bad flag syntax: ---x=1");
        assert_eq!(unknown(&["--=x"]), "bad flag syntax: --=x");
        assert_eq!(unknown(&["--x=1"]), "unknown flag: --x");
    }

    #[test]
    fn an_integer_without_sign_is_one() {
        assert_eq!(parse(&[]).map(|call| call.uint("count")), Ok(7));
        assert_eq!(parse(&["--count", "0x10"]).map(|call| call.uint("count")), Ok(16));
        let message =
            "invalid argument \"-1\" for \"--count\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax";
        assert_eq!(parse(&["--count", "-1"]).map(|_| ()), Err(message.to_owned()));
    }
}
