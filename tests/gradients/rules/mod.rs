//! A row per rule, in files by family, as the table has them.

mod arithmetic;
mod indexing;
mod passing;
mod resize;
mod scattering;
mod shape;
mod slicing;
