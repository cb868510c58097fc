//! The statistics extension.

use std::collections::BTreeMap;

use serde::Serialize;

/// Answer of `GET /v2/models/stats` and `GET /v2/models/{model}/stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    pub model_stats: Vec<ModelStatistics>,
}

/// One version's numbers since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelStatistics {
    pub name: String,
    pub version: String,
    /// Milliseconds since the epoch; 0 before the first.
    pub last_inference: u64,
    /// Rows answered.
    pub inference_count: u64,
    /// Runs of the model.
    pub execution_count: u64,
    pub inference_stats: InferenceStatistics,
    /// Only models with several responses to one request have any: empty here.
    pub response_stats: BTreeMap<String, InferenceStatistics>,
    pub batch_stats: Vec<BatchStatistics>,
    pub memory_usage: Vec<MemoryUsage>,
}

/// How often something happened, and how long it took altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Duration {
    pub count: u64,
    pub ns: u64,
}

/// Requests by their end, and the stages of those that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InferenceStatistics {
    pub success: Duration,
    pub fail: Duration,
    pub queue: Duration,
    pub compute_input: Duration,
    pub compute_infer: Duration,
    pub compute_output: Duration,
    pub cache_hit: Duration,
    pub cache_miss: Duration,
}

/// Runs with batches of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchStatistics {
    pub batch_size: u64,
    pub compute_input: Duration,
    pub compute_infer: Duration,
    pub compute_output: Duration,
}

/// Memory that a version takes on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryUsage {
    /// `CPU` or `GPU`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub id: u64,
    pub byte_size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_extensions() {
        let model = ModelStatistics {
            name: "m".to_owned(),
            batch_stats: vec![BatchStatistics { batch_size: 4, ..BatchStatistics::default() }],
            memory_usage: vec![MemoryUsage { kind: "CPU", id: 0, byte_size: 9 }],
            ..ModelStatistics::default()
        };
        let none = serde_json::json!({"count": 0, "ns": 0});
        let expected = serde_json::json!({"model_stats": [{
            "name": "m", "version": "", "last_inference": 0, "inference_count": 0,
            "execution_count": 0,
            "inference_stats": {"success": none, "fail": none, "queue": none,
                "compute_input": none, "compute_infer": none, "compute_output": none,
                "cache_hit": none, "cache_miss": none},
            "response_stats": {},
            "batch_stats": [{"batch_size": 4, "compute_input": none, "compute_infer": none,
                "compute_output": none}],
            "memory_usage": [{"type": "CPU", "id": 0, "byte_size": 9}],
        }]});
        let statistics = Statistics { model_stats: vec![model] };
        assert_eq!(serde_json::to_value(statistics).unwrap(), expected);
    }
}
