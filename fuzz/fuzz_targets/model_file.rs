//! Whatever the bytes of a model file are: an answer or an error, never a panic.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use onnxd::onnx::normalize::normalize;
use onnxd::onnx::{check, facts, graph, prune, read_bytes, weights};

fuzz_target!(|bytes: &[u8]| {
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let Ok(mut model) = read_bytes(Path::new("fuzz"), bytes) else { return };
    let _ = facts::signature(&model);
    let _ = facts::parameters(&model);
    let _ = facts::operators(&model);
    let _ = facts::operator_sets(&model);
    let _ = check::check(&model);
    let visited: Result<(), ()> = graph::visit_tensors_mut(&mut model, &mut |tensor| {
        let _ = weights::tensor(tensor);
        Ok(())
    });
    assert_eq!(visited, Ok(()));
    if normalize(&mut model).is_ok() {
        prune::drop_unused(&mut model);
        let _ = check::check(&model);
    }
});
