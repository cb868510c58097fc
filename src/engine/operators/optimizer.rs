//! Updates of all parameters at once.
//!
//! Inputs: `rate`, `step`, `scale`, then all parameters, all gradients, all first moments, all
//! second moments. Outputs: all parameters, all first moments, all second moments. An output may
//! take the memory of the input that it replaces.

use super::{
    Attributes, Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs,
    Values,
};
use crate::kernels::Parallel;
use crate::kernels::optimizer::{
    AdamParameter, AdamSettings, AdamState, Gradient, SgdParameter, SgdSettings, SgdState,
    WeightDecay, adam, sgd,
};

/// `SgdUpdate`.
pub(super) const SGD: Declaration = Declaration {
    name: "SgdUpdate",
    inputs: &[Input::Many(5)],
    outputs: Outputs::Many,
    read: |attributes| {
        let momentum = attributes.decimal("momentum")?;
        let nesterov = attributes.flag("nesterov")?;
        let algorithm = Algorithm::Sgd { momentum, nesterov };
        Ok(Box::new(Update::read(attributes, algorithm, false)?))
    },
};

/// `AdamUpdate`.
pub(super) const ADAM: Declaration = Declaration {
    name: "AdamUpdate",
    inputs: &[Input::Many(7)],
    outputs: Outputs::Many,
    read: |attributes| {
        let algorithm = Algorithm::Adam {
            beta1: attributes.decimal("beta1")?,
            beta2: attributes.decimal("beta2")?,
            epsilon: attributes.decimal("epsilon")?,
        };
        Ok(Box::new(Update::read(attributes, algorithm, attributes.flag("decoupled")?)?))
    },
};

/// Inputs before the parameters.
const SCALARS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Sgd { momentum: f64, nesterov: bool },
    Adam { beta1: f64, beta2: f64, epsilon: f64 },
}

impl Algorithm {
    /// Tensors of a parameter's shape that are kept from step to step.
    fn moments(self) -> usize {
        match self {
            Algorithm::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            Algorithm::Adam { .. } => 2,
        }
    }
}

#[derive(Debug)]
struct Update {
    operator: &'static str,
    algorithm: Algorithm,
    weight_decay: WeightDecay,
    /// One for each parameter: what multiplies the decay.
    decay_factors: Vec<f32>,
}

impl Update {
    fn read(
        attributes: &Attributes<'_>,
        algorithm: Algorithm,
        decoupled: bool,
    ) -> Result<Update, OperatorError> {
        let rate = attributes.decimal("weight_decay")?;
        let decayed = attributes.ints("decayed")?;
        Ok(Update {
            operator: attributes.operator,
            algorithm,
            weight_decay: WeightDecay { rate, decoupled },
            decay_factors: decayed.iter().map(|&decayed| f32::from(decayed != 0)).collect(),
        })
    }

    /// How many parameters there are.
    fn count(&self) -> usize {
        self.decay_factors.len()
    }

    /// The input that output `index` is the next of.
    fn input_of(&self, index: usize) -> usize {
        // Behind the parameters are their gradients, which have no output.
        let gradients = if index < self.count() { 0 } else { self.count() };
        SCALARS + index + gradients
    }

    fn outputs(&self) -> usize {
        self.count() * (1 + self.algorithm.moments())
    }

    fn check_count(&self, inputs: usize) -> Result<(), OperatorError> {
        let expected = SCALARS + self.count() + self.outputs();
        if inputs == expected {
            return Ok(());
        }
        Err(OperatorError::Input {
            operator: self.operator,
            input: "count".to_owned(),
            actual: inputs.to_string(),
            expected: format!("{expected}, for {} parameters", self.count()),
        })
    }

    /// What each output starts from. Where one of a parameter's is in place, all are: the others'
    /// old values are copied there.
    fn starts<'a>(
        &self,
        inputs: &Operands<'a>,
        outputs: &mut [&mut [f32]],
    ) -> Result<Vec<Option<&'a [f32]>>, OperatorError> {
        let start = |index: usize| {
            let operand = inputs.required(self.input_of(index))?;
            match operand.values {
                Values::InPlace => Ok(None),
                _ => inputs
                    .floats_of(self.input_of(index), inputs.shape(SCALARS + index % self.count())?)
                    .map(Some),
            }
        };
        let mut starts = (0..outputs.len()).map(start).collect::<Result<Vec<_>, _>>()?;
        for parameter in 0..self.count() {
            let of_parameter = || (parameter..starts.len()).step_by(self.count());
            if of_parameter().all(|index| starts[index].is_some()) {
                continue;
            }
            for index in (parameter..starts.len()).step_by(self.count()) {
                if let Some(old) = starts[index].take() {
                    outputs[index].copy_from_slice(old);
                }
            }
        }
        Ok(starts)
    }

    fn gradient<'a>(
        &self,
        inputs: &Operands<'a>,
        parameter: usize,
    ) -> Result<Gradient<'a>, OperatorError> {
        let shape = inputs.shape(SCALARS + parameter)?;
        let index = SCALARS + self.count() + parameter;
        Ok(Gradient::Dense(inputs.floats_of(index, shape)?))
    }
}

