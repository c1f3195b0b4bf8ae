//! One event, one line.

use super::{Format, Level, output::Sink};
use std::{cell::RefCell, fmt, sync::Arc};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, layer::Context};

/// A field that is a JSON list or map and not a text: `urls = ?Json(&urls)`. A map given as the field `fields` stands in the
/// line entry by entry: that is for names that are not known before.
pub struct Json<'a, T: ?Sized>(pub &'a T);

/// Stands before the JSON that [`Json`] writes; no text begins with it.
const JSON_MARK: char = '\u{1}';

impl<T: serde::Serialize + ?Sized> fmt::Debug for Json<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{JSON_MARK}{json}")
    }
}

/// Crates whose events are written at the level that was asked for; those of others only from warnings on.
const OWN_TARGETS: &str = "tenure";

/// The layer that writes lines.
pub struct Lines<S> {
    level: Level,
    format: Format,
    sink: Arc<S>,
    now: fn() -> jiff::Timestamp,
}

impl<S: Sink> Lines<S> {
    pub fn new(level: Level, format: Format, sink: Arc<S>) -> Self {
        Self { level, format, sink, now: jiff::Timestamp::now }
    }

    #[cfg(test)]
    fn at(mut self, now: fn() -> jiff::Timestamp) -> Self {
        self.now = now;
        self
    }
}

thread_local! {
    /// The line that is being written, kept for its memory.
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<S: Sink, C: Subscriber> Layer<C> for Lines<S> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, C>) -> bool {
        let least =
            if metadata.target().starts_with(OWN_TARGETS) { self.level } else { self.level.max(Level::Warn) };
        metadata.is_event() && *metadata.level() <= filter_of(least)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(filter_of(self.level))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, C>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = fields.level.unwrap_or(level_of(event.metadata().level()));
        if level < self.level {
            return;
        }
        let time = (self.now)().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let caller = caller(event.metadata());
        // A line that is logged while another is written gets memory of its own.
        LINE.with(|line| match line.try_borrow_mut() {
            Ok(mut line) => self.write(&mut line, level, &time, &caller, &fields),
            Err(_) => self.write(&mut Vec::new(), level, &time, &caller, &fields),
        });
    }
}

impl<S: Sink> Lines<S> {
    fn write(&self, line: &mut Vec<u8>, level: Level, time: &str, caller: &str, fields: &Fields) {
        line.clear();
        match self.format {
            Format::Json => {
                for (separator, name, value) in [
                    ("{", "level", level.as_str()),
                    (",", "ts", time),
                    (",", "caller", caller),
                    (",", "msg", fields.message.as_str()),
                ] {
                    line.extend_from_slice(separator.as_bytes());
                    push_member(line, name, &Value::Text(value.to_owned()), b":");
                }
                for (name, value) in &fields.rest {
                    line.push(b',');
                    push_member(line, name, value, b":");
                }
                line.extend_from_slice(b"}\n");
            }
            Format::Console => {
                for column in [time, level.as_str(), caller] {
                    line.extend_from_slice(column.as_bytes());
                    line.push(b'\t');
                }
                line.extend_from_slice(fields.message.as_bytes());
                for (number, (name, value)) in fields.rest.iter().enumerate() {
                    line.extend_from_slice(if number == 0 { b"\t{" } else { b", " });
                    push_member(line, name, value, b": ");
                }
                line.extend_from_slice(if fields.rest.is_empty() { b"\n" } else { b"}\n" });
            }
        }
        self.sink.write_line(line);
    }
}

fn filter_of(level: Level) -> LevelFilter {
    match level {
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error | Level::Panic | Level::Fatal => LevelFilter::ERROR,
    }
}

fn level_of(level: &tracing::Level) -> Level {
    match *level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
    }
}

/// The last directory and the file, as zap shortens: `member/driver.rs:17`.
fn caller(metadata: &Metadata<'_>) -> String {
    let path = metadata.file().unwrap_or("undefined");
    let start = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
    format!("{}:{}", &path[start..], metadata.line().unwrap_or(0))
}

enum Value {
    Text(String),
    /// Written as it is: a number, a bool, JSON.
    Raw(String),
    /// Several names and values, as JSON without its braces.
    Members(String),
}

