//! The bytes of a file, and which of them are safe.

use super::Crash;
use crate::random::Random;
use std::collections::BTreeMap;
use std::io;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;
/// Contents of a sector between two syncs that a crash can bring back, the synced one included.
const VERSIONS_MAX: usize = 4;

type Sector = [u8; SECTOR_BYTES];

#[derive(Debug)]
pub struct FileState {
    content: Vec<u8>,
    /// Sectors that were written since the last sync: as they were then, and after some of the writes.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// The length at the last sync, and those it has had since.
    lens: Vec<usize>,
    /// A sync has failed: no later one can be relied on.
    sync_failed: bool,
    pub is_locked: bool,
}

impl Default for FileState {
    fn default() -> Self {
        Self {
            content: Vec::new(),
            dirty: BTreeMap::new(),
            lens: vec![0],
            sync_failed: false,
            is_locked: false,
        }
    }
}

impl FileState {
    pub fn len(&self) -> u64 {
        self.content.len() as u64
    }

    pub fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let rest =
            usize::try_from(offset).ok().and_then(|offset| self.content.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub fn write(&mut self, bytes: &[u8], offset: u64) {
        let start = offset as usize;
        let end = start + bytes.len();
        if end > self.content.len() {
            self.resize(end as u64);
        }
        self.remember(start, end);
        self.content[start..end].copy_from_slice(bytes);
    }

    pub fn resize(&mut self, bytes: u64) {
        let len = bytes as usize;
        if len < self.content.len() {
            self.remember(len, self.content.len());
        }
        self.content.resize(len, 0);
        self.lens.push(len);
    }

    /// Keeps the sectors from `start` to `end` as they are, before they change.
    fn remember(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let versions = self.dirty.entry(sector).or_default();
            if versions.len() < VERSIONS_MAX {
                versions.push(sector_of(&self.content, sector));
            }
        }
    }

    pub fn sync(&mut self, fails: bool) -> io::Result<()> {
        if fails {
            self.sync_failed = true;
            return Err(io::Error::other("input/output error"));
        }
        if !self.sync_failed {
            self.dirty.clear();
            self.lens = vec![self.content.len()];
        }
        Ok(())
    }

    pub fn crash(&mut self, crash: Crash, random: &mut Random) {
        self.is_locked = false;
        let len = match crash {
            Crash::Process => return,
            Crash::LosesAll => self.lens[0],
            Crash::Tears => *random.pick(&self.lens),
        };
        let dirty = std::mem::take(&mut self.dirty);
        let longest = dirty.keys().next_back().map_or(0, |last| (last + 1) * SECTOR_BYTES);
        let full = self.content.len();
        self.content.resize(full.max(longest), 0);
        // How much is kept differs from crash to crash, so that also nearly all and nearly nothing happen.
        let lost_percent = random.below(101);
        for (sector, versions) in dirty {
            let version = match crash {
                Crash::LosesAll => versions.first(),
                Crash::Tears if random.chance(lost_percent) => versions.get(random.place(versions.len())),
                Crash::Tears | Crash::Process => None,
            };
            if let Some(version) = version {
                let start = sector * SECTOR_BYTES;
                self.content[start..start + SECTOR_BYTES].copy_from_slice(&version[..]);
            }
        }
        self.content.resize(len, 0);
        self.lens = vec![len];
        self.sync_failed = false;
    }
}

/// A sector, zeros where the file does not reach.
fn sector_of(content: &[u8], sector: usize) -> Sector {
    let mut copy = [0; SECTOR_BYTES];
    let rest = content.get(sector * SECTOR_BYTES..).unwrap_or_default();
    let count = rest.len().min(SECTOR_BYTES);
    copy[..count].copy_from_slice(&rest[..count]);
    copy
}
