//! TensorFlow Serving's REST interface: predictions in rows or columns, status and metadata.
//!
//! Reading order: `predict` (a body to inputs), `predictions` (outputs to a body), `documents`
//! (status and metadata).

mod documents;
mod predict;
mod predictions;

pub use documents::{
    ModelStatus, ModelVersionStatus, SignatureMetadata, VersionState, VersionStatus,
};
pub use predict::{PredictFormat, PredictRequest, decode_predict};
pub use predictions::encode_predictions;
