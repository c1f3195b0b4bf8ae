//! Watches.

use super::{Change, History, KeyRange, Violation};
use bytes::Bytes;

/// What a watcher saw, over all its connections.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What it watches.
    pub range: KeyRange,
    /// The first revision that it wants.
    pub from: i64,
    /// What came, in this order.
    pub steps: Vec<WatchStep>,
    /// Whether it was there at the end, and has everything.
    pub is_complete: bool,
}

/// What comes to a watcher.
#[derive(Clone, Debug)]
pub enum WatchStep {
    /// All events up to a revision.
    Events {
        /// That revision.
        through: i64,
        /// Where the member had compacted when it looked. Of what one revision did to one key, a compaction at that revision leaves
        /// the last, as in etcd.
        compacted: i64,
        /// Revision, key, and the pair unless it was deleted.
        events: Vec<(i64, Bytes, Option<Bytes>)>,
    },
    /// What it wants next is compacted; it goes on at this revision.
    Compacted(i64),
}

/// Every watcher saw each change in its range once, in order, except what it was told that it missed.
///
/// # Errors
/// What is wrong.
pub fn watches(history: &History) -> Result<(), Violation> {
    let last = history.changes.last().map_or(1, |change| change.revision);
    history.watches.iter().try_for_each(|watch| check(watch, &history.changes, last))
}

fn check(watch: &Watch, changes: &[Change], last: i64) -> Result<(), Violation> {
    let mut next = watch.from;
    for step in &watch.steps {
        match step {
            WatchStep::Compacted(revision) if *revision > next => next = *revision,
            WatchStep::Compacted(revision) => {
                return Err(format!("a watcher at {next} was told that {revision} is compacted: {watch:?}"));
            }
            WatchStep::Events { through, compacted, events } => {
                let first = changes.partition_point(|change| change.revision < next);
                let expected = changes[first..].iter().take_while(|change| change.revision <= *through);
                let expected = expected.filter(|change| watch.range.contains(&change.key));
                let mut expected: Vec<_> =
                    expected.map(|change| (change.revision, &change.key, &change.pair)).collect();
                let mut seen: Vec<_> = events.iter().map(|(at, key, pair)| (*at, key, pair)).collect();
                leave_last(&mut expected, *compacted);
                leave_last(&mut seen, *compacted);
                if expected != seen {
                    return Err(format!(
                        "a watcher of {:?} must see {expected:?} from {next} through {through}, but sees {events:?}",
                        watch.range
                    ));
                }
                if *through > last {
                    return Err(format!("a watcher saw revision {through}, and {last} is the last"));
                }
                next = next.max(*through + 1);
            }
        }
    }
    if watch.is_complete && next <= last {
        return Err(format!("a watcher of {:?} has nothing from {next} to {last}", watch.range));
    }
    Ok(())
}

type EventView<'a> = (i64, &'a Bytes, &'a Option<Bytes>);

/// Leaves of what the revision `compacted` did to a key the last.
fn leave_last(events: &mut Vec<EventView<'_>>, compacted: i64) {
    let all = events.clone();
    let mut place = 0;
    events.retain(|(at, key, _)| {
        place += 1;
        *at != compacted || !all[place..].iter().any(|(later, other, _)| later == at && other == key)
    });
}
