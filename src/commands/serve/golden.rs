//! Golden samples from their files: a request's body and the body of its response, in JSON.

use std::sync::Arc;

use bytes::Bytes;

use crate::engine::{GoldenSample, Signature, Tolerance};
use crate::lifecycle::GoldenReader;
use crate::protocol::{ANY_ROOM, Limits, Terms, decode_infer, decode_outputs, resolve_inputs};
use crate::repository::GoldenFiles;
use crate::server::DEFAULT_MAX_JSON_DEPTH;
use crate::tensor::Tensor;

const LIMITS: Limits = Limits { max_json_depth: DEFAULT_MAX_JSON_DEPTH };

pub(in crate::commands) fn reader() -> GoldenReader {
    Arc::new(|files, signature| {
        let tolerance =
            Tolerance { relative: files.relative_tolerance, absolute: files.absolute_tolerance };
        let inputs = inputs(files, signature)?;
        Ok(GoldenSample { inputs, outputs: outputs(files, signature)?, tolerance })
    })
}

fn inputs(files: &GoldenFiles, signature: &Signature) -> Result<Vec<Option<Tensor>>, String> {
    let body = Bytes::copy_from_slice(&files.inputs);
    let terms = Terms { inputs: &signature.inputs, limits: &LIMITS, room: ANY_ROOM };
    decode_infer(body, None, &terms)
        .and_then(|request| resolve_inputs(request.inputs, &signature.inputs))
        .map_err(|error| error.to_string())
}

/// What the file names: it need not name all that the model has.
fn outputs(files: &GoldenFiles, signature: &Signature) -> Result<Vec<(usize, Tensor)>, String> {
    let body = Bytes::copy_from_slice(&files.outputs);
    let outputs = decode_outputs(&body, &LIMITS).map_err(|error| format!("its answer: {error}"))?;
    if outputs.is_empty() {
        return Err("its answer: expected at least one output, got none".to_owned());
    }
    let place = |name: &str| signature.outputs.iter().position(|spec| spec.name == name);
    let placed = outputs.into_iter().map(|output| {
        let index = place(&output.name);
        let index = index.ok_or_else(|| {
            let names: Vec<&str> = signature.outputs.iter().map(|it| it.name.as_str()).collect();
            format!("its answer: output {:?}: expected one of {names:?}", output.name)
        })?;
        Ok((index, output.tensor))
    });
    placed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, Dimension, TensorSpec};

    fn read(inputs: &str, outputs: &str) -> Result<GoldenSample, String> {
        let spec = |name: &str| TensorSpec {
            name: name.to_owned(),
            data_type: DataType::Float32,
            shape: Some(vec![Dimension::Unknown]),
            optional: false,
        };
        let signature = Signature { inputs: vec![spec("x")], outputs: vec![spec("y"), spec("z")] };
        let files = GoldenFiles {
            path: "in.json".into(),
            inputs: inputs.as_bytes().to_vec(),
            outputs: outputs.as_bytes().to_vec(),
            relative_tolerance: 0.5,
            absolute_tolerance: 0.25,
        };
        reader()(&files, &signature)
    }

    fn tensor(name: &str) -> String {
        format!(r#"{{"name":"{name}","datatype":"FP32","shape":[1],"data":[1.5]}}"#)
    }

    #[test]
    fn a_sample_is_put_into_the_signatures_order() {
        let inputs = format!(r#"{{"inputs":[{}]}}"#, tensor("x"));
        let outputs = format!(r#"{{"model_name":"m","outputs":[{}]}}"#, tensor("z"));
        let value = Tensor::from_f32(&[1], &[1.5]).expect("one value fits");
        let expected = GoldenSample {
            inputs: vec![Some(value.clone())],
            outputs: vec![(1, value)],
            tolerance: Tolerance { relative: 0.5, absolute: 0.25 },
        };
        assert_eq!(read(&inputs, &outputs), Ok(expected));
    }

    #[test]
    fn what_does_not_fit_the_model_is_named() {
        let inputs = |name: &str| format!(r#"{{"inputs":[{}]}}"#, tensor(name));
        let outputs = |name: &str| format!(r#"{{"outputs":[{}]}}"#, tensor(name));
        let error = read(&inputs("pixels"), &outputs("y")).expect_err("no such input");
        assert!(error.contains("\"pixels\""), "{error}");
        let error = read(&inputs("x"), &outputs("digit")).expect_err("no such output");
        assert_eq!(error, "its answer: output \"digit\": expected one of [\"y\", \"z\"]");
        let error = read(&inputs("x"), r#"{"outputs":[]}"#).expect_err("nothing to compare");
        assert!(error.contains("at least one output"), "{error}");
        let error = read(&inputs("x"), "{").expect_err("no JSON");
        assert!(error.starts_with("its answer: "), "{error}");
    }
}
