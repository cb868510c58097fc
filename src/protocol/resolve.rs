//! A request against the model's signature: names to places, types and shapes compared.

use smallvec::SmallVec;

use super::ProtocolError;
use super::encode::check_output_form;
use super::infer::{InferInput, InferRequest};
use super::json::excerpt;
use crate::tensor::{DataType, Tensor, TensorSpec};

/// Puts the inputs into the signature's order; `None` leaves an optional one to its default.
///
/// # Errors
/// A name that the model lacks or that comes twice, an input that is missing, another type or
/// shape than declared.
pub fn resolve_inputs(
    inputs: Vec<InferInput>,
    specs: &[TensorSpec],
) -> Result<Vec<Option<Tensor>>, ProtocolError> {
    let mut resolved: Vec<Option<Tensor>> = Vec::with_capacity(specs.len());
    resolved.resize_with(specs.len(), || None);
    for (index, InferInput { name, tensor }) in inputs.into_iter().enumerate() {
        // Clients mostly keep the model's order.
        let field = || format!("inputs[{index}] {:?}", excerpt(&name));
        let place = place_of(&name, index, specs).ok_or_else(|| unknown(&field, specs))?;
        if resolved[place].is_some() {
            return Err(ProtocolError::field(field(), "one input of this name", "two"));
        }
        check(&field, &tensor, &specs[place])?;
        resolved[place] = Some(tensor);
    }
    let missing =
        |(tensor, spec): &(&Option<Tensor>, &TensorSpec)| tensor.is_none() && !spec.optional;
    if let Some((_, spec)) = resolved.iter().zip(specs).find(missing) {
        let expected = format!("{} of shape {}", spec.data_type, spec.shape_text());
        let field = format!("input {:?}", spec.name);
        return Err(ProtocolError::field(field, expected, "nothing"));
    }
    Ok(resolved)
}

/// Indices of the outputs that a request asks for, in its order; all where it names none.
///
/// # Errors
/// A name that the model lacks, a type that cannot go out in the form asked for: said before the
/// model runs.
pub fn resolve_outputs(
    request: &InferRequest,
    specs: &[TensorSpec],
) -> Result<SmallVec<[usize; 4]>, ProtocolError> {
    let mut indices: SmallVec<[usize; 4]> = SmallVec::new();
    if request.outputs.is_empty() {
        indices.extend(0..specs.len());
    }
    for (position, output) in request.outputs.iter().enumerate() {
        let field = || format!("outputs[{position}] {:?}", excerpt(&output.name));
        let place = place_of(&output.name, position, specs);
        indices.push(place.ok_or_else(|| unknown(&field, specs))?);
    }
    for (position, &index) in indices.iter().enumerate() {
        let spec = &specs[index];
        let field = || format!("outputs[{position}] {:?}", spec.name);
        if request.classification(position) == 0 {
            check_output_form(&field, spec.data_type, request.binary_output(position))?;
        } else if spec.data_type == DataType::String {
            let reason = "strings cannot be classified: leave out parameters.classification";
            return Err(ProtocolError::unsupported(field(), reason));
        }
    }
    Ok(indices)
}

/// Checks that the input at this place of a request takes strings: before they are read, because
/// they take more memory than they came in.
pub fn check_takes_strings(
    name: &str,
    index: usize,
    specs: &[TensorSpec],
    field: &dyn Fn() -> String,
) -> Result<(), ProtocolError> {
    let place = place_of(name, index, specs).ok_or_else(|| unknown(field, specs))?;
    check_type(field, DataType::String, &specs[place])
}

fn check_type(
    field: &dyn Fn() -> String,
    data_type: DataType,
    spec: &TensorSpec,
) -> Result<(), ProtocolError> {
    if data_type == spec.data_type {
        return Ok(());
    }
    let place = format!("{} datatype", field());
    Err(ProtocolError::field(place, spec.data_type.to_string(), data_type.to_string()))
}

fn place_of(name: &str, guess: usize, specs: &[TensorSpec]) -> Option<usize> {
    if specs.get(guess).is_some_and(|spec| spec.name == name) {
        return Some(guess);
    }
    specs.iter().position(|spec| spec.name == name)
}

/// The names for an error message.
pub fn list_names(specs: &[TensorSpec]) -> String {
    let names: Vec<String> = specs.iter().map(|spec| format!("{:?}", spec.name)).collect();
    names.join(", ")
}

#[cold]
fn unknown(field: &dyn Fn() -> String, specs: &[TensorSpec]) -> ProtocolError {
    let expected = format!("one of the model's: {}", list_names(specs));
    ProtocolError::field(field(), expected, "a name it does not have")
}

fn check(
    field: &dyn Fn() -> String,
    tensor: &Tensor,
    spec: &TensorSpec,
) -> Result<(), ProtocolError> {
    check_type(field, tensor.data_type(), spec)?;
    if !spec.admits(tensor.shape()) {
        let place = format!("{} shape", field());
        let actual = format!("{:?}", tensor.shape());
        return Err(ProtocolError::field(place, spec.shape_text(), actual));
    }
    Ok(())
}
