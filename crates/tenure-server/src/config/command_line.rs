//! The command line in the syntax of Go's `flag` package: `-x`, `--x`, `--x=v`, `--x v`.

use super::{
    ConfigError, Notice,
    settings::{IGNORED, Settings, find},
};

/// What the command line asks for.
#[derive(Debug, Default)]
pub struct CommandLine {
    /// `--help` or `-h`: reading stopped there.
    pub help: bool,
    /// `--version`.
    pub version: bool,
    /// `--config-file`.
    pub config_file: Option<String>,
}

/// A word of the command line that begins with a dash.
struct Word<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

/// Reads the arguments into settings.
///
/// * `arguments`: without the name of the program.
///
/// # Errors
/// With exit code 2 what Go's package refuses, with 1 an argument that is no flag.
pub fn read(
    arguments: &[String],
    settings: &mut Settings,
    notices: &mut Vec<Notice>,
) -> Result<CommandLine, ConfigError> {
    let mut asked = CommandLine::default();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            refuse_argument(rest.next())?;
            break;
        }
        let Some(word) = split(argument)? else {
            refuse_argument(Some(argument))?;
            break;
        };
        match word.name {
            "help" | "h" => {
                asked.help = true;
                break;
            }
            "version" => asked.version = boolean(&word)?,
            "config-file" => asked.config_file = Some(value(&word, &mut rest)?.to_owned()),
            name if IGNORED.contains(&name) => {
                notices.push(
                    Notice::warn("flag is no longer supported - ignoring").with("flag-name", name.to_owned()),
                );
            }
            name => {
                let flag = find(name)
                    .ok_or_else(|| ConfigError::usage(format!("flag provided but not defined: -{name}")))?;
                if flag.is_bool {
                    let on = boolean(&word)?;
                    settings.give(flag, if on { "true" } else { "false" }).map_err(ConfigError::usage)?;
                } else {
                    let text = value(&word, &mut rest)?;
                    settings.give(flag, text).map_err(|reason| {
                        ConfigError::usage(format!("invalid value {text:?} for flag -{name}: {reason}"))
                    })?;
                }
            }
        }
    }
    Ok(asked)
}

/// The name and value of a flag; nothing if the argument is no flag.
fn split(argument: &str) -> Result<Option<Word<'_>>, ConfigError> {
    let Some(body) = argument.strip_prefix('-') else { return Ok(None) };
    let body = body.strip_prefix('-').unwrap_or(body);
    if argument == "-" {
        return Ok(None);
    }
    if body.is_empty() || body.starts_with(['-', '=']) {
        return Err(ConfigError::usage(format!("bad flag syntax: {argument}")));
    }
    Ok(Some(match body.split_once('=') {
        Some((name, value)) => Word { name, value: Some(value) },
        None => Word { name: body, value: None },
    }))
}

fn boolean(word: &Word<'_>) -> Result<bool, ConfigError> {
    let Some(text) = word.value else { return Ok(true) };
    super::value::parse_bool(text).map_err(|reason| {
        ConfigError::usage(format!("invalid boolean value {text:?} for -{}: {reason}", word.name))
    })
}

fn value<'a>(word: &Word<'a>, rest: &mut impl Iterator<Item = &'a str>) -> Result<&'a str, ConfigError> {
    word.value
        .or_else(|| rest.next())
        .ok_or_else(|| ConfigError::usage(format!("flag needs an argument: -{}", word.name)))
}

fn refuse_argument(argument: Option<&str>) -> Result<(), ConfigError> {
    match argument {
        Some(argument) => Err(ConfigError::invalid(format!("{argument:?} is not a valid flag"))),
        None => Ok(()),
    }
}
