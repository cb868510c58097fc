//! Derivatives against what they are by definition: every rule of the table, a row or more for
//! each, held against central differences in 64-bit floats; in 32-bit on the other engine; and
//! whole models.

mod branches;
#[allow(dead_code)]
mod case;
mod dropout;
mod engines;
mod expanded;
mod fidelity;
mod graph;
mod kernels;
#[allow(dead_code)]
mod numbers;
/// Graphs of every exporter compute, once they are ready to be differentiated, what they did.
mod preparation;
mod rules;
/// Only the libraries that tests fetch.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;
