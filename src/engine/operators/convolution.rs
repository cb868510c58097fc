//! Convolution and its gradients.

use super::operand::rank;
use super::{
    Attributes, Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs,
};
use crate::kernels::convolution::{
    ConvSettings, ConvShape, forward, input_gradient, weight_gradient,
};
use crate::kernels::{KernelError, Parallel};

/// `Conv(x, w, b?) → y`.
pub(super) const FORWARD: Declaration = Declaration {
    name: "Conv",
    inputs: &[Input::Floats("x"), Input::Floats("w"), Input::OptionalFloats("b")],
    outputs: Outputs::Count(1),
    read: |attributes| Ok(Box::new(Forward(Convolution::read(attributes)?))),
};

/// `ConvInputGradient(dy, w) → dx`.
pub(super) const INPUT_GRADIENT: Declaration = Declaration {
    name: "ConvInputGradient",
    inputs: &[Input::Floats("dy"), Input::Floats("w")],
    outputs: Outputs::Count(1),
    read: |attributes| {
        let convolution = Convolution::read(attributes)?;
        let output_padding = attributes.sizes("output_padding")?;
        convolution.check_list("output_padding", &output_padding)?;
        Ok(Box::new(InputGradient { convolution, output_padding }))
    },
};

/// `ConvWeightGradient(x, dy) → dw`.
pub(super) const WEIGHT_GRADIENT: Declaration = Declaration {
    name: "ConvWeightGradient",
    inputs: &[Input::Floats("x"), Input::Floats("dy")],
    outputs: Outputs::Count(1),
    read: |attributes| Ok(Box::new(WeightGradient(Convolution::read(attributes)?))),
};

/// What all three are told.
#[derive(Debug)]
struct Convolution {
    operator: &'static str,
    strides: Vec<usize>,
    /// The beginnings of all axes, then the ends.
    pads: Vec<usize>,
    dilations: Vec<usize>,
    kernel: Vec<usize>,
    group: usize,
}

impl Convolution {
    fn read(attributes: &Attributes<'_>) -> Result<Convolution, OperatorError> {
        let convolution = Convolution {
            operator: attributes.operator,
            strides: attributes.sizes("strides")?,
            pads: attributes.sizes("pads")?,
            dilations: attributes.sizes("dilations")?,
            kernel: attributes.sizes("kernel_shape")?,
            group: attributes.size("group")?,
        };
        convolution.check_list("strides", &convolution.strides)?;
        convolution.check_list("dilations", &convolution.dilations)?;
        let (pads, axes) = (convolution.pads.len(), convolution.axes());
        if pads != 2 * axes || convolution.group == 0 || convolution.strides.contains(&0) {
            return Err(OperatorError::Attribute {
                operator: attributes.operator,
                name: "pads, group and strides",
                value: format!(
                    "{:?}, {} and {:?}",
                    convolution.pads, convolution.group, convolution.strides
                ),
                expected: "two pads for each axis of the kernel, and no zeros in the others",
            });
        }
        Ok(convolution)
    }

    /// How many spatial axes there are.
    fn axes(&self) -> usize {
        self.kernel.len()
    }

    fn check_list(&self, name: &'static str, list: &[usize]) -> Result<(), OperatorError> {
        if list.len() == self.axes() {
            return Ok(());
        }
        Err(OperatorError::Attribute {
            operator: self.operator,
            name,
            value: format!("{list:?}"),
            expected: "a number for each axis of the kernel",
        })
    }

    fn check_rank(&self, ranks: &[Option<usize>], input: usize) -> Result<(), OperatorError> {
        let expected = 2 + self.axes();
        match rank(self.operator, ranks, input, expected)? {
            rank if rank == expected => Ok(()),
            rank => Err(OperatorError::Input {
                operator: self.operator,
                input: input.to_string(),
                actual: format!("of {rank} axes"),
                expected: format!("of {expected} axes"),
            }),
        }
    }

    /// How far the kernel reaches beyond its first tap and the pads around it, on one axis.
    fn reach_without_pads(&self, axis: usize) -> i64 {
        let reach = self.dilations[axis] * self.kernel[axis].saturating_sub(1) + 1;
        reach as i64 - self.pads[axis] as i64 - self.pads[self.axes() + axis] as i64
    }

    fn shape(
        &self,
        batch: usize,
        (channels, filters): (usize, usize),
        sizes: &[usize],
    ) -> Result<ConvShape, KernelError> {
        ConvShape::new(ConvSettings {
            batch,
            channels,
            filters,
            sizes,
            kernel: &self.kernel,
            strides: &self.strides,
            dilations: &self.dilations,
            pads: &self.pads,
            group: self.group,
        })
    }

    /// The shape of the weights.
    fn weights(&self, channels: usize, filters: usize) -> Vec<usize> {
        [&[filters, channels / self.group], self.kernel.as_slice()].concat()
    }
}

