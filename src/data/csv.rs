//! Tables as text: read once, row by row.
//!
//! What is kept of a row is its place in the store, and four bytes where it has a label: a table
//! may be larger than memory.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::column::Figures;
use super::columns::{Columns, Names};
use super::store::StoreWriter;
use super::target::{Label, LabelError, LabelReader};
use super::value::{number, put_text, trimmed, truth};
use super::{DataError, Dataset, Schema, TargetSpec};
use crate::tensor::DataType;

/// How a table is read.
pub(super) struct Options<'a> {
    /// The target's column, by name; by number from 0, or `last`, where columns have no names.
    pub target: &'a str,
    pub header: Option<bool>,
    pub delimiter: u8,
}

/// Of longer fields messages show the beginning, so many characters.
const SHOWN: usize = 40;

/// A row takes no more bytes of a file than this: a quote that nobody closes would make the rest
/// of the file one field.
const LONGEST_ROW: usize = 256 << 20;

/// Reads a table.
///
/// # Errors
/// Names the row and column of what is wrong.
pub(super) fn read(
    path: &Path,
    options: &Options<'_>,
    schema: &Schema,
) -> Result<Dataset, DataError> {
    let mut rows = Rows::open(path, options.delimiter, LONGEST_ROW)?;
    let (mut first, mut second) = (ByteRecord::new(), ByteRecord::new());
    if !rows.next(&mut first)? {
        return Err(DataError::NoRows { path: path.to_owned() });
    }
    let has_second = rows.next(&mut second)?;
    let seen = (&first, has_second.then_some(&second));
    let header = options.header.unwrap_or_else(|| is_header(seen, options.target));
    let names = names(path, &first, header)?;
    let columns = Columns::new(path, &names, options.target, schema)?;
    let mut table = Table::new(path, names.names, columns, &schema.target);
    if !header {
        table.push(&first)?;
    }
    if has_second {
        table.push(&second)?;
    }
    while rows.next(&mut first)? {
        table.push(&first)?;
    }
    table.finish()
}

/// A file's rows.
struct Rows<'a> {
    path: &'a Path,
    reader: Reader<Bounded>,
    /// Bytes that may be read of the file for one row, and that are left of them for this one.
    longest: usize,
    left: Rc<Cell<usize>>,
}

impl<'a> Rows<'a> {
    fn open(path: &'a Path, delimiter: u8, longest: usize) -> Result<Rows<'a>, DataError> {
        let file = File::open(path).map_err(|error| DataError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let left = Rc::new(Cell::new(longest));
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(1 << 16)
            .from_reader(Bounded { file, longest, left: Rc::clone(&left) });
        Ok(Rows { path, reader, longest, left })
    }

    /// Whether there was one more. Empty lines are none, and so are lines of blanks.
    fn next(&mut self, record: &mut ByteRecord) -> Result<bool, DataError> {
        loop {
            self.left.set(self.longest);
            let read = self.reader.read_byte_record(record).map_err(|error| {
                DataError::Unreadable { path: self.path.to_owned(), reason: error.to_string() }
            })?;
            let blank = record.len() == 1 && record[0].trim_ascii().is_empty();
            if !(read && blank) {
                return Ok(read);
            }
        }
    }
}

/// A file of which a row may only take so much.
struct Bounded {
    file: File,
    longest: usize,
    left: Rc<Cell<usize>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            let longest = self.longest;
            let reason = format!("a row takes more than {longest} bytes: is a quote left open?");
            return Err(io::Error::other(reason));
        }
        let most = buffer.len().min(left);
        let count = self.file.read(&mut buffer[..most])?;
        self.left.set(left - count);
        Ok(count)
    }
}

/// A first line without a value above a second that has some, or one that names the target.
fn is_header((first, second): (&ByteRecord, Option<&ByteRecord>), target: &str) -> bool {
    let has_value = |record: &ByteRecord| {
        record.iter().any(|field| number(field).is_some() || truth(field).is_some())
    };
    let names_target =
        |record: &ByteRecord| record.iter().any(|field| trimmed(field) == Some(target));
    // Names may be numbers, as those of a frame that was made of an array.
    let by_target = number(target.as_bytes()).is_none()
        && names_target(first)
        && !second.is_some_and(names_target);
    by_target || (!has_value(first) && second.is_none_or(has_value))
}

fn names(path: &Path, first: &ByteRecord, header: bool) -> Result<Names, DataError> {
    let fields = first.iter().map(trimmed).collect::<Option<Vec<&str>>>();
    let fields = fields.ok_or_else(|| DataError::Unreadable {
        path: path.to_owned(),
        reason: "its first line is no text in UTF-8".to_owned(),
    })?;
    let name = |(place, field): (usize, &str)| {
        if header { field.to_owned() } else { place.to_string() }
    };
    Ok(Names { names: fields.into_iter().enumerate().map(name).collect(), header })
}

