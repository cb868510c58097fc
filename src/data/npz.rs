//! Arrays of NumPy in an archive: one for each input of the model, by its name, and one for the
//! target. The first axis counts samples.
//!
//! All arrays are read side by side, sample by sample, so that no array need fit into memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::array::Array;
use super::field::Field;
use super::store::StoreWriter;
use super::target::{LabelError, LabelReader, Labels};
use super::{DataError, Dataset, Schema, TargetSpec};
use crate::tensor::{Dimension, TensorSpec};

type Archive = ZipArchive<BufReader<File>>;
type Member<'a> = ZipFile<'a, BufReader<File>>;

/// So many arrays are shown of many.
const SHOWN: usize = 12;

/// Deflate makes nothing smaller than by this factor: an archive that says so holds less than it
/// says.
const MOST_DEFLATED: u64 = 1100;

/// Reads an archive.
///
/// # Errors
/// Names the array, and where there is one the sample, of what is wrong.
pub(super) fn read(path: &Path, target: &str, schema: &Schema) -> Result<Dataset, DataError> {
    let known = array_names(&mut archive(path)?, path)?;
    let wanted = wanted(path, &known, target, schema)?;
    // An archive gives out one member at a time, so each array has its own.
    let mut archives =
        wanted.iter().map(|_| archive(path)).collect::<Result<Vec<Archive>, DataError>>()?;
    let mut arrays = archives
        .iter_mut()
        .zip(&wanted)
        .map(|(archive, name)| Array::open(path, name, member(path, archive, name)?))
        .collect::<Result<Vec<Array<'_, Member<'_>>>, DataError>>()?;
    let unfit = |reason: String| DataError::Unfit { path: path.to_owned(), reason };
    let rows = count_rows(&arrays).map_err(unfit)?;
    if rows == 0 {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    let fields = fields(schema, &arrays).map_err(unfit)?;
    let target_array = arrays.pop().expect("the target's is behind those of the inputs");
    Reading::new(path, (arrays, target_array), fields, &schema.target).read(rows)
}

fn unreadable(path: &Path, reason: impl ToString) -> DataError {
    DataError::Unreadable { path: path.to_owned(), reason: reason.to_string() }
}

fn archive(path: &Path) -> Result<Archive, DataError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    ZipArchive::new(BufReader::new(file)).map_err(|error| unreadable(path, error))
}

const EXTENSION: &str = ".npy";

/// The arrays by the names that `numpy.savez` was given.
fn array_names(archive: &mut Archive, path: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|error| unreadable(path, error))?;
        names.extend(name.strip_suffix(EXTENSION).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

fn member<'a>(
    path: &Path,
    archive: &'a mut Archive,
    name: &str,
) -> Result<(Member<'a>, u64), DataError> {
    let wrong = |error: zip::result::ZipError| unreadable(path, format!("array {name:?}: {error}"));
    let member = archive.by_name(&format!("{name}{EXTENSION}")).map_err(wrong)?;
    let most = member.size().min(member.compressed_size().saturating_mul(MOST_DEFLATED));
    Ok((member, most))
}

/// The arrays of the inputs, in their order, and that of the target.
fn wanted(
    path: &Path,
    known: &[String],
    target: &str,
    schema: &Schema,
) -> Result<Vec<String>, DataError> {
    let is_known = |name: &str| known.iter().any(|known| known == name);
    let missing = |name: &str| DataError::NoArray {
        path: path.to_owned(),
        name: name.to_owned(),
        known: shown(known),
    };
    if !is_known(target) {
        return Err(missing(target));
    }
    let mut wanted: Vec<String> = schema.inputs.iter().map(|spec| spec.name.clone()).collect();
    // As in a table, one input takes what there is beside the target, whatever its name.
    let mut others = known.iter().filter(|name| *name != target);
    if let ([input], Some(only), None) = (wanted.as_mut_slice(), others.next(), others.next())
        && !is_known(input)
    {
        only.clone_into(input);
    }
    match wanted.iter().find(|name| !is_known(name)) {
        Some(name) => Err(missing(name)),
        None => {
            wanted.push(target.to_owned());
            Ok(wanted)
        }
    }
}

fn shown(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    match (names.len(), names.len().saturating_sub(SHOWN)) {
        (0, _) => "none".to_owned(),
        (_, 0) => quoted.join(", "),
        (_, more) => format!("{} and {more} more", quoted.join(", ")),
    }
}

fn count_rows(arrays: &[Array<'_, Member<'_>>]) -> Result<usize, String> {
    let first = arrays.first().expect("there is a target at least");
    match arrays.iter().find(|array| array.rows() != first.rows()) {
        Some(other) => Err(format!(
            "array {:?} has {} samples, array {:?} {}: expected as many",
            first.name,
            first.rows(),
            other.name,
            other.rows()
        )),
        None => Ok(first.rows()),
    }
}

/// Where each array's part of a sample goes, that of the target last.
fn fields(schema: &Schema, arrays: &[Array<'_, Member<'_>>]) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    let mut offset = 0;
    let mut sizes = HashMap::new();
    for (spec, array) in schema.inputs.iter().zip(arrays) {
        let shape = input_shape(spec, array.sample_shape(), &mut sizes).map_err(|expected| {
            let shape = array.shape();
            format!(
                "array {:?} has shape {shape:?}, input {:?} takes {expected}",
                array.name, spec.name
            )
        })?;
        let field = Field::new(&format!("input {:?}", spec.name), (spec.data_type, shape), offset)?;
        offset = field.end();
        fields.push(field);
    }
    let target = Field::target(&schema.target, offset)?;
    let array = arrays.last().expect("there is a target");
    if !is_same(array.sample_shape(), &target.shape) {
        return Err(format!(
            "array {:?} has shape {:?}, the target takes {:?} in each sample",
            array.name,
            array.shape(),
            target.shape
        ));
    }
    fields.push(target);
    Ok(fields)
}

