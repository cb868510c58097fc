//! Initial weights, by the usual schemes, the same ones on every machine: nothing here asks the
//! platform's mathematics for more than the four operations and square roots, which have one right
//! answer.

use bytes::Bytes;

use crate::onnx::samples::Random;
use crate::tensor::{DataType, Shape, Tensor};

/// Deviation of the scheme `normal`, and of embeddings in all schemes but PyTorch's.
const SMALL: f64 = 0.02;

/// How weights are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initialization {
    /// As PyTorch's layers do by themselves: evenly, within one over the root of the fan-in; biases
    /// too.
    Torch,
    /// He's: normally, with a variance of one over the fan-in, times what the activation takes
    /// away.
    Kaiming,
    /// Glorot's: evenly, with a variance of two over the sum of fan-in and fan-out.
    Xavier,
    /// Normally, with a deviation of 0.02.
    Normal,
}

words!(Initialization, "initialization", [
    Torch => "torch",
    Kaiming => "kaiming",
    Xavier => "xavier",
    Normal => "normal",
]);

/// Draws weights, one tensor after the other.
#[derive(Clone, Debug)]
pub(super) struct Initial {
    scheme: Initialization,
    random: Random,
    /// Normal numbers come in pairs: the second of the last one.
    second: Option<f64>,
}

impl Initial {
    pub(super) fn new(scheme: Initialization, seed: u64) -> Initial {
        Initial { scheme, random: Random::new(seed), second: None }
    }

    /// The weights of a layer, `[out, in, …]`. The gain is how much larger than its input the
    /// answer should be, for what follows makes it smaller.
    pub(super) fn weight(&mut self, shape: &[usize], gain: f64) -> Tensor {
        let (fan_in, fan_out) = fans(shape);
        match self.scheme {
            Initialization::Torch => self.uniform(shape, (1.0 / fan_in).sqrt()),
            Initialization::Kaiming => self.normal(shape, gain / fan_in.sqrt()),
            Initialization::Xavier => self.uniform(shape, (6.0 / (fan_in + fan_out)).sqrt()),
            Initialization::Normal => self.normal(shape, SMALL),
        }
    }

    /// The bias of the layer that has weights of that shape.
    pub(super) fn bias(&mut self, weight_shape: &[usize]) -> Tensor {
        let shape = &weight_shape[..1];
        match self.scheme {
            Initialization::Torch => self.uniform(shape, (1.0 / fans(weight_shape).0).sqrt()),
            _ => constant(shape, 0.0),
        }
    }

    /// A table of vectors, one for each token or position.
    pub(super) fn embedding(&mut self, shape: &[usize]) -> Tensor {
        let deviation = if self.scheme == Initialization::Torch { 1.0 } else { SMALL };
        self.normal(shape, deviation)
    }

    fn uniform(&mut self, shape: &[usize], limit: f64) -> Tensor {
        filled(shape, || self.unit() * limit)
    }

    fn normal(&mut self, shape: &[usize], deviation: f64) -> Tensor {
        filled(shape, || self.standard() * deviation)
    }

    /// Evenly from -1 (included) to 1 (excluded).
    fn unit(&mut self) -> f64 {
        // 53 bits are what a 64-bit float has.
        (self.random.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Normally, with mean 0 and deviation 1: Box and Muller's transformation in Marsaglia's form,
    /// which needs no sine.
    fn standard(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        loop {
            let (x, y) = (self.unit(), self.unit());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * logarithm(square) / square).sqrt();
                self.second = Some(y * factor);
                return x * factor;
            }
        }
    }
}

/// Inputs that an output is made of, and outputs that an input goes into.
fn fans(shape: &[usize]) -> (f64, f64) {
    let window: usize = shape[2..].iter().product();
    ((shape[1] * window) as f64, (shape[0] * window) as f64)
}

/// All elements the same.
pub(super) fn constant(shape: &[usize], value: f64) -> Tensor {
    filled(shape, || value)
}

fn filled(shape: &[usize], mut next: impl FnMut() -> f64) -> Tensor {
    let count: usize = shape.iter().product();
    let mut bytes = Vec::with_capacity(count * 4);
    for _ in 0..count {
        bytes.extend_from_slice(&(next() as f32).to_le_bytes());
    }
    Tensor::numbers(DataType::Float32, Shape::from_slice(shape), Bytes::from(bytes))
        .expect("as many values as the shape has")
}