#[derive(Default)]
struct Fields {
    message: String,
    level: Option<Level>,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn raw(&mut self, field: &Field, value: impl fmt::Display) {
        self.rest.push((field.name(), Value::Raw(value.to_string())));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match (field.name(), text.strip_prefix(JSON_MARK)) {
            ("message", _) => self.message = text,
            ("fields", Some(json)) if json.len() > 2 && json.starts_with('{') => {
                self.rest.push(("fields", Value::Members(json[1..json.len() - 1].to_owned())));
            }
            (name, Some(json)) => self.rest.push((name, Value::Raw(json.to_owned()))),
            (name, None) => self.rest.push((name, Value::Text(text))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "level" => self.level = Level::parse(value),
            name => self.rest.push((name, Value::Text(value.to_owned()))),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.raw(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.raw(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.raw(field, value);
        } else {
            self.rest.push((field.name(), Value::Text(value.to_string())));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.rest.push((field.name(), Value::Text(value.to_string())));
    }
}

fn push_member(line: &mut Vec<u8>, name: &str, value: &Value, colon: &[u8]) {
    if let Value::Members(members) = value {
        return line.extend_from_slice(members.as_bytes());
    }
    push_text(line, name);
    line.extend_from_slice(colon);
    match value {
        Value::Text(text) => push_text(line, text),
        Value::Raw(raw) | Value::Members(raw) => line.extend_from_slice(raw.as_bytes()),
    }
}

/// A JSON text, escaped: a line stays one line whatever a key or an error contains.
fn push_text(line: &mut Vec<u8>, text: &str) {
    let written = serde_json::to_writer(&mut *line, text);
    debug_assert!(written.is_ok(), "a vector takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Default)]
    struct Memory(Mutex<String>);

    impl Sink for Memory {
        fn write_line(&self, line: &[u8]) {
            self.0.lock().push_str(std::str::from_utf8(line).unwrap());
        }
    }

    fn noon() -> jiff::Timestamp {
        "2026-11-22T12:00:00.000042Z".parse().unwrap()
    }

    /// What a log of this level and form gets of some events; the line number is the code's own and is cut.
    fn logged(level: Level, format: Format, events: impl FnOnce()) -> String {
        let memory = Arc::new(Memory::default());
        let lines = Lines::new(level, format, Arc::clone(&memory)).at(noon);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), events);
        let text = memory.0.lock().clone();
        let mut cut = String::new();
        for (number, piece) in text.split("log/line.rs:").enumerate() {
            if number > 0 {
                cut += "log/line.rs:N";
            }
            let is_behind = number > 0;
            cut += piece.trim_start_matches(|c: char| is_behind && c.is_ascii_digit());
        }
        cut
    }

    fn some_events() {
        tracing::info!(
            "snapshot-catchup-entries" = 1000_u64,
            ratio = 0.5,
            ready = true,
            error = %std::io::Error::other("no \"disk\"\n"),
            urls = ?Json(&["http://a:1", "http://b:2"]),
            "starting an etcd server"
        );
        tracing::warn!("plain");
        tracing::error!(level = "fatal", "discovery failed");
        tracing::debug!("detail");
        tracing::info!(target: "h2::codec", "noise");
        tracing::warn!(target: "h2::codec", "of others");
    }

    #[test]
    fn json_lines_are_zaps() {
        let expected = concat!(
            r#"{"level":"info","ts":"2026-11-22T12:00:00.000042Z","caller":"log/line.rs:N","msg":"starting an etcd server","#,
            r#""snapshot-catchup-entries":1000,"ratio":0.5,"ready":true,"error":"no \"disk\"\n","urls":["http://a:1","http://b:2"]}"#,
            "\n",
            r#"{"level":"warn","ts":"2026-11-22T12:00:00.000042Z","caller":"log/line.rs:N","msg":"plain"}"#,
            "\n",
            r#"{"level":"fatal","ts":"2026-11-22T12:00:00.000042Z","caller":"log/line.rs:N","msg":"discovery failed"}"#,
            "\n",
            r#"{"level":"warn","ts":"2026-11-22T12:00:00.000042Z","caller":"log/line.rs:N","msg":"of others"}"#,
            "\n",
        );
        let text = logged(Level::Info, Format::Json, some_events);
        assert_eq!(text, expected);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn console_lines_have_columns() {
        let text = logged(Level::Warn, Format::Console, || {
            tracing::warn!(name = "m1", size = 3, "slow");
            tracing::warn!("plain");
            tracing::warn!(fields = ?Json(&std::collections::BTreeMap::from([("a-b", "c"), ("d", "e")])), x = 1, "map");
        });
        assert_eq!(
            text,
            "2026-11-22T12:00:00.000042Z\twarn\tlog/line.rs:N\tslow\t{\"name\": \"m1\", \"size\": 3}\n\
             2026-11-22T12:00:00.000042Z\twarn\tlog/line.rs:N\tplain\n\
             2026-11-22T12:00:00.000042Z\twarn\tlog/line.rs:N\tmap\t{\"a-b\":\"c\",\"d\":\"e\", \"x\": 1}\n"
        );
    }

    #[test]
    fn the_level_says_what_is_written() {
        let count = |level| logged(level, Format::Json, some_events).lines().count();
        let levels = [Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Panic, Level::Fatal];
        assert_eq!(levels.map(count), [5, 4, 3, 1, 1, 1]);
    }
}
