//! Optimisers: formulas that go into the step graph, over all parameters in one call.
//!
//! Each is a function of the domain `onnxd`, whose body is written here in standard operators; an
//! engine may have a kernel of that name. The formulas and their order of operations are those of
//! PyTorch 2 (`torch.optim.SGD`, `Adam`, `AdamW`), so that losses can be compared step by step.

mod adam;
mod function;
mod sgd;

use std::fmt;
use std::str::FromStr;

use crate::autodiff::functions::embedding::embedding_gradient;
use crate::autodiff::{Emitter, Expr};
use crate::tensor::DataType;

/// The algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sgd,
    /// Weight decay is added to the gradient.
    Adam,
    /// Weight decay is taken from the parameter itself.
    AdamW,
}

impl Algorithm {
    pub const ALL: [Algorithm; 3] = [Algorithm::Sgd, Algorithm::Adam, Algorithm::AdamW];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sgd => "sgd",
            Algorithm::Adam => "adam",
            Algorithm::AdamW => "adamw",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Algorithm, String> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| format!("unknown optimizer {text:?}: expected sgd, adam or adamw"))
    }
}

/// The algorithm and its constants.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSettings {
    pub algorithm: Algorithm,
    /// Of SGD; 0 for none.
    pub momentum: f64,
    pub nesterov: bool,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    /// Of parameters with two axes or more: biases and norms are spared.
    pub weight_decay: f64,
}

impl OptimizerSettings {
    /// PyTorch's defaults.
    pub fn of(algorithm: Algorithm) -> OptimizerSettings {
        OptimizerSettings {
            algorithm,
            momentum: 0.0,
            nesterov: false,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: if algorithm == Algorithm::AdamW { 0.01 } else { 0.0 },
        }
    }

    /// Tensors of a parameter's shape that are kept from step to step.
    pub fn moments(&self) -> usize {
        match self.algorithm {
            Algorithm::Sgd => usize::from(self.momentum != 0.0),
            Algorithm::Adam | Algorithm::AdamW => 2,
        }
    }
}

/// One parameter in a step.
#[derive(Clone, Debug)]
pub struct Updated<'g> {
    pub value: Expr<'g>,
    /// Of the value's shape; of what was looked up, where `lookup` says where that was.
    pub gradient: Expr<'g>,
    /// The value is a table, and these are the rows that were looked up: the gradient of all others
    /// is zero, and never written down.
    pub lookup: Option<Lookup<'g>>,
    /// As many as [`OptimizerSettings::moments`] says.
    pub moments: Vec<Expr<'g>>,
    pub decayed: bool,
}

/// What was looked up in a table.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'g> {
    pub indices: Expr<'g>,
    /// How many rows the table has.
    pub rows: usize,
}

/// What all parameters of a step share, each a scalar.
#[derive(Clone, Copy, Debug)]
pub struct Scalars<'g> {
    /// Of the parameters' type, as `scale` and `apply`.
    pub rate: Expr<'g>,
    /// INT64, from 1.
    pub step: Expr<'g>,
    /// Gradients are multiplied by it first: 1, or what clipping asks for.
    pub scale: Expr<'g>,
    /// 1, or 0 to leave everything as it is.
    pub apply: Expr<'g>,
}

/// A parameter after the step.
#[derive(Clone, Debug)]
pub struct Stepped<'g> {
    pub value: Expr<'g>,
    pub moments: Vec<Expr<'g>>,
}

/// Writes the update of all parameters.
pub fn write_update<'g>(
    settings: &OptimizerSettings,
    emitter: &'g Emitter,
    Scalars { rate, step, scale, apply }: Scalars<'g>,
    parameters: &[Updated<'g>],
) -> Vec<Stepped<'g>> {
    let function = function::update(settings, emitter.opset(), parameters);
    if parameters.iter().any(|parameter| parameter.lookup.is_some()) {
        emitter.bring(embedding_gradient(emitter.opset()));
    }
    let mut inputs = vec![Some(rate), Some(step), Some(scale), Some(apply)];
    inputs.extend(parameters.iter().map(|parameter| Some(parameter.value)));
    inputs.extend(parameters.iter().map(|parameter| Some(parameter.gradient)));
    for moment in 0..settings.moments() {
        inputs.extend(parameters.iter().map(|parameter| Some(parameter.moments[moment])));
    }
    let lookups = parameters.iter().filter_map(|parameter| parameter.lookup);
    inputs.extend(lookups.map(|lookup| Some(lookup.indices)));
    let types: Vec<DataType> = (0..=settings.moments())
        .flat_map(|_| parameters.iter().map(|parameter| parameter.value.data_type()))
        .collect();
    let attributes = function::attributes(settings, parameters);
    let outputs = emitter.call_function(function, &inputs, attributes, &types);
    let count = parameters.len();
    let stepped = |index: usize| Stepped {
        value: outputs[index],
        moments: (1..=settings.moments()).map(|moment| outputs[moment * count + index]).collect(),
    };
    (0..count).map(stepped).collect()
}
