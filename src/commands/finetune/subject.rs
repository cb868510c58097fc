//! The model that is trained: its file, its normal form, and what of it is trained.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::settings::Settings;
use crate::commands::resolve::{Found, find_model};
use crate::data::TargetSpec;
use crate::onnx::assign::weight_names;
use crate::onnx::external::load_external;
use crate::onnx::facts::signature;
use crate::onnx::graph::initializer;
use crate::onnx::proto::ModelProto;
use crate::onnx::weights::tensor;
use crate::onnx::{normalize, unshare};
use crate::repository::digest_file;
use crate::tensor::{DataType, Dimension, TensorSpec};
use crate::train::{Head, Loss, TrainError, head, parameters};

/// A model, and how it is trained.
pub struct Subject {
    /// For folders and titles.
    pub name: String,
    pub file: PathBuf,
    pub digest: String,
    /// The file as it is, which gets the new weights.
    pub model: ModelProto,
    pub normalized: ModelProto,
    pub parameters: Vec<String>,
    pub inputs: Vec<TensorSpec>,
    pub head: Head,
    pub loss: Loss,
    pub target: TargetSpec,
}

impl Subject {
    /// # Errors
    /// There is no model, or nothing of it can be trained with this loss.
    pub fn read(settings: &Settings) -> Result<Subject> {
        let Found { file, name } = find_model(&settings.model)?;
        let mut model = crate::onnx::read(&file).context("reading the model")?;
        load_external(&mut model, file.parent().unwrap_or(&file)).context("reading the weights")?;
        unshare(&mut model);
        let mut normalized = model.clone();
        normalize(&mut normalized).context("reading the model")?;
        let mut parameters = parameters(&normalized, &settings.trainable)?;
        // What lies in the body of a function has no place in the file to be written back to.
        let writable: HashSet<&str> = weight_names(&model).into_iter().collect();
        parameters.retain(|name| writable.contains(name.as_str()));
        if parameters.is_empty() {
            return Err(TrainError::NoParameters.into());
        }
        let head = head(&normalized, settings.head.as_deref())?;
        let inputs = inputs_of(&normalized)?;
        let output = output_shape(&normalized, &head)?;
        let loss = settings.loss.unwrap_or_else(|| head.usual_loss(classes_of(&output)));
        let target = target_spec(loss, &output)?;
        let digest = digest_file(&file)?.to_string();
        let head = head.for_loss(loss);
        Ok(Subject {
            name,
            file,
            digest,
            model,
            normalized,
            parameters,
            inputs,
            head,
            loss,
            target,
        })
    }

    /// Whether all that is trained is in 32-bit floats, which kernels are for.
    pub fn is_single(&self) -> bool {
        let graph = self.normalized.graph.as_ref();
        let is_single = |name: &String| {
            let proto = graph.and_then(|graph| initializer(graph, name));
            let tensor = proto.and_then(|proto| tensor(proto).ok());
            tensor.is_some_and(|tensor| tensor.data_type() == DataType::Float32)
        };
        self.parameters.iter().all(is_single)
    }
}

fn inputs_of(model: &ModelProto) -> Result<Vec<TensorSpec>> {
    let inputs = signature(model)?.inputs;
    let inputs: Vec<TensorSpec> = inputs.into_iter().filter(|spec| !spec.optional).collect();
    if inputs.is_empty() {
        bail!("the model has no input that data could be given to");
    }
    Ok(inputs)
}

/// The declared shape of the head's output.
fn output_shape(model: &ModelProto, head: &Head) -> Result<Vec<Dimension>> {
    let outputs = signature(model)?.outputs;
    let spec = outputs.iter().find(|spec| spec.name == head.output);
    let shape = spec.and_then(|spec| spec.shape.clone());
    shape.with_context(|| {
        format!("output {:?} has no declared shape: its classes cannot be counted", head.output)
    })
}

fn classes_of(output: &[Dimension]) -> Option<usize> {
    match output.get(1) {
        Some(Dimension::Fixed(classes)) => Some(*classes),
        _ => None,
    }
}

fn target_spec(loss: Loss, output: &[Dimension]) -> Result<TargetSpec> {
    let skipped = if loss == Loss::CrossEntropy { 2 } else { 1 };
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Ok(*size),
        Dimension::Named(name) => bail!("the output's axis {name:?} is open, expected a size"),
        Dimension::Unknown => bail!("the output has an open axis, expected a size"),
    };
    let shape = output.iter().skip(skipped).map(size).collect::<Result<Vec<usize>>>()?;
    Ok(match loss {
        Loss::CrossEntropy => TargetSpec::Classes { count: classes_of(output), shape },
        _ => TargetSpec::Numbers { data_type: DataType::Float32, shape },
    })
}
