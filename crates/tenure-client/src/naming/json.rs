//! JSON byte for byte as Go's `encoding/json` writes it, which other clients of the same keys may compare.

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use std::io::{self, Write};

/// The JSON of a value.
pub(super) fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Go))?;
    Ok(bytes)
}

/// Where Go's JSON differs from the usual: characters that mean something in HTML are escaped, whole floating point numbers
/// have no fraction, and exponents come from 1e21 on and below 1e-6.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_special = |character: char| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(is_special) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut characters = rest[at..].chars();
            let special = characters.next().map_or(0, u32::from);
            write!(writer, "\\u{special:04x}")?;
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let text = match escape {
            CharEscape::Quote => "\\\"",
            CharEscape::ReverseSolidus => "\\\\",
            CharEscape::Solidus => "/",
            CharEscape::Backspace => "\\b",
            CharEscape::FormFeed => "\\f",
            CharEscape::LineFeed => "\\n",
            CharEscape::CarriageReturn => "\\r",
            CharEscape::Tab => "\\t",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text.as_bytes())
    }

    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let size = value.abs();
        if size == 0.0 || (1e-6..1e21).contains(&size) {
            return write!(writer, "{value}");
        }
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => write!(writer, "{digits}e+{exponent}"),
            _ => writer.write_all(text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn text(value: &Value) -> String {
        String::from_utf8(to_vec(value).unwrap()).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        assert_eq!(
            text(&json!("a<b>&\"\\/\n\u{1}\u{2028}é")),
            r#""a\u003cb\u003e\u0026\"\\/\n\u0001\u2028é""#
        );
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        let numbers = json!([1.0, -0.0, 1.5, 1e20, 1e21, 1.25e22, 1e-6, 1e-7, -3e-9, 7, -7, 1e100]);
        assert_eq!(
            text(&numbers),
            "[1,-0,1.5,100000000000000000000,1e+21,1.25e+22,0.000001,1e-7,-3e-9,7,-7,1e+100]"
        );
    }

    #[test]
    fn members_of_maps_come_by_name() {
        let map: Value = serde_json::from_str(r#"{"b": null, "a": {"d": true, "c": []}}"#).unwrap();
        assert_eq!(text(&map), r#"{"a":{"c":[],"d":true},"b":null}"#);
    }
}
