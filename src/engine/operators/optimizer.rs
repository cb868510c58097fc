//! Updates of all parameters at once.
//!
//! Inputs: `rate`, `step`, `scale`, `apply`, then all parameters, all gradients, all first moments,
//! all second moments, and the indices of those whose gradient is for the rows of a table that were
//! looked up. Outputs: all parameters, all first moments, all second moments. An output may take
//! the memory of the input that it replaces.

use super::embedding::{LookedUp, looked_up};
use super::{
    Attributes, Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs,
    Values,
};
use crate::kernels::Parallel;
use crate::kernels::embedding::{RowGradient, TableShape, row_gradient};
use crate::kernels::optimizer::{
    AdamParameter, AdamSettings, AdamState, Gradient, SgdParameter, SgdSettings, SgdState,
    WeightDecay, adam, sgd,
};

/// `SgdUpdate`.
pub(super) const SGD: Declaration = Declaration {
    name: "SgdUpdate",
    inputs: &[Input::Many(6)],
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
    inputs: &[Input::Many(8)],
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
const SCALARS: usize = 4;

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
    /// One for each parameter: which of the indices its gradient's rows are at.
    lookups: Vec<Option<usize>>,
}

impl Update {
    fn read(
        attributes: &Attributes<'_>,
        algorithm: Algorithm,
        decoupled: bool,
    ) -> Result<Update, OperatorError> {
        let rate = attributes.decimal("weight_decay")?;
        let decayed = attributes.ints("decayed")?;
        let looked_up = attributes.ints("looked_up")?;
        let mut places = 0..;
        let lookups = (0..decayed.len()).map(|parameter| {
            let is_one = looked_up.get(parameter).is_some_and(|&it| it != 0);
            is_one.then(|| places.next()).flatten()
        });
        Ok(Update {
            operator: attributes.operator,
            algorithm,
            weight_decay: WeightDecay { rate, decoupled },
            lookups: lookups.collect(),
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
        let lookups = self.lookups.iter().flatten().count();
        let expected = SCALARS + self.count() + self.outputs() + lookups;
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

    /// What each parameter's gradient is.
    fn gradients<'a>(
        &self,
        inputs: &Operands<'a>,
        parallel: &dyn Parallel,
    ) -> Result<Vec<Found<'a>>, OperatorError> {
        let gradient = |(parameter, lookup): (usize, &Option<usize>)| {
            let shape = inputs.shape(SCALARS + parameter)?;
            let index = SCALARS + self.count() + parameter;
            let Some(lookup) = lookup else {
                return Ok(Found::Dense(inputs.floats_of(index, shape)?));
            };
            let indices = SCALARS + self.count() + self.outputs() + lookup;
            let rows = shape.first().copied().unwrap_or(1);
            let LookedUp { dy, indices, width } = looked_up(inputs, index, indices)?;
            let table = TableShape { rows, width };
            Ok(Found::Rows { width, gradient: row_gradient(table, dy, indices, parallel)? })
        };
        self.lookups.iter().enumerate().map(gradient).collect()
    }

    /// Leaves everything as it was.
    fn keep(&self, inputs: &Operands<'_>, outputs: &mut [&mut [f32]]) -> Result<(), OperatorError> {
        for (index, output) in outputs.iter_mut().enumerate() {
            let input = self.input_of(index);
            if !matches!(inputs.required(input)?.values, Values::InPlace) {
                let shape = inputs.shape(SCALARS + index % self.count())?;
                output.copy_from_slice(inputs.floats_of(input, shape)?);
            }
        }
        Ok(())
    }
}

/// A parameter's gradient.
enum Found<'a> {
    Dense(&'a [f32]),
    Rows { width: usize, gradient: RowGradient },
}

impl Found<'_> {
    fn as_gradient(&self) -> Gradient<'_> {
        match self {
            Found::Dense(gradient) => Gradient::Dense(gradient),
            Found::Rows { width, gradient } => {
                Gradient::Rows { width: *width, rows: &gradient.rows, values: &gradient.values }
            }
        }
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
        if inputs.float(3)? <= 0.0 || inputs.float(3)?.is_nan() {
            return self.keep(inputs, outputs);
        }
        let weight_decay = self.weight_decay;
        let gradients = self.gradients(inputs, parallel)?;
        let starts = self.starts(inputs, outputs)?;
        match self.algorithm {
            Algorithm::Sgd { momentum, nesterov } => {
                let mut parameters = self.sgd_parameters(&gradients, outputs, &starts);
                let settings =
                    SgdSettings { learning_rate, momentum, nesterov, weight_decay, gradient_scale };
                sgd(&settings, &mut parameters, parallel)?;
            }
            Algorithm::Adam { beta1, beta2, epsilon } => {
                let mut parameters = self.adam_parameters(&gradients, outputs, &starts);
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
        gradients: &'a [Found<'a>],
        outputs: &'a mut [&mut [f32]],
        starts: &[Option<&'a [f32]>],
    ) -> Vec<SgdParameter<'a>> {
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
                gradient: gradients[index].as_gradient(),
                decay_factor: self.decay_factors[index],
            });
        }
        parameters
    }

    fn adam_parameters<'a>(
        &self,
        gradients: &'a [Found<'a>],
        outputs: &'a mut [&mut [f32]],
        starts: &[Option<&'a [f32]>],
    ) -> Vec<AdamParameter<'a>> {
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
                gradient: gradients[index].as_gradient(),
                decay_factor: self.decay_factors[index],
            });
        }
        parameters
    }
}
