//! What was found out about a model's batching.

use std::fmt;

use super::axes::Axes;

/// What the proof found.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Rows give the same answers together and alone.
    Proven,
    /// Batched because configuration says so; the doubt is what the proof had to say against it.
    Forced { doubt: Option<String> },
    /// Unbatched because configuration says so.
    Off,
    /// No input has an open axis that could be the batch.
    NoBatchAxis,
    /// Rows give other answers together than alone.
    Differs {
        output: String,
        /// Relative to the output's largest value; infinite where shapes or strings differ.
        difference: f64,
    },
    /// It could not be found out.
    Unproven { reason: String },
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Proven => formatter.write_str("rows give the same answers together and alone"),
            Verdict::Forced { doubt: None } => formatter.write_str("forced by configuration"),
            Verdict::Forced { doubt: Some(doubt) } => {
                write!(formatter, "forced by configuration, although {doubt}")
            }
            Verdict::Off => formatter.write_str("switched off by configuration"),
            Verdict::NoBatchAxis => formatter.write_str("no input has an open batch axis"),
            Verdict::Differs { output, difference } if difference.is_finite() => write!(
                formatter,
                "output {output:?} differs by {difference:.1e} of its largest value between rows \
                 run together and alone"
            ),
            Verdict::Differs { output, .. } => {
                write!(formatter, "output {output:?} differs between rows run together and alone")
            }
            Verdict::Unproven { reason } => formatter.write_str(reason),
        }
    }
}

/// What was found out about padding, where configuration asks for it.
#[derive(Clone, Debug, PartialEq)]
pub enum PaddingVerdict {
    /// Requests give the same answers padded and alone.
    Proven,
    /// Padded because configuration forces it; the doubt is what the proof had to say against it.
    Forced { doubt: String },
    /// Requests give other answers padded than alone.
    Differs { output: String, difference: f64 },
    /// It could not be found out.
    Unproven { reason: String },
}

impl PaddingVerdict {
    pub(super) fn unproven(reason: impl Into<String>) -> PaddingVerdict {
        PaddingVerdict::Unproven { reason: reason.into() }
    }

    /// Whether requests of unlike shapes share batches.
    pub fn padded(&self) -> bool {
        matches!(self, PaddingVerdict::Proven | PaddingVerdict::Forced { .. })
    }
}

impl fmt::Display for PaddingVerdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PaddingVerdict::Proven => {
                formatter.write_str("requests give the same answers padded and alone")
            }
            PaddingVerdict::Forced { doubt } => {
                write!(formatter, "forced by configuration, although {doubt}")
            }
            PaddingVerdict::Differs { output, difference } if difference.is_finite() => write!(
                formatter,
                "output {output:?} differs by {difference:.1e} of its largest value between \
                 requests padded and alone"
            ),
            PaddingVerdict::Differs { output, .. } => {
                write!(formatter, "output {output:?} differs between requests padded and alone")
            }
            PaddingVerdict::Unproven { reason } => formatter.write_str(reason),
        }
    }
}

/// The verdict on a model, and where its batch lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    pub verdict: Verdict,
    /// Where the batch lies; all `None` where the model is not batched.
    pub axes: Axes,
}

impl Proof {
    /// Whether requests share batches.
    pub fn batched(&self) -> bool {
        matches!(self.verdict, Verdict::Proven | Verdict::Forced { .. })
    }
}
