//! Taking fields out of a message by name. What is wrong is a problem; what is never taken, or is
//! taken only to be ignored, is a warning.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::super::problem::{Problem, ProblemKind, suggestion};
use super::super::values::shown_text;
use super::tree::{Field, Message, Value};

/// What was found about one configuration.
pub(super) struct Notes {
    source: String,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Notes {
    pub fn new(source: &str) -> Notes {
        let (problems, warnings) = (RefCell::default(), RefCell::default());
        Notes { source: source.to_owned(), problems, warnings }
    }

    pub fn into_parts(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }
}

/// One message while its fields are taken. What was not taken is reported when it is dropped.
pub(super) struct Fields<'m> {
    notes: &'m Notes,
    message: &'m Message,
    path: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'m> Fields<'m> {
    pub fn new(notes: &'m Notes, message: &'m Message, path: String) -> Fields<'m> {
        Fields { notes, message, path, known: RefCell::default() }
    }

    /// Whether the field is there.
    pub fn has(&self, name: &'static str) -> bool {
        self.every(name).next().is_some()
    }

    /// A whole number; the last one counts where there are several, as in protobuf.
    pub fn integer(&self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let field = self.every(name).last()?;
        self.integer_of(field, &range)
    }

    /// A whole number from 0.
    pub fn count(&self, name: &'static str, most: usize) -> Option<usize> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.integer(name, 0..=most).and_then(|number| usize::try_from(number).ok())
    }

    /// Every entry of a repeated whole number.
    pub fn integers(&self, name: &'static str, range: RangeInclusive<i64>) -> Vec<i64> {
        self.every(name).filter_map(|field| self.integer_of(field, &range)).collect()
    }

    pub fn boolean(&self, name: &'static str) -> Option<bool> {
        let field = self.every(name).last()?;
        match &field.value {
            Value::Word(word) if matches!(word.as_str(), "true" | "True" | "t") => Some(true),
            Value::Word(word) if matches!(word.as_str(), "false" | "False" | "f") => Some(false),
            Value::Integer(number @ 0..=1) => Some(*number == 1),
            _ => self.wrong(field, "true or false"),
        }
    }

    pub fn text(&self, name: &'static str) -> Option<String> {
        let field = self.every(name).last()?;
        self.text_of(field)
    }

    /// One of an enum's words, or its number in that order.
    pub fn choice(&self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let field = self.every(name).last()?;
        let found = match &field.value {
            // JSON quotes its enums.
            Value::Word(word) | Value::Text(word) => words.iter().find(|known| *known == word),
            Value::Integer(number) => {
                usize::try_from(*number).ok().and_then(|number| words.get(number))
            }
            _ => None,
        };
        match found {
            Some(word) => Some(word),
            None => self.wrong(field, &words.join(", ")),
        }
    }

    /// A message; the last one counts where there are several.
    pub fn message(&self, name: &'static str) -> Option<Fields<'m>> {
        let field = self.every(name).last()?;
        self.message_of(field)
    }

    /// Every entry of a repeated message.
    pub fn messages(&self, name: &'static str) -> Vec<Fields<'m>> {
        self.every(name).filter_map(|field| self.message_of(field)).collect()
    }

    /// The entries of a map of texts, or of messages that hold one text in `string_value`.
    pub fn texts_by_key(&self, name: &'static str) -> Vec<(String, String)> {
        let entry = |fields: Fields<'m>| {
            let key = fields.text("key")?;
            let value = match fields.last("value").map(|field| &field.value) {
                Some(Value::Message(_)) => fields.message("value")?.text("string_value"),
                Some(_) => fields.text("value"),
                None => None,
            };
            Some((key, value.unwrap_or_default()))
        };
        self.messages(name).into_iter().filter_map(entry).collect()
    }

    /// The entries of a map of messages.
    pub fn messages_by_key(&self, name: &'static str) -> Vec<(String, Fields<'m>)> {
        let entry = |fields: Fields<'m>| Some((fields.text("key")?, fields.message("value")?));
        self.messages(name).into_iter().filter_map(entry).collect()
    }

    /// Knows a field and does not honour it: a warning where it is there. What is below it is
    /// not looked at.
    pub fn ignore(&self, name: &'static str, why: &str) {
        if self.has(name) {
            self.warn(name, why);
        }
    }

    /// As [`Fields::ignore`], for a switch that only matters when it is on.
    pub fn ignore_if_true(&self, name: &'static str, why: &str) {
        if self.boolean(name) == Some(true) {
            self.warn(name, why);
        }
    }

    /// A warning about a field that is there.
    pub fn warn(&self, name: &str, why: &str) {
        let key = self.full_key(name);
        self.notes.warnings.borrow_mut().push(format!("{key} is not honoured: {why}"));
    }

    /// A problem with a field that is there.
    pub fn refuse(&self, name: &'static str, reason: impl Into<String>) {
        let line = self.last(name).and_then(|field| field.line);
        self.report(name, line, ProblemKind::Refused { reason: reason.into() });
    }

    fn every(&self, name: &'static str) -> impl Iterator<Item = &'m Field> + use<'m> {
        self.known.borrow_mut().push(name);
        self.message.fields.iter().filter(move |field| field.name == name)
    }

    fn last(&self, name: &'static str) -> Option<&'m Field> {
        self.every(name).last()
    }

    fn integer_of(&self, field: &Field, range: &RangeInclusive<i64>) -> Option<i64> {
        let number = match &field.value {
            Value::Integer(number) => i64::try_from(*number).ok(),
            // JSON quotes numbers of 64 bits.
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (least, most) = (range.start(), range.end());
                self.wrong(field, &format!("a whole number from {least} to {most}"))
            }
        }
    }

    fn text_of(&self, field: &Field) -> Option<String> {
        match &field.value {
            Value::Text(text) => Some(text.clone()),
            _ => self.wrong(field, "a quoted text"),
        }
    }

    fn message_of(&self, field: &'m Field) -> Option<Fields<'m>> {
        match &field.value {
            Value::Message(message) => {
                Some(Fields::new(self.notes, message, self.full_key(&field.name)))
            }
            _ => self.wrong(field, "a message in braces"),
        }
    }

    fn wrong<T>(&self, field: &Field, expected: &str) -> Option<T> {
        let actual = match &field.value {
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Text(text) => shown_text(text),
            Value::Word(word) => word.clone(),
            Value::Message(_) => "a message".to_owned(),
        };
        let kind = ProblemKind::WrongValue { expected: expected.to_owned(), actual };
        self.report(&field.name, field.line, kind);
        None
    }

    fn report(&self, name: &str, line: Option<usize>, kind: ProblemKind) {
        let (source, key) = (self.notes.source.clone(), self.full_key(name));
        self.notes.problems.borrow_mut().push(Problem { source, line, key, kind });
    }

    fn full_key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl Drop for Fields<'_> {
    fn drop(&mut self) {
        let known = self.known.borrow();
        let mut reported: Vec<&str> = Vec::new();
        for field in &self.message.fields {
            let name = field.name.as_str();
            if known.contains(&name) || reported.contains(&name) {
                continue;
            }
            reported.push(name);
            let why = match suggestion(name, known.iter().copied()) {
                Some(meant) => format!("the field is unknown, did you mean {meant}?"),
                None => "the field is unknown".to_owned(),
            };
            self.warn(name, &why);
        }
    }
}
