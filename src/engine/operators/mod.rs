//! The functions of the domain `onnxd` as native operators: what an engine runs in place of a
//! function's body. Here is what engines share: names, attributes, shapes and the calls of the
//! kernels; how an engine is told of them is its own part's.
//!
//! A function's definition is the contract: the same names, inputs, outputs and attributes. All
//! floats are 32-bit; who asks a session for kernels vouches for that.
//!
//! Reading order: [`Declaration`] and [`NativeOperator`] here, `attributes`, `dimension` (shapes of
//! outputs), `operand` (values), `error`, then a file per family.

mod activation;
mod attributes;
mod convolution;
mod dimension;
mod dropout;
mod embedding;
mod error;
mod normalization;
mod operand;
mod optimizer;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

pub(super) use self::attributes::{AttributeSource, Attributes};
pub(super) use self::dimension::{Dimension, output_sizes};
pub(super) use self::error::OperatorError;
pub(super) use self::operand::{Operand, Operands, Values};
use crate::kernels::Parallel;

/// The domain of the functions, and of the operators in their place.
pub(super) const DOMAIN: &str = "onnxd";

/// An operator: what engines must know before they meet a call of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declaration {
    pub name: &'static str,
    pub inputs: &'static [Input],
    pub outputs: Outputs,
    /// Makes the operator of a call's attributes.
    pub read: fn(&Attributes<'_>) -> Result<Box<dyn NativeOperator>, OperatorError>,
}

/// What an input may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Floats(&'static str),
    /// It may be left out.
    OptionalFloats(&'static str),
    /// Integers of 32 or 64 bits.
    Integers(&'static str),
    /// All inputs from here on, at least so many, of any types.
    Many(usize),
}

/// How many outputs there are; all are floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outputs {
    Count(usize),
    /// At least one.
    Many,
}

/// All operators.
pub(super) const ALL: &[Declaration] = &[
    convolution::FORWARD,
    convolution::INPUT_GRADIENT,
    convolution::WEIGHT_GRADIENT,
    normalization::BATCH_TRAINING,
    normalization::BATCH_GRADIENT,
    normalization::LAYER_GRADIENT,
    activation::GELU,
    activation::GELU_TANH,
    activation::SOFTMAX,
    activation::LOG_SOFTMAX,
    dropout::MASK,
    embedding::GRADIENT,
    optimizer::SGD,
    optimizer::ADAM,
];

impl Declaration {
    /// The operator of that name.
    pub fn of(name: &str) -> Option<&'static Declaration> {
        ALL.iter().find(|declaration| declaration.name == name)
    }

    /// Makes the operator of a call's attributes.
    ///
    /// # Errors
    /// An attribute is missing, or nothing can be computed with its value.
    pub fn read(
        &self,
        source: &dyn AttributeSource,
    ) -> Result<Box<dyn NativeOperator>, OperatorError> {
        (self.read)(&Attributes { operator: self.name, source })
    }
}

/// One call in a graph, its attributes read.
pub(super) trait NativeOperator: Send + Sync + Debug {
    /// The shapes of the outputs in terms of those of the inputs, from the inputs' ranks alone;
    /// `None` for an input that is left out.
    ///
    /// # Errors
    /// An input is missing or has a rank that nothing can be computed for.
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError>;

    /// Inputs, each with the output that may replace it in its memory.
    fn in_place(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }

    /// Computes the outputs, which have the lengths that [`NativeOperator::output_shapes`] says.
    ///
    /// # Errors
    /// Shapes or values do not fit each other.
    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError>;
}
