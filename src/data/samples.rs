//! The samples of an array, one after the other, whichever way round the file has them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use super::npy::Header;
use super::store::temporary_file;

/// An array that is read once, sample by sample.
pub(super) enum Samples<R> {
    /// The samples lie one behind the other.
    InOrder(BufReader<R>),
    /// The first axis runs fastest: samples lie across the whole array.
    Across(Across),
}

/// How much is read of an array at once, in bytes.
const BUFFER: usize = 1 << 16;

/// How much is held of an array whose samples lie across it, in bytes.
const BLOCK: usize = 1 << 24;

impl<R: Read> Samples<R> {
    /// Samples from behind the header.
    ///
    /// # Errors
    /// The file ends within the array, or there is no room for a copy.
    ///
    /// # Panics
    /// The header's array has no axis, or its elements cannot be counted.
    pub fn new(reader: R, header: &Header) -> io::Result<Samples<R>> {
        let mut reader = BufReader::with_capacity(BUFFER, reader);
        if !header.fortran {
            return Ok(Samples::InOrder(reader));
        }
        Across::new(&mut reader, header).map(Samples::Across)
    }

    /// # Errors
    /// The file ends within the sample.
    pub fn next(&mut self, into: &mut [u8]) -> io::Result<()> {
        match self {
            Samples::InOrder(reader) => reader.read_exact(into),
            Samples::Across(across) => across.next(into),
        }
    }

    /// # Errors
    /// There is more in the file, or the file says that this was not what had been written.
    pub fn end(self) -> io::Result<()> {
        match self {
            Samples::InOrder(mut reader) => end(&mut reader),
            Samples::Across(_) => Ok(()),
        }
    }
}

/// Reading to the end is also what has a checksum compared.
fn end(reader: &mut impl Read) -> io::Result<()> {
    match reader.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("there is more behind its last element")),
    }
}

/// A copy of an array in a file without a name, of which blocks of samples are put together.
pub(super) struct Across {
    file: File,
    rows: usize,
    element_size: usize,
    /// For every element of a sample, as the last axis runs fastest, its place as the first does.
    places: Vec<usize>,
    /// The block's elements by place, then by sample.
    block: Vec<u8>,
    /// Samples of a full block.
    most: usize,
    /// The block's first sample, how many it has, and how many of them are told.
    first: usize,
    held: usize,
    told: usize,
}

impl Across {
    fn new(reader: &mut impl Read, header: &Header) -> io::Result<Across> {
        let size = header.byte_count().expect("the caller counted the elements") as u64;
        let mut file = temporary_file()?;
        if io::copy(&mut reader.take(size), &mut file)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        end(reader)?;
        file.flush()?;
        file.seek(SeekFrom::Start(0))?;
        let (rows, shape) = header.shape.split_first().expect("the caller found an axis");
        let places = places(shape);
        let sample_size = places.len() * header.element.size;
        let most = (BLOCK / sample_size.max(1)).clamp(1, (*rows).max(1));
        Ok(Across {
            file,
            rows: *rows,
            element_size: header.element.size,
            block: vec![0; sample_size * most],
            places,
            most,
            first: 0,
            held: 0,
            told: 0,
        })
    }

    fn next(&mut self, into: &mut [u8]) -> io::Result<()> {
        if self.told == self.held {
            self.fill()?;
        }
        let size = self.element_size;
        if size == 0 {
            return Ok(());
        }
        for (element, place) in into.chunks_exact_mut(size).zip(&self.places) {
            let start = (place * self.held + self.told) * size;
            element.copy_from_slice(&self.block[start..start + size]);
        }
        self.told += 1;
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.first += self.held;
        self.held = self.most.min(self.rows - self.first);
        self.told = 0;
        if self.held == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let size = self.held * self.element_size;
        for place in 0..self.places.len() {
            let start = (place * self.rows + self.first) * self.element_size;
            let part = &mut self.block[place * size..(place + 1) * size];
            self.file.read_exact_at(part, start as u64)?;
        }
        Ok(())
    }
}

/// The places, as the first axis runs fastest, of elements in the order of the last.
fn places(shape: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    let mut stride = 1;
    for &size in shape {
        let step = |place: usize| (0..size).map(move |index| place + index * stride);
        places = places.into_iter().flat_map(step).collect();
        stride *= size;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_turn_the_order_of_axes_round() {
        assert_eq!(places(&[]), [0]);
        assert_eq!(places(&[3]), [0, 1, 2]);
        assert_eq!(places(&[2, 3]), [0, 2, 4, 1, 3, 5]);
        assert_eq!(places(&[2, 0]), [] as [usize; 0]);
    }
}
