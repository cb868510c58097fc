//! `onnxd gradient`: the gradient of a model's loss as a file of its own.

use anyhow::{Context, Result};

use super::Ending;
use super::output::say;
use super::resolve::{Found, find_model};
use crate::cli::GradientArguments;
use crate::engine::{EngineSettings, choose};
use crate::onnx::external::load_external;
use crate::onnx::facts::signature;
use crate::onnx::{normalize, unshare};
use crate::tensor::Dimension;
use crate::train::{GradientPlan, LossSettings, Trainable, gradient_file, head, parameters};

/// Writes the gradient graph.
///
/// # Errors
/// There is no model, it cannot be differentiated, or the file cannot be written.
pub(super) fn gradient(arguments: GradientArguments) -> Result<Ending> {
    let Found { file, .. } = find_model(&arguments.model)?;
    let mut model = crate::onnx::read(&file).context("reading the model")?;
    load_external(&mut model, file.parent().unwrap_or(&file)).context("reading the weights")?;
    unshare(&mut model);
    normalize(&mut model).context("reading the model")?;
    let trainable = Trainable { patterns: arguments.trainable };
    let parameters = parameters(&model, &trainable)?;
    let found = head(&model, arguments.head.as_deref())?;
    let outputs = signature(&model)?.outputs;
    let output = outputs.iter().find(|spec| spec.name == found.output);
    let classes = output.and_then(|spec| match spec.shape.as_deref()?.get(1)? {
        Dimension::Fixed(classes) => Some(*classes),
        _ => None,
    });
    let loss = arguments.loss.unwrap_or_else(|| found.usual_loss(classes));
    let found = found.for_loss(loss);
    let settings =
        EngineSettings { engine: arguments.engine, onnxruntime_library: arguments.onnxruntime };
    let engine = choose(&settings).context("choosing an engine")?;
    let plan = GradientPlan {
        model: &model,
        parameters: &parameters,
        output: &found.logits,
        loss: &LossSettings::plain(loss),
    };
    let gradient = gradient_file(&*engine, &plan)?;
    crate::onnx::write(&arguments.output, &gradient)?;
    say(format_args!(
        "{}: {loss} of {:?} and its gradient for {} parameters",
        arguments.output.display(),
        found.logits,
        parameters.len()
    ));
    Ok(Ending::Done)
}
