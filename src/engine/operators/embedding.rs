//! The gradient of looking up rows of a table.

use super::operand::rank;
use super::{
    Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs, Values,
};
use crate::kernels::Parallel;
use crate::kernels::embedding::{Indices, TableShape, gradient};

/// `EmbeddingGradient(dy, indices; rows) → dtable`.
pub(super) const GRADIENT: Declaration = Declaration {
    name: "EmbeddingGradient",
    inputs: &[Input::Floats("dy"), Input::Integers("indices")],
    outputs: Outputs::Count(1),
    read: |attributes| {
        let rows = attributes.size("rows")?;
        Ok(Box::new(EmbeddingGradient { operator: attributes.operator, rows }))
    },
};

#[derive(Debug)]
struct EmbeddingGradient {
    operator: &'static str,
    rows: usize,
}

impl NativeOperator for EmbeddingGradient {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let of_indices = rank(self.operator, ranks, 1, 0)?;
        let of_dy = rank(self.operator, ranks, 0, of_indices)?;
        let mut shape = vec![Dimension::Fixed(self.rows)];
        shape.extend(Dimension::all_from(0, of_indices, of_dy));
        Ok(vec![shape])
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let LookedUp { dy, indices, width } = looked_up(inputs, 0, 1)?;
        Ok(gradient(TableShape { rows: self.rows, width }, dy, indices, outputs[0], parallel)?)
    }
}

/// The gradient of rows that were looked up, and which they are.
pub(super) struct LookedUp<'a> {
    pub dy: &'a [f32],
    pub indices: Indices<'a>,
    /// Elements of a row.
    pub width: usize,
}

/// The inputs of these places: the gradient, and the indices.
pub(super) fn looked_up<'a>(
    inputs: &Operands<'a>,
    dy: usize,
    indices: usize,
) -> Result<LookedUp<'a>, OperatorError> {
    let (of_dy, of_indices) = (inputs.required(dy)?, inputs.required(indices)?);
    let row = of_dy.shape.strip_prefix(of_indices.shape).ok_or_else(|| {
        let expected = format!("the indices' {:?}, then a row's", of_indices.shape);
        inputs.refusal(dy, &format!("of shape {:?}", of_dy.shape), &expected)
    })?;
    let width = row.iter().product();
    let indices = match of_indices.values {
        Values::Int32s(indices) => Indices::I32(indices),
        Values::Int64s(indices) => Indices::I64(indices),
        Values::Floats(_) | Values::InPlace => {
            return Err(inputs.refusal(indices, "of another type", "integers"));
        }
    };
    Ok(LookedUp { dy: inputs.floats(dy)?, indices, width })
}
