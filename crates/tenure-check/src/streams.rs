//! Single streams of watches: what one member told over one connection, answer by answer.

use super::{Change, History, KeyRange, Versions, Violation};
use bytes::Bytes;
use std::collections::BTreeMap;

/// The id under which a progress speaks for all watchers of its stream.
pub const ALL_WATCHERS: i64 = -1;

/// So much of what was told before is shown of a violation.
const BEFORE: usize = 8;

/// One stream of one member.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The member's place.
    pub at: usize,
    /// The watchers that were asked for, by their ids.
    pub watchers: BTreeMap<i64, Watcher>,
    /// What came, in this order.
    pub told: Vec<Told>,
    /// Whether it was there at the end, and was told a progress of all that happened: see [`Stream::has_progress`].
    pub is_complete: bool,
}

/// A watcher of a stream.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// What it watches.
    pub range: KeyRange,
    /// The first revision that it wants; 0 for the one after its creation.
    pub start: i64,
    /// It wants no deletions, or no puts.
    pub without: Option<Kind>,
    /// It wants to see what a key held before.
    pub prev_kv: bool,
    /// It wants a progress now and then.
    pub progress_notify: bool,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key holds something.
    Put,
    /// A key is gone.
    Delete,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which watcher it is for, or [`ALL_WATCHERS`].
    pub watch_id: i64,
    /// The revision in its header.
    pub revision: i64,
    /// What it says.
    pub what: Tidings,
}

/// What an answer says.
#[derive(Clone, Debug)]
pub enum Tidings {
    /// The watcher is there.
    Created,
    /// Something happened.
    Events {
        /// What.
        events: Vec<Event>,
        /// Whether the next answer goes on with it.
        goes_on: bool,
    },
    /// Everything up to the revision in the header has been told.
    Progress,
    /// The watcher is no more.
    Cancelled {
        /// Where the history begins, if what it wants next is before that.
        compacted: Option<i64>,
    },
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its revision.
    pub revision: i64,
    /// The key.
    pub key: Bytes,
    /// The wire bytes of what the key holds from then on; nothing if it is deleted.
    pub pair: Option<Bytes>,
    /// The wire bytes of what it held before, if that was told.
    pub previous: Option<Bytes>,
}

impl Stream {
    /// Whether a progress told that everything up to `revision` is told: one to each watcher that wants them, and one to all.
    #[must_use]
    pub fn has_progress(&self, revision: i64) -> bool {
        let wanting = self.watchers.iter().filter(|(_, watcher)| watcher.progress_notify);
        let mut ids = wanting.map(|(id, _)| *id).chain([ALL_WATCHERS]);
        ids.all(|id| {
            let is_one = |told: &&Told| told.watch_id == id && matches!(told.what, Tidings::Progress);
            self.told.iter().rfind(is_one).is_some_and(|told| told.revision >= revision)
        })
    }

    /// How many progresses were told to single watchers, and to all at once.
    #[must_use]
    pub fn progresses(&self) -> (usize, usize) {
        let all = self.told.iter().filter(|told| matches!(told.what, Tidings::Progress));
        let (to_all, single): (Vec<_>, Vec<_>) = all.partition(|told| told.watch_id == ALL_WATCHERS);
        (single.len(), to_all.len())
    }
}

/// Every stream told each of its watchers what happened from where it began, once, in order, whole revisions at a time and with what
/// was there before; and every progress was true, and stayed true.
///
/// # Errors
/// What is wrong.
pub fn streams(history: &History) -> Result<(), Violation> {
    let facts = Facts {
        changes: &history.changes,
        versions: Versions::of(&history.changes),
        last: history.changes.last().map_or(1, |change| change.revision),
        compacted: history.compacted,
    };
    history.streams.iter().try_for_each(|stream| check(stream, &facts))
}

/// What is known to be true.
struct Facts<'a> {
    changes: &'a [Change],
    versions: Versions<'a>,
    last: i64,
    compacted: i64,
}

/// How far a watcher has been told.
struct Standing<'a> {
    watcher: &'a Watcher,
    /// The first revision of which it may be told.
    next: i64,
    /// The revision of its last event.
    event: i64,
    /// Its last progress.
    progress: i64,
    /// The first part of what was not told to its end.
    begun: Vec<Event>,
}

/// The watchers that are there.
type Standings<'a> = BTreeMap<i64, Standing<'a>>;

fn check(stream: &Stream, facts: &Facts<'_>) -> Result<(), Violation> {
    let mut there = Standings::new();
    for (place, told) in stream.told.iter().enumerate() {
        hear(&mut there, told, stream, facts).map_err(|what| {
            let before = &stream.told[place.saturating_sub(BEFORE)..place];
            let (at, watchers) = (stream.at, &stream.watchers);
            format!(
                "a stream of m{at}: {what}; watchers {watchers:?} were told {before:?}, and then {told:?}"
            )
        })?;
    }
    if stream.is_complete && !stream.has_progress(facts.last) {
        let (at, last) = (stream.at, facts.last);
        return Err(format!("a stream of m{at}: its last progress is not of revision {last}; {stream:?}"));
    }
    Ok(())
}