impl NativeOperator for Update {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        self.check_count(ranks.len())?;
        let shape = |index: usize| {
            let input = self.input_of(index);
            Ok(Dimension::all_from(input, 0, super::operand::rank(self.operator, ranks, input, 0)?))
        };
        (0..self.outputs()).map(shape).collect()
    }

    fn in_place(&self) -> Vec<(usize, usize)> {
        (0..self.outputs()).map(|index| (self.input_of(index), index)).collect()
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        self.check_count(inputs.len())?;
        let learning_rate = f64::from(inputs.float(0)?);
        let step = inputs.integer(1)?;
        let gradient_scale = inputs.float(2)?;
        let weight_decay = self.weight_decay;
        let starts = self.starts(inputs, outputs)?;
        match self.algorithm {
            Algorithm::Sgd { momentum, nesterov } => {
                let mut parameters = self.sgd_parameters(inputs, outputs, &starts)?;
                let settings =
                    SgdSettings { learning_rate, momentum, nesterov, weight_decay, gradient_scale };
                sgd(&settings, &mut parameters, parallel)?;
            }
            Algorithm::Adam { beta1, beta2, epsilon } => {
                let mut parameters = self.adam_parameters(inputs, outputs, &starts)?;
                let settings = AdamSettings {
                    learning_rate,
                    beta1,
                    beta2,
                    epsilon,
                    weight_decay,
                    // Steps count from 1: what is none is refused as 0 is.
                    step: u64::try_from(step).unwrap_or(0),
                    gradient_scale,
                };
                adam(&settings, &mut parameters, parallel)?;
            }
        }
        Ok(())
    }
}

impl Update {
    fn sgd_parameters<'a>(
        &self,
        inputs: &Operands<'a>,
        outputs: &'a mut [&mut [f32]],
        starts: &[Option<&'a [f32]>],
    ) -> Result<Vec<SgdParameter<'a>>, OperatorError> {
        let (values, velocities) = outputs.split_at_mut(self.count());
        let mut velocities = velocities.iter_mut();
        let mut parameters = Vec::with_capacity(self.count());
        for (index, value) in values.iter_mut().enumerate() {
            let velocity = starts.get(self.count() + index).copied().flatten();
            let velocity = velocity.unwrap_or_default();
            let old = starts[index].map(|value| SgdState { value, velocity });
            parameters.push(SgdParameter {
                value,
                velocity: velocities.next().map(|velocity| &mut **velocity).unwrap_or_default(),
                old,
                gradient: self.gradient(inputs, index)?,
                decay_factor: self.decay_factors[index],
            });
        }
        Ok(parameters)
    }

    fn adam_parameters<'a>(
        &self,
        inputs: &Operands<'a>,
        outputs: &'a mut [&mut [f32]],
        starts: &[Option<&'a [f32]>],
    ) -> Result<Vec<AdamParameter<'a>>, OperatorError> {
        let count = self.count();
        let (values, moments) = outputs.split_at_mut(count);
        let (firsts, seconds) = moments.split_at_mut(count);
        let arrays = values.iter_mut().zip(firsts).zip(seconds);
        let mut parameters = Vec::with_capacity(count);
        for (index, ((value, first_moment), second_moment)) in arrays.enumerate() {
            let old = match (starts[index], starts[count + index], starts[2 * count + index]) {
                (Some(value), Some(first_moment), Some(second_moment)) => {
                    Some(AdamState { value, first_moment, second_moment })
                }
                _ => None,
            };
            parameters.push(AdamParameter {
                value,
                first_moment,
                second_moment,
                old,
                gradient: self.gradient(inputs, index)?,
                decay_factor: self.decay_factors[index],
            });
        }
        Ok(parameters)
    }
}
