//! The mask of a dropout.

use super::operand::rank;
use super::{Declaration, Dimension, Input, NativeOperator, Operands, OperatorError, Outputs};
use crate::kernels::Parallel;
use crate::kernels::dropout::{Mask, mask};

/// `DropoutMask(x, draw; seed, node, threshold, scale) → mask`.
pub(super) const MASK: Declaration = Declaration {
    name: "DropoutMask",
    inputs: &[Input::Floats("x"), Input::Integers("draw")],
    outputs: Outputs::Count(1),
    read: |attributes| {
        let settings = Mask {
            seed: attributes.size("seed")? as u64,
            node: attributes.size("node")? as u64,
            draw: 0,
            threshold: attributes.size("threshold")? as u64,
            scale: attributes.float("scale")?,
        };
        Ok(Box::new(DropoutMask { operator: attributes.operator, settings }))
    },
};

#[derive(Debug)]
struct DropoutMask {
    operator: &'static str,
    /// But for the draw, which an input says.
    settings: Mask,
}

impl NativeOperator for DropoutMask {
    fn output_shapes(&self, ranks: &[Option<usize>]) -> Result<Vec<Vec<Dimension>>, OperatorError> {
        let rank = rank(self.operator, ranks, 0, 0)?;
        Ok(vec![Dimension::all_from(0, 0, rank)])
    }

    fn compute(
        &self,
        inputs: &Operands<'_>,
        outputs: &mut [&mut [f32]],
        parallel: &dyn Parallel,
    ) -> Result<(), OperatorError> {
        let draw = inputs.integer(1)?;
        let draw = u64::try_from(draw)
            .map_err(|_| inputs.refusal(1, &draw.to_string(), "a number that is not negative"))?;
        Ok(mask(Mask { draw, ..self.settings }, outputs[0], parallel)?)
    }
}
