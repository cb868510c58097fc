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
        let (dy, indices) = (inputs.required(0)?, inputs.required(1)?);
        let row = dy.shape.strip_prefix(indices.shape).ok_or_else(|| {
            let expected = format!("the indices' {:?}, then a row's", indices.shape);
            inputs.refusal(0, &format!("of shape {:?}", dy.shape), &expected)
        })?;
        let indices = match indices.values {
            Values::Int32s(indices) => Indices::I32(indices),
            Values::Int64s(indices) => Indices::I64(indices),
            Values::Floats(_) | Values::InPlace => {
                return Err(inputs.refusal(1, "of another type", "integers"));
            }
        };
        let shape = TableShape { rows: self.rows, width: row.iter().product() };
        Ok(gradient(shape, inputs.floats(0)?, indices, outputs[0], parallel)?)
    }
}
