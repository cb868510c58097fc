//! A message as a list of fields: what the text format and JSON have in common.

/// A message's fields in the order written; a repeated field is there once per entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub fields: Vec<Field>,
}

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub name: String,
    /// `None` in JSON, which is read without places.
    pub line: Option<usize>,
    pub value: Value,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    /// A quoted text.
    Text(String),
    /// An enum's value, `true`, `false`.
    Word(String),
    Message(Message),
}

/// Why a text is not well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub line: Option<usize>,
    pub reason: String,
}

/// Messages nest this deep at most: Triton's own go to seven.
pub(super) const MAX_DEPTH: usize = 32;
