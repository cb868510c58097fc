//! Which columns of a table feed which input.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::field::Field;
use super::{DataError, Schema, TargetSpec};
use crate::tensor::{Dimension, TensorSpec};

/// The target where it is in the last column and columns have no names.
const LAST: &str = "last";

/// So many columns are shown of many.
const SHOWN: usize = 12;

/// The columns of a table by what they are for.
#[derive(Debug)]
pub(super) struct Columns {
    pub inputs: Vec<Field>,
    /// For every input the columns of its elements in their order.
    pub taken: Vec<Vec<usize>>,
    pub target: Field,
    pub target_column: usize,
}

/// The names of a table's columns; numbers from 0 where it has no header.
#[derive(Debug)]
pub(super) struct Names {
    pub names: Vec<String>,
    pub header: bool,
}

impl Columns {
    /// # Errors
    /// The table has not the columns that the schema needs.
    pub fn new(
        path: &Path,
        names: &Names,
        target: &str,
        schema: &Schema,
    ) -> Result<Columns, DataError> {
        let target_column = names.target(path, target)?;
        let names = &names.names;
        let free: Vec<usize> = (0..names.len()).filter(|&column| column != target_column).collect();
        let unfit = |reason: String| DataError::Unfit { path: path.to_owned(), reason };
        let by_name: HashMap<&str, usize> =
            free.iter().map(|&column| (names[column].as_str(), column)).collect();
        let mut offset = 0;
        let (mut inputs, mut taken) = (Vec::new(), Vec::new());
        for spec in &schema.inputs {
            let field = input_field(spec, offset).map_err(unfit)?;
            taken.push(if schema.inputs.len() > 1 {
                columns_of(&spec.name, field.elements, &by_name).map_err(unfit)?
            } else if free.len() == field.elements {
                free.clone()
            } else {
                return Err(unfit(count_text(&spec.name, field.elements, &free, names)));
            });
            offset = field.end();
            inputs.push(field);
        }
        let target = target_field(&schema.target, offset).map_err(unfit)?;
        Ok(Columns { inputs, taken, target, target_column })
    }
}

impl Names {
    fn target(&self, path: &Path, target: &str) -> Result<usize, DataError> {
        let mut seen = HashSet::new();
        if let Some(name) = self.names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(DataError::DuplicateColumn { path: path.to_owned(), name: name.clone() });
        }
        let named = self.names.iter().position(|name| name == target);
        let last = || self.names.len().checked_sub(1).filter(|_| target == LAST);
        named.or_else(last).ok_or_else(|| DataError::NoColumn {
            path: path.to_owned(),
            name: target.to_owned(),
            known: self.shown(),
        })
    }

    fn shown(&self) -> String {
        if self.header {
            return shown(self.names.iter());
        }
        let last = self.names.len().saturating_sub(1);
        format!("\"0\" to \"{last}\" and \"{LAST}\", for the first line was taken for data")
    }
}

fn shown<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let names: Vec<String> = names.take(SHOWN).map(|name| format!("{name:?}")).collect();
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (_, 0) => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

/// An input's place in a row of the store.
fn input_field(spec: &TensorSpec, offset: usize) -> Result<Field, String> {
    let name = format!("input {:?}", spec.name);
    let open = || {
        let shape = spec.shape_text();
        format!(
            "{name} has shape {shape}: a table needs all axes behind the first to be fixed; give \
             data as .npz"
        )
    };
    let size = |dimension: &Dimension| match dimension {
        Dimension::Fixed(size) => Ok(*size),
        Dimension::Named(_) | Dimension::Unknown => Err(open()),
    };
    let dimensions = spec.shape.as_deref().ok_or_else(open)?;
    let shape = dimensions.iter().skip(1).map(size).collect::<Result<Vec<usize>, String>>()?;
    Field::new(&name, (spec.data_type, shape), offset)
}

fn target_field(target: &TargetSpec, offset: usize) -> Result<Field, String> {
    let field = Field::target(target, offset)?;
    if field.elements == 1 {
        return Ok(field);
    }
    Err(format!(
        "the target has shape {:?} in each sample, a table's column one value: give data as .npz",
        field.shape
    ))
}

fn count_text(input: &str, elements: usize, free: &[usize], names: &[String]) -> String {
    let all: Vec<&String> = free.iter().map(|&column| &names[column]).collect();
    format!(
        "input {input:?} takes {elements} values a sample, the columns beside the target are {}: {}",
        free.len(),
        shown(all.into_iter())
    )
}

/// The columns of one input among several: `NAME`, or `NAME.0`, `NAME.1` and so on.
fn columns_of(
    input: &str,
    elements: usize,
    by_name: &HashMap<&str, usize>,
) -> Result<Vec<usize>, String> {
    let find = |wanted: &str| by_name.get(wanted).copied();
    let one = || find(input).filter(|_| elements == 1).map(|column| vec![column]);
    let several = |separator: char| -> Option<Vec<usize>> {
        (0..elements).map(|place| find(&format!("{input}{separator}{place}"))).collect()
    };
    one().or_else(|| several('.')).or_else(|| several('_')).ok_or_else(|| {
        let columns = match elements {
            0 | 1 => format!("a column {input:?}"),
            _ => format!("columns \"{input}.0\" to \"{input}.{}\"", elements - 1),
        };
        format!("input {input:?} takes {elements} values a sample: expected {columns}")
    })
}