/// The natural logarithm of a normal positive number. The standard library's is the platform's,
/// and platforms differ in the last bit.
fn logarithm(x: f64) -> f64 {
    // x = m · 2^e with m between √½ and √2.
    let bits = x.to_bits();
    let mut exponent = f64::from(i32::try_from(bits >> 52).expect("twelve bits") - 1023);
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // ln m = 2 artanh s, a series of odd powers; s² is below 0.03.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for power in (0..13).rev() {
        sum = sum * square + 1.0 / f64::from(2 * power + 1);
    }
    exponent * std::f64::consts::LN_2 + 2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean, deviation and largest magnitude.
    fn statistics(tensor: &Tensor) -> (f64, f64, f64) {
        let values = tensor.to_f32().expect("floats");
        let count = values.len() as f64;
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
        let square = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>();
        let largest = values.iter().fold(0f64, |largest, value| largest.max(value.abs().into()));
        (mean, (square / count).sqrt(), largest)
    }

    fn check(what: &str, tensor: &Tensor, deviation: f64, limit: Option<f64>) {
        let (mean, actual, largest) = statistics(tensor);
        assert!(mean.abs() < 0.02 * deviation, "{what}: mean {mean}");
        assert!((actual / deviation - 1.0).abs() < 0.02, "{what}: {actual}, not {deviation}");
        if let Some(limit) = limit {
            // It is used to the full, and never left.
            assert!((0.99 * limit..=1.000_001 * limit).contains(&largest), "{what}: {largest}");
        } else {
            assert!(largest > 3.5 * deviation, "{what}: a normal distribution has tails");
        }
    }

    #[test]
    fn weights_are_distributed_as_their_scheme_says() {
        use Initialization::{Kaiming, Normal, Torch, Xavier};
        let root = 3f64.sqrt();
        // [out, in] of a linear layer, [out, in, high, wide] of a convolution.
        for (shape, fan_in, fan_out) in
            [(vec![100, 400], 400.0, 100.0), (vec![64, 50, 3, 3], 450.0, 576.0f64)]
        {
            let weight = |scheme, gain| Initial::new(scheme, 7).weight(&shape, gain);
            let limit = 1.0 / f64::sqrt(fan_in);
            check("torch", &weight(Torch, 2.0), limit / root, Some(limit));
            check("kaiming", &weight(Kaiming, 2.0), 2.0 / f64::sqrt(fan_in), None);
            let limit = (6.0 / (fan_in + fan_out)).sqrt();
            check("xavier", &weight(Xavier, 2.0), limit / root, Some(limit));
            check("normal", &weight(Normal, 2.0), 0.02, None);
        }
    }

    #[test]
    fn biases_are_zero_but_for_pytorchs() {
        let shape = [20_000, 100];
        for &scheme in Initialization::ALL {
            let bias = Initial::new(scheme, 7).bias(&shape);
            assert_eq!(bias.shape(), &shape[..1]);
            if scheme == Initialization::Torch {
                check("torch", &bias, 0.1 / 3f64.sqrt(), Some(0.1));
            } else {
                assert_eq!(statistics(&bias), (0.0, 0.0, 0.0), "{scheme}");
            }
        }
    }

    #[test]
    fn embeddings_are_normal() {
        for &scheme in Initialization::ALL {
            let deviation = if scheme == Initialization::Torch { 1.0 } else { 0.02 };
            let table = Initial::new(scheme, 7).embedding(&[300, 100]);
            check(scheme.name(), &table, deviation, None);
        }
    }

    #[test]
    fn the_first_weights_of_a_seed_are_these_on_every_machine() {
        let mut initial = Initial::new(Initialization::Kaiming, 0);
        let bits: Vec<u32> = initial
            .weight(&[2, 2], 1.0)
            .to_f32()
            .expect("floats")
            .into_iter()
            .map(f32::to_bits)
            .collect();
        assert_eq!(bits, [0x3f32_37f5, 0xbdfe_af99, 0xbf00_e5d2, 0xbe62_2961]);
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for index in 1..=10_000 {
            for x in [f64::from(index) / 10_000.0, f64::from(index) * 1e-12] {
                let (ours, theirs) = (logarithm(x), x.ln());
                let difference = (ours - theirs).abs();
                assert!(difference <= 1e-15 * theirs.abs().max(0.1), "{x}: {ours}, not {theirs}");
            }
        }
    }
}
