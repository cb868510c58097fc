//! Native kernels against the bodies of the functions that they stand for, on both engines: the
//! same values but for rounding, and the same bits however often and on however many threads.

mod activation;
mod call;
mod convolution;
mod dropout;
mod embedding;
mod normalization;
mod optimizer;
