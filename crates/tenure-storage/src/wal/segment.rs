//! The files of a log: their names, and which of them a reader needs.

use super::WalError;
use crate::disk::{Disk, DiskLock};
use std::path::{Path, PathBuf};
use tenure_core::types::LogIndex;

/// A segment. Its name says its place in the sequence and the index that the log had reached when it was begun.
#[derive(Debug)]
pub(super) struct Segment {
    pub sequence: u64,
    /// The next entry when the segment was begun. Not in order over all segments: an uncommitted tail can be written again.
    pub first: LogIndex,
    /// Held while the segment may be needed.
    pub lock: Option<Box<dyn DiskLock>>,
}

impl Segment {
    pub fn name(&self) -> String {
        segment_name(self.sequence, self.first)
    }
}

pub(super) fn segment_name(sequence: u64, first: LogIndex) -> String {
    format!("{sequence:016x}-{:016x}.wal", first.0)
}

fn parse_name(name: &str) -> Option<Segment> {
    let (sequence, first) = name.strip_suffix(".wal")?.split_once('-')?;
    let number = |text: &str| (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
    Some(Segment { sequence: number(sequence)?, first: LogIndex(number(first)?), lock: None })
}

/// The segments of a directory, in order.
///
/// # Errors
/// [`WalError::Missing`] if there is none.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, WalError> {
    let names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(WalError::Io { path: dir.to_path_buf(), source }),
    };
    let mut segments: Vec<Segment> = names.iter().filter_map(|name| parse_name(name)).collect();
    segments.sort_unstable_by_key(|segment| segment.sequence);
    if segments.is_empty() { Err(WalError::Missing { dir: dir.to_path_buf() }) } else { Ok(segments) }
}

/// The first segment that is needed to read the entries behind `after`. From there on none may be missing; those before it
/// are left over.
///
/// # Errors
/// [`WalError::Gap`] if the entries cannot all be there.
pub(super) fn first_needed(segments: &[Segment], dir: &Path, after: LogIndex) -> Result<usize, WalError> {
    let gap = |reason: String| Err(WalError::Gap { dir: dir.to_path_buf(), reason });
    let Some(start) = segments.iter().rposition(|segment| segment.first <= after) else {
        let first = segments.first().map_or(LogIndex(0), |segment| segment.first);
        return gap(format!("it starts at entry {first}, but entry {} is needed", after.next()));
    };
    for pair in segments[start..].windows(2) {
        if pair[1].sequence != pair[0].sequence + 1 {
            return gap(format!("there is nothing between {} and {}", pair[0].name(), pair[1].name()));
        }
    }
    Ok(start)
}

pub(super) fn path(dir: &Path, segment: &Segment) -> PathBuf {
    dir.join(segment.name())
}
