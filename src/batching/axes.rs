//! Where the batch lies in each tensor of a model: what configuration says, and the candidates
//! that a proof tries where it says nothing.

use super::BatchingSettings;
use crate::engine::Signature;
use crate::tensor::{Dimension, TensorSpec};

/// The batch axis of every input and output, in the signature's order. `None`: the tensor has no
/// batch axis; an input is then equal in all requests of a batch, an output goes to each whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Axes {
    pub inputs: Vec<Option<usize>>,
    pub outputs: Vec<Option<usize>>,
}

/// Whether a model's author most likely meant the batch by this name of an axis.
fn is_batch_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.contains("batch") || lower == "n" || lower == "b" || lower == "bs"
}

fn open_name(dimension: &Dimension) -> Option<&str> {
    match dimension {
        Dimension::Named(name) => Some(name),
        Dimension::Fixed(_) | Dimension::Unknown => None,
    }
}

/// What configuration says of a tensor: `None` where it says nothing.
fn configured(settings: &BatchingSettings, name: &str) -> Option<Option<usize>> {
    settings.axes.iter().find(|axes| axes.tensor == name).map(|axes| axes.axis)
}

/// How inputs that name no axis as the batch are taken.
#[derive(Clone, Copy)]
struct Reading<'a> {
    /// The name that marks the batch axis.
    batch: Option<&'a str>,
    /// Whether an input whose first axis is fixed carries the batch on its only open axis, as the
    /// state of a recurrent model does.
    inner_state: bool,
}

/// Assignments of batch axes to the inputs, the likeliest first, without repetition. Those
/// without any batch axis are left out.
pub(super) fn input_candidates(
    signature: &Signature,
    settings: &BatchingSettings,
) -> Vec<Vec<Option<usize>>> {
    let names = || signature.inputs.iter().filter_map(|input| input.shape.as_deref()).flatten();
    let said = names().filter_map(open_name).find(|name| is_batch_name(name));
    let first = signature
        .inputs
        .iter()
        .filter_map(|input| input.shape.as_ref()?.first())
        .find_map(open_name);
    let mut candidates: Vec<Vec<Option<usize>>> = Vec::new();
    for batch in [said, first, None] {
        for inner_state in [true, false] {
            let reading = Reading { batch, inner_state };
            let axes: Vec<Option<usize>> = signature
                .inputs
                .iter()
                .map(|input| {
                    configured(settings, &input.name).unwrap_or_else(|| input_axis(input, reading))
                })
                .collect();
            if axes.iter().any(Option::is_some) && !candidates.contains(&axes) {
                candidates.push(axes);
            }
        }
    }
    candidates
}

fn input_axis(input: &TensorSpec, reading: Reading<'_>) -> Option<usize> {
    let dimensions = input.shape.as_deref()?;
    if let Some(batch) = reading.batch {
        let marked = dimensions.iter().position(|dimension| open_name(dimension) == Some(batch));
        if marked.is_some() {
            return marked;
        }
    }
    match dimensions.first()? {
        Dimension::Unknown => Some(0),
        // Another name than the batch's: an axis of its own.
        Dimension::Named(_) => reading.batch.is_none().then_some(0),
        Dimension::Fixed(_) => {
            let mut open = dimensions
                .iter()
                .enumerate()
                .filter(|(_, dimension)| !matches!(dimension, Dimension::Fixed(_)));
            match (open.next(), open.next()) {
                (Some((axis, _)), None) if reading.inner_state => Some(axis),
                _ => None,
            }
        }
    }
}

/// Where an output's batch axis is where no run has shown it: as configured, else the axis named
/// like the inputs' batch, else an open first axis.
pub(super) fn output_guess(
    signature: &Signature,
    settings: &BatchingSettings,
    inputs: &[Option<usize>],
    output: &TensorSpec,
) -> Option<usize> {
    if let Some(axis) = configured(settings, &output.name) {
        return axis;
    }
    let batch_names: Vec<&str> = signature
        .inputs
        .iter()
        .zip(inputs)
        .filter_map(|(input, axis)| open_name(input.shape.as_ref()?.get((*axis)?)?))
        .collect();
    let dimensions = output.shape.as_deref().unwrap_or(&[Dimension::Unknown]);
    let named = dimensions
        .iter()
        .position(|dimension| open_name(dimension).is_some_and(|name| batch_names.contains(&name)));
    let first_is_open =
        dimensions.first().is_some_and(|first| !matches!(first, Dimension::Fixed(_)));
    named.or(first_is_open.then_some(0))
}

/// What configuration says of an output's batch axis: `None` where it says nothing.
pub(super) fn configured_output(
    settings: &BatchingSettings,
    output: &TensorSpec,
) -> Option<Option<usize>> {
    configured(settings, &output.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::BatchAxes;
    use crate::batching::testing::spec;

    fn check(inputs: &[(&str, &str)], axes: &[BatchAxes], expected: &[&[Option<usize>]]) {
        let inputs = inputs.iter().map(|(name, shape)| spec(name, shape)).collect();
        let signature = Signature { inputs, outputs: Vec::new() };
        let settings = BatchingSettings { axes: axes.to_vec(), ..BatchingSettings::standard() };
        assert_eq!(input_candidates(&signature, &settings), expected);
    }

    #[test]
    fn candidates_come_likeliest_first() {
        check(&[("x", "?,64")], &[], &[&[Some(0)]]);
        check(&[("x", "4,64")], &[], &[]);
        check(&[("x", "")], &[], &[]);
        // A name that says batch wins over an open first axis.
        check(&[("x", "time,batch,8")], &[], &[&[Some(1)], &[Some(0)]]);
        // State with the batch inside, a scalar without any.
        check(
            &[("x", "?,512"), ("state", "2,?,128"), ("rate", "")],
            &[],
            &[&[Some(0), Some(1), None], &[Some(0), None, None]],
        );
        check(
            &[("x", "batch,8"), ("state", "2,batch,4")],
            &[],
            &[&[Some(0), Some(1)], &[Some(0), None]],
        );
        // Another name on the first axis is not the batch, until nothing else works.
        check(
            &[("x", "batch,8"), ("words", "vocabulary")],
            &[],
            &[&[Some(0), None], &[Some(0), Some(0)]],
        );
        let configured = BatchAxes { tensor: "x".to_owned(), axis: Some(2) };
        check(&[("x", "?,?,?")], &[configured], &[&[Some(2)]]);
    }

    #[test]
    fn outputs_follow_the_inputs_names() {
        let signature = Signature { inputs: vec![spec("x", "time,batch")], outputs: Vec::new() };
        let guess = |inputs: &[Option<usize>], shape: &str| {
            output_guess(&signature, &BatchingSettings::standard(), inputs, &spec("y", shape))
        };
        assert_eq!(guess(&[Some(1)], "4,batch"), Some(1));
        assert_eq!(guess(&[Some(0)], "?,4"), Some(0));
        assert_eq!(guess(&[Some(1)], "4,4"), None);
        assert_eq!(guess(&[Some(1)], ""), None);
    }
}
