//! Quoted strings: `strconv.Quote` and its inverse.

/// The bytes as a double-quoted string of Go: printable characters as they are, everything else escaped.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| quote_char(c, &mut out));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

fn quote_char(c: char, out: &mut String) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_printable(c) => out.push(c),
        c if u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

/// Whether Rust prints the character as it is inside a string, which it decides as Go does: letters, marks, numbers,
/// punctuation, symbols and the ASCII space.
fn is_printable(c: char) -> bool {
    if c == '\'' {
        return true;
    }
    // A letter before it, since a combining mark that stands first would be escaped.
    let text = format!("a{c}");
    text.escape_debug().count() == 2
}

/// Reads a quoted string, in double quotes with escapes or in backquotes without, from the head of `text`.
/// Answers the bytes and what follows; nothing if there is no such string.
#[must_use]
pub fn unquote_head(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(rest) = text.strip_prefix('`') {
        let (raw, rest) = rest.split_once('`')?;
        return Some((raw.as_bytes().to_vec(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut out = Vec::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((out, rest)),
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut out)?,
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads what follows a backslash into `out` and answers the rest.
fn unescape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let c = text.chars().next()?;
    let rest = &text[c.len_utf8()..];
    let byte = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => {
            let digits = rest.get(..2)?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            return rest.get(2..);
        }
        'u' | 'U' => {
            let len = if c == 'u' { 4 } else { 8 };
            let c = char::from_u32(u32::from_str_radix(rest.get(..len)?, 16).ok()?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(len..);
        }
        '0'..='7' => {
            out.push(u8::from_str_radix(text.get(..3)?, 8).ok()?);
            return text.get(3..);
        }
        _ => return None,
    };
    out.push(byte);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        let rows: [(&[u8], &str); 10] = [
            (b"", r#""""#),
            (b"foo", r#""foo""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x00\x01\x7f", r#""\x00\x01\x7f""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\xff\xfe", r#""\xff\xfe""#),
            ("é日本🙂'".as_bytes(), r#""é日本🙂'""#),
            ("\u{a0}\u{200b}\u{feff}".as_bytes(), r#""\u00a0\u200b\ufeff""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
            ("e\u{301}\u{301}".as_bytes(), "\"e\u{301}\u{301}\""),
        ];
        for (bytes, quoted) in rows {
            assert_eq!(quote(bytes), quoted);
            assert_eq!(unquote_head(quoted), Some((bytes.to_vec(), "")), "{quoted}");
        }
    }

    #[test]
    fn unquotes_what_stands_first() {
        assert_eq!(unquote_head("`a\\b` rest"), Some((b"a\\b".to_vec(), " rest")));
        assert_eq!(unquote_head(r#""a\101" x"#), Some((b"aA".to_vec(), " x")));
        for bad in ["", "a", r#""a"#, r#""\q""#, r#""\x1""#, "`a", "\"a\n\""] {
            assert_eq!(unquote_head(bad), None, "{bad}");
        }
    }
}
