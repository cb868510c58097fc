//! A TOML file read key by key, every problem kept.
//!
//! Deserialising into a struct stops at the first wrong value; an operator wants all of them. So
//! a [`Document`] is walked instead: each key is asked for by name with a reader for its value,
//! and what was never asked for is an unknown key. The names exist once, where they are asked for.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigProblems, Problem, ProblemKind, suggestion};
use super::values::{Read, wrong};

/// A file that is being read, and what was found wrong with it.
pub(super) struct Document<'t> {
    source: String,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    /// Every key that was asked for, with its sections: the catalogue of keys, for tests.
    asked: RefCell<BTreeSet<String>>,
}

impl<'t> Document<'t> {
    pub fn new(source: impl Into<String>, text: &'t str) -> Document<'t> {
        let (problems, asked) = (RefCell::default(), RefCell::default());
        Document { source: source.into(), text, problems, asked }
    }

    /// Lets `read` take the keys it knows; the rest is reported as unknown.
    pub fn read<T>(&self, read: impl FnOnce(&Section<'_>) -> T) -> Option<T> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        if !errors.is_empty() {
            // What was recovered is not looked at: half a file gives misleading problems.
            for error in errors {
                let reason = error.message().trim().to_owned();
                self.report(error.span().as_ref(), String::new(), ProblemKind::Syntax { reason });
            }
            return None;
        }
        let section = Section::new(self, root.get_ref(), String::new(), 0..0);
        let result = read(&section);
        section.report_unknown();
        Some(result)
    }

    fn report(&self, span: Option<&Range<usize>>, key: String, kind: ProblemKind) {
        let before = |span: &Range<usize>| self.text.as_bytes().get(..span.start);
        let newlines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        let line = span.and_then(before).map(|text| newlines(text) + 1);
        self.problems.borrow_mut().push(Problem { source: self.source.clone(), line, key, kind });
    }

    /// Every key that was asked for, as `section.key`.
    #[cfg(test)]
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// What was read, unless something was wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, ConfigProblems> {
        let value = ConfigProblems::none_or(self.into_problems(), value)?;
        Ok(value.expect("a file that could not be read has a problem"))
    }
}

/// One table of the file.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    table: &'d DeTable<'d>,
    path: String,
    span: Range<usize>,
    known: RefCell<Vec<String>>,
}

