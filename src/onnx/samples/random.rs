//! Seeded random numbers: the same ones everywhere, for ever, which a library does not promise.

use crate::tensor::{DataType, Shape, Tensor};
use bytes::Bytes;

/// A generator (SplitMix64: a counter, mixed).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The generator of that seed.
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from -1 (included) to 1 (excluded).
    pub fn unit(&mut self) -> f32 {
        // 24 bits are what a 32-bit float has.
        let bits = u32::try_from(self.bits() >> 40).expect("24 bits are left");
        bits as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// A whole number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// Evenly distributed values of mean 0 and the given standard deviation.
    ///
    /// # Panics
    /// The shape has more elements than fit in memory.
    pub fn tensor(&mut self, shape: &[usize], deviation: f32) -> Tensor {
        // Evenly between -a and a, the deviation is a / sqrt(3).
        let limit = deviation * 3f32.sqrt();
        let count: usize = shape.iter().product();
        let mut bytes = Vec::with_capacity(count * 4);
        for _ in 0..count {
            bytes.extend_from_slice(&(self.unit() * limit).to_le_bytes());
        }
        Tensor::numbers(DataType::Float32, Shape::from_slice(shape), Bytes::from(bytes))
            .expect("as many values as the shape has")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_the_deviation_is_kept() {
        let values = Random::new(7).tensor(&[100, 100], 0.5).to_f32().expect("floats");
        assert_eq!(values, Random::new(7).tensor(&[100, 100], 0.5).to_f32().expect("floats"));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        let variance = values.iter().map(|value| value * value).sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!((variance.sqrt() - 0.5).abs() < 0.01, "deviation {}", variance.sqrt());
    }
}
