//! Any tensor survives the way out and back in; any bytes are answered without a panic.

use bytes::Bytes;
use proptest::prelude::*;

use super::{spec, strings, terms};
use crate::protocol::{InferResponse, OutputTensor, decode_infer, encode_infer};
use crate::tensor::{DataType, Shape, Tensor, element_count};

fn data_type() -> impl Strategy<Value = DataType> {
    prop::sample::select(DataType::ALL.to_vec())
}

/// Finite values wherever JSON has to carry them.
fn tensor(json: bool) -> impl Strategy<Value = Tensor> {
    let shape = prop::collection::vec(0usize..4, 0..4);
    (data_type(), shape).prop_flat_map(move |(data_type, shape)| {
        let count = element_count(&shape).unwrap();
        let shape = Shape::from_vec(shape);
        match data_type.size() {
            None => prop::collection::vec(string(json), count)
                .prop_map(move |strings| Tensor::strings(shape.clone(), strings).unwrap())
                .boxed(),
            Some(size) => prop::collection::vec(any::<u8>(), count * size)
                .prop_map(move |mut bytes| {
                    make_valid(data_type, json, &mut bytes);
                    Tensor::numbers(data_type, shape.clone(), bytes.into()).unwrap()
                })
                .boxed(),
        }
    })
}

fn string(json: bool) -> BoxedStrategy<Bytes> {
    if json {
        any::<String>().prop_map(Bytes::from).boxed()
    } else {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from).boxed()
    }
}

fn make_valid(data_type: DataType, json: bool, bytes: &mut [u8]) {
    // Clearing one bit of the exponent (the highest byte's) leaves any float finite.
    let (size, mask) = match data_type {
        DataType::Bool => (1, 1),
        DataType::Float32 | DataType::Float64 if json => (data_type.size().unwrap(), 0xbf),
        _ => return,
    };
    bytes.chunks_exact_mut(size).for_each(|chunk| chunk[size - 1] &= mask);
}

/// The response's outputs as a request's inputs.
fn there_and_back(tensor: &Tensor, binary: bool) -> Result<Tensor, TestCaseError> {
    let output = OutputTensor { name: "x\"é", tensor: tensor.clone(), binary };
    let outputs = std::iter::once(output).collect();
    let response = InferResponse { model_name: "m", model_version: 1, id: None, outputs };
    let body = encode_infer(response).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let bytes: Vec<u8> = body.parts.iter().flat_map(|part| part.to_vec()).collect();
    let header = body.header_length.unwrap_or(bytes.len());
    let json = std::str::from_utf8(&bytes[..header]).unwrap().replace("\"outputs\"", "\"inputs\"");
    let request = [json.as_bytes(), &bytes[header..]].concat();
    let length = body.header_length.map(|_| json.len());
    let inputs = [spec("x\"é", tensor.data_type(), &[])];
    let request = decode_infer(request.into(), length, &terms(&inputs))
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(&*request.inputs[0].name, "x\"é");
    Ok(request.inputs[0].tensor.clone())
}

proptest! {
    #[test]
    fn binary_brings_every_tensor_back(tensor in tensor(false)) {
        prop_assert_eq!(there_and_back(&tensor, true)?, tensor);
    }

    #[test]
    fn json_brings_every_tensor_back(tensor in tensor(true)) {
        let half = matches!(tensor.data_type(), DataType::Float16 | DataType::BFloat16);
        prop_assume!(!half);
        prop_assert_eq!(there_and_back(&tensor, false)?, tensor);
    }

    #[test]
    fn garbage_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0usize..250) {
        let inputs = [spec("x", DataType::Int32, &[-1, 2])];
        let body = Bytes::from(bytes);
        let _ = decode_infer(body.clone(), None, &terms(&inputs));
        let _ = decode_infer(body, Some(length), &terms(&inputs));
    }

    #[test]
    fn damaged_requests_are_answered(
        at in 0usize..400, byte in any::<u8>(), cut in 0usize..400,
    ) {
        let json = "{\"id\":\"1\",\"parameters\":{\"timeout\":5,\"p\":\"\\u00e9\"},\"inputs\":[{\"data\":\
            [[1.5e3,-2],[3,0.25]],\"name\":\"x\",\"shape\":[2,2],\"datatype\":\"FP32\"},{\"name\":\
            \"b\",\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":{\"binary_data_size\":11}}],\
            \"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":true}}]}";
        let tail = b"\x03\x00\x00\x00abc\x00\x00\x00\x00";
        let mut bytes = [json.as_bytes(), tail].concat();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut.saturating_sub(300).min(length));
        let header = json.len().min(bytes.len());
        let _ = decode_infer(bytes.into(), Some(header), &terms(&strings()));
    }
}
