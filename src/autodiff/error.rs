//! Why a graph cannot be differentiated.

use std::fmt;

/// One node that stands between the loss and a trainable initializer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    pub node: String,
    /// Behind its domain where that is not ONNX's own.
    pub operator: String,
    pub reason: String,
    /// The trainable initializers whose gradients would have to pass through it.
    pub parameters: Vec<String>,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Obstacle { node, operator, reason, parameters } = self;
        write!(formatter, "node {node:?} ({operator}): {reason}; it is between the loss and ")?;
        match parameters.as_slice() {
            [] => formatter.write_str("the parameters"),
            [one] => write!(formatter, "{one:?}"),
            [first, .., last] => {
                write!(formatter, "{first:?} … {last:?} ({} parameters)", parameters.len())
            }
        }
    }
}

/// Why there is no gradient graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutodiffError {
    #[error("the model has no graph")]
    NoGraph,
    #[error("the model is in operator set {actual}, expected {expected} or later")]
    OldOperators { actual: i64, expected: i64 },
    #[error("the graph has no value {name:?} to take the gradient of")]
    NoLoss { name: String },
    #[error("the loss {name:?} has shape {shape}, expected a scalar")]
    LossNotScalar { name: String, shape: String },
    #[error("nothing is known of the value {name:?}: its type and shape were not found out")]
    UnknownValue { name: String },
    #[error(
        "{} cannot be differentiated: {}; leave those parameters out with --trainable",
        count(.obstacles), list(.obstacles)
    )]
    Obstacles { obstacles: Vec<Obstacle> },
}

fn count(obstacles: &[Obstacle]) -> String {
    match obstacles.len() {
        1 => "1 node".to_owned(),
        more => format!("{more} nodes"),
    }
}

fn list(obstacles: &[Obstacle]) -> String {
    let texts: Vec<String> = obstacles.iter().map(Obstacle::to_string).collect();
    texts.join("; ")
}
