//! One array that is being read: its samples, turned into what the model takes.

use std::io::{self, Read};
use std::path::Path;

use super::DataError;
use super::column::Figures;
use super::npy::{Header, Kind, read_header};
use super::samples::Samples;
use super::target::{Label, LabelReader};
use super::value::put_number;
use crate::tensor::DataType;

/// An array of an archive.
pub(super) struct Array<'a, R> {
    path: &'a Path,
    pub name: &'a str,
    header: Header,
    samples: Samples<R>,
    /// The present sample.
    sample: Vec<u8>,
    values: Vec<f64>,
    pub figures: Figures,
}

impl<'a, R: Read> Array<'a, R> {
    /// An array from a file of at most so many bytes.
    ///
    /// # Errors
    /// It is none that is read, or larger than its file.
    pub fn open(
        path: &'a Path,
        name: &'a str,
        (mut reader, most): (R, u64),
    ) -> Result<Array<'a, R>, DataError> {
        let wrong = |reason: String| {
            let reason = format!("array {name:?}: {reason}");
            DataError::Unreadable { path: path.to_owned(), reason }
        };
        let header = read_header(&mut reader).map_err(|error| wrong(reason(&error)))?;
        let Some((_, sample_shape)) = header.shape.split_first() else {
            return Err(wrong("it has no axis, expected one that counts samples".to_owned()));
        };
        // What is claimed is not believed before there is memory for it.
        let size = header.byte_count().filter(|&size| size as u64 <= most);
        let Some(size) = size else {
            let shape = &header.shape;
            return Err(wrong(format!("its shape is {shape:?}, its file has {most} bytes")));
        };
        let rows = header.shape[0];
        let sample_size = size.checked_div(rows).unwrap_or_default();
        let elements = if rows == 0 { 0 } else { sample_shape.iter().product() };
        let samples = Samples::new(reader, &header).map_err(|error| wrong(reason(&error)))?;
        Ok(Array {
            path,
            name,
            header,
            samples,
            sample: vec![0; sample_size],
            values: Vec::with_capacity(elements),
            figures: Figures::new(),
        })
    }

    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    pub fn rows(&self) -> usize {
        self.header.shape[0]
    }

    pub fn sample_shape(&self) -> &[usize] {
        &self.header.shape[1..]
    }

    /// Goes to the next sample, which is that of `row`.
    ///
    /// # Errors
    /// The file ends within it.
    pub fn next(&mut self, row: usize) -> Result<(), DataError> {
        self.samples.next(&mut self.sample).map_err(|error| {
            let reason = format!("array {:?}, row {}: {}", self.name, row + 1, reason(&error));
            DataError::Unreadable { path: self.path.to_owned(), reason }
        })
    }

    /// # Errors
    /// There is more behind the array, or the archive says that it is not what had been written.
    pub fn end(self) -> Result<(), DataError> {
        self.samples.end().map_err(|error| {
            let reason = format!("array {:?}: {}", self.name, reason(&error));
            DataError::Unreadable { path: self.path.to_owned(), reason }
        })
    }

    /// Writes the sample as elements of this type.
    ///
    /// # Errors
    /// Names the first element that is none.
    pub fn put(
        &mut self,
        data_type: DataType,
        into: &mut [u8],
        row: usize,
    ) -> Result<(), DataError> {
        let (Kind::Number(from), element) = (self.header.element.kind, self.header.element) else {
            let value = "text".to_owned();
            return Err(self.wrong((row, 0), format!("numbers for {data_type}"), value));
        };
        let size = data_type.size().expect("fields are of numbers");
        self.values.clear();
        if data_type == DataType::Float32 && element.is_native() {
            fill_singles(from, &self.sample, into, &mut self.values);
            // Something is wrong in it, or it is of another type, where it is not full.
            if self.values.len() * size == into.len() {
                self.figures.add_all(&self.values);
                return Ok(());
            }
            self.values.clear();
        }
        let elements = self.sample.chunks_exact(element.size).zip(into.chunks_exact_mut(size));
        for (place, (bytes, into)) in elements.enumerate() {
            let number = element.number(from, bytes);
            match put_number(data_type, number, into) {
                Ok(value) => self.values.push(value),
                Err(expected) => {
                    return Err(self.wrong((row, place), expected, number.to_string()));
                }
            }
        }
        self.figures.add_all(&self.values);
        Ok(())
    }

    /// Writes the number of the sample's label.
    ///
    /// # Errors
    /// It is no label.
    pub fn put_label(
        &mut self,
        reader: &mut LabelReader,
        into: &mut [u8],
        row: usize,
    ) -> Result<(), DataError> {
        let element = self.header.element;
        let (result, shown) = match element.kind {
            Kind::Number(from) => {
                let number = element.number(from, &self.sample);
                let class = number.class().ok_or_else(|| "a whole number".to_owned());
                (class.and_then(|class| reader.add(Label::Whole(class))), number.to_string())
            }
            Kind::Unicode | Kind::Bytes => {
                let text = element.text(&self.sample);
                let shown = format!("{:?}", String::from_utf8_lossy(&text));
                (Label::of(&text).and_then(|label| reader.add(label)), shown)
            }
        };
        match result {
            Ok(number) => {
                into.copy_from_slice(&number.to_le_bytes());
                Ok(())
            }
            Err(expected) => Err(self.wrong((row, 0), expected, shown)),
        }
    }

    /// Writes the sample as classes below `count`, and tells the greatest.
    ///
    /// # Errors
    /// Names the first element that is none.
    pub fn put_classes(
        &mut self,
        count: Option<usize>,
        into: &mut [u8],
        row: usize,
    ) -> Result<i64, DataError> {
        self.put(DataType::Int64, into, row)?;
        let most = count.and_then(|count| i64::try_from(count).ok()).unwrap_or(i64::MAX);
        let mut greatest = -1;
        for (place, bytes) in into.as_chunks::<8>().0.iter().enumerate() {
            let class = i64::from_le_bytes(*bytes);
            if !(0..most).contains(&class) {
                let expected = format!("a class from 0 to {}", most - 1);
                return Err(self.wrong((row, place), expected, class.to_string()));
            }
            greatest = greatest.max(class);
        }
        Ok(greatest)
    }

    /// That an element, by its row and its place among the row's, is not what was expected.
    pub fn wrong(
        &self,
        (row, place): (usize, usize),
        expected: String,
        value: String,
    ) -> DataError {
        let mut index = Vec::new();
        let mut rest = place;
        for &size in self.sample_shape().iter().rev() {
            index.push((rest % size.max(1)).to_string());
            rest /= size.max(1);
        }
        index.push(row.to_string());
        index.reverse();
        let element = format!("{}[{}]", self.name, index.join(", "));
        DataError::Element { path: self.path.to_owned(), row: row + 1, element, expected, value }
    }
}

/// What most arrays are, without a look at the types for each element: up to the first that is not
/// finite.
fn fill_singles(from: DataType, sample: &[u8], into: &mut [u8], values: &mut Vec<f64>) {
    fn fill<const SIZE: usize>(
        (sample, into): (&[u8], &mut [u8]),
        values: &mut Vec<f64>,
        single: impl Fn([u8; SIZE]) -> f32,
    ) {
        let elements = sample.as_chunks::<SIZE>().0.iter();
        for (bytes, into) in elements.zip(into.as_chunks_mut::<4>().0) {
            let single = single(*bytes);
            if !single.is_finite() {
                return;
            }
            *into = single.to_le_bytes();
            values.push(single.into());
        }
    }
    let bytes = (sample, into);
    match from {
        DataType::Float32 => fill(bytes, values, f32::from_le_bytes),
        DataType::Float64 => fill(bytes, values, |bytes| f64::from_le_bytes(bytes) as f32),
        DataType::Uint8 => fill(bytes, values, |[byte]| byte.into()),
        _ => {}
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "its file ends within it".to_owned(),
        _ => error.to_string(),
    }
}
