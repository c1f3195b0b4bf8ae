//! Alarms: what is wrong with whom.

use crate::command::AlarmType;
use crate::effects::{AlarmEntry, TableChange};
use std::collections::BTreeSet;

/// Raised alarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    raised: BTreeSet<AlarmEntry>,
}

impl Alarms {
    /// Whether `alarm` is raised for any member.
    #[must_use]
    pub fn is_raised(&self, alarm: AlarmType) -> bool {
        self.raised.iter().any(|entry| entry.alarm == alarm)
    }

    /// Whether this very alarm is raised.
    #[must_use]
    pub fn contains(&self, entry: AlarmEntry) -> bool {
        self.raised.contains(&entry)
    }

    /// The raised alarms of one kind, or of every kind, by member.
    pub fn iter(&self, alarm: Option<AlarmType>) -> impl Iterator<Item = AlarmEntry> + '_ {
        self.raised.iter().copied().filter(move |entry| alarm.is_none_or(|alarm| entry.alarm == alarm))
    }

    pub(crate) fn install_table(&mut self, change: &TableChange) {
        match change {
            TableChange::AlarmPut(entry) => {
                self.raised.insert(*entry);
            }
            TableChange::AlarmDelete(entry) => {
                self.raised.remove(entry);
            }
            _ => {}
        }
    }
}
