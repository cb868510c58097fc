//! Sizes and durations as people write them: a number and its unit.

use std::time::Duration;

/// What a size looks like, for messages.
pub const SIZE_FORM: &str = "a size such as 64MiB (B, KB, MB, GB, KiB, MiB or GiB)";
/// What a duration looks like, for messages.
pub const DURATION_FORM: &str = "a duration such as 10s (us, ms, s, min or h)";
/// The longest duration taken: longer is a typing error, and would overflow clocks.
const LONGEST_SECONDS: f64 = 366.0 * 24.0 * 3600.0;

/// Bytes of a size such as `64MiB`, `1.5 GiB` or `4096`.
///
/// # Errors
/// Not a size; the text says what one looks like.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text).ok_or_else(|| expected(SIZE_FORM, text))?;
    let factor = match unit {
        "" | "B" => 1.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(expected(SIZE_FORM, text)),
    };
    let bytes = number * factor;
    // Above 2^53 a float no longer holds every whole number; no machine has so much memory.
    if bytes > 2f64.powi(53) || bytes.fract() != 0.0 {
        return Err(expected(SIZE_FORM, text));
    }
    Ok(bytes as usize)
}

/// A size as one would write it: the largest unit that divides it.
pub fn format_size(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// The duration written as `500us`, `10ms`, `2.5s`, `5min` or `1h`.
///
/// # Errors
/// Not a duration, or longer than a year; the text says what one looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or_else(|| expected(DURATION_FORM, text))?;
    let seconds = match unit {
        "us" | "µs" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "min" => number * 60.0,
        "h" => number * 3600.0,
        // Zero is the same in every unit.
        "" if number == 0.0 => 0.0,
        _ => return Err(expected(DURATION_FORM, text)),
    };
    seconds_to_duration(seconds).ok_or_else(|| expected(DURATION_FORM, text))
}

/// A duration as one would write it: the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000)];
    match units.into_iter().find(|(_, factor)| micros != 0 && micros.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", micros / factor),
        None if micros == 0 => "0s".to_owned(),
        None => format!("{micros}us"),
    }
}

/// The duration of that many milliseconds, or `None` where it is negative, not a number or
/// longer than a year.
pub fn milliseconds(number: f64) -> Option<Duration> {
    seconds_to_duration(number / 1e3)
}

fn seconds_to_duration(seconds: f64) -> Option<Duration> {
    if !(0.0..=LONGEST_SECONDS).contains(&seconds) {
        return None;
    }
    // To the microsecond: 0.1 + 0.2 must not leave stray nanoseconds.
    Some(Duration::from_micros((seconds * 1e6).round() as u64))
}

/// Number and unit, or `None` where the text does not begin with a plain decimal number.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

fn expected(form: &str, text: &str) -> String {
    format!("expected {form}, got {text:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let table = [
            ("64MiB", Some(64 << 20)),
            ("1.5 GiB", Some(3 << 29)),
            ("4096", Some(4096)),
            ("0", Some(0)),
            ("2KB", Some(2000)),
            ("10 B", Some(10)),
            ("", None),
            ("MiB", None),
            ("-1MiB", None),
            ("1.5", None),
            ("64mib", None),
            ("1e9", None),
            ("99999999999GiB", None),
            ("1.2.3", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_size(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_are_read() {
        let table = [
            ("10s", Some(Duration::from_secs(10))),
            ("2.5 s", Some(Duration::from_millis(2500))),
            ("500us", Some(Duration::from_micros(500))),
            ("0.3ms", Some(Duration::from_micros(300))),
            ("5min", Some(Duration::from_secs(300))),
            ("1h", Some(Duration::from_secs(3600))),
            ("0", Some(Duration::ZERO)),
            ("10", None),
            ("-1s", None),
            ("1d", None),
            ("100000h", None),
            ("inf s", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_duration(text).ok(), expected, "{text:?}");
        }
        assert_eq!(milliseconds(0.5), Some(Duration::from_micros(500)));
        assert_eq!(milliseconds(f64::NAN), None);
        assert_eq!(milliseconds(-1.0), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [0, 1, 1000, 1024, 64 << 20, 3 << 30, (1 << 30) + 1] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        for micros in [0, 1, 1500, 2_000, 90_000_000, 3_600_000_000, 60_000_000] {
            let duration = Duration::from_micros(micros);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
