//! The configuration file: YAML whose keys are the names of the flags, a few of them nested.

use super::{
    ConfigError, Notice,
    flag::{FileForm, Flag},
    settings::{FLAGS, Settings},
};
use serde_json::Value;

/// Keys that etcd has and no flag, and that change nothing: clients' addresses are not compared with their certificates by etcd
/// either, and messages of discovery are small.
const WITHOUT_FLAG: [&str; 3] = [
    "client-transport-security.skip-client-san-verification",
    "discovery-config.client.max-request-bytes",
    "discovery-config.client.max-recv-bytes",
];

/// A key without a flag that changes something: names of which the certificate of a client must have one.
const CLIENT_COMMON_NAMES: &str = "client-transport-security.allowed-cn";

/// Texts without a flag.
const DISCOVERY_SERVER_NAME: &str = "discovery-config.client.secure.server-name";
const DISCOVERY_AUTH_TOKEN: &str = "discovery-config.client.auth.token";

/// Reads the text of a file into settings. A key that is unknown is reported and changes nothing.
///
/// # Errors
/// With exit code 1: text that is no YAML mapping, or a value that its flag refuses.
pub fn read(text: &str, settings: &mut Settings, notices: &mut Vec<Notice>) -> Result<(), ConfigError> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let document: Value = serde_saphyr::from_str(text)
        .map_err(|error| ConfigError::invalid(format!("error converting YAML to JSON: {error}")))?;
    match document {
        Value::Null => Ok(()),
        Value::Object(_) => read_mapping("", &document, settings, notices),
        _ => {
            Err(ConfigError::invalid("the configuration file is not a mapping of keys to values".to_owned()))
        }
    }
}

fn read_mapping(
    prefix: &str,
    mapping: &Value,
    settings: &mut Settings,
    notices: &mut Vec<Notice>,
) -> Result<(), ConfigError> {
    let Value::Object(entries) = mapping else { return Ok(()) };
    for (name, value) in entries {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if let Some(flag) = FLAGS.iter().find(|flag| flag.file_key == key) {
            if value.is_null() {
                continue;
            }
            let text = text_of(flag, value).ok_or_else(|| {
                ConfigError::invalid(format!("{key:?} in the configuration file {}", wants(flag)))
            })?;
            settings.give(flag, &text).map_err(|reason| {
                ConfigError::invalid(format!("unexpected error setting up {key}: {reason}"))
            })?;
        } else if key == CLIENT_COMMON_NAMES {
            settings.client_allowed_common_names = common_names(value).ok_or_else(|| {
                ConfigError::invalid(format!("{key:?} in the configuration file is not a list of texts"))
            })?;
        } else if key == DISCOVERY_SERVER_NAME {
            settings.discovery_server_name = text_without_flag(&key, value)?;
        } else if key == DISCOVERY_AUTH_TOKEN {
            settings.discovery_auth_token = text_without_flag(&key, value)?;
        } else if value.is_object() && is_section(&key) {
            read_mapping(&key, value, settings, notices)?;
        } else if is_section(&key) && !value.is_null() {
            return Err(ConfigError::invalid(format!("invalid {key}")));
        } else if !WITHOUT_FLAG.contains(&key.as_str()) {
            notices.push(Notice::warn("unrecognized key in the configuration file").with("key", key));
        }
    }
    Ok(())
}

/// A list of texts, or one text with commas.
fn common_names(value: &Value) -> Option<Vec<String>> {
    let words = match value {
        Value::Null => return Some(Vec::new()),
        Value::String(text) => text.split(',').map(|word| Some(word.trim().to_owned())).collect(),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    };
    words.map(|words: Vec<String>| words.into_iter().filter(|word| !word.is_empty()).collect())
}

fn text_without_flag(key: &str, value: &Value) -> Result<String, ConfigError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(ConfigError::invalid(format!("{key:?} in the configuration file is not a text"))),
    }
}

/// Whether keys are nested below this one.
fn is_section(key: &str) -> bool {
    FLAGS.iter().any(|flag| flag.file_key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// The value as the command line would give it; nothing if the file writes it in another form than the flag's.
fn text_of(flag: &Flag, value: &Value) -> Option<String> {
    match (flag.file_form, value) {
        (FileForm::Bool, Value::Bool(on)) => Some(on.to_string()),
        (FileForm::Number, Value::Number(number)) if !number.is_f64() => Some(number.to_string()),
        (FileForm::Nanoseconds, Value::Number(number)) if !number.is_f64() => Some(format!("{number}ns")),
        (FileForm::Text, Value::String(text)) => Some(text.clone()),
        // etcd's file is JSON underneath and so has no number where a text belongs; YAML writers do it all the same.
        (FileForm::Text, Value::Number(number)) => Some(number.to_string()),
        (FileForm::Text | FileForm::List, Value::Array(items)) => {
            let words = items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?;
            Some(words.join(","))
        }
        _ => None,
    }
}

fn wants(flag: &Flag) -> &'static str {
    match flag.file_form {
        FileForm::Bool => "is not true or false",
        FileForm::Number => "is not a whole number",
        FileForm::Nanoseconds => "is not a whole number of nanoseconds",
        FileForm::Text => "is not a text",
        FileForm::List => "is not a list of texts",
    }
}
