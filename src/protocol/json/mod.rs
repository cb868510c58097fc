//! JSON as inference needs it: read in one pass, numbers straight into the tensor's type.
//!
//! A general parser would go through `f64` (a wrong last bit in some FP32 values), build a tree
//! for what is one long array, and could not say which element was wrong. What is left is small:
//! `cursor` (tokens and structure), `field` (values of the wrong kind), `numbers` (one number into
//! its type), `elements` (arrays of one type into a tensor), `write` (a tensor's elements as text).

mod cursor;
mod elements;
mod field;
mod numbers;
mod write;

pub(super) use cursor::{Cursor, excerpt};
pub(super) use elements::{Elements, Source};
pub(super) use numbers::Dialect;
pub(super) use write::{Layout, write_elements, write_string};
