//! Operators that nothing passes: their answers are no continuous numbers, depend on shapes alone,
//! or are drawn at random.

use super::{Entry, unsupported, zero};

pub(super) const RULES: &[Entry] = &[
    zero("ArgMax"),
    zero("ArgMin"),
    zero("Bernoulli"),
    zero("ConstantOfShape"),
    zero("EyeLike"),
    zero("Multinomial"),
    zero("NonMaxSuppression"),
    zero("NonZero"),
    zero("RandomNormal"),
    zero("RandomNormalLike"),
    zero("RandomUniform"),
    zero("RandomUniformLike"),
    zero("Shape"),
    zero("Size"),
    unsupported("Unique", "which of several equal elements it stands for is not defined"),
];
