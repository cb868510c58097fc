//! How a TOML value becomes a Rust one: small readers that say what they expected.
//!
//! A reader is a function from a value to a result whose error is the problem without its place;
//! [`Section`](super::section::Section) adds that. Readers take other readers: a list of sizes, a
//! size or the word `auto`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::problem::ProblemKind;
use super::units;

/// What a reader gives.
pub(super) type Read<T> = Result<T, ProblemKind>;

/// Longer values are cut in messages.
const SHOWN_CHARACTERS: usize = 60;

/// The problem of a value that is not what was expected.
pub(super) fn wrong(value: &DeValue<'_>, expected: impl Into<String>) -> ProblemKind {
    ProblemKind::WrongValue { expected: expected.into(), actual: shown(value) }
}

/// A value as a message shows it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => shown_text(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A text as a message shows it: quoted, and cut where it is long.
pub(super) fn shown_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| wrong(value, "true or false"))
}

/// A text that is not empty.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(wrong(value, "a text that is not empty")),
    }
}

pub(super) fn path(value: &DeValue<'_>) -> Read<PathBuf> {
    text(value).map(PathBuf::from).map_err(|_| wrong(value, "a path"))
}

/// A whole number in a range.
pub(super) fn count(range: RangeInclusive<usize>) -> impl Fn(&DeValue<'_>) -> Read<usize> {
    move |value| {
        let number = value.as_integer().and_then(|integer| to_number::<usize>(integer));
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            wrong(value, format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }
}

/// As [`count`], for what is kept in 32 bits.
pub(super) fn small_count(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    move |value| {
        let number = value.as_integer().and_then(|integer| to_number::<u32>(integer));
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            wrong(value, format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }
}

fn to_number<N: TryFrom<u64>>(integer: &DeInteger<'_>) -> Option<N> {
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    N::try_from(number).ok()
}

/// A version's number.
pub(super) fn version(value: &DeValue<'_>) -> Read<u64> {
    value
        .as_integer()
        .and_then(|integer| to_number::<u64>(integer))
        .filter(|number| *number > 0)
        .ok_or_else(|| wrong(value, "a version number from 1"))
}

/// Any finite number.
pub(super) fn number(value: &DeValue<'_>) -> Read<f64> {
    let text = match value {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
        DeValue::Float(float) => float.as_str(),
        _ => return Err(wrong(value, "a number")),
    };
    text.parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())
        .ok_or_else(|| wrong(value, "a number"))
}

/// A share of the whole.
pub(super) fn ratio(value: &DeValue<'_>) -> Read<f64> {
    let share = number(value).ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| wrong(value, "a number from 0 to 1"))
}

/// A number of milliseconds; fractions are taken.
pub(super) fn milliseconds(value: &DeValue<'_>) -> Read<Duration> {
    let expected = || wrong(value, "a number of milliseconds from 0, at most a year");
    number(value).ok().and_then(units::milliseconds).ok_or_else(expected)
}

/// As [`milliseconds`]; 0 is no timeout.
pub(super) fn timeout_milliseconds(value: &DeValue<'_>) -> Read<Option<Duration>> {
    milliseconds(value).map(|duration| Some(duration).filter(|duration| !duration.is_zero()))
}

/// A duration within bounds, written with its unit.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let text = value.as_str().ok_or_else(|| wrong(value, units::DURATION_FORM))?;
        let duration =
            units::parse_duration(text).map_err(|_| wrong(value, units::DURATION_FORM))?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (range.start(), range.end());
        let (least, most) = (units::format_duration(*least), units::format_duration(*most));
        Err(wrong(value, format!("a duration from {least} to {most}")))
    }
}

/// A size within bounds, written with its unit.
pub(super) fn size(range: RangeInclusive<usize>) -> impl Fn(&DeValue<'_>) -> Read<usize> {
    move |value| {
        let text = value.as_str().ok_or_else(|| wrong(value, units::SIZE_FORM))?;
        let bytes = units::parse_size(text).map_err(|_| wrong(value, units::SIZE_FORM))?;
        if range.contains(&bytes) {
            return Ok(bytes);
        }
        let (least, most) = (units::format_size(*range.start()), units::format_size(*range.end()));
        Err(wrong(value, format!("a size from {least} to {most}")))
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let written = value.as_str().unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == written);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| wrong(value, alternatives(words)))
    }
}

