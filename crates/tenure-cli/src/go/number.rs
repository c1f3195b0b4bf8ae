//! Integers and truth values: `strconv.ParseInt` and `strconv.ParseBool`, with their words for what is wrong.

use super::quote::quote;
use std::borrow::Cow;

/// Reads an integer of 64 bits. `radix` 0 takes the radix from the prefix, `0x`, `0o`, `0b` or `0`, and lets underscores stand
/// between digits.
///
/// # Errors
/// The reason, as `strconv.ParseInt: parsing "x": invalid syntax`.
pub fn parse_int(text: &str, radix: u32) -> Result<i64, String> {
    let wrong = |reason: &str| format!("strconv.ParseInt: parsing {}: {reason}", quote(text.as_bytes()));
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = digits_of(digits, radix).ok_or_else(|| wrong("invalid syntax"))?;
    let magnitude = i128::from_str_radix(&digits, radix).unwrap_or(i128::MAX);
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| wrong("value out of range"))
}

/// Reads an integer of 64 bits without sign. `radix` is as for [`parse_int`].
///
/// # Errors
/// The reason, as `strconv.ParseUint: parsing "x": invalid syntax`.
pub fn parse_uint(text: &str, radix: u32) -> Result<u64, String> {
    let wrong = |reason: &str| format!("strconv.ParseUint: parsing {}: {reason}", quote(text.as_bytes()));
    let (radix, digits) = digits_of(text, radix).ok_or_else(|| wrong("invalid syntax"))?;
    u64::from_str_radix(&digits, radix).map_err(|_| wrong("value out of range"))
}

/// Reads an integer of 64 bits without sign, in hexadecimal.
///
/// # Errors
/// The reason, as `strconv.ParseUint: parsing "x": invalid syntax`.
pub fn parse_hex(text: &str) -> Result<u64, String> {
    parse_uint(text, 16)
}

/// The radix and the bare digits; nothing if they are none.
fn digits_of(text: &str, radix: u32) -> Option<(u32, Cow<'_, str>)> {
    let (radix, digits) = match radix {
        0 => {
            let (radix, digits) = split_radix(text);
            (radix, without_underscores(digits, digits.len() < text.len())?)
        }
        radix => (radix, Cow::Borrowed(text)),
    };
    let are_digits = !digits.is_empty() && digits.bytes().all(|digit| char::from(digit).is_digit(radix));
    are_digits.then_some((radix, digits))
}

/// An underscore stands between two digits, or between a prefix and a digit.
fn without_underscores(digits: &str, has_prefix: bool) -> Option<Cow<'_, str>> {
    if !digits.contains('_') {
        return Some(Cow::Borrowed(digits));
    }
    let are_apart =
        !digits.contains("__") && !digits.ends_with('_') && (has_prefix || !digits.starts_with('_'));
    are_apart.then(|| Cow::Owned(digits.replace('_', "")))
}

fn split_radix(digits: &str) -> (u32, &str) {
    let lower = digits.get(..2).map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    }
}

/// Reads a truth value.
///
/// # Errors
/// The reason, as `strconv.ParseBool: parsing "x": invalid syntax`.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text.as_bytes()))),
    }
}

/// An id in hexadecimal as `%016x` prints it: sixteen places at least, the sign of a negative id among them.
#[must_use]
pub fn lease_id(id: i64) -> String {
    if id < 0 { format!("-{:015x}", id.unsigned_abs()) } else { format!("{id:016x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(parse_int("12", 10), Ok(12));
        assert_eq!(parse_int("-7", 16), Ok(-7));
        assert_eq!(parse_int("+1f", 16), Ok(31));
        assert_eq!(parse_int("0x1F", 0), Ok(31));
        assert_eq!(parse_int("010", 0), Ok(8));
        assert_eq!(parse_int("0", 0), Ok(0));
        assert_eq!(parse_int("-1_000", 0), Ok(-1000));
        assert_eq!(parse_int("0x_1f", 0), Ok(31));
        assert_eq!(parse_int("0_7", 0), Ok(7));
        assert_eq!(parse_uint("1_0", 0), Ok(10));
        for text in ["_1", "1_", "1__0", "0x1_", "0x__1", "_", "0x"] {
            let syntax = format!("strconv.ParseInt: parsing \"{text}\": invalid syntax");
            assert_eq!(parse_int(text, 0), Err(syntax));
        }
        assert_eq!(parse_int("-9223372036854775808", 10), Ok(i64::MIN));
        let syntax = |text: &str| Err(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"));
        for text in ["", "-", "x", "1 ", "--1", "1_0", "0x1"] {
            assert_eq!(parse_int(text, 10), syntax(text));
        }
        assert_eq!(parse_int("09", 0), syntax("09"));
        let range = |text: &str| Err(format!("strconv.ParseInt: parsing \"{text}\": value out of range"));
        for text in ["9223372036854775808", "99999999999999999999999999999999999999999999"] {
            assert_eq!(parse_int(text, 10), range(text));
        }
    }

    #[test]
    fn ids() {
        assert_eq!(parse_hex("8e9e05c52164694D"), Ok(0x8e9e_05c5_2164_694d));
        let wrong = |text: &str, reason| Err(format!("strconv.ParseUint: parsing \"{text}\": {reason}"));
        for text in ["", "zz", "-1", "+1", "0x1"] {
            assert_eq!(parse_hex(text), wrong(text, "invalid syntax"));
        }
        assert_eq!(parse_hex("10000000000000000"), wrong("10000000000000000", "value out of range"));
        assert_eq!(parse_uint("0x80", 0), Ok(128));
        for text in ["-1", "+1", "1.5"] {
            assert_eq!(parse_uint(text, 0), wrong(text, "invalid syntax"));
        }
    }

    #[test]
    fn truth_values() {
        assert_eq!(parse_bool("T"), Ok(true));
        assert_eq!(parse_bool("0"), Ok(false));
        assert_eq!(parse_bool("yes"), Err("strconv.ParseBool: parsing \"yes\": invalid syntax".to_owned()));
    }

    #[test]
    fn lease_ids() {
        assert_eq!(lease_id(7), "0000000000000007");
        assert_eq!(lease_id(-7), "-000000000000007");
        assert_eq!(lease_id(i64::MIN), "-8000000000000000");
    }
}