impl<'d> Section<'d> {
    fn new(
        document: &'d Document<'_>,
        table: &'d DeTable<'_>,
        path: String,
        span: Range<usize>,
    ) -> Section<'d> {
        Section { document, table, path, span, known: RefCell::default() }
    }

    /// Whether the section has the key.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, or `None` where it is absent or wrong; then the problem is kept.
    pub fn get<T>(&self, key: &str, read: impl Fn(&DeValue<'_>) -> Read<T>) -> Option<T> {
        let (span, value) = self.look_up(key)?;
        self.keep(key, span, read(value))
    }

    /// Puts the value of a key in place of a default, where the key is there.
    pub fn set<T>(&self, key: &str, place: &mut T, read: impl Fn(&DeValue<'_>) -> Read<T>) {
        if let Some(value) = self.get(key, read) {
            *place = value;
        }
    }

    /// As [`Section::get`], for a key that must be there.
    pub fn require<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<T> {
        if !self.has(key) {
            let expected = expected.to_owned();
            self.report(key, None, ProblemKind::Missing { expected });
        }
        self.get(key, read)
    }

    /// Reads the table of that name, an empty one where it is absent.
    pub fn table<T>(&self, key: &str, read: impl FnOnce(&Section<'_>) -> T) -> T {
        let empty = DeTable::new();
        let found = self.look_up(key).and_then(|(span, value)| {
            let table = value.as_table().ok_or_else(|| wrong(value, "a table"));
            self.keep(key, span.clone(), table).map(|table| (span, table))
        });
        let (span, table) = found.unwrap_or((self.span.clone(), &empty));
        self.nested(self.full_key(key), span, table, read)
    }

    /// Reads every table of a list of tables (`[[key]]`), at most `most`.
    pub fn tables<T>(
        &self,
        key: &str,
        most: usize,
        read: impl Fn(&Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (span, value) = self.look_up(key)?;
        let expected = || wrong(value, format!("a list of at most {most} tables"));
        let entries = value.as_array().filter(|entries| entries.len() <= most);
        let entries = self.keep(key, span, entries.ok_or_else(expected))?;
        let read_one = |entry: &'_ toml::Spanned<DeValue<'_>>| {
            let table = entry.get_ref().as_table();
            let table = table.ok_or_else(|| wrong(entry.get_ref(), "a table"));
            let table = self.keep(key, entry.span(), table)?;
            self.nested(self.full_key(key), entry.span(), table, &read)
        };
        Some(entries.iter().filter_map(read_one).collect())
    }

    /// Every entry of this section, whatever its name: for tables whose keys are the user's own
    /// (inputs, outputs).
    pub fn each<T>(&self, read: impl Fn(&DeValue<'_>) -> Read<T>) -> Vec<(String, T)> {
        let names = self.table.keys().map(|key| key.get_ref().as_ref());
        names.filter_map(|name| Some((name.to_owned(), self.get(name, &read)?))).collect()
    }

    /// As [`Section::each`], where the entries are tables themselves.
    pub fn each_table(&self, mut read: impl FnMut(&str, &Section<'_>)) {
        for name in self.table.keys().map(|key| key.get_ref().as_ref()) {
            self.table(name, |section| read(name, section));
        }
    }

    /// Keeps a problem with one of the section's keys.
    pub fn refuse(&self, key: &str, reason: impl Into<String>) {
        let span = self.table.get(key).map(toml::Spanned::span);
        self.report(key, span, ProblemKind::Refused { reason: reason.into() });
    }

    fn nested<T>(
        &self,
        path: String,
        span: Range<usize>,
        table: &DeTable<'_>,
        read: impl FnOnce(&Section<'_>) -> T,
    ) -> T {
        let section = Section::new(self.document, table, path, span);
        let result = read(&section);
        section.report_unknown();
        result
    }

    fn look_up(&self, key: &str) -> Option<(Range<usize>, &DeValue<'d>)> {
        self.known.borrow_mut().push(key.to_owned());
        self.document.asked.borrow_mut().insert(self.full_key(key));
        self.table.get(key).map(|value| (value.span(), value.get_ref()))
    }

    fn keep<T>(&self, key: &str, span: Range<usize>, result: Read<T>) -> Option<T> {
        result.map_err(|kind| self.report(key, Some(span), kind)).ok()
    }

    fn report(&self, key: &str, span: Option<Range<usize>>, kind: ProblemKind) {
        let span = span.unwrap_or_else(|| self.span.clone());
        self.document.report(Some(&span), self.full_key(key), kind);
    }

    fn full_key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn report_unknown(&self) {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let written: &str = key.get_ref();
            if known.iter().any(|name| name == written) {
                continue;
            }
            let suggestion = suggestion(written, known.iter().map(String::as_str));
            self.report(written, Some(key.span()), ProblemKind::UnknownKey { suggestion });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::{boolean, count};
    use super::*;

    fn problems(text: &str, read: impl FnOnce(&Section<'_>)) -> Vec<String> {
        let document = Document::new("f", text);
        let value = document.read(read);
        let result = document.finish(value);
        match result {
            Ok(()) => Vec::new(),
            Err(problems) => problems.list().iter().map(Problem::to_string).collect(),
        }
    }

    #[test]
    fn every_problem_of_a_file_is_told_at_once_with_its_line() {
        let text = "a = 0\nb = true\n\n[s]\nc = 1\nwrng = 2\n[[t]]\nd = 1\n[[t]]\nd = 99\n[t2]\n";
        let actual = problems(text, |root| {
            root.get("a", count(1..=5));
            root.get("b", count(1..=5));
            root.table("s", |section| {
                section.get("c", boolean);
                section.get("wrong", boolean);
                section.require("must", "a path", boolean);
            });
            root.tables("t", 4, |section| section.get("d", count(0..=5)));
            root.tables("t2", 4, |_| Some(()));
        });
        let expected = [
            "f:1: a: expected a whole number from 1 to 5, got 0",
            "f:2: b: expected a whole number from 1 to 5, got true",
            "f:4: s.must: missing: expected a path",
            "f:5: s.c: expected true or false, got 1",
            "f:6: s.wrng: unknown key, did you mean wrong?",
            "f:10: t.d: expected a whole number from 0 to 5, got 99",
            "f:11: t2: expected a list of at most 4 tables, got a table",
        ];
        assert_eq!(actual, expected);
    }

    #[test]
    fn a_file_that_is_not_toml_says_where() {
        let actual = problems("a = \nb = 1\nc = [1,\n", |_| ());
        assert!(actual.iter().all(|problem| problem.contains("not well-formed")), "{actual:?}");
        assert!(actual[0].starts_with("f:1: "), "{actual:?}");
    }

    #[test]
    fn a_key_twice_is_refused() {
        let actual = problems("a = 1\na = 2\n", |root| {
            root.get("a", count(0..=5));
        });
        assert_eq!(actual, ["f:2: not well-formed: duplicate key"]);
    }

    #[test]
    fn keys_of_the_users_own_are_all_taken() {
        let text = "[m]\nx = 1\n'y.z' = 2\n[n.deep]\n1 = true\n";
        let actual = problems(text, |root| {
            let entries = root.table("m", |section| section.each(count(0..=9)));
            assert_eq!(entries, [("x".to_owned(), 1), ("y.z".to_owned(), 2)]);
            root.table("n", |section| {
                section.each_table(|name, inner| {
                    assert_eq!((name, inner.get("1", boolean)), ("deep", Some(true)));
                });
            });
        });
        assert_eq!(actual, Vec::<String>::new());
    }
}
