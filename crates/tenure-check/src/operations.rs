//! Reads and writes.

use super::{Answer, Change, History, Operation, Versions, Violation, What};
use std::collections::BTreeMap;

/// Revisions follow each other; no request makes two; an acknowledged write made its revision, a refused one none.
///
/// # Errors
/// What is wrong.
pub fn writes(history: &History) -> Result<(), Violation> {
    let made = revisions_made(&history.changes)?;
    for Operation { what, .. } in &history.operations {
        let What::Write { id, answer } = what else { continue };
        match (answer, made.get(id)) {
            (Answer::Refused, Some(revision)) => {
                return Err(format!("{id:x?} was refused, but made revision {revision}"));
            }
            (Answer::At { revision, .. }, Some(made)) if revision != made => {
                return Err(format!("{id:x?} was told revision {revision}, but made revision {made}"));
            }
            (Answer::At { revision, writes: true }, None) => {
                return Err(format!("{id:x?} was acknowledged at revision {revision}, and is lost"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn revisions_made(changes: &[Change]) -> Result<BTreeMap<u64, i64>, Violation> {
    let mut made = BTreeMap::new();
    let mut last = (1, None);
    for change in changes {
        let (revision, by) = last;
        let is_same = change.revision == revision && change.by == by && revision > 1;
        if !is_same && change.revision != revision + 1 {
            return Err(format!("revision {} of {:x?} follows {revision}", change.revision, change.by));
        }
        if !is_same
            && let Some(id) = change.by
            && let Some(before) = made.insert(id, change.revision)
        {
            return Err(format!("{id:x?} made revision {before} and again {}", change.revision));
        }
        last = (change.revision, change.by);
    }
    Ok(made)
}

/// Whatever was answered before an operation was called is before it. The revisions are the order, so it is enough that an
/// operation's revision is not below the highest that anybody had been told when it was called, and above it if it made
/// the revision. Serializable reads may be old, but no older than what the same run of the same member has shown before.
///
/// # Errors
/// What is wrong.
pub fn order(operations: &[Operation]) -> Result<(), Violation> {
    let mut moments: Vec<(u64, bool, usize)> = Vec::with_capacity(operations.len() * 2);
    for (place, operation) in operations.iter().enumerate() {
        moments.push((operation.called, true, place));
        moments.extend(operation.returned.map(|returned| (returned, false, place)));
    }
    moments.sort_unstable();
    let mut told = 1;
    let mut told_by: BTreeMap<(usize, u64), i64> = BTreeMap::new();
    let mut floors = vec![(0, 0); operations.len()];
    for (_, is_call, place) in moments {
        let operation = &operations[place];
        if is_call {
            let server = match &operation.what {
                What::Read { server: Some(server), .. } => told_by.get(server).copied().unwrap_or(0),
                _ => 0,
            };
            floors[place] = (told, server);
            continue;
        }
        let (floor, server_floor) = floors[place];
        let (revision, above, server) = match &operation.what {
            What::Write { answer: Answer::At { revision, writes }, .. } => (*revision, *writes, None),
            What::Write { .. } | What::Past { .. } => continue,
            What::Read { revision, server, .. } => (*revision, false, *server),
        };
        let floor = if server.is_some() { server_floor } else { floor };
        if revision < floor || above && revision == floor {
            return Err(format!(
                "{operation:?} is at revision {revision}, but {floor} was told before it began"
            ));
        }
        told = told.max(revision);
        if let Some(server) = server {
            let by = told_by.entry(server).or_default();
            *by = (*by).max(revision);
        }
    }
    Ok(())
}

/// A plain read saw what its revision holds.
///
/// # Errors
/// What is wrong.
pub fn reads(history: &History) -> Result<(), Violation> {
    let versions = Versions::of(&history.changes);
    let last = history.changes.last().map_or(1, |change| change.revision);
    for Operation { what, .. } in &history.operations {
        let (revision, seen) = match what {
            What::Read { revision, saw, .. } => (revision, saw.as_ref().map(|(range, saw)| (range, saw))),
            What::Past { revision, range, saw } => (revision, Some((range, saw))),
            What::Write { .. } => continue,
        };
        if *revision > last {
            return Err(format!("a read saw revision {revision}, and {last} is the last"));
        }
        let Some((range, saw)) = seen else { continue };
        let expected = versions.at(range, *revision);
        if !expected.iter().copied().eq(saw) {
            return Err(format!(
                "a read of {range:?} at revision {revision} must be {expected:?}, but is {saw:?}"
            ));
        }
    }
    Ok(())
}
