//! Models to start from: initialised and not yet trained, for tables, images and sequences of
//! tokens.
//!
//! Reading order: `initial` (the schemes of initial weights), `layers` (what all kinds are made
//! of), `mlp`, `cnn`, `transformer`.
//!
//! Weights have PyTorch's names and layouts, so that they can be carried over by name. The batch
//! axis is open, everything else is fixed. The answer is `output`, FP32 `[batch, outputs]`: logits
//! of classes, or the numbers of a regression. Operators are those that both engines run and that
//! can be differentiated.

/// Gives an enum of choices the words by which they are typed and printed.
macro_rules! words {
    ($choice:ident, $what:literal, [$($variant:ident => $word:literal),+ $(,)?]) => {
        impl $choice {
            pub const ALL: &'static [$choice] = &[$($choice::$variant),+];

            pub fn name(self) -> &'static str {
                match self {
                    $($choice::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $choice {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl std::str::FromStr for $choice {
            type Err = String;

            fn from_str(text: &str) -> Result<$choice, String> {
                $choice::ALL.iter().copied().find(|choice| choice.name() == text).ok_or_else(|| {
                    let words = [$($word),+].join(", ");
                    format!("unknown {} {text:?}: expected one of {words}", $what)
                })
            }
        }
    };
}

mod cnn;
mod initial;
mod layers;
mod mlp;
mod transformer;

pub use cnn::{CnnSettings, Downsampling, ImageSize, cnn};
pub use initial::Initialization;
pub use layers::{Activation, Normalization};
pub use mlp::{MlpSettings, mlp};
pub use transformer::{TransformerSettings, transformer};

use super::proto::ModelProto;

/// Operator set of all of them: the first with `LayerNormalization`.
const OPSET: i64 = 17;

/// The most that a size may be: beyond any table, image or vocabulary there is.
const MOST_SIZE: usize = 1 << 24;

/// The most repetitions of a layer, ten times what the deepest models have.
const MOST_LAYERS: usize = 1024;

/// The most weights: 2 GB of them, which is nearly what a model file can have.
const MOST_WEIGHTS: u64 = 500_000_000;

/// What all kinds have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    pub activation: Activation,
    /// The share of elements that training drops; 0 for no such nodes.
    pub dropout: f32,
    pub initialization: Initialization,
    /// Of the initial weights: the same on every machine, for ever.
    pub seed: u64,
}

/// A model to start from.
#[derive(Clone, Debug, PartialEq)]
pub struct Starter {
    pub model: ModelProto,
    /// Numbers that training changes; running statistics are not counted.
    pub parameters: u64,
}

/// Settings that make no model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StarterError {
    #[error("expected a size from 1 to {most}, got {size}")]
    Size { setting: &'static str, size: usize, most: usize },
    #[error("expected 1 to {most} of them, got {count}")]
    Count { setting: &'static str, count: usize, most: usize },
    #[error("a width of {width} cannot be shared among {heads} heads: expected a divisor of it")]
    Heads { width: usize, heads: usize },
    #[error("an image of side {side} can be halved into {most} stages at most, got {stages}")]
    ImageTooSmall { side: usize, stages: usize, most: usize },
    #[error("{normalization} is for rows and tokens; images take none or batch")]
    NormalizationUnfit { normalization: Normalization },
    #[error("expected a share from 0 to below 1, got {ratio}")]
    Dropout { ratio: f32 },
    #[error("it would have more than {limit} weights, which is what a model file holds")]
    TooLarge { limit: u64 },
}

impl StarterError {
    /// The field of the settings that is wrong; none where it is all of them together.
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            StarterError::Size { setting, .. } | StarterError::Count { setting, .. } => {
                Some(setting)
            }
            StarterError::Heads { .. } => Some("heads"),
            StarterError::ImageTooSmall { .. } => Some("channels"),
            StarterError::NormalizationUnfit { .. } => Some("normalization"),
            StarterError::Dropout { .. } => Some("dropout"),
            StarterError::TooLarge { .. } => None,
        }
    }
}

/// Refuses sizes of zero and beyond reason.
fn check_sizes(setting: &'static str, sizes: &[usize]) -> Result<(), StarterError> {
    match sizes.iter().find(|size| !(1..=MOST_SIZE).contains(*size)) {
        Some(&size) => Err(StarterError::Size { setting, size, most: MOST_SIZE }),
        None => Ok(()),
    }
}

fn check_dropout(style: Style) -> Result<(), StarterError> {
    let ratio = style.dropout;
    if (0.0..1.0).contains(&ratio) { Ok(()) } else { Err(StarterError::Dropout { ratio }) }
}

/// Refuses to repeat something not at all, or beyond reason.
fn check_count(setting: &'static str, count: usize) -> Result<(), StarterError> {
    let most = MOST_LAYERS;
    let error = StarterError::Count { setting, count, most };
    if (1..=most).contains(&count) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests;
