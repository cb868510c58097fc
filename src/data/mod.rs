//! Tables and arrays to train on: read once, checked as a whole, kept on disk, given out in
//! batches.
//!
//! Reading order: [`Schema`] (what a model and a loss want) and [`Dataset`] here, `field` (a
//! tensor's place in a sample), `store` (samples, in memory or in a file without a name, so that
//! data need not fit into memory), `value` (from text or an element to the bytes of a type), `csv`
//! with `columns` and `npz` with `array`, `samples` and `npy` (where data come from), `column`
//! (what is told of each), `target` (classes and their labels), `split` (what is trained on,
//! validated and tested) and `error`.

mod array;
mod column;
mod columns;
mod csv;
mod error;
mod field;
mod npy;
mod npz;
mod samples;
mod shuffle;
mod split;
mod store;
mod target;
mod value;

use std::path::Path;

use bytes::Bytes;

pub use column::ColumnSummary;
pub use error::DataError;
pub use shuffle::shuffle;
pub use split::{Split, SplitSettings, split};

use self::field::Field;
use self::store::Store;
use self::target::Labels;
use crate::tensor::{DataType, Shape, Tensor, TensorSpec};

/// What a model and a loss want of data.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The first axis of each counts samples; tables need the others to be fixed.
    pub inputs: Vec<TensorSpec>,
    pub target: TargetSpec,
}

/// What a model should answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetSpec {
    /// INT64 class numbers, of this shape in one sample. How many classes there are is known where
    /// the model's output says so.
    Classes { count: Option<usize>, shape: Vec<usize> },
    /// Numbers of this shape in one sample.
    Numbers { data_type: DataType, shape: Vec<usize> },
}

impl TargetSpec {
    fn data_type(&self) -> DataType {
        match self {
            TargetSpec::Classes { .. } => DataType::Int64,
            TargetSpec::Numbers { data_type, .. } => *data_type,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            TargetSpec::Classes { shape, .. } | TargetSpec::Numbers { shape, .. } => shape,
        }
    }
}

/// Samples, side by side.
#[derive(Clone, Debug)]
pub struct Batch {
    /// In the schema's order.
    pub inputs: Vec<Tensor>,
    pub target: Tensor,
}

/// Data that fits a model.
#[derive(Debug)]
pub struct Dataset {
    store: Store,
    inputs: Vec<Field>,
    target: Field,
    labels: Option<Labels>,
    columns: Vec<ColumnSummary>,
}

/// Reads a file, of the kind that its name says. `target` is a column or an array. `header` says
/// whether the first line of a table names its columns; `None` finds out.
///
/// # Errors
/// The file is unreadable, does not fit the schema, or a value in it is none.
pub fn open(
    path: &Path,
    target: &str,
    header: Option<bool>,
    schema: &Schema,
) -> Result<Dataset, DataError> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("csv") => csv::read(path, &csv::Options { target, header, delimiter: b',' }, schema),
        Some("tsv") => csv::read(path, &csv::Options { target, header, delimiter: b'\t' }, schema),
        Some("npz") => npz::read(path, target, schema),
        _ => Err(DataError::UnknownKind { path: path.to_owned() }),
    }
}

impl Dataset {
    /// How many samples there are.
    pub fn rows(&self) -> usize {
        self.store.rows()
    }

    /// What is told of each column or array, the target's last.
    pub fn columns(&self) -> &[ColumnSummary] {
        &self.columns
    }

    /// The labels in the order of their classes, where the target is classes.
    pub fn classes(&self) -> Option<&[String]> {
        self.labels.as_ref().map(Labels::names)
    }

    /// A sample's class, where it has one.
    pub fn class_of(&self, row: usize) -> Option<usize> {
        self.labels.as_ref()?.class_of_row(row)
    }

    /// These samples, in this order.
    ///
    /// # Errors
    /// There is no such row, or the file without a name cannot be read any more.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch, DataError> {
        let mut row = vec![0u8; self.store.row_size()];
        let fields = || self.inputs.iter().chain([&self.target]);
        let mut parts: Vec<Vec<u8>> =
            fields().map(|field| Vec::with_capacity(field.size * rows.len())).collect();
        for &index in rows {
            self.store.read(index, &mut row)?;
            for (part, field) in parts.iter_mut().zip(fields()) {
                part.extend_from_slice(&row[field.offset..field.offset + field.size]);
            }
        }
        if let (Some(labels), Some(part)) = (&self.labels, parts.last_mut()) {
            labels.to_classes(part);
        }
        let tensor = |(part, field): (Vec<u8>, &Field)| {
            let mut shape = Shape::from_slice(&[rows.len()]);
            shape.extend_from_slice(&field.shape);
            Tensor::numbers(field.data_type, shape, Bytes::from(part))
                .expect("a field's size is that of its type and shape")
        };
        let mut tensors: Vec<Tensor> = parts.into_iter().zip(fields()).map(tensor).collect();
        let target = tensors.pop().expect("there is a target behind the inputs");
        Ok(Batch { inputs: tensors, target })
    }
}
