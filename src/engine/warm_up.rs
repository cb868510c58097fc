//! Runs before a version is ready, so that the first request does not pay for what an engine does
//! on its first run of a shape.

use std::collections::BTreeMap;

use super::{EngineError, Session};
use crate::tensor::{Dimension, Shape, Tensor, TensorSpec};

/// Size of an open axis that nobody gave a size.
const GUESSED_SIZE: usize = 1;

/// One kind of run before a version is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmUp {
    pub batch_size: usize,
    /// Runs of this sample.
    pub count: usize,
    /// By input: sizes of every axis, of every axis but the batch's, or of every open axis but the
    /// batch's. What is not named is guessed.
    pub shapes: BTreeMap<String, Vec<usize>>,
}

/// Runs every sample on the session, with zeros as values. `batch_axis` says which axis of an
/// input carries the batch, where that is configured.
///
/// # Errors
/// A sample whose shapes were given cannot be run. One with a guessed shape may fail: not every
/// model can run every size.
pub fn warm_up(
    session: &mut dyn Session,
    samples: &[WarmUp],
    batch_axis: &dyn Fn(&str) -> Option<Option<usize>>,
) -> Result<(), EngineError> {
    let signature = session.signature().clone();
    let outputs: Vec<usize> = (0..signature.outputs.len()).collect();
    for sample in samples {
        let mut guessed = false;
        let mut inputs = Vec::with_capacity(signature.inputs.len());
        for spec in &signature.inputs {
            let sizes = sample.shapes.get(&spec.name).map(Vec::as_slice);
            if spec.optional && sizes.is_none() {
                inputs.push(None);
                continue;
            }
            let axis = batch_axis(&spec.name).unwrap_or_else(|| open_first_axis(spec));
            let shape = sample_shape(spec, sizes, axis, sample.batch_size);
            let (shape, is_guess) = shape.map_err(|reason| failed(&spec.name, &reason))?;
            guessed |= is_guess;
            let tensor = Tensor::zeros(spec.data_type, shape);
            inputs.push(Some(tensor.map_err(|error| failed(&spec.name, &error.to_string()))?));
        }
        for _ in 0..sample.count {
            match session.run(&inputs, &outputs) {
                Ok(_) => {}
                Err(_) if guessed => break,
                Err(error) => {
                    return Err(EngineError::RunFailed { reason: format!("warm-up: {error}") });
                }
            }
        }
    }
    Ok(())
}

fn failed(input: &str, reason: &str) -> EngineError {
    EngineError::RunFailed { reason: format!("warm-up: input {input:?}: {reason}") }
}

/// Where nobody says which axis carries the batch: the first, if it is open.
fn open_first_axis(spec: &TensorSpec) -> Option<usize> {
    match spec.shape.as_deref() {
        Some([first, ..]) if is_open(first) => Some(0),
        _ => None,
    }
}

fn is_open(dimension: &Dimension) -> bool {
    !matches!(dimension, Dimension::Fixed(_))
}

