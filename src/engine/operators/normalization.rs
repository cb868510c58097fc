//! Normalisations in training, and their gradients.

use super::operand::{axis, rank};
use super::{Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs};
use crate::kernels::Parallel;
use crate::kernels::batch_normalization as batch;
use crate::kernels::batch_normalization::ChannelShape;
use crate::kernels::layer_normalization as layer;
use crate::kernels::layer_normalization::RowShape;

/// `BatchNormalizationTraining(x, scale, bias, running_mean, running_var; epsilon, momentum) → y,
/// new_running_mean, new_running_var, mean, inv_std`.
pub(super) const BATCH_TRAINING: Declaration = Declaration {
    name: "BatchNormalizationTraining",
    inputs: &[
        Input::Floats("x"),
        Input::Floats("scale"),
        Input::Floats("bias"),
        Input::Floats("running_mean"),
        Input::Floats("running_var"),
    ],
    outputs: Outputs::Count(5),
    read: |attributes| {
        let epsilon = attributes.float("epsilon")?;
        let momentum = attributes.float("momentum")?;
        let settings = batch::Settings { epsilon, momentum };
        Ok(Box::new(BatchTraining { operator: attributes.operator, settings }))
    },
};

/// `BatchNormalizationGradient(dy, x, scale, mean, inv_std) → dx, dscale, dbias`.
pub(super) const BATCH_GRADIENT: Declaration = Declaration {
    name: "BatchNormalizationGradient",
    inputs: &GRADIENT_INPUTS,
    outputs: Outputs::Count(3),
    read: |attributes| Ok(Box::new(BatchGradient { operator: attributes.operator })),
};

/// `LayerNormalizationGradient(dy, x, scale, mean, inv_std; axis) → dx, dscale, dbias`.
pub(super) const LAYER_GRADIENT: Declaration = Declaration {
    name: "LayerNormalizationGradient",
    inputs: &GRADIENT_INPUTS,
    outputs: Outputs::Count(3),
    read: |attributes| {
        let axis = attributes.int("axis")?;
        Ok(Box::new(LayerGradient { operator: attributes.operator, axis }))
    },
};

const GRADIENT_INPUTS: [Input; 5] = [
    Input::Floats("dy"),
    Input::Floats("x"),
    Input::Floats("scale"),
    Input::Floats("mean"),
    Input::Floats("inv_std"),
];

/// What outputs are as many as.
const AS_SHAPES: &str = "there are as many outputs as `output_shapes` has";

fn channels_of(inputs: &Operands<'_>, index: usize) -> Result<ChannelShape, OperatorError> {
    match inputs.shape(index)? {
        [batch, channels, rest @ ..] => {
            let inner = rest.iter().product();
            Ok(ChannelShape { batch: *batch, channels: *channels, inner })
        }
        shape => Err(inputs.refusal(index, &format!("of shape {shape:?}"), "of 2 axes or more")),
    }
}

#[derive(Debug)]
struct BatchTraining {
    operator: &'static str,
    settings: batch::Settings,
}

impl NativeOperator for BatchTraining {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let rank = rank(self.operator, ranks, 0, 2)?;
        let mut shapes = vec![Dimension::all_from(0, 0, rank)];
        shapes.resize(5, vec![Dimension::same(0, 1)]);
        Ok(shapes)
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let shape = channels_of(inputs, 0)?;
        let per_channel = [shape.channels];
        let read = batch::Inputs {
            x: inputs.floats(0)?,
            scale: inputs.floats_of(1, &per_channel)?,
            bias: inputs.floats_of(2, &per_channel)?,
            running_mean: inputs.floats_of(3, &per_channel)?,
            running_variance: inputs.floats_of(4, &per_channel)?,
        };
        let [y, running_mean, running_variance, mean, inv_std] = outputs else {
            unreachable!("{AS_SHAPES}")
        };
        let written = batch::Outputs { y, running_mean, running_variance, mean, inv_std };
        Ok(batch::training(shape, self.settings, read, written, parallel)?)
    }
}

#[derive(Debug)]
struct BatchGradient {
    operator: &'static str,
}

impl NativeOperator for BatchGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let rank = rank(self.operator, ranks, 1, 2)?;
        let mut shapes = vec![Dimension::all_from(1, 0, rank)];
        shapes.resize(3, vec![Dimension::same(1, 1)]);
        Ok(shapes)
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let shape = channels_of(inputs, 1)?;
        let per_channel = [shape.channels];
        let read = batch::GradientInputs {
            dy: inputs.floats_of(0, inputs.shape(1)?)?,
            x: inputs.floats(1)?,
            scale: inputs.floats_of(2, &per_channel)?,
            mean: inputs.floats_of(3, &per_channel)?,
            inv_std: inputs.floats_of(4, &per_channel)?,
        };
        let [dx, dscale, dbias] = outputs else { unreachable!("{AS_SHAPES}") };
        let written = batch::GradientOutputs { dx, dscale, dbias };
        Ok(batch::gradient(shape, read, written, parallel)?)
    }
}

#[derive(Debug)]
struct LayerGradient {
    operator: &'static str,
    axis: i64,
}

impl NativeOperator for LayerGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let of_x = rank(self.operator, ranks, 1, 0)?;
        let of_scale = Dimension::all_from(2, 0, rank(self.operator, ranks, 2, 0)?);
        Ok(vec![Dimension::all_from(1, 0, of_x), of_scale.clone(), of_scale])
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let sizes = inputs.shape(1)?;
        let axis = axis(self.operator, self.axis, sizes.len(), sizes.len())?;
        let (rows, width) = sizes.split_at(axis);
        let shape = RowShape { rows: rows.iter().product(), width: width.iter().product() };
        // Scale and statistics are taken by their number of elements, as the body does: their
        // shapes have ones, or leave them out.
        let read = layer::GradientInputs {
            dy: inputs.floats_of(0, sizes)?,
            x: inputs.floats(1)?,
            scale: inputs.floats(2)?,
            mean: inputs.floats(3)?,
            inv_std: inputs.floats(4)?,
        };
        let [dx, dscale, dbias] = outputs else { unreachable!("{AS_SHAPES}") };
        let written = layer::GradientOutputs { dx, dscale, dbias };
        Ok(layer::gradient(shape, read, written, parallel)?)
    }
}
