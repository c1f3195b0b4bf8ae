//! Lengths of time: `time.ParseDuration` and `Duration.String`.

use super::quote::quote;
use std::time::Duration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// As many as an integer of 64 bits can say.
const NANOSECONDS_MAX: f64 = (1u64 << 63) as f64;

/// Reads a length of time such as `1h15m30.5s`. A negative one, which Go allows, is no time at all.
///
/// # Errors
/// The reason, as `time: missing unit in duration "5"`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let quoted = quote(text.as_bytes());
    let invalid = || format!("time: invalid duration {quoted}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let number = head(rest, |c| c.is_ascii_digit() || c == '.');
        rest = &rest[number.len()..];
        let unit = head(rest, |c| c != '.' && !c.is_ascii_digit());
        rest = &rest[unit.len()..];
        let amount: f64 = number.parse().map_err(|_| invalid())?;
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {quoted}"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {quoted}", quote(unit.as_bytes())));
        };
        nanoseconds += amount * scale;
    }
    if nanoseconds >= NANOSECONDS_MAX {
        return Err(invalid());
    }
    if negative {
        return Ok(Duration::ZERO);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(Duration::from_nanos(nanoseconds.round() as u64))
}

fn head(text: &str, wanted: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    &text[..end]
}

/// A length of time as Go prints it: `1m0.5s`, `12.345678ms`, `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanoseconds, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanoseconds, 6)),
        _ => {
            let (minutes, rest) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
            let seconds = decimal(rest, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value` with its last `places` digits behind a point, without zeros at the end.
fn decimal(value: u128, places: u32) -> String {
    let unit = 10u128.pow(places);
    let width = places as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let rows = [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("1h15m30.918s", 4_530_918_000_000),
            ("10ns", 10),
            ("11us", 11_000),
            ("13µs", 13_000),
            (".5s", 500_000_000),
            ("-3s", 0),
        ];
        for (text, nanoseconds) in rows {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let rows = [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5d", "time: unknown unit \"d\" in duration \"5d\""),
            (".s", "time: invalid duration \".s\""),
            ("3000000h", "time: invalid duration \"3000000h\""),
        ];
        for (text, reason) in rows {
            assert_eq!(parse(text), Err(reason.to_owned()));
        }
    }

    #[test]
    fn prints() {
        let rows = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (700_822_283, "700.822283ms"),
            (3_300_000_000, "3.3s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (60_000_000_000, "1m0s"),
        ];
        for (nanoseconds, text) in rows {
            assert_eq!(format(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