/// The sample's shape for one input, and whether a part of it is a guess. `sizes` are those of
/// every axis, of every axis but the batch's, or of every open axis but the batch's.
fn sample_shape(
    spec: &TensorSpec,
    sizes: Option<&[usize]>,
    batch_axis: Option<usize>,
    batch_size: usize,
) -> Result<(Shape, bool), String> {
    let Some(dimensions) = &spec.shape else {
        return Ok((Shape::from_slice(sizes.unwrap_or_default()), sizes.is_none()));
    };
    let is_batch = |axis: usize| batch_axis == Some(axis);
    let mut shape: Shape = spec.shape_with(GUESSED_SIZE);
    if let Some(size) = batch_axis.and_then(|axis| shape.get_mut(axis)) {
        *size = batch_size;
    }
    let every_axis: Vec<usize> = (0..dimensions.len()).collect();
    let without_batch: Vec<usize> =
        every_axis.iter().copied().filter(|&axis| !is_batch(axis)).collect();
    let open: Vec<usize> =
        without_batch.iter().copied().filter(|&axis| is_open(&dimensions[axis])).collect();
    let Some(sizes) = sizes else { return Ok((shape, !open.is_empty())) };
    let places = [&open, &without_batch, &every_axis];
    let Some(places) = places.into_iter().find(|places| places.len() == sizes.len()) else {
        return Err(format!(
            "{} sizes do not fit {}: expected one for each of its {} open axes",
            sizes.len(),
            spec.shape_text(),
            open.len()
        ));
    };
    for (&axis, &size) in places.iter().zip(sizes) {
        shape[axis] = size;
    }
    if spec.admits(&shape) {
        return Ok((shape, false));
    }
    Err(format!("shape {shape:?} does not fit {}", spec.shape_text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::scripted::ScriptedEngine;
    use crate::engine::{Engine, ModelSource, SessionSettings, Signature};
    use crate::tensor::DataType;

    fn image() -> TensorSpec {
        let open = |name: &str| Dimension::Named(name.to_owned());
        TensorSpec {
            name: "x".to_owned(),
            data_type: DataType::Float32,
            shape: Some(vec![open("batch"), Dimension::Fixed(3), open("h"), open("w")]),
            optional: false,
        }
    }

    /// Warms a model up that takes images of at least 8 by 8; the runs it saw, by batch size.
    fn warm(sample: WarmUp) -> (Result<(), EngineError>, Vec<usize>) {
        let signature = Signature { inputs: vec![image()], outputs: vec![image()] };
        let engine = ScriptedEngine::new(signature, |run| {
            let image = run.inputs[0].clone().expect("the input is required");
            match image.shape() {
                &[_, _, height, width] if height >= 8 && width >= 8 => Ok(vec![image]),
                _ => Err(EngineError::RunFailed { reason: "too small".to_owned() }),
            }
        });
        let source = ModelSource { path: "model.onnx".into() };
        let mut session = engine.open(&source, &SessionSettings::cpu()).unwrap();
        (warm_up(session.as_mut(), &[sample], &|_| None), engine.batch_sizes())
    }

    #[test]
    fn every_sample_runs_as_often_as_asked() {
        let shapes = [("x".to_owned(), vec![8, 9])].into();
        let (result, runs) = warm(WarmUp { batch_size: 4, count: 3, shapes });
        assert_eq!((result, runs), (Ok(()), vec![4, 4, 4]));
    }

    #[test]
    fn a_guess_may_fail_but_not_what_was_said() {
        let sample = WarmUp { batch_size: 2, count: 3, shapes: BTreeMap::new() };
        let (result, runs) = warm(sample.clone());
        assert_eq!((result, runs), (Ok(()), vec![2]));
        let shapes = [("x".to_owned(), vec![7, 9])].into();
        let (result, _) = warm(WarmUp { shapes, ..sample });
        let error = result.unwrap_err().to_string();
        assert!(error.contains("warm-up: the model failed while it ran: too small"), "{error}");
    }

    fn check(sizes: Option<&[usize]>, axis: Option<usize>, expected: Result<(&[usize], bool), ()>) {
        let actual = sample_shape(&image(), sizes, axis, 4);
        let actual = actual.as_ref().map(|(shape, guess)| (shape.as_slice(), *guess));
        assert_eq!(actual.map_err(|_| ()), expected, "{sizes:?}");
    }

    #[test]
    fn sizes_fill_the_open_axes_and_the_batch_its_own() {
        check(None, Some(0), Ok((&[4, 3, 1, 1], true)));
        check(Some(&[32, 48]), Some(0), Ok((&[4, 3, 32, 48], false)));
        check(Some(&[3, 32, 48]), Some(0), Ok((&[4, 3, 32, 48], false)));
        check(Some(&[8, 3, 32, 48]), Some(0), Ok((&[8, 3, 32, 48], false)));
        check(Some(&[2, 32, 48]), None, Ok((&[2, 3, 32, 48], false)));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        check(Some(&[32]), Some(0), Err(()));
        check(Some(&[4, 32, 48]), Some(0), Err(()));
        check(Some(&[1, 2, 3, 4, 5]), Some(0), Err(()));
    }
}