fn alternatives<T>(words: &[(&'static str, T)]) -> String {
    let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A text of a type that reads itself and whose error is a whole sentence.
pub(super) fn parsed<T: FromStr<Err = String>>(value: &DeValue<'_>) -> Read<T> {
    let text = value.as_str().ok_or_else(|| wrong(value, "a text"))?;
    text.parse().map_err(|reason| ProblemKind::Refused { reason })
}

/// What `read` reads, or a word for "nothing" (`auto`, `off`, `none`).
pub(super) fn or_word<T>(
    word: &'static str,
    read: impl Fn(&DeValue<'_>) -> Read<T>,
) -> impl Fn(&DeValue<'_>) -> Read<Option<T>> {
    move |value| {
        if value.as_str() == Some(word) {
            return Ok(None);
        }
        read(value).map(Some).map_err(|kind| match kind {
            ProblemKind::WrongValue { expected, actual } => {
                ProblemKind::WrongValue { expected: format!("{expected}, or {word:?}"), actual }
            }
            other => other,
        })
    }
}

/// A list, of at most `most` entries.
pub(super) fn list<T>(
    most: usize,
    read: impl Fn(&DeValue<'_>) -> Read<T>,
) -> impl Fn(&DeValue<'_>) -> Read<Vec<T>> {
    move |value| {
        let entries = value.as_array().ok_or_else(|| wrong(value, "a list"))?;
        if entries.len() > most {
            let actual = format!("{} entries", entries.len());
            let expected = format!("a list of at most {most} entries");
            return Err(ProblemKind::WrongValue { expected, actual });
        }
        entries.iter().map(|entry| read(entry.get_ref())).collect()
    }
}

/// As [`list`]; an empty one is refused.
pub(super) fn filled_list<T>(
    most: usize,
    read: impl Fn(&DeValue<'_>) -> Read<T>,
) -> impl Fn(&DeValue<'_>) -> Read<Vec<T>> {
    let read = list(most, read);
    move |value| match read(value)? {
        entries if entries.is_empty() => Err(ProblemKind::WrongValue {
            expected: "a list of at least one entry".to_owned(),
            actual: "an empty list".to_owned(),
        }),
        entries => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(read: impl Fn(&DeValue<'_>) -> Read<T>, toml: &str, expected: Result<T, &str>)
    where
        T: PartialEq + std::fmt::Debug,
    {
        let value = DeValue::parse(toml).expect("the test's own text is TOML");
        let actual = read(value.get_ref()).map_err(|kind| kind.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned), "{toml}");
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let expected = "expected a whole number from 1 to 8, got ";
        check(count(1..=8), "8", Ok(8));
        check(count(1..=8), "0b11", Ok(3));
        check(count(1..=8), "9", Err(&format!("{expected}9")));
        check(count(1..=8), "-1", Err(&format!("{expected}-1")));
        check(count(1..=8), "1.0", Err(&format!("{expected}1.0")));
        check(count(1..=8), "'1'", Err(&format!("{expected}\"1\"")));
        check(
            count(1..=8),
            "99999999999999999999999",
            Err(&format!("{expected}99999999999999999999999")),
        );
        check(small_count(0..=5), "5", Ok(5));
        check(version, "3", Ok(3));
        check(version, "0", Err("expected a version number from 1, got 0"));
        check(number, "-1.5", Ok(-1.5));
        check(number, "1_000", Ok(1000.0));
        check(ratio, "0.25", Ok(0.25));
        check(ratio, "1.5", Err("expected a number from 0 to 1, got 1.5"));
        check(number, "nan", Err("expected a number, got nan"));
    }

    #[test]
    fn times_and_sizes_carry_their_unit() {
        check(milliseconds, "0.5", Ok(Duration::from_micros(500)));
        check(timeout_milliseconds, "0", Ok(None));
        check(
            milliseconds,
            "-1",
            Err("expected a number of milliseconds from 0, at most a year, got -1"),
        );
        let seconds = |range: RangeInclusive<u64>| {
            duration(Duration::from_secs(*range.start())..=Duration::from_secs(*range.end()))
        };
        check(seconds(1..=60), "'10s'", Ok(Duration::from_secs(10)));
        check(seconds(1..=60), "'2min'", Err("expected a duration from 1s to 1min, got \"2min\""));
        check(
            seconds(1..=60),
            "10",
            Err("expected a duration such as 10s (us, ms, s, min or h), got 10"),
        );
        check(size(1..=1024), "'1KiB'", Ok(1024));
        check(size(1..=1024), "'2KiB'", Err("expected a size from 1B to 1KiB, got \"2KiB\""));
    }

    #[test]
    fn words_and_lists_say_what_is_allowed() {
        let modes = || word(&[("proven", 1), ("force", 2), ("off", 3)]);
        check(modes(), "'force'", Ok(2));
        check(modes(), "'on'", Err("expected \"proven\", \"force\" or \"off\", got \"on\""));
        check(modes(), "true", Err("expected \"proven\", \"force\" or \"off\", got true"));
        let automatic = || or_word("auto", count(1..=4));
        check(automatic(), "'auto'", Ok(None));
        check(automatic(), "4", Ok(Some(4)));
        check(
            automatic(),
            "'aut'",
            Err("expected a whole number from 1 to 4, or \"auto\", got \"aut\""),
        );
        check(list(2, boolean), "[true, false]", Ok(vec![true, false]));
        check(list(2, boolean), "[true, 1]", Err("expected true or false, got 1"));
        check(
            list(2, boolean),
            "[true, true, true]",
            Err("expected a list of at most 2 entries, got 3 entries"),
        );
        check(
            filled_list(2, boolean),
            "[]",
            Err("expected a list of at least one entry, got an empty list"),
        );
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        let toml = format!("'{}'", "ä".repeat(100));
        let shown = format!("expected true or false, got \"{}\"…", "ä".repeat(SHOWN_CHARACTERS));
        check(boolean, &toml, Err(&shown));
    }
}
