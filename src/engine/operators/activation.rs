//! Gradients of activations.

use super::operand::{axis, rank};
use super::{
    Attributes, Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs,
};
use crate::kernels::gelu::Approximation;
use crate::kernels::softmax::AxisShape;
use crate::kernels::{Parallel, gelu, softmax};

/// `GeluGradient(dy, x) → dx`.
pub(super) const GELU: Declaration = Declaration {
    name: "GeluGradient",
    inputs: &[Input::Floats("dy"), Input::Floats("x")],
    outputs: Outputs::Count(1),
    read: |attributes| Ok(gelu_gradient(attributes, Approximation::Exact)),
};

/// `GeluTanhGradient(dy, x) → dx`.
pub(super) const GELU_TANH: Declaration = Declaration {
    name: "GeluTanhGradient",
    inputs: &[Input::Floats("dy"), Input::Floats("x")],
    outputs: Outputs::Count(1),
    read: |attributes| Ok(gelu_gradient(attributes, Approximation::Tanh)),
};

/// `SoftmaxGradient(dy, y; axis) → dx`.
pub(super) const SOFTMAX: Declaration = Declaration {
    name: "SoftmaxGradient",
    inputs: &[Input::Floats("dy"), Input::Floats("y")],
    outputs: Outputs::Count(1),
    read: |attributes| SoftmaxGradient::read(attributes, false),
};

/// `LogSoftmaxGradient(dy, y; axis) → dx`.
pub(super) const LOG_SOFTMAX: Declaration = Declaration {
    name: "LogSoftmaxGradient",
    inputs: &[Input::Floats("dy"), Input::Floats("y")],
    outputs: Outputs::Count(1),
    read: |attributes| SoftmaxGradient::read(attributes, true),
};

/// One output, of the shape of the second input.
fn as_second(
    operator: &'static str,
    ranks: &[Option<usize>],
    least: usize,
) -> Result<Vec<Vec<Dimension>>, OperatorError> {
    let rank = rank(operator, ranks, 1, least)?;
    Ok(vec![Dimension::all_from(1, 0, rank)])
}

fn gelu_gradient(
    attributes: &Attributes<'_>,
    approximation: Approximation,
) -> Box<dyn NativeOperator> {
    Box::new(GeluGradient { operator: attributes.operator, approximation })
}

#[derive(Debug)]
struct GeluGradient {
    operator: &'static str,
    approximation: Approximation,
}

impl NativeOperator for GeluGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        as_second(self.operator, ranks, 0)
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let dy = inputs.floats_of(0, inputs.shape(1)?)?;
        Ok(gelu::gradient(self.approximation, dy, inputs.floats(1)?, outputs[0], parallel)?)
    }
}

#[derive(Debug)]
struct SoftmaxGradient {
    operator: &'static str,
    axis: i64,
    logarithm: bool,
}

impl SoftmaxGradient {
    fn read(
        attributes: &Attributes<'_>,
        logarithm: bool,
    ) -> Result<Box<dyn NativeOperator>, OperatorError> {
        let axis = attributes.int("axis")?;
        Ok(Box::new(SoftmaxGradient { operator: attributes.operator, axis, logarithm }))
    }
}

impl NativeOperator for SoftmaxGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        as_second(self.operator, ranks, 1)
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let sizes = inputs.shape(1)?;
        let last = sizes.len().saturating_sub(1);
        let axis = axis(self.operator, self.axis, sizes.len(), last)?;
        let shape = AxisShape {
            outer: sizes[..axis].iter().product(),
            axis: sizes[axis],
            inner: sizes[axis + 1..].iter().product(),
        };
        let (dy, y) = (inputs.floats_of(0, sizes)?, inputs.floats(1)?);
        let gradient = if self.logarithm { softmax::log_gradient } else { softmax::gradient };
        Ok(gradient(shape, dy, y, outputs[0], parallel)?)
    }
}
