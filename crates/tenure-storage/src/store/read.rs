//! Reading records by their address.

use super::segment::{Place, Segment};
use super::{Shared, Store, StoreError};
use std::ops::Range;
use std::sync::Arc;
use tenure_core::types::{KvBytes, RecordRevision, RecordSource, SourceError};

/// Bytes that may lie unused between two records of one read.
const GAP_BYTES_MAX: u64 = 2 * 1024;
/// Longest read of several records, in bytes.
const READ_BYTES_MAX: u64 = 256 * 1024;

/// A record of a page that has to come from the disk.
struct Wanted {
    segment: Arc<Segment>,
    place: Place,
    /// Which answer it is.
    answer: usize,
}

impl Shared {
    fn record(&self, at: RecordRevision) -> Result<Option<KvBytes>, StoreError> {
        self.check()?;
        if let Some(kv) = self.recent.read().find(at) {
            return Ok(Some(kv));
        }
        match self.locate(at) {
            None => Ok(None),
            Some((segment, place)) => read_one(&segment, &place).map(Some),
        }
    }

    fn locate(&self, at: RecordRevision) -> Option<(Arc<Segment>, Place)> {
        let segment = self.segment_of(at)?;
        let place = segment.find(at)?;
        Some((segment, place))
    }

    /// The damage `fault` of the record `at`.
    pub(super) fn damaged_record(&self, at: RecordRevision, fault: &str) -> StoreError {
        match self.locate(at) {
            Some((segment, place)) => StoreError::damaged(&segment.path, place.span().start, fault),
            None => StoreError::damaged(&self.dir, 0, format!("record {at}: {fault}")),
        }
    }

    /// What of a page is in memory, and what has to be read, in the order of the disk.
    fn gather(&self, at: &[RecordRevision]) -> Result<(Vec<KvBytes>, Vec<Wanted>), SourceError> {
        let mut answers = vec![KvBytes::default(); at.len()];
        let mut missing = Vec::new();
        {
            let recent = self.recent.read();
            for (answer, at) in at.iter().enumerate() {
                match recent.find(*at) {
                    Some(kv) => answers[answer] = kv,
                    None => missing.push(answer),
                }
            }
        }
        let mut wanted = Vec::with_capacity(missing.len());
        for answer in missing {
            let (segment, place) = self.locate(at[answer]).ok_or(SourceError::Gone(at[answer]))?;
            wanted.push(Wanted { segment, place, answer });
        }
        wanted.sort_unstable_by_key(|wanted| (wanted.segment.sequence, wanted.place.row.offset));
        Ok((answers, wanted))
    }
}

fn read_one(segment: &Segment, place: &Place) -> Result<KvBytes, StoreError> {
    let span = place.span();
    let bytes = segment.read_span(&span)?;
    Ok(segment.decode(&bytes, span.start, place)?.kv)
}

/// How many of `wanted`, from the first on, one read gets, and what it reads.
fn join(wanted: &[Wanted]) -> (usize, Range<u64>) {
    let mut span = wanted[0].place.span();
    let mut count = 1;
    for next in &wanted[1..] {
        let place = next.place.span();
        let near = next.segment.sequence == wanted[0].segment.sequence
            && place.start <= span.end + GAP_BYTES_MAX
            && place.end <= span.start + READ_BYTES_MAX;
        if !near {
            break;
        }
        span.end = span.end.max(place.end);
        count += 1;
    }
    (count, span)
}

fn read_joined(wanted: &[Wanted], answers: &mut [KvBytes]) -> Result<(), StoreError> {
    let mut rest = wanted;
    while !rest.is_empty() {
        let (count, span) = join(rest);
        let bytes = rest[0].segment.read_span(&span)?;
        for one in &rest[..count] {
            answers[one.answer] = one.segment.decode(&bytes, span.start, &one.place)?.kv;
        }
        rest = &rest[count..];
    }
    Ok(())
}

impl RecordSource for Store {
    fn record(&self, at: RecordRevision) -> Result<KvBytes, SourceError> {
        let found = self.shared.guard(self.shared.record(at))?;
        found.ok_or(SourceError::Gone(at))
    }

    fn records(&self, at: &[RecordRevision]) -> Result<Vec<KvBytes>, SourceError> {
        self.shared.check()?;
        let (mut answers, wanted) = self.shared.gather(at)?;
        self.shared.guard(read_joined(&wanted, &mut answers))?;
        Ok(answers)
    }
}
