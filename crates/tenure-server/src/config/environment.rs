//! The `ETCD_*` variables: one for each flag, for what the command line does not give.

use super::{
    ConfigError, Notice,
    secrets::{HIDDEN, is_secret, may_be_secret},
    settings::{FLAGS, IGNORED, Settings},
};
use std::collections::BTreeMap;

/// The variable that names the configuration file.
pub const CONFIG_FILE: &str = "ETCD_CONFIG_FILE";
/// A variable that looks like a flag's and is not: etcd forgets it with a warning.
const VERSION: &str = "ETCD_VERSION";
/// What the messages call the variable that they are about.
const VARIABLE: &str = "environment-variable";

/// Reads the variables into settings. A variable of a flag that the command line gave is an error.
///
/// # Errors
/// With exit code 1: a value that its flag refuses, or a variable that the command line shadows.
pub fn read(
    environment: &BTreeMap<String, String>,
    settings: &mut Settings,
    notices: &mut Vec<Notice>,
) -> Result<(), ConfigError> {
    if let Some(value) = environment.get(VERSION).filter(|value| !value.is_empty()) {
        notices.push(
            Notice::warn("cannot set special environment variable")
                .with("key", VERSION.to_owned())
                .with("value", value.clone()),
        );
    }
    let shadowed: Vec<String> =
        FLAGS.iter().filter(|flag| settings.is_given(flag.name)).map(super::flag::Flag::variable).collect();
    let mut known = vec![VERSION.to_owned(), CONFIG_FILE.to_owned()];
    known.extend(IGNORED.iter().map(|name| variable_of(name)));
    for flag in FLAGS {
        let variable = flag.variable();
        if shadowed.contains(&variable) {
            continue;
        }
        if let Some(value) = environment.get(&variable).filter(|value| !value.is_empty()) {
            settings.give(flag, value).map_err(|reason| {
                ConfigError::invalid(format!("invalid value {value:?} for {variable}: {reason}"))
            })?;
            notices.push(
                Notice::info("recognized and used environment variable")
                    .with("variable-name", variable.clone())
                    .with(
                        "variable-value",
                        if is_secret(flag.name) { HIDDEN.to_owned() } else { value.clone() },
                    ),
            );
        }
        known.push(variable);
    }
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("ETCD_")) {
        if known.contains(name) {
            continue;
        }
        if shadowed.contains(name) {
            let text = "conflicting environment variable is shadowed by corresponding command-line flag \
                        (either unset environment variable or disable flag))";
            return Err(ConfigError::invalid(text.to_owned()).with(VARIABLE, name.clone()));
        }
        let value = if may_be_secret(name) { HIDDEN } else { value };
        notices.push(
            Notice::warn("unrecognized environment variable").with(VARIABLE, format!("{name}={value}")),
        );
    }
    Ok(())
}

fn variable_of(name: &str) -> String {
    format!("ETCD_{}", name.to_ascii_uppercase().replace('-', "_"))
}
