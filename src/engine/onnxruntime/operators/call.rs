//! One run of one operator: ONNX Runtime's tensors, the operator's shapes, the kernel.

use ort::operator::ComputeContext;

use super::memory::{Read, Slices, Written, slices};
use super::ort_error;
use super::threads::SessionThreads;
use crate::engine::operators::{NativeOperator, Operand, Operands, Values, output_sizes};

/// Runs the operator on the inputs and outputs of the context.
pub(super) fn run(
    name: &'static str,
    operator: &dyn NativeOperator,
    context: &ComputeContext,
    threads: usize,
) -> ort::Result<()> {
    let mut inputs = Vec::new();
    for index in 0..context.num_inputs()? {
        inputs.push(Read::of(context, index)?);
    }
    let mut outputs = Vec::new();
    for (index, shape) in shapes(name, operator, &inputs)?.iter().enumerate() {
        outputs.push(Written::of(context, index, shape)?);
    }
    let Slices { inputs, mut outputs } = slices(&mut inputs, &mut outputs, &operator.in_place())?;
    let pool = SessionThreads::new(context, threads);
    operator
        .compute(&Operands::new(name, &inputs), &mut outputs, &pool)
        .map_err(|error| ort_error(&error))?;
    if pool.failed() {
        return Err(ort::Error::new(format!("{name}: the session's threads refused the work")));
    }
    Ok(())
}

/// The shapes of the outputs.
fn shapes(
    name: &'static str,
    operator: &dyn NativeOperator,
    inputs: &[Option<Read<'_>>],
) -> ort::Result<Vec<Vec<usize>>> {
    let rank = |input: &Option<Read<'_>>| input.as_ref().map(|input| input.shape.len());
    let ranks: Vec<Option<usize>> = inputs.iter().map(rank).collect();
    let shapes = operator.output_shapes(&ranks).map_err(|error| ort_error(&error))?;
    let operands: Vec<Option<Operand<'_>>> = inputs
        .iter()
        // Shapes alone: no value is looked at.
        .map(|input| Some(Operand { shape: &input.as_ref()?.shape, values: Values::InPlace }))
        .collect();
    output_sizes(name, &shapes, &Operands::new(name, &operands)).map_err(|error| ort_error(&error))
}
