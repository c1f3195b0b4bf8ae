//! The end of a segment that its file does not have yet. The log makes records durable, so nothing is lost if they wait here, and a
//! system call for each of them would cost more than all else that is done with it.

use crate::disk::DiskFile;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::io;

/// Bytes that wait at most: those that pass it are written.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// Bytes behind the end of a file. Readers find them here; no lock that they take is held across IO.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    end: RwLock<End>,
    /// Held by who writes, across IO.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct End {
    /// The file has everything before this offset.
    written: u64,
    /// What is being written there.
    leaving: Bytes,
    /// What follows it.
    waiting: Vec<u8>,
}

impl Unwritten {
    /// Nothing, behind so many bytes of the file.
    pub fn behind(written: u64) -> Self {
        Self { end: RwLock::new(End { written, ..End::default() }), writing: Mutex::default() }
    }

    /// Adds bytes, and writes if many wait.
    pub fn push(&self, bytes: &[u8], file: &dyn DiskFile) -> io::Result<()> {
        let many = {
            let mut end = self.end.write();
            end.waiting.extend_from_slice(bytes);
            end.waiting.len() >= WAITING_BYTES_MAX
        };
        if many { self.write(file) } else { Ok(()) }
    }

    /// Writes what waits. After an error it is not known what the file has, and nothing is written any more.
    pub fn write(&self, file: &dyn DiskFile) -> io::Result<()> {
        let _writing = self.writing.lock();
        let (leaving, offset) = {
            let mut end = self.end.write();
            if !end.leaving.is_empty() {
                return Err(io::Error::other("an earlier write failed"));
            }
            end.leaving = std::mem::take(&mut end.waiting).into();
            (end.leaving.clone(), end.written)
        };
        if leaving.is_empty() {
            return Ok(());
        }
        file.write_all_at(&leaving, offset)?;
        let mut end = self.end.write();
        end.written += leaving.len() as u64;
        end.leaving = Bytes::new();
        Ok(())
    }

    /// Fills the end of `buffer`, which is to have the bytes from `offset` on, with those that the file does not have. Returns how many
    /// of the first are in the file.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are not so many bytes.
    pub fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = self.end.read();
        let in_file = usize::try_from(end.written.saturating_sub(offset)).unwrap_or(usize::MAX);
        if in_file >= buffer.len() {
            return Ok(buffer.len());
        }
        let mut skip = usize::try_from(offset.saturating_sub(end.written)).unwrap_or(usize::MAX);
        let mut rest = &mut buffer[in_file..];
        for part in [&end.leaving[..], &end.waiting[..]] {
            let here = part.get(skip..).unwrap_or_default();
            let (filled, left) = rest.split_at_mut(here.len().min(rest.len()));
            filled.copy_from_slice(&here[..filled.len()]);
            skip = skip.saturating_sub(part.len());
            rest = left;
        }
        if rest.is_empty() { Ok(in_file) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemoryDisk};
    use std::path::Path;

    #[test]
    fn bytes_are_found_wherever_they_are() {
        let disk = MemoryDisk::default();
        let file = disk.create(Path::new("segment")).unwrap();
        let unwritten = Unwritten::behind(0);
        let all: Vec<u8> = (0..u8::MAX).cycle().take(3 * WAITING_BYTES_MAX).collect();
        let read = |offset: usize, bytes: usize| {
            let mut buffer = vec![0; bytes];
            let in_file = unwritten.fill(&mut buffer, offset as u64)?;
            file.read_exact_at(&mut buffer[..in_file], offset as u64)?;
            io::Result::Ok(buffer)
        };
        let mut pushed = 0;
        for piece in all.chunks(1000) {
            unwritten.push(piece, &*file).unwrap();
            pushed += piece.len();
            for offset in [0, pushed / 2, pushed - 1000, pushed - 1] {
                assert_eq!(
                    read(offset, pushed - offset).unwrap(),
                    all[offset..pushed],
                    "{offset} of {pushed}"
                );
            }
            assert!(read(pushed - 1, 2).is_err(), "no byte is there that was not pushed");
        }
        let written = file.len().unwrap() as usize;
        assert!(
            written < pushed && pushed - written < WAITING_BYTES_MAX,
            "{written} of {pushed} are written"
        );
        unwritten.write(&*file).unwrap();
        assert_eq!(file.len().unwrap() as usize, pushed);
        assert_eq!(read(0, pushed).unwrap(), all);
    }
}
