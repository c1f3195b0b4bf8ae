//! Lines on standard error in the format of etcd's client library: one JSON object a line.

use crate::output::json;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something is odd.
    Warn,
    /// The process ends.
    Fatal,
}

/// Writes one line: level, time, message, then `fields` in their order.
pub fn line(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Warn => "warn",
        Level::Fatal => "fatal",
    };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let head = [("level", level), ("ts", now.as_str()), ("msg", message)];
    let pairs: Vec<String> = head
        .iter()
        .chain(fields)
        .map(|(key, value)| format!("{}:{}", json::string(key), json::string(value)))
        .collect();
    eprintln!("{{{}}}", pairs.join(","));
}
