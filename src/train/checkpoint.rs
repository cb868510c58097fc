//! A run that can go on: what a step hands to the next, in a file.
//!
//! A checkpoint is an ONNX file without nodes: the tensors are its initializers, everything else is
//! in its metadata. It is written whole or not at all.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::scores::Metrics;
use crate::onnx::build::GraphBuilder;
use crate::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::onnx::weights::tensor;
use crate::onnx::{read, write};
use crate::tensor::Tensor;

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps that are done.
    pub step: u64,
    /// The epoch whose weights are the best so far, counted from 1; 0 for none.
    pub best_epoch: u64,
    /// Its loss on the validation data.
    pub best_loss: Option<f64>,
    /// The last epoch that was validated.
    pub epoch: u64,
    /// What identifies the run: settings and data that must be the same to go on.
    pub fingerprint: String,
}

/// All that a run needs to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub progress: Progress,
    /// In the step graph's order.
    pub state: Vec<Tensor>,
    /// The best parameters so far; empty where none were validated.
    pub best: Vec<Tensor>,
}

const METADATA: &str = "onnxd.checkpoint";

impl Checkpoint {
    /// # Errors
    /// The file system refuses; what was there before is still there.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let mut graph = GraphBuilder::new("checkpoint");
        for (kind, tensors) in [("state", &self.state), ("best", &self.best)] {
            for (index, tensor) in tensors.iter().enumerate() {
                graph.initializer(&format!("{kind}/{index}"), tensor);
            }
        }
        let mut model = graph.into_model(super::CHECKPOINT_OPSET);
        let text = serde_json::to_string(&self.progress).expect("plain numbers and text");
        model
            .metadata_props
            .push(StringStringEntryProto { key: Some(METADATA.to_owned()), value: Some(text) });
        Ok(write(path, &model)?)
    }

    /// # Errors
    /// The file is missing, damaged or no checkpoint.
    pub fn load(path: &Path) -> Result<Checkpoint, TrainError> {
        let model = read(path)?;
        let damaged = |reason: &str| TrainError::NoCheckpoint {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = model.metadata_props.iter().find(|entry| entry.key() == METADATA);
        let text = text.ok_or_else(|| damaged("it has no record of a run"))?.value();
        let progress = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        let state = tensors(&model, "state")?;
        let best = tensors(&model, "best")?;
        Ok(Checkpoint { progress, state, best })
    }
}

fn tensors(model: &ModelProto, kind: &str) -> Result<Vec<Tensor>, TrainError> {
    let graph = model.graph.as_ref().ok_or(TrainError::NoGraph)?;
    let prefix = format!("{kind}/");
    let ours = graph.initializer.iter().filter(|proto| proto.name().starts_with(&prefix));
    ours.map(|proto| Ok(tensor(proto)?)).collect()
}

/// Whether metrics are better than what was best so far.
pub(super) fn is_better(metrics: &Metrics, best: Option<f64>) -> bool {
    metrics.loss.is_finite() && best.is_none_or(|best| metrics.loss < best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("last.onnx");
        let tensor = |value: f32| Tensor::from_f32(&[1], &[value]).expect("one value");
        let progress = Progress {
            step: 7,
            best_epoch: 2,
            best_loss: Some(0.1 + 0.2),
            epoch: 3,
            fingerprint: "abc".to_owned(),
        };
        let state = vec![tensor(1.5), tensor(f32::NAN), tensor(-0.0)];
        let checkpoint = Checkpoint { progress, state, best: vec![tensor(2.5)] };
        checkpoint.save(&path).expect("the folder is writable");
        assert_eq!(Checkpoint::load(&path).expect("just written"), checkpoint);
    }

    #[test]
    fn a_model_is_no_checkpoint() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.onnx");
        write(&path, &crate::onnx::samples::mlp(2, &[], 2)).expect("the folder is writable");
        let error = Checkpoint::load(&path).expect_err("a model").to_string();
        assert!(error.ends_with("is no checkpoint: it has no record of a run"), "{error}");
    }
}
