//! A row per rule, in files by family, as the table has them.

mod activation;
mod arithmetic;
mod attention;
mod convolution;
mod einsum;
mod elementary;
mod indexing;
mod loss;
mod matrix;
mod normalization;
mod passing;
mod pooling;
mod recurrent;
mod reduction;
mod resize;
mod scattering;
mod selection;
mod shape;
mod slicing;
mod softmax;
