//! Answers as text that is the same whoever answers.

use crate::rpc::Identity;
use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, ReflectMessage, Value};
use std::fmt::Write;

/// Longer byte strings are shown by their length and their beginning.
const SHOWN_BYTES_MAX: usize = 100;

/// One line a field of the message. Fields at their default are left out, as they are on the wire.
///
/// A header filled with the identity shows its revision alone; one that is not filled says `bare`.
#[must_use]
pub fn lines(message: &DynamicMessage, identity: Identity) -> Vec<String> {
    let mut lines = Vec::new();
    for (field, value) in present(message) {
        match value {
            Value::List(items) => lines.extend(items.iter().map(|item| named(&field, item, identity))),
            value => lines.push(named(&field, &value, identity)),
        }
    }
    if lines.is_empty() {
        lines.push("empty".to_owned());
    }
    lines
}

fn present(message: &DynamicMessage) -> Vec<(FieldDescriptor, Value)> {
    let mut fields: Vec<_> = message
        .fields()
        .filter(|(field, _)| message.has_field(field))
        .map(|(field, value)| (field, value.clone()))
        .collect();
    fields.sort_by_key(|(field, _)| field.number());
    fields
}

fn named(field: &FieldDescriptor, value: &Value, identity: Identity) -> String {
    match value {
        Value::Message(message) if message.descriptor().name() == "ResponseHeader" => {
            format!("{} {{ {} }}", field.name(), header(message, identity))
        }
        Value::Message(message) => {
            format!("{} {{ {} }}", field.name(), inline(message, identity)).replace("{  }", "{ }")
        }
        value => format!("{}: {}", field.name(), scalar(field, value, identity)),
    }
}

fn inline(message: &DynamicMessage, identity: Identity) -> String {
    let mut parts = Vec::new();
    for (field, value) in present(message) {
        match value {
            Value::List(items) => parts.extend(items.iter().map(|item| named(&field, item, identity))),
            value => parts.push(named(&field, &value, identity)),
        }
    }
    parts.join(" ")
}

fn header(message: &DynamicMessage, identity: Identity) -> String {
    let number = |name: &str| match message.get_field_by_name(name).as_deref() {
        Some(Value::U64(number)) => *number,
        Some(Value::I64(number)) => number.cast_unsigned(),
        _ => 0,
    };
    let revision = number("revision").cast_signed();
    let ids = (number("cluster_id"), number("member_id"), number("raft_term"));
    if ids == (0, 0, 0) {
        format!("bare revision: {revision}")
    } else if (ids.0, ids.1) == (identity.cluster, identity.member) && ids.2 >= identity.term {
        format!("revision: {revision}")
    } else {
        inline(message, identity)
    }
}

fn scalar(field: &FieldDescriptor, value: &Value, identity: Identity) -> String {
    match value {
        Value::Bytes(bytes) => quoted(bytes),
        Value::String(text) => quoted(text.as_bytes()),
        Value::U64(number) if *number != 0 && *number == identity.member => "<member>".to_owned(),
        Value::U64(number) if *number != 0 && *number == identity.cluster => "<cluster>".to_owned(),
        Value::EnumNumber(number) => enum_name(field, *number),
        Value::Bool(value) => value.to_string(),
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        Value::Message(message) => inline(message, identity),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| scalar(field, item, identity)).collect();
            items.join(", ")
        }
        Value::Map(map) => {
            let mut items: Vec<(&MapKey, &Value)> = map.iter().collect();
            items.sort_by(|a, b| format!("{:?}", a.0).cmp(&format!("{:?}", b.0)));
            format!("{items:?}")
        }
    }
}

fn enum_name(field: &FieldDescriptor, number: i32) -> String {
    let kind = field.kind();
    kind.as_enum()
        .and_then(|kind| kind.get_value(number))
        .map_or_else(|| number.to_string(), |value| value.name().to_owned())
}

/// Bytes between double quotes, what is not printable as `\xNN`; long ones are cut.
#[must_use]
pub fn quoted(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_BYTES_MAX {
        return format!("{} and on, {} bytes", quoted(&bytes[..16]), bytes.len());
    }
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            0x20..0x7f => text.push(char::from(byte)),
            byte => write!(text, "\\x{byte:02x}").expect("writing to a string does not fail"),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::message_type;

    const IDENTITY: Identity = Identity { cluster: 7, member: 8, term: 2 };

    fn shown(kind: &str, text: &str) -> Vec<String> {
        let message = DynamicMessage::parse_text_format(message_type(kind).unwrap(), text).unwrap();
        lines(&message, IDENTITY)
    }

    #[test]
    fn a_filled_header_shows_its_revision_and_a_bare_one_says_so() {
        let text = "header { cluster_id: 7 member_id: 8 revision: 5 raft_term: 3 }";
        assert_eq!(shown("PutResponse", text), ["header { revision: 5 }"]);
        assert_eq!(shown("PutResponse", "header { revision: 5 }"), ["header { bare revision: 5 }"]);
        let wrong = shown("PutResponse", "header { cluster_id: 9 member_id: 8 revision: 5 raft_term: 3 }");
        assert_eq!(wrong, ["header { cluster_id: 9 member_id: <member> revision: 5 raft_term: 3 }"]);
    }

    #[test]
    fn bytes_and_unknown_enums_are_shown_as_they_are() {
        assert_eq!(
            shown("RangeRequest", r#"key: "\000a\"" sort_order: 7"#),
            [r#"key: "\x00a\"""#, "sort_order: 7"]
        );
        assert_eq!(shown("RangeRequest", ""), ["empty"]);
    }
}
