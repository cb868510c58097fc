//! Reverse mode over an ONNX graph: a model with a loss goes in, the same model with the gradient
//! of the loss for every trainable initializer comes out. Pure: a graph to a graph, nothing is run.
//!
//! Reading order: `backward` (the walk; it knows no operator), `rules` (the table of derivatives, a
//! file per family), `call` (a node as its rule sees it), `expr` (what rules are written in) and
//! `emitter` (where the nodes go; equal ones once), `functions` (what we have kernels for, in
//! ONNX's own operators), `expansions` (nodes that are written out in others first), `size` and
//! `axis_map` (places along an axis), `unbroadcast`, `facts` (what is known of every value) and
//! `error`.

mod axis_map;
mod backward;
mod call;
mod emitter;
mod error;
mod expansions;
mod expr;
mod facts;
pub mod functions;
pub mod rules;
mod size;
mod unbroadcast;

pub use backward::{Gradient, MIN_OPSET, backward};
pub use emitter::{DOMAIN, Emitter, Written};
pub use error::{AutodiffError, Obstacle};
pub use expansions::expand;
pub use expr::{Expr, Operand};
pub use facts::{Fact, Facts};
