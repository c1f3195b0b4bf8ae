//! A directory: names, and which of them are safe.

use super::Crash;
use crate::random::Random;
use std::collections::BTreeMap;
use std::io;

/// A change of a directory.
#[derive(Clone, Debug)]
pub enum NameChange {
    Link {
        name: String,
        inode: u64,
    },
    Unlink {
        name: String,
    },
    /// One step, also in a crash.
    Rename {
        from: String,
        to: String,
        inode: u64,
    },
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link { name, inode } => {
                names.insert(name, inode);
            }
            NameChange::Unlink { name } => {
                names.remove(&name);
            }
            NameChange::Rename { from, to, inode } => {
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
        }
    }
}

#[derive(Debug, Default)]
pub struct Dir {
    /// As a process sees it.
    pub entries: BTreeMap<String, u64>,
    /// As it was at the last sync.
    durable: BTreeMap<String, u64>,
    /// What happened since.
    pending: Vec<NameChange>,
    /// A sync has failed: no later one can be relied on.
    sync_failed: bool,
}

impl Dir {
    pub fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.entries);
        self.pending.push(change);
    }

    /// What is in it, or will be if a crash takes back what happened since the last sync.
    pub fn inodes(&self) -> impl Iterator<Item = u64> + '_ {
        let pending = self.pending.iter().filter_map(|change| match change {
            NameChange::Link { inode, .. } | NameChange::Rename { inode, .. } => Some(*inode),
            NameChange::Unlink { .. } => None,
        });
        self.entries.values().chain(self.durable.values()).copied().chain(pending)
    }

    pub fn sync(&mut self, fails: bool) -> io::Result<()> {
        if fails {
            self.sync_failed = true;
            return Err(io::Error::other("input/output error"));
        }
        if !self.sync_failed {
            self.durable = self.entries.clone();
            self.pending.clear();
        }
        Ok(())
    }

    pub fn crash(&mut self, crash: Crash, random: &mut Random) {
        if crash == Crash::Process {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.entries = self.durable.clone();
        if crash == Crash::Tears {
            // A journal loses the last changes; without one any can be lost.
            let journal = random.chance(50);
            let kept = random.place(pending.len() + 1);
            for (place, change) in pending.into_iter().enumerate() {
                if if journal { place < kept } else { random.chance(50) } {
                    change.apply(&mut self.entries);
                }
            }
        }
        self.durable = self.entries.clone();
        self.sync_failed = false;
    }
}
