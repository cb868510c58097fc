//! What a native operator reads.

use super::OperatorError;

/// An input's shape and values.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Operand<'a> {
    pub shape: &'a [usize],
    pub values: Values<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::engine) enum Values<'a> {
    Floats(&'a [f32]),
    Int32s(&'a [i32]),
    Int64s(&'a [i64]),
    /// Floats that are in the memory of the output that replaces them.
    InPlace,
}

/// The inputs of one call.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Operands<'a> {
    operator: &'static str,
    /// `None` where one is left out.
    inputs: &'a [Option<Operand<'a>>],
}

impl<'a> Operands<'a> {
    pub fn new(operator: &'static str, inputs: &'a [Option<Operand<'a>>]) -> Operands<'a> {
        Operands { operator, inputs }
    }

    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    pub fn get(&self, index: usize) -> Option<Operand<'a>> {
        self.inputs.get(index).copied().flatten()
    }

    pub fn shapes(&self) -> Vec<Option<&'a [usize]>> {
        self.inputs.iter().map(|input| input.map(|operand| operand.shape)).collect()
    }

    /// An input that must be there.
    pub fn required(&self, index: usize) -> Result<Operand<'a>, OperatorError> {
        self.get(index).ok_or_else(|| self.refusal(index, "left out", "given"))
    }

    pub fn shape(&self, index: usize) -> Result<&'a [usize], OperatorError> {
        self.required(index).map(|operand| operand.shape)
    }

    pub fn floats(&self, index: usize) -> Result<&'a [f32], OperatorError> {
        match self.required(index)?.values {
            Values::Floats(values) => Ok(values),
            _ => Err(self.refusal(index, "of another type", "32-bit floats")),
        }
    }

    /// Floats of that shape.
    pub fn floats_of(&self, index: usize, shape: &[usize]) -> Result<&'a [f32], OperatorError> {
        let actual = self.shape(index)?;
        if actual != shape {
            let (actual, expected) = (format!("of shape {actual:?}"), format!("{shape:?}"));
            return Err(self.refusal(index, &actual, &expected));
        }
        self.floats(index)
    }

    /// The one float of an input.
    pub fn float(&self, index: usize) -> Result<f32, OperatorError> {
        match self.floats(index)? {
            [value] => Ok(*value),
            several => {
                Err(self.refusal(index, &format!("{} numbers", several.len()), "one number"))
            }
        }
    }

    /// The one integer of an input.
    pub fn integer(&self, index: usize) -> Result<i64, OperatorError> {
        match self.required(index)?.values {
            Values::Int64s([value]) => Ok(*value),
            Values::Int32s([value]) => Ok(i64::from(*value)),
            _ => Err(self.refusal(index, "something else", "one integer")),
        }
    }

    pub fn refusal(&self, index: usize, actual: &str, expected: &str) -> OperatorError {
        OperatorError::Input {
            operator: self.operator,
            input: index.to_string(),
            actual: actual.to_owned(),
            expected: expected.to_owned(),
        }
    }
}

/// The rank of an input that must be there and have an axis of its own for each of `least`.
pub(super) fn rank(
    operator: &'static str,
    ranks: &[Option<usize>],
    index: usize,
    least: usize,
) -> Result<usize, OperatorError> {
    let rank = ranks.get(index).copied().flatten();
    match rank {
        Some(rank) if rank >= least => Ok(rank),
        _ => Err(OperatorError::Input {
            operator,
            input: index.to_string(),
            actual: rank.map_or("left out".to_owned(), |rank| format!("of {rank} axes")),
            expected: format!("of {least} axes or more"),
        }),
    }
}

/// An axis counted from the first; ONNX counts from the end with negative numbers. `end` is the
/// largest that it may be.
pub(super) fn axis(
    operator: &'static str,
    axis: i64,
    rank: usize,
    end: usize,
) -> Result<usize, OperatorError> {
    let from_first = if axis < 0 {
        usize::try_from(axis.unsigned_abs()).ok().and_then(|back| rank.checked_sub(back))
    } else {
        usize::try_from(axis).ok()
    };
    from_first.filter(|&axis| axis <= end).ok_or_else(|| OperatorError::Attribute {
        operator,
        name: "axis",
        value: axis.to_string(),
        expected: "an axis of the input",
    })
}
