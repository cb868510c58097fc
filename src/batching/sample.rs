//! Made-up requests that fit a model: what the proof compares and the measurement runs.
//!
//! A request is a function of its seed, so the same row can be run alone, together with others
//! and in another place. Nothing here knows what an input means; the proof tries sizes and values
//! until the model takes them.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Request;
use super::plan::element;
use crate::engine::Signature;
use crate::tensor::{AlignedBuffer, DataType, Dimension, Shape, Tensor, TensorSpec, element_count};

/// Elements of one made-up input at most: what is guessed must not exhaust the memory.
const MAX_ELEMENTS: usize = 1 << 26;

/// Sizes that open axes usually have: one such axis is a sequence, several are an image.
const USUAL_SEQUENCE: usize = 32;
const USUAL_IMAGE: usize = 224;

/// What made-up values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Integers 0 and 1, which are indices of every table and good as masks; floats from -1 to 1.
    Small,
    /// Integers below 100, floats from -4 to 4.
    Wide,
    /// Each row all zeros or all ones.
    Constant,
}

/// The shapes and values of made-up requests for one model.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Per input its whole shape, with one row where the batch lies; `None` leaves it out.
    shapes: Vec<Option<Shape>>,
    /// Which inputs are the same in every request.
    shared: Vec<bool>,
    data_types: Vec<DataType>,
    outputs: SmallVec<[usize; 4]>,
    pub values: Values,
    /// The size that was guessed, and for which axes of each input.
    open: usize,
    guessed: Vec<SmallVec<[usize; 4]>>,
}

/// What the shapes of samples are made from.
#[derive(Clone, Copy)]
pub(super) struct SampleShapes<'a> {
    pub signature: &'a Signature,
    /// Batch axis per input.
    pub axes: &'a [Option<usize>],
    /// By input, as configured: sizes of every axis, of every axis but the batch's, or of every
    /// open axis but the batch's.
    pub configured: &'a BTreeMap<String, Vec<usize>>,
    /// Size of every open axis that nothing else decides.
    pub open: usize,
}

impl Sample {
    /// `None` where a shape would be too large to make up.
    pub fn new(source: &SampleShapes<'_>, values: Values) -> Option<Sample> {
        let mut shapes = Vec::new();
        for (input, &axis) in source.signature.inputs.iter().zip(source.axes) {
            // A model's own default is the best guess for an optional input.
            let left_out = input.optional && !source.configured.contains_key(&input.name);
            let shape = (!left_out).then(|| input_shape(source, input, axis));
            if shape
                .as_deref()
                .is_some_and(|shape| element_count(shape).is_none_or(|count| count > MAX_ELEMENTS))
            {
                return None;
            }
            shapes.push(shape);
        }
        Some(Sample {
            shapes,
            shared: source.axes.iter().map(Option::is_none).collect(),
            data_types: source.signature.inputs.iter().map(|input| input.data_type).collect(),
            outputs: (0..source.signature.outputs.len()).collect(),
            values,
            open: source.open,
            guessed: source
                .signature
                .inputs
                .iter()
                .zip(source.axes)
                .map(|(input, &axis)| guessed_axes(source, input, axis))
                .collect(),
        })
    }

    /// The same with larger sizes where they were guessed: small ones are found sooner, these are
    /// nearer to what is really asked. `None` where nothing was guessed, or larger already.
    pub fn of_usual_size(&self) -> Option<Sample> {
        let axes = self.guessed.iter().map(SmallVec::len).max()?;
        let usual = if axes > 1 { USUAL_IMAGE } else { USUAL_SEQUENCE };
        if axes == 0 || self.open >= usual {
            return None;
        }
        let mut larger = Sample { open: usual, ..self.clone() };
        for (shape, guessed) in larger.shapes.iter_mut().zip(&self.guessed) {
            let Some(shape) = shape else { continue };
            guessed.iter().for_each(|&axis| shape[axis] = usual);
            if element_count(shape).is_none_or(|count| count > MAX_ELEMENTS) {
                return None;
            }
        }
        Some(larger)
    }

    /// The same with these axes, by input and axis, of other lengths.
    pub fn with_lengths(
        &self,
        places: &[(usize, usize)],
        length: impl Fn(usize) -> usize,
    ) -> Sample {
        let mut changed = self.clone();
        for &(input, axis) in places {
            let shape = changed.shapes[input].as_mut();
            if let Some(size) = shape.and_then(|shape| shape.get_mut(axis)) {
                *size = length(*size);
            }
        }
        changed
    }

