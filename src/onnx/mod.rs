//! The model file as data.