/// The shape of a sample, where an input takes samples of the array's; else what it takes.
fn input_shape<'s>(
    spec: &'s TensorSpec,
    actual: &[usize],
    sizes: &mut HashMap<&'s str, usize>,
) -> Result<Vec<usize>, String> {
    let Some(dimensions) = &spec.shape else { return Ok(actual.to_vec()) };
    let dimensions = dimensions.get(1..).unwrap_or_default();
    let admits = |(dimension, &size): (&Dimension, &usize)| dimension.admits(size);
    if dimensions.len() == actual.len() && dimensions.iter().zip(actual).all(admits) {
        for (dimension, &size) in dimensions.iter().zip(actual) {
            let Dimension::Named(name) = dimension else { continue };
            let known = *sizes.entry(name).or_insert(size);
            if known != size {
                let shape = spec.shape_text();
                return Err(format!("{shape}, where another array has {known} for {name}"));
            }
        }
        return Ok(actual.to_vec());
    }
    let fixed = dimensions.iter().map(|dimension| match dimension {
        Dimension::Fixed(size) => Some(*size),
        Dimension::Named(_) | Dimension::Unknown => None,
    });
    let fixed = fixed.collect::<Option<Vec<usize>>>();
    fixed.filter(|fixed| is_same(actual, fixed)).ok_or_else(|| spec.shape_text())
}

/// Whether samples have the wanted shape, but for axes of size one, or are flat.
fn is_same(actual: &[usize], wanted: &[usize]) -> bool {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&size| size != 1).collect();
    let (actual, wanted): (Vec<usize>, Vec<usize>) = (long(actual), long(wanted));
    let flat = || crate::tensor::element_count(&wanted);
    actual == wanted || (actual.len() == 1 && flat() == Some(actual[0]))
}

/// What a target's elements become.
enum Target {
    Numbers,
    /// One label in each sample.
    Labels(LabelReader),
    /// Numbers of classes, below so many; the greatest so far.
    Classes {
        count: Option<usize>,
        greatest: i64,
    },
}

/// Arrays that are being read.
struct Reading<'a, 'm> {
    path: &'a Path,
    inputs: Vec<Array<'a, Member<'m>>>,
    target: Array<'a, Member<'m>>,
    /// The target's last.
    fields: Vec<Field>,
    kind: Target,
    count: Option<usize>,
}

impl<'a, 'm> Reading<'a, 'm> {
    fn new(
        path: &'a Path,
        (inputs, target): (Vec<Array<'a, Member<'m>>>, Array<'a, Member<'m>>),
        fields: Vec<Field>,
        spec: &TargetSpec,
    ) -> Reading<'a, 'm> {
        let one = fields.last().is_some_and(|field| field.elements == 1);
        let (kind, count) = match spec {
            TargetSpec::Numbers { .. } => (Target::Numbers, None),
            TargetSpec::Classes { count, .. } if one => {
                (Target::Labels(LabelReader::default()), *count)
            }
            TargetSpec::Classes { count, .. } => {
                (Target::Classes { count: *count, greatest: -1 }, *count)
            }
        };
        Reading { path, inputs, target, fields, kind, count }
    }

    fn read(mut self, rows: usize) -> Result<Dataset, DataError> {
        let target_field = self.fields.pop().expect("the target's is the last");
        let mut row = vec![0; target_field.end()];
        let mut writer = StoreWriter::new(row.len());
        for index in 0..rows {
            for (array, field) in self.inputs.iter_mut().zip(&self.fields) {
                array.next(index)?;
                array.put(field.data_type, field.of(&mut row), index)?;
            }
            self.target.next(index)?;
            let into = target_field.of(&mut row);
            match &mut self.kind {
                Target::Numbers => self.target.put(target_field.data_type, into, index)?,
                Target::Labels(reader) => self.target.put_label(reader, into, index)?,
                Target::Classes { count, greatest } => {
                    let class = self.target.put_classes(*count, into, index)?;
                    *greatest = class.max(*greatest);
                }
            }
            writer.push(&row)?;
        }
        let labels = match self.kind {
            Target::Numbers => None,
            Target::Labels(reader) => {
                let labels = reader.finish(self.count);
                Some(labels.map_err(|error| no_classes(self.path, &self.target, error))?)
            }
            Target::Classes { count, greatest } => {
                let seen = usize::try_from(greatest + 1).unwrap_or_default();
                Some(Labels::numbered(count.unwrap_or(seen)))
            }
        };
        let mut columns = Vec::new();
        for array in self.inputs {
            columns.push(array.figures.summary(array.name, "number"));
            array.end()?;
        }
        let (name, kind) = (self.target.name, if labels.is_some() { "class" } else { "number" });
        let figures = match &labels {
            Some(labels) if target_field.elements == 1 => labels.figures(),
            _ => self.target.figures.clone(),
        };
        columns.push(figures.summary(name, kind));
        self.target.end()?;
        let store = writer.finish()?;
        Ok(Dataset { store, inputs: self.fields, target: target_field, labels, columns })
    }
}

fn no_classes(path: &Path, array: &Array<'_, Member<'_>>, error: LabelError) -> DataError {
    match error {
        LabelError::TooMany(reason) => DataError::Unfit { path: path.to_owned(), reason },
        LabelError::Outside { row, label, expected } => {
            array.wrong((row, 0), expected, label.to_string())
        }
    }
}

#[cfg(test)]
#[path = "npz_tests.rs"]
mod tests;
