//! Why data cannot be trained on.

use std::io;
use std::path::PathBuf;

/// Rows count from 1, the header not among them.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: expected a file whose name ends in .csv, .tsv or .npz", path.display())]
    UnknownKind { path: PathBuf },
    #[error("{}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("temporary data: {0}")]
    Temporary(io::Error),
    #[error("{}: there is no row of data", path.display())]
    NoRows { path: PathBuf },
    #[error("{}: there is no column {name:?}; there are {known}", path.display())]
    NoColumn { path: PathBuf, name: String, known: String },
    #[error("{}: there are two columns {name:?}", path.display())]
    DuplicateColumn { path: PathBuf, name: String },
    #[error("{}: row {row} has {actual} fields, expected {expected}", path.display())]
    Ragged { path: PathBuf, row: usize, actual: usize, expected: usize },
    #[error("{}: row {row}, column {column:?}: expected {expected}, got {value:?}", path.display())]
    Value { path: PathBuf, row: usize, column: String, expected: String, value: String },
    #[error("{}: there is no array {name:?}; there are {known}", path.display())]
    NoArray { path: PathBuf, name: String, known: String },
    #[error("{}: row {row}, array {element}: expected {expected}, got {value}", path.display())]
    Element { path: PathBuf, row: usize, element: String, expected: String, value: String },
    #[error("{}: {reason}", path.display())]
    Unfit { path: PathBuf, reason: String },
    #[error(
        "the validation and test splits are {validation} and {test} of the rows: expected \
             fractions from 0 that leave some to train on"
    )]
    Fractions { validation: f64, test: f64 },
    #[error("a {part} split of {fraction} of {rows} rows is empty")]
    EmptySplit { part: &'static str, fraction: f64, rows: usize },
}