    /// The same shapes with values of another kind.
    pub fn with_values(&self, values: Values) -> Sample {
        Sample { values, ..self.clone() }
    }

    /// Whether both make the same requests.
    pub fn same_as(&self, other: &Sample) -> bool {
        self.shapes == other.shapes && self.values == other.values
    }

    /// A request of one row. Equal seeds make equal requests.
    pub fn request(&self, seed: u64) -> Request {
        let inputs = self.shapes.iter().enumerate().map(|(index, shape)| {
            let seed = if self.shared[index] { 0 } else { seed };
            let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(index as u64));
            shape.as_ref().map(|shape| self.tensor(index, shape, seed, &mut random))
        });
        Request {
            inputs: inputs.collect(),
            outputs: self.outputs.clone(),
            priority: 0,
            deadline: None,
            arrived: Instant::now(),
        }
    }

    fn tensor(&self, index: usize, shape: &Shape, seed: u64, random: &mut Random) -> Tensor {
        let data_type = self.data_types[index];
        let count = element_count(shape).expect("the sample's shapes were counted");
        let made = match data_type.size() {
            None => {
                let text = |_| Bytes::from(self.value(data_type, seed, random).to_string());
                Tensor::strings(shape.clone(), (0..count).map(text).collect())
            }
            Some(size) => {
                let mut buffer = AlignedBuffer::zeroed(count * size);
                for bytes in buffer.as_mut_slice().chunks_exact_mut(size) {
                    let value = self.value(data_type, seed, random);
                    bytes.copy_from_slice(&element(data_type, value));
                }
                Tensor::numbers(data_type, shape.clone(), buffer.into_bytes())
            }
        };
        made.expect("the elements were counted by the shape")
    }

    fn value(&self, data_type: DataType, seed: u64, random: &mut Random) -> f64 {
        let is_float = matches!(
            data_type,
            DataType::Float16 | DataType::BFloat16 | DataType::Float32 | DataType::Float64
        );
        match (self.values, is_float) {
            (Values::Small, true) => random.unit() * 2.0 - 1.0,
            (Values::Small, false) => (random.unit() * 2.0).floor(),
            (Values::Wide, false) if data_type == DataType::Bool => (random.unit() * 2.0).floor(),
            (Values::Wide, true) => random.unit() * 8.0 - 4.0,
            (Values::Wide, false) => (random.unit() * 100.0).floor(),
            (Values::Constant, _) => f64::from(u8::from(seed % 2 == 1)),
        }
    }
}

fn input_shape(source: &SampleShapes<'_>, input: &TensorSpec, axis: Option<usize>) -> Shape {
    let sizes = source.configured.get(&input.name).map_or(&[][..], Vec::as_slice);
    let dimensions = input.shape.as_deref().unwrap_or_default();
    let mut shape: Shape = if input.shape.is_none() || sizes.len() == dimensions.len() {
        // Said whole; where the model leaves the rank open, there is nothing else to go by.
        fixed_over(dimensions, sizes)
    } else {
        let is_open = |place: usize| !matches!(dimensions[place], Dimension::Fixed(_));
        let inner = |place: &usize| Some(*place) != axis;
        let inner: Vec<usize> = (0..dimensions.len()).filter(inner).collect();
        let open: Vec<usize> = inner.iter().copied().filter(|&place| is_open(place)).collect();
        let mut shape = input.shape_with(source.open);
        let places = if sizes.len() == inner.len() { inner } else { open };
        if sizes.len() == places.len() {
            // What the model has fixed stays, whatever is configured.
            let open = places.into_iter().zip(sizes).filter(|(place, _)| is_open(*place));
            open.for_each(|(place, &size)| shape[place] = size);
        }
        shape
    };
    if let Some(rows) = axis.and_then(|axis| shape.get_mut(axis)) {
        *rows = 1;
    }
    shape
}

/// The axes of an input that neither the model nor configuration gives a size.
fn guessed_axes(
    source: &SampleShapes<'_>,
    input: &TensorSpec,
    axis: Option<usize>,
) -> SmallVec<[usize; 4]> {
    // A shape that follows the guess is a guess.
    let with = |open: usize| input_shape(&SampleShapes { open, ..*source }, input, axis);
    let (one, other) = (with(1), with(2));
    (0..one.len()).filter(|&place| one[place] != other[place]).collect()
}

