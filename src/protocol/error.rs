//! What can be wrong with a request's bytes; all of it is the client's to mend (status 400).

/// The field, what was expected of it and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("the request is not valid JSON: {reason}")]
    Json { reason: String },
    #[error("{field}: expected {expected}, got {actual}")]
    Field { field: String, expected: String, actual: String },
}
