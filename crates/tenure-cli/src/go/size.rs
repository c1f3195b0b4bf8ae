//! Sizes for people, in powers of a thousand: `20 kB`, `2.1 GB`.

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// A number of bytes with two digits at least, as etcdctl prints it.
#[must_use]
pub fn format(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let exponent = bytes.ilog10() / 3;
    let unit = 1_000u64.pow(exponent);
    #[expect(clippy::cast_precision_loss, reason = "one place behind the point is printed")]
    let value = (bytes as f64 / unit as f64 * 10.0 + 0.5).floor() / 10.0;
    let places = usize::from(value < 10.0);
    format!("{value:.places$} {}", UNITS[exponent as usize])
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        let rows = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (4_096, "4.1 kB"),
            (20_480, "20 kB"),
            (999_999, "1000 kB"),
            (2_147_483_648, "2.1 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in rows {
            assert_eq!(super::format(bytes), text);
        }
    }
}
