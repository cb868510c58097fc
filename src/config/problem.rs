//! What can be wrong with a configuration, as values that become sentences.
//!
//! Problems are collected, never returned at the first: an operator mends a file once.

use std::fmt;

/// One problem: where, what was written there, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A file's path, or [`COMMAND_LINE`].
    pub source: String,
    /// Line in the file, from 1; `None` where the problem has no single line.
    pub line: Option<usize>,
    /// The key with its sections, such as `server.listen`, or an option such as `--listen`; empty
    /// where the whole file is meant.
    pub key: String,
    pub kind: ProblemKind,
}

/// The source of what was typed.
pub const COMMAND_LINE: &str = "command line";

/// Kinds of problem, with what one needs to mend them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    #[error("cannot be read: {reason}")]
    Unreadable { reason: String },
    #[error("not well-formed: {reason}")]
    Syntax { reason: String },
    #[error("unknown key{}", did_you_mean(suggestion.as_deref()))]
    UnknownKey { suggestion: Option<String> },
    #[error("expected {expected}, got {actual}")]
    WrongValue { expected: String, actual: String },
    #[error("missing: expected {expected}")]
    Missing { expected: String },
    /// The value alone is well-formed, but cannot be used.
    #[error("{reason}")]
    Refused { reason: String },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|key| format!(", did you mean {key}?")).unwrap_or_default()
}

impl ProblemKind {
    /// A stable word for the kind, for `check --json`.
    pub fn word(&self) -> &'static str {
        match self {
            ProblemKind::Unreadable { .. } => "unreadable",
            ProblemKind::Syntax { .. } => "syntax",
            ProblemKind::UnknownKey { .. } => "unknown_key",
            ProblemKind::WrongValue { .. } => "wrong_value",
            ProblemKind::Missing { .. } => "missing",
            ProblemKind::Refused { .. } => "refused",
        }
    }
}

impl Problem {
    /// A problem with something typed on the command line.
    pub fn on_command_line(option: &str, reason: impl Into<String>) -> Problem {
        Problem {
            source: COMMAND_LINE.to_owned(),
            line: None,
            key: option.to_owned(),
            kind: ProblemKind::Refused { reason: reason.into() },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(formatter, ": {}", self.key)?;
        }
        write!(formatter, ": {}", self.kind)
    }
}

/// Everything that is wrong: at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblems(Vec<Problem>);

impl ConfigProblems {
    /// `value` where there are no problems, else the problems in the order of their lines.
    ///
    /// # Errors
    /// There is at least one problem.
    pub fn none_or<T>(mut problems: Vec<Problem>, value: T) -> Result<T, ConfigProblems> {
        if problems.is_empty() {
            return Ok(value);
        }
        problems.sort_by(|a, b| (&a.source, a.line).cmp(&(&b.source, b.line)));
        Err(ConfigProblems(problems))
    }

    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    pub fn into_list(self) -> Vec<Problem> {
        self.0
    }
}

impl From<Problem> for ConfigProblems {
    fn from(problem: Problem) -> ConfigProblems {
        ConfigProblems(vec![problem])
    }
}

impl fmt::Display for ConfigProblems {
    /// One problem a line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigProblems {}

/// Longer keys are not compared: a typing error is short, and the comparison is quadratic.
const LONGEST_COMPARED_KEY: usize = 64;

/// The known key that `written` was probably meant to be.
pub(super) fn suggestion<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<String> {
    if written.len() > LONGEST_COMPARED_KEY {
        return None;
    }
    // A third of the letters may be wrong: more is another word.
    let limit = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|key| (edit_distance(written, key), key))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, key)| key.to_owned())
}

/// Letters to insert, delete, replace or swap with their neighbour to turn one word into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // The distances of the first `i` letters of `a` to each beginning of `b`, and of one less.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(kind: ProblemKind) -> String {
        let (source, key) = ("onnxd.toml".to_owned(), "server.listen".to_owned());
        Problem { source, line: Some(3), key, kind }.to_string()
    }

    #[test]
    fn every_kind_gives_its_sentence() {
        let reason = || "no such file".to_owned();
        let table = [
            (ProblemKind::Unreadable { reason: reason() }, "cannot be read: no such file"),
            (ProblemKind::Syntax { reason: reason() }, "not well-formed: no such file"),
            (ProblemKind::UnknownKey { suggestion: None }, "unknown key"),
            (
                ProblemKind::UnknownKey { suggestion: Some("listen".to_owned()) },
                "unknown key, did you mean listen?",
            ),
            (
                ProblemKind::WrongValue { expected: "a list".to_owned(), actual: "1".to_owned() },
                "expected a list, got 1",
            ),
            (ProblemKind::Missing { expected: "a path".to_owned() }, "missing: expected a path"),
            (ProblemKind::Refused { reason: reason() }, "no such file"),
        ];
        for (kind, expected) in table {
            assert_eq!(sentence(kind), format!("onnxd.toml:3: server.listen: {expected}"));
        }
    }

    #[test]
    fn a_typing_error_is_recognised_and_another_word_is_not() {
        let known = ["max_queue_size", "max_batch_size", "device"];
        let suggest = |written| suggestion(written, known);
        assert_eq!(suggest("max_queue_sise").as_deref(), Some("max_queue_size"));
        assert_eq!(suggest("maxbatchsize").as_deref(), Some("max_batch_size"));
        assert_eq!(suggest("devcie").as_deref(), Some("device"));
        assert_eq!(suggestion("nmae", ["name", "dims"]).as_deref(), Some("name"));
        assert_eq!(suggest("colour"), None);
        assert_eq!(suggest(&"x".repeat(10_000)), None);
    }

    #[test]
    fn problems_come_in_the_order_of_their_lines() {
        let at = |line| Problem {
            source: "a.toml".to_owned(),
            line: Some(line),
            key: format!("key{line}"),
            kind: ProblemKind::UnknownKey { suggestion: None },
        };
        let problems = ConfigProblems::none_or(vec![at(9), at(2)], ()).expect_err("two problems");
        assert_eq!(
            problems.to_string(),
            "a.toml:2: key2: unknown key\na.toml:9: key9: unknown key"
        );
        assert_eq!(ConfigProblems::none_or(Vec::new(), 7), Ok(7));
    }
}
