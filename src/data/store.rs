//! Samples as rows of a fixed size: few are kept in memory, many in a file without a name, so that
//! data need not fit into memory.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::DataError;

/// Rows, to be read in any order.
#[derive(Debug)]
pub(super) struct Store {
    place: Place,
    row_size: usize,
    rows: usize,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File(File),
}

/// Rows as they come.
pub(super) struct StoreWriter {
    /// All rows, or with a file those that are not in it yet.
    held: Vec<u8>,
    file: Option<File>,
    row_size: usize,
    rows: usize,
    most_held: usize,
}

/// Data of up to so many bytes stay in memory: where a batch is small, reading its rows from a file
/// takes as long as a step.
const MOST_HELD: usize = 64 << 20;

/// How much is written to a file at once, in bytes.
const BUFFER: usize = 1 << 18;

impl StoreWriter {
    pub fn new(row_size: usize) -> StoreWriter {
        StoreWriter::with_memory(row_size, MOST_HELD)
    }

    fn with_memory(row_size: usize, most_held: usize) -> StoreWriter {
        StoreWriter { held: Vec::new(), file: None, row_size, rows: 0, most_held }
    }

    /// # Errors
    /// The disk is full, or there is no place for temporary files.
    ///
    /// # Panics
    /// The row has another size than the store's.
    pub fn push(&mut self, row: &[u8]) -> Result<(), DataError> {
        assert_eq!(row.len(), self.row_size, "every row has the store's size");
        self.held.extend_from_slice(row);
        self.rows += 1;
        let most = if self.file.is_some() { BUFFER } else { self.most_held };
        if self.held.len() > most { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), DataError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => temporary_file().map_err(DataError::Temporary)?,
        };
        file.write_all(&self.held).map_err(DataError::Temporary)?;
        self.held.clear();
        self.held.shrink_to(BUFFER);
        self.file = Some(file);
        Ok(())
    }

    /// # Errors
    /// The disk is full.
    pub fn finish(mut self) -> Result<Store, DataError> {
        if self.file.is_some() {
            self.write()?;
        }
        let place = match self.file {
            Some(file) => Place::File(file),
            None => {
                self.held.shrink_to_fit();
                Place::Memory(self.held)
            }
        };
        Ok(Store { place, row_size: self.row_size, rows: self.rows })
    }
}

impl Store {
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn row_size(&self) -> usize {
        self.row_size
    }

    /// # Errors
    /// There is no such row, or the disk fails.
    pub fn read(&self, row: usize, into: &mut [u8]) -> Result<(), DataError> {
        let beyond = || DataError::Temporary(io::ErrorKind::UnexpectedEof.into());
        if row >= self.rows {
            return Err(beyond());
        }
        let place = row * self.row_size;
        match &self.place {
            Place::Memory(bytes) => {
                into.copy_from_slice(bytes.get(place..place + self.row_size).ok_or_else(beyond)?);
                Ok(())
            }
            Place::File(file) => {
                file.read_exact_at(into, place as u64).map_err(DataError::Temporary)
            }
        }
    }
}

/// A file without a name, gone with the process. `TMPDIR` says where; else it is not `/tmp` where
/// there is `/var/tmp`, since `/tmp` is in memory on many machines.
///
/// # Errors
/// There is no such place.
pub(super) fn temporary_file() -> io::Result<File> {
    const ON_DISK: &str = "/var/tmp";
    if env::var_os("TMPDIR").is_none() && Path::new(ON_DISK).is_dir() {
        return tempfile::tempfile_in(ON_DISK).or_else(|_| tempfile::tempfile());
    }
    tempfile::tempfile()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_any_order_from_memory_and_from_disk() {
        for (memory, on_disk) in [(1000, false), (9, true), (0, true)] {
            let mut writer = StoreWriter::with_memory(3, memory);
            for row in 0..10u8 {
                writer.push(&[row, row + 1, row + 2]).expect("room for a row");
            }
            let store = writer.finish().expect("room for all");
            assert_eq!(store.rows(), 10);
            assert_eq!(matches!(store.place, Place::File(_)), on_disk);
            let mut row = [0; 3];
            for index in [9, 0, 4] {
                store.read(index, &mut row).expect("it is there");
                assert_eq!(row[0] as usize, index);
            }
            assert!(store.read(10, &mut row).is_err());
        }
    }

    #[test]
    fn what_is_on_disk_is_not_held_in_memory() {
        let mut writer = StoreWriter::with_memory(1 << 10, 1 << 20);
        for _ in 0..(8 << 10) {
            writer.push(&[7; 1 << 10]).expect("room for a row");
            assert!(writer.held.capacity() <= 2 << 20);
        }
        assert!(writer.held.capacity() <= BUFFER + (2 << 10));
    }
}