/// Where one field of a row goes.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// In the file's rows.
    column: usize,
    data_type: DataType,
    /// In the store's rows.
    offset: usize,
}

/// A table that is being read.
struct Table<'a> {
    path: &'a Path,
    names: Vec<String>,
    columns: Columns,
    places: Vec<Place>,
    classes: Option<(LabelReader, Option<usize>)>,
    figures: Vec<Figures>,
    target_figures: Figures,
    writer: StoreWriter,
    row: Vec<u8>,
    /// Rows so far.
    count: usize,
}

impl<'a> Table<'a> {
    fn new(path: &'a Path, names: Vec<String>, columns: Columns, target: &TargetSpec) -> Table<'a> {
        let mut places = Vec::new();
        for (field, taken) in columns.inputs.iter().zip(&columns.taken) {
            let size = field.size / field.elements.max(1);
            places.extend(taken.iter().enumerate().map(|(place, &column)| Place {
                column,
                data_type: field.data_type,
                offset: field.offset + place * size,
            }));
        }
        let classes = match target {
            TargetSpec::Classes { count, .. } => Some((LabelReader::default(), *count)),
            TargetSpec::Numbers { .. } => None,
        };
        let row_size = columns.target.end();
        Table {
            path,
            names,
            figures: vec![Figures::new(); places.len()],
            columns,
            places,
            classes,
            target_figures: Figures::new(),
            writer: StoreWriter::new(row_size),
            row: vec![0; row_size],
            count: 0,
        }
    }

    fn push(&mut self, record: &ByteRecord) -> Result<(), DataError> {
        self.count += 1;
        if record.len() != self.names.len() {
            let (actual, expected) = (record.len(), self.names.len());
            let (path, row) = (self.path.to_owned(), self.count);
            return Err(DataError::Ragged { path, row, actual, expected });
        }
        for (place, figures) in self.places.iter().zip(&mut self.figures) {
            let field = record.get(place.column).unwrap_or_default();
            match put_text(place.data_type, field, &mut self.row[place.offset..]) {
                Ok(value) => figures.add(value),
                Err(expected) => return Err(self.wrong(place.column, field, expected)),
            }
        }
        self.push_target(record.get(self.columns.target_column).unwrap_or_default())?;
        self.writer.push(&self.row)
    }

    fn push_target(&mut self, field: &[u8]) -> Result<(), DataError> {
        let target = &self.columns.target;
        let into = target.of(&mut self.row);
        let result = match &mut self.classes {
            Some((reader, _)) => Label::of(field)
                .and_then(|label| reader.add(label))
                .map(|number| into.copy_from_slice(&number.to_le_bytes())),
            None => {
                put_text(target.data_type, field, into).map(|value| self.target_figures.add(value))
            }
        };
        result.map_err(|expected| self.wrong(self.columns.target_column, field, expected))
    }

    fn wrong(&self, column: usize, field: &[u8], expected: String) -> DataError {
        let mut value = String::from_utf8_lossy(field).into_owned();
        if value.chars().count() > SHOWN {
            value = value.chars().take(SHOWN).chain(['…']).collect();
        }
        let (path, row) = (self.path.to_owned(), self.count);
        DataError::Value { path, row, column: self.names[column].clone(), expected, value }
    }

    fn finish(self) -> Result<Dataset, DataError> {
        if self.count == 0 {
            return Err(DataError::NoRows { path: self.path.to_owned() });
        }
        let target_name = &self.names[self.columns.target_column];
        let labels = match self.classes {
            Some((reader, count)) => {
                let labels = reader.finish(count);
                Some(labels.map_err(|error| no_classes(self.path, target_name, error))?)
            }
            None => None,
        };
        let summary = |(place, figures): (&Place, &Figures)| {
            figures.summary(&self.names[place.column], "number")
        };
        let mut columns: Vec<_> = self.places.iter().zip(&self.figures).map(summary).collect();
        columns.push(match &labels {
            Some(labels) => labels.figures().summary(target_name, "class"),
            None => self.target_figures.summary(target_name, "number"),
        });
        let store = self.writer.finish()?;
        let Columns { inputs, target, .. } = self.columns;
        Ok(Dataset { store, inputs, target, labels, columns })
    }
}

fn no_classes(path: &Path, column: &str, error: LabelError) -> DataError {
    let path = path.to_owned();
    match error {
        LabelError::TooMany(reason) => DataError::Unfit { path, reason },
        LabelError::Outside { row, label, expected } => {
            let (column, value) = (column.to_owned(), label.to_string());
            DataError::Value { path, row: row + 1, column, expected, value }
        }
    }
}

#[cfg(test)]
#[path = "csv_tests.rs"]
mod tests;