/// A shape's batch, channels and sizes: the rank is checked here again, since shapes that are known
/// only at run time have met no check.
fn split<'a>(
    inputs: &Operands<'a>,
    index: usize,
) -> Result<(usize, usize, &'a [usize]), OperatorError> {
    match inputs.shape(index)? {
        [batch, channels, sizes @ ..] => Ok((*batch, *channels, sizes)),
        shape => Err(inputs.refusal(index, &format!("of shape {shape:?}"), "of 3 to 5 axes")),
    }
}

#[derive(Debug)]
struct Forward(Convolution);

impl NativeOperator for Forward {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let convolution = &self.0;
        convolution.check_rank(ranks, 0)?;
        convolution.check_rank(ranks, 1)?;
        let spatial = |axis: usize| Dimension::Of {
            input: 0,
            axis: 2 + axis,
            times: 1,
            plus: -convolution.reach_without_pads(axis),
            over: convolution.strides[axis] as i64,
            after: 1,
        };
        let mut shape = vec![Dimension::same(0, 0), Dimension::same(1, 0)];
        shape.extend((0..convolution.axes()).map(spatial));
        Ok(vec![shape])
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let (batch, channels, sizes) = split(inputs, 0)?;
        let filters = split(inputs, 1)?.0;
        let shape = self.0.shape(batch, (channels, filters), sizes)?;
        let w = inputs.floats_of(1, &self.0.weights(channels, filters))?;
        let bias = inputs.get(2).map(|_| inputs.floats_of(2, &[filters])).transpose()?;
        let y = &mut *outputs[0];
        Ok(forward(&shape, inputs.floats(0)?, w, bias, y, parallel)?)
    }
}

#[derive(Debug)]
struct InputGradient {
    convolution: Convolution,
    /// How many of the last elements of an axis no window reached.
    output_padding: Vec<usize>,
}

impl InputGradient {
    fn dimension(&self, axis: usize) -> Dimension {
        let stride = self.convolution.strides[axis] as i64;
        let reach = self.convolution.reach_without_pads(axis);
        Dimension::Of {
            input: 0,
            axis: 2 + axis,
            times: stride,
            plus: reach - stride + self.output_padding[axis] as i64,
            over: 1,
            after: 0,
        }
    }
}

impl NativeOperator for InputGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let convolution = &self.convolution;
        convolution.check_rank(ranks, 0)?;
        convolution.check_rank(ranks, 1)?;
        let times = convolution.group as i64;
        let channels = Dimension::Of { input: 1, axis: 1, times, plus: 0, over: 1, after: 0 };
        let mut shape = vec![Dimension::same(0, 0), channels];
        shape.extend((0..convolution.axes()).map(|axis| self.dimension(axis)));
        Ok(vec![shape])
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let convolution = &self.convolution;
        let (batch, filters, y_sizes) = split(inputs, 0)?;
        let channels = split(inputs, 1)?.1.saturating_mul(convolution.group);
        let sizes: Option<Vec<usize>> = (0..convolution.axes())
            .map(|axis| {
                let of_y = |_, axis: usize| i64::try_from(*y_sizes.get(axis - 2)?).ok();
                self.dimension(axis).size(of_y)
            })
            .collect();
        let sizes = sizes.ok_or_else(|| {
            inputs.refusal(0, &format!("of sizes {y_sizes:?}"), "large enough for the kernel")
        })?;
        let shape = convolution.shape(batch, (channels, filters), &sizes)?;
        let dy = inputs.floats_of(0, &[&[batch, filters], &shape.output_sizes()[..]].concat())?;
        let w = inputs.floats_of(1, &convolution.weights(channels, filters))?;
        let dx = &mut *outputs[0];
        Ok(input_gradient(&shape, dy, w, dx, parallel)?)
    }
}

#[derive(Debug)]
struct WeightGradient(Convolution);

impl NativeOperator for WeightGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let convolution = &self.0;
        convolution.check_rank(ranks, 0)?;
        convolution.check_rank(ranks, 1)?;
        let over = convolution.group as i64;
        let channels = Dimension::Of { input: 0, axis: 1, times: 1, plus: 0, over, after: 0 };
        let mut shape = vec![Dimension::same(1, 1), channels];
        shape.extend(convolution.kernel.iter().map(|&size| Dimension::Fixed(size)));
        Ok(vec![shape])
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let (batch, channels, sizes) = split(inputs, 0)?;
        let filters = split(inputs, 1)?.1;
        let shape = self.0.shape(batch, (channels, filters), sizes)?;
        let dy = inputs.floats_of(1, &[&[batch, filters], &shape.output_sizes()[..]].concat())?;
        let dw = &mut *outputs[0];
        Ok(weight_gradient(&shape, inputs.floats(0)?, dy, dw, parallel)?)
    }
}