/// `sizes`, with the sizes that the model has fixed in their places.
fn fixed_over(dimensions: &[Dimension], sizes: &[usize]) -> Shape {
    let fixed = |place: usize| match dimensions.get(place) {
        Some(Dimension::Fixed(size)) => Some(*size),
        _ => None,
    };
    sizes.iter().enumerate().map(|(place, &size)| fixed(place).unwrap_or(size)).collect()
}

/// SplitMix64: small, and the same everywhere.
struct Random {
    state: u64,
}

impl Random {
    fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// From 0 to just below 1.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits are what a 64-bit float holds.
        #[allow(clippy::cast_precision_loss)]
        let unit = (mixed >> 11) as f64 / (1u64 << 53) as f64;
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::testing::{spec, typed_spec};

    fn shapes(input: TensorSpec, axis: Option<usize>, configured: &[usize]) -> Shape {
        let name = input.name.clone();
        let signature = Signature { inputs: vec![input], outputs: Vec::new() };
        let configured = if configured.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([(name, configured.to_vec())])
        };
        let source =
            SampleShapes { signature: &signature, axes: &[axis], configured: &configured, open: 8 };
        let sample = Sample::new(&source, Values::Small).expect("small enough");
        sample.shapes[0].clone().expect("not optional")
    }

    #[test]
    fn shapes_are_fixed_configured_or_guessed() {
        let image = || spec("x", "?,3,?,?");
        assert_eq!(shapes(image(), Some(0), &[])[..], [1, 3, 8, 8]);
        assert_eq!(shapes(image(), Some(0), &[48, 192])[..], [1, 3, 48, 192]);
        assert_eq!(shapes(image(), Some(0), &[3, 48, 192])[..], [1, 3, 48, 192]);
        assert_eq!(shapes(image(), Some(0), &[5, 3, 48, 192])[..], [1, 3, 48, 192]);
        assert_eq!(shapes(spec("x", "2,batch,128"), Some(1), &[])[..], [2, 1, 128]);
        assert!(shapes(spec("x", ""), None, &[]).is_empty());
        let open = TensorSpec { shape: None, ..spec("x", "") };
        assert_eq!(shapes(open, Some(0), &[4, 6])[..], [1, 6]);
    }

    #[test]
    fn what_was_guessed_takes_its_usual_size() {
        let usual = |input: TensorSpec, configured: &[(String, Vec<usize>)]| {
            let signature = Signature { inputs: vec![input], outputs: Vec::new() };
            let configured = configured.iter().cloned().collect();
            let source = SampleShapes {
                signature: &signature,
                axes: &[Some(0)],
                configured: &configured,
                open: 8,
            };
            let usual = Sample::new(&source, Values::Small).expect("small").of_usual_size()?;
            usual.shapes[0].as_ref().map(|shape| shape.to_vec())
        };
        assert_eq!(usual(spec("x", "?,?,16"), &[]), Some(vec![1, 32, 16]));
        assert_eq!(usual(spec("x", "?,3,?,?"), &[]), Some(vec![1, 3, 224, 224]));
        assert_eq!(usual(spec("x", "?,16"), &[]), None);
        assert_eq!(usual(spec("x", "?,?,16"), &[("x".to_owned(), vec![9])]), None);
    }

    #[test]
    fn the_same_seed_makes_the_same_request_and_another_does_not() {
        for data_type in DataType::ALL {
            let signature = Signature {
                inputs: vec![typed_spec("x", data_type, "?,32"), typed_spec("k", data_type, "")],
                outputs: Vec::new(),
            };
            let source = SampleShapes {
                signature: &signature,
                axes: &[Some(0), None],
                configured: &BTreeMap::new(),
                open: 8,
            };
            for values in [Values::Small, Values::Wide, Values::Constant] {
                let sample = Sample::new(&source, values).expect("small enough");
                let [one, again, other] = [1, 1, 2].map(|seed| sample.request(seed).inputs);
                assert_eq!(one, again);
                assert_ne!(one[0], other[0], "{data_type} {values:?}");
                assert_eq!(one[1], other[1], "an input without a batch axis is shared");
            }
        }
    }

    #[test]
    fn shapes_beyond_all_memory_are_not_made_up() {
        let signature =
            Signature { inputs: vec![spec("x", "1000000,1000000")], outputs: Vec::new() };
        let source = SampleShapes {
            signature: &signature,
            axes: &[None],
            configured: &BTreeMap::new(),
            open: 8,
        };
        assert!(Sample::new(&source, Values::Small).is_none());
    }
}
