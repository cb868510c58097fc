//! Inputs made up, so that a model can be run without data.

use std::collections::HashMap;

use crate::tensor::{AlignedBuffer, DataType, Dimension, Shape, Tensor, TensorSpec};

/// Sizes for open axes in two runs: what is open differs between them, and no two axes that could
/// be told apart are alike. Models of images take no less than the later ones.
const SIZES: [[[usize; 4]; 2]; 3] = [
    [[2, 5, 7, 11], [3, 6, 8, 13]],
    [[2, 32, 48, 64], [3, 40, 56, 72]],
    [[2, 224, 256, 320], [3, 288, 384, 448]],
];

/// Pairs of runs to try, in order. `None` for an input of unknown rank.
pub fn pairs(inputs: &[TensorSpec]) -> Option<Vec<[Vec<Tensor>; 2]>> {
    let pair =
        |sizes: &[[usize; 4]; 2]| Some([sample(inputs, &sizes[0])?, sample(inputs, &sizes[1])?]);
    SIZES.iter().map(pair).collect()
}

/// Tensors for all inputs: small floats, zeros otherwise. Axes of one name have one size.
fn sample(inputs: &[TensorSpec], sizes: &[usize; 4]) -> Option<Vec<Tensor>> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    let mut unnamed = 0;
    let mut tensors = Vec::new();
    for spec in inputs {
        let mut shape = Shape::new();
        for (axis, dimension) in spec.shape.as_ref()?.iter().enumerate() {
            shape.push(match dimension {
                Dimension::Fixed(size) => *size,
                // The first axis is the batch more often than not.
                Dimension::Unknown if axis == 0 => sizes[0],
                Dimension::Unknown => {
                    unnamed += 1;
                    sizes[1 + unnamed % 3]
                }
                Dimension::Named(name) => {
                    let next = if axis == 0 { 0 } else { 1 + named.len() % 3 };
                    *named.entry(name).or_insert(sizes[next])
                }
            });
        }
        tensors.push(filled(spec.data_type, shape)?);
    }
    Some(tensors)
}

fn filled(data_type: DataType, shape: Shape) -> Option<Tensor> {
    if data_type != DataType::Float32 {
        return Tensor::zeros(data_type, shape).ok();
    }
    let count: usize = shape.iter().product();
    let mut buffer = AlignedBuffer::zeroed(count * 4);
    for (index, bytes) in buffer.as_mut_slice().as_chunks_mut().0.iter_mut().enumerate() {
        *bytes = ((index % 17) as f32 / 17.0).to_le_bytes();
    }
    Tensor::numbers(data_type, shape, buffer.into_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_axes_differ_between_two_runs_and_fixed_ones_do_not() {
        let spec = |name: &str, shape: Vec<Dimension>| TensorSpec {
            name: name.to_owned(),
            data_type: DataType::Int64,
            shape: Some(shape),
            optional: false,
        };
        let batch = || Dimension::Named("batch".to_owned());
        let length = || Dimension::Named("length".to_owned());
        let inputs = [
            spec("ids", vec![batch(), length()]),
            spec("mask", vec![batch(), length(), Dimension::Fixed(3)]),
        ];
        let pairs = pairs(&inputs).expect("ranks are known");
        let shapes = |tensors: &[Tensor]| -> Vec<Vec<usize>> {
            tensors.iter().map(|tensor| tensor.shape().to_vec()).collect()
        };
        let [one, other] = &pairs[0];
        let (one, other) = (shapes(one), shapes(other));
        assert_eq!(one[0], one[1][..2]);
        assert!(one[0].iter().zip(&other[0]).all(|(one, other)| one != other));
        assert_eq!((one[1][2], other[1][2]), (3, 3));
    }
}
