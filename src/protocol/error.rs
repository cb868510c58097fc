//! What can be wrong with a request's bytes, or with the form an answer was asked for in; all of
//! it but want of room is the client's to mend (status 400).

/// The field, what was expected of it and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("the request is not valid JSON: {reason}")]
    Json { reason: String },
    #[error("{field}: expected {expected}, got {actual}")]
    Field { field: String, expected: String, actual: String },
    /// Well-formed, but nothing that is done here; the reason names the way out.
    #[error("{field}: {reason}")]
    Unsupported { field: String, reason: String },
    /// Nothing is wrong with it, but there is no memory for it now.
    #[error("{field}: {reason}")]
    NoRoom { field: String, reason: String },
}

impl ProtocolError {
    /// Out of line: errors are rare and their text would bloat the loops that find them.
    #[cold]
    pub(super) fn field(
        field: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> ProtocolError {
        ProtocolError::Field {
            field: field.into(),
            expected: expected.into(),
            actual: actual.into(),
        }
    }

    #[cold]
    pub(super) fn unsupported(
        field: impl Into<String>,
        reason: impl Into<String>,
    ) -> ProtocolError {
        ProtocolError::Unsupported { field: field.into(), reason: reason.into() }
    }
}
