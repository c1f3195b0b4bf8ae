//! Values as Go's `flag` and `strconv` packages read and print them.

use std::{fmt::Write, time::Duration};

/// What the `flag` package says about a value that it cannot read.
const PARSE_ERROR: &str = "parse error";
/// What it says about a number that does not fit.
const OUT_OF_RANGE: &str = "value out of range";

/// Reads a bool in one of Go's spellings.
///
/// # Errors
/// "parse error".
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(PARSE_ERROR.to_owned()),
    }
}

/// Reads an unsigned number: decimal, or with one of the prefixes `0x`, `0o`, `0b`, `0`; `_` may separate digits.
///
/// # Errors
/// "parse error" or "value out of range".
pub fn parse_unsigned(text: &str) -> Result<u64, String> {
    if text.starts_with('+') {
        return Err(PARSE_ERROR.to_owned());
    }
    u64::try_from(parse_number(text)?).map_err(|_| {
        let reason = if text.starts_with('-') { PARSE_ERROR } else { OUT_OF_RANGE };
        reason.to_owned()
    })
}

/// Reads a signed number, as [`parse_unsigned`] does.
///
/// # Errors
/// "parse error" or "value out of range".
pub fn parse_signed(text: &str) -> Result<i64, String> {
    i64::try_from(parse_number(text)?).map_err(|_| OUT_OF_RANGE.to_owned())
}

fn parse_number(text: &str) -> Result<i128, String> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(PARSE_ERROR.to_owned());
    }
    let magnitude = i128::from_str_radix(&plain, radix).map_err(|_| OUT_OF_RANGE.to_owned())?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// A span of time that may be negative: flags accept what only the validation refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Nanoseconds, Go's unit.
    pub nanoseconds: i64,
}

impl Span {
    /// From a duration; what does not fit 292 years is cut.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        Self { nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// As a duration; a negative span is none.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or(0))
    }

    /// As a duration, or the given one when the flag is 0 or negative.
    #[must_use]
    pub fn or(self, default: Duration) -> Duration {
        if self.nanoseconds > 0 { self.duration() } else { default }
    }
}

/// Nanoseconds of Go's duration units.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];

/// Reads a duration such as `1h2m3.5s`.
///
/// # Errors
/// The text of Go's `time.ParseDuration`.
pub fn parse_span(text: &str) -> Result<Span, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Ok(Span::default());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..number].parse().map_err(|_| invalid())?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        if unit == 0 {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let name = &rest[..unit];
        let (_, nanoseconds) = UNITS
            .iter()
            .find(|(unit, _)| *unit == name)
            .ok_or_else(|| format!("time: unknown unit {name:?} in duration {text:?}"))?;
        total += value * nanoseconds;
        rest = &rest[unit..];
    }
    if total > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(Span { nanoseconds: (sign * total).round() as i64 })
}

/// Prints a duration as Go does: `2h0m0s`, `100ms`, `0s`.
#[must_use]
pub fn format_span(span: Span) -> String {
    let sign = if span.nanoseconds < 0 { "-" } else { "" };
    let total = span.nanoseconds.unsigned_abs();
    if total == 0 {
        return "0s".to_owned();
    }
    for (limit, unit) in [(1_000, "ns"), (1_000_000, "µs"), (1_000_000_000, "ms")] {
        if total < limit {
            return format!("{sign}{}{unit}", fraction(total, limit / 1_000));
        }
    }
    let (minutes, nanoseconds) = (total / 60_000_000_000, total % 60_000_000_000);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let mut text = sign.to_owned();
    let written = if hours > 0 {
        write!(text, "{hours}h{minutes}m")
    } else if minutes > 0 {
        write!(text, "{minutes}m")
    } else {
        Ok(())
    };
    debug_assert!(written.is_ok(), "a String takes everything");
    text + &fraction(nanoseconds, 1_000_000_000) + "s"
}

/// Prints a duration as Go does.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    format_span(Span::of(duration))
}

/// `value / unit` with as many decimals as it has.
fn fraction(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let decimals = format!("{rest:0width$}");
    format!("{whole}.{}", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        assert_eq!(parse_unsigned("1_000"), Ok(1000));
        assert_eq!(parse_unsigned("0x10"), Ok(16));
        assert_eq!(parse_unsigned("010"), Ok(8));
        assert_eq!(parse_unsigned("-1"), Err("parse error".to_owned()));
        assert_eq!(parse_unsigned(""), Err("parse error".to_owned()));
        assert_eq!(parse_unsigned("18446744073709551616"), Err("value out of range".to_owned()));
        assert_eq!(parse_signed("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_signed("9223372036854775808"), Err("value out of range".to_owned()));
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        for text in
            ["0s", "1ns", "1.5µs", "100ms", "5s", "1m0s", "1m30.5s", "2h0m0s", "26h3m4.000000005s", "-1m0s"]
        {
            assert_eq!(format_span(parse_span(text).unwrap()), text);
        }
        assert_eq!(parse_span("0").unwrap(), Span::default());
        assert_eq!(format_span(parse_span("90m").unwrap()), "1h30m0s");
    }

    #[test]
    fn wrong_durations_get_gos_texts() {
        assert_eq!(parse_span("10"), Err(r#"time: missing unit in duration "10""#.to_owned()));
        assert_eq!(parse_span("10d"), Err(r#"time: unknown unit "d" in duration "10d""#.to_owned()));
        assert_eq!(parse_span(""), Err(r#"time: invalid duration """#.to_owned()));
        assert_eq!(parse_span("s"), Err(r#"time: invalid duration "s""#.to_owned()));
    }
}
