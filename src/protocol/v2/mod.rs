//! The Open Inference Protocol's documents besides inference: plain values, their JSON by serde.
//!
//! Reading order: `metadata` (server, models, readiness, errors), `repository` (index, load,
//! unload), `statistics`, `model_config` (Triton's ModelConfig).

mod metadata;
mod model_config;
mod repository;
mod statistics;

pub use metadata::{ErrorBody, ModelMetadata, ModelReady, ServerMetadata, TensorMetadata};
pub use model_config::{
    ConfigInput, ConfigOutput, ConfigParameter, DynamicBatching, InstanceGroup, ModelConfig,
    ModelTransactionPolicy, ResponseCache, VersionPolicy, config_dims, config_type,
};
pub use repository::{
    IndexEntry, IndexRequest, LoadRequest, ModelState, decode_index, decode_load, decode_unload,
};
pub use statistics::{
    BatchStatistics, Duration, InferenceStatistics, MemoryUsage, ModelStatistics, Statistics,
};