fn hear<'a>(
    there: &mut Standings<'a>,
    told: &Told,
    stream: &'a Stream,
    facts: &Facts<'_>,
) -> Result<(), Violation> {
    let Told { watch_id: id, revision, what } = told;
    let cut = there.iter().find(|(other, standing)| **other != *id && !standing.begun.is_empty());
    if let Some((other, _)) = cut {
        return Err(format!("{id} is told something in between of what is told to {other}"));
    }
    let missing = || format!("{id} is not there");
    match what {
        Tidings::Created => {
            let watcher = stream.watchers.get(id).ok_or_else(|| format!("nobody asked for {id}"))?;
            match there.insert(*id, Standing::new(watcher, *revision)) {
                None => Ok(()),
                Some(_) => Err(format!("{id} is created twice")),
            }
        }
        Tidings::Progress if *id == ALL_WATCHERS => {
            there.iter_mut().try_for_each(|(id, standing)| standing.progress(*id, *revision, facts))
        }
        Tidings::Progress => {
            let standing = there.get_mut(id).ok_or_else(missing)?;
            if !standing.watcher.progress_notify {
                return Err(format!("{id} does not want to be told a progress"));
            }
            standing.progress(*id, *revision, facts)
        }
        Tidings::Events { events, goes_on } => {
            let standing = there.get_mut(id).ok_or_else(missing)?;
            standing.begun.extend_from_slice(events);
            if *goes_on { Ok(()) } else { standing.events(*id, *revision, facts) }
        }
        Tidings::Cancelled { compacted } => {
            there.remove(id).ok_or_else(missing)?.cancelled(*id, *compacted, facts)
        }
    }
}

impl<'a> Standing<'a> {
    fn new(watcher: &'a Watcher, created: i64) -> Self {
        let next = if watcher.start == 0 { created + 1 } else { watcher.start };
        Self { watcher, next, event: 0, progress: 0, begun: Vec::new() }
    }

    /// What must be told from the next revision through another one.
    fn expected<'f>(&self, through: i64, facts: &Facts<'f>) -> Vec<&'f Change> {
        let first = facts.changes.partition_point(|change| change.revision < self.next);
        let until = facts.changes[first..].iter().take_while(|change| change.revision <= through);
        until.filter(|change| self.watcher.wants(change)).collect()
    }

    fn progress(&mut self, id: i64, revision: i64, facts: &Facts<'_>) -> Result<(), Violation> {
        if revision < self.event {
            return Err(format!("{id} is told a progress of {revision} behind an event of {}", self.event));
        }
        if revision < self.progress {
            return Err(format!("{id} is told a progress of {revision} behind one of {}", self.progress));
        }
        if revision > facts.last {
            return Err(format!("{id} is told a progress of {revision}, and {} is the last", facts.last));
        }
        if let Some(missing) = self.expected(revision, facts).first() {
            return Err(format!("{id} is told a progress of {revision}, and nothing of {missing:?}"));
        }
        self.progress = revision;
        self.next = self.next.max(revision + 1);
        Ok(())
    }

    fn events(&mut self, id: i64, revision: i64, facts: &Facts<'_>) -> Result<(), Violation> {
        let events = std::mem::take(&mut self.begun);
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err(format!("{id} is told of events, and there are none"));
        };
        if first.revision <= self.progress {
            let progress = self.progress;
            return Err(format!(
                "{id} is told an event of {} behind a progress of {progress}",
                first.revision
            ));
        }
        if revision < last.revision {
            return Err(format!("{id} is told an event of {} at revision {revision}", last.revision));
        }
        let expected = self.expected(last.revision, facts);
        let is_equal = expected.len() == events.len()
            && expected.iter().zip(&events).all(|(change, event)| {
                (change.revision, &change.key, &change.pair) == (event.revision, &event.key, &event.pair)
            });
        if !is_equal {
            let (from, through) = (self.next, last.revision);
            return Err(format!(
                "{id} must be told {expected:?} from {from} through {through}, and is {events:?}"
            ));
        }
        events.iter().try_for_each(|event| self.previous(id, event, facts))?;
        self.event = last.revision;
        self.next = last.revision + 1;
        Ok(())
    }

    /// What was there before is told to who wants it. It may be gone where the revision before is compacted.
    fn previous(&self, id: i64, event: &Event, facts: &Facts<'_>) -> Result<(), Violation> {
        let before = facts.versions.of_key(&event.key, event.revision - 1);
        let may_be_gone = event.revision - 1 < facts.compacted;
        let is_right = match (self.watcher.prev_kv, &event.previous) {
            (false, told) => told.is_none(),
            (true, None) => before.is_none() || may_be_gone,
            (true, told) => told.as_ref() == before,
        };
        if is_right {
            return Ok(());
        }
        Err(format!("{id} is told {event:?}, and before that there was {before:?}"))
    }

    fn cancelled(&self, id: i64, compacted: Option<i64>, facts: &Facts<'_>) -> Result<(), Violation> {
        match compacted {
            Some(compacted) if compacted <= self.next || compacted > facts.compacted => Err(format!(
                "{id} wants {} and is told that {compacted} is compacted, and {} is",
                self.next, facts.compacted
            )),
            _ => Ok(()),
        }
    }
}

impl Watcher {
    fn wants(&self, change: &Change) -> bool {
        let kind = if change.pair.is_some() { Kind::Put } else { Kind::Delete };
        self.range.contains(&change.key) && self.without != Some(kind)
    }
}
