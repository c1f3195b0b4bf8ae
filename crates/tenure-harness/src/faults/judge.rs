//! The end: all members must hold the same, and clients must have seen what can be.

use super::leases;
use super::load::writer_of;
use super::operator::Operator;
use super::record::Record;
use super::session::Wire;
use super::streams::{self, Tally};
use super::watches::{History, change_of};
use crate::PATIENCE;
use crate::cluster::until;
use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use std::collections::BTreeMap;
use std::time::Duration;
use tenure_api::etcdserverpb as pb;
use tenure_api::mvccpb::KeyValue;
use tenure_check::{self as check, Bounds, Change, LeaseEvent};
use tokio::time::timeout;

/// How exact leases are: no earlier than a clock's step, and as late as a new leader adds.
const BOUNDS: Bounds = Bounds { early: Duration::from_millis(150), late: Duration::from_secs(6) };
/// Revisions at which the members' hashes are compared.
const HASHES: i64 = 40;

/// Waits until every lease that nobody renews has ended in time.
pub(super) async fn outlive_leases(operator: &Operator, record: &Record) -> Result<()> {
    let since = record.time();
    let end = since + leases::TTL_MAX + BOUNDS.late;
    loop {
        let mut client = pb::lease_client::LeaseClient::new(operator.wire(0).await?);
        let left = timeout(PATIENCE, client.lease_leases(pb::LeaseLeasesRequest {})).await??.into_inner();
        let at = record.time();
        if left.leases.is_empty() {
            return Ok(());
        }
        if at > end {
            for lease in left.leases {
                record.lease(lease.id, LeaseEvent::Alive { at, since });
            }
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The revision that everything has come to: nobody writes any more. The member at a place has come to it, too.
pub(super) async fn last_revision(operator: &Operator, at: usize) -> Result<i64> {
    let range = pb::RangeRequest { key: "\0".into(), ..Default::default() };
    until("a linearizable read is answered", || async {
        let Ok(wire) = operator.wire(at).await else { return Ok(None) };
        let answer = timeout(PATIENCE, pb::kv_client::KvClient::new(wire).range(range.clone())).await?;
        Ok(answer.ok().and_then(|answer| answer.into_inner().header).map(|header| header.revision))
    })
    .await
}

/// All members have the same hash at every revision that all of them still have, and the same history.
pub(super) async fn equal(operator: &Operator, history: &History, compacted: i64, last: i64) -> Result<()> {
    for at in 0..operator.members() {
        ensure!(last_revision(operator, at).await? == last, "somebody writes after {last}");
    }
    let first = compacted.max(1);
    let step = ((last - first) / HASHES).max(1);
    let revisions: Vec<i64> = (first..last).step_by(usize::try_from(step)?).chain([last]).collect();
    for revision in revisions {
        let mut hashes = Vec::new();
        for at in 0..operator.members() {
            hashes.push(hash(operator.wire(at).await?, revision).await?);
        }
        // At a compaction members may tell what it hashed itself, which includes what it removed, or what is left.
        let is_same_scope = |one: &KvHash, other: &KvHash| one.compacted == other.compacted;
        let is_equal = hashes.iter().all(|one| {
            let scope = || hashes.iter().filter(|other| is_same_scope(one, other));
            scope().all(|other| one == other) && (revision == compacted || scope().count() == hashes.len())
        });
        ensure!(is_equal, "HashKV at revision {revision} differs: {hashes:x?}");
    }
    for at in 0..operator.members() {
        let found = history_of(operator.wire(at).await?, compacted + 1, last).await?;
        let start = history.changes.partition_point(|change| change.revision <= compacted);
        let known = &history.changes[start..];
        if let Some((known, found)) = known.iter().zip(&found).find(|(known, found)| known != found) {
            bail!("m{at} tells {found:?} where {known:?} was told while it happened");
        }
        ensure!(
            known.len() == found.len(),
            "m{at} tells of {} changes from {}, and there were {}",
            found.len(),
            compacted + 1,
            known.len()
        );
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct KvHash {
    hash: u32,
    revision: i64,
    compacted: i64,
}

async fn hash(wire: Wire, revision: i64) -> Result<KvHash> {
    let mut maintenance = pb::maintenance_client::MaintenanceClient::new(wire);
    let answer = timeout(PATIENCE, maintenance.hash_kv(pb::HashKvRequest { revision })).await?;
    let answer = answer.with_context(|| format!("HashKV at {revision}"))?.into_inner();
    Ok(KvHash { hash: answer.hash, revision: answer.hash_revision, compacted: answer.compact_revision })
}

/// Every change that a member knows of, from one revision to another.
async fn history_of(wire: Wire, from: i64, last: i64) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::new();
    if from > last {
        return Ok(changes);
    }
    let all = |start_revision| pb::WatchCreateRequest {
        key: "\0".into(),
        range_end: "\0".into(),
        start_revision,
        ..Default::default()
    };
    let union = pb::watch_request::RequestUnion::CreateRequest(all(from));
    let requests = tokio_stream::iter([pb::WatchRequest { request_union: Some(union) }]);
    let requests = futures::StreamExt::chain(requests, tokio_stream::pending());
    let mut watch = pb::watch_client::WatchClient::new(wire).max_decoding_message_size(usize::MAX);
    let mut answers = timeout(PATIENCE, watch.watch(requests)).await??.into_inner();
    while changes.last().is_none_or(|change| change.revision < last) {
        let answer = timeout(PATIENCE, answers.message()).await.context("the history stops")??;
        let answer = answer.context("the history ends")?;
        ensure!(!answer.canceled, "the history from {from} is refused: {answer:?}");
        changes.extend(answer.events.iter().filter_map(change_of));
    }
    Ok(changes)
}

/// What was judged.
pub(super) struct Judged {
    pub operations: usize,
    /// Events that watchers saw.
    pub events: usize,
    /// What streams told.
    pub tally: Tally,
    /// How often requests failed, by status.
    pub errors: BTreeMap<String, u64>,
}

/// Whether what clients saw can be.
///
/// * `compacted`: where the history begins.
pub(super) fn judge(record: &Record, history: History, compacted: i64, members: usize) -> Result<Judged> {
    if let Some(wrong) = record.first_wrong() {
        bail!("{wrong}");
    }
    let story = record.take();
    let leases = story.leases.into_iter().map(until_revoked).collect();
    let seen = check::History {
        changes: named(history.changes),
        operations: story.operations,
        watches: story.watches,
        streams: story.streams,
        compacted,
        leases,
    };
    versions(&seen.changes)?;
    check::all(&seen, BOUNDS).map_err(anyhow::Error::msg)?;
    let events = seen.watches.iter().flat_map(|watch| &watch.steps).map(|step| match step {
        check::WatchStep::Events { events, .. } => events.len(),
        check::WatchStep::Compacted(_) => 0,
    });
    let tally = streams::tally(&seen.streams, members).map_err(anyhow::Error::msg)?;
    Ok(Judged { operations: seen.operations.len(), events: events.sum(), tally, errors: story.errors })
}

/// Every key says when it was created and how often it was put since.
fn versions(changes: &[Change]) -> Result<()> {
    let mut held: BTreeMap<&[u8], (i64, i64)> = BTreeMap::new();
    for Change { revision, key, pair, .. } in changes {
        let Some(pair) = pair else {
            let was_there = held.remove(&key[..]).is_some();
            ensure!(was_there, "revision {revision} deletes {key:?}, which is not there");
            continue;
        };
        let pair = KeyValue::decode(pair.clone())?;
        let (created, version) = held.get(&key[..]).copied().unwrap_or((*revision, 0));
        let is_right =
            (pair.create_revision, pair.version, pair.mod_revision) == (created, version + 1, *revision);
        ensure!(
            is_right,
            "{pair:?} was created at {created}, and is put the {}. time at {revision}",
            version + 1
        );
        held.insert(key, (created, version + 1));
    }
    Ok(())
}

/// A lease that its owner has ended need not live: what is seen of its end afterwards is no expiry.
fn until_revoked(mut lease: check::Lease) -> check::Lease {
    let revoked = lease.events.iter().find_map(|event| match event {
        LeaseEvent::Ended { at, has_expired: false } => Some(*at),
        _ => None,
    });
    if let Some(revoked) = revoked {
        lease.events.retain(|event| match event {
            LeaseEvent::Ended { at, has_expired: true } => *at < revoked,
            _ => true,
        });
    }
    lease
}

/// Gives every change the request that made its revision, which its values name.
fn named(mut changes: Vec<Change>) -> Vec<Change> {
    for same in changes.chunk_by_mut(|one, other| one.revision == other.revision) {
        let writer = same.iter().find_map(|change| {
            let pair = KeyValue::decode(change.pair.clone()?).ok()?;
            writer_of(&pair.value)
        });
        same.iter_mut().for_each(|change| change.by = writer);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn ended(millis: u64, has_expired: bool) -> LeaseEvent {
        LeaseEvent::Ended { at: Duration::from_millis(millis), has_expired }
    }

    #[test]
    fn a_lease_that_was_revoked_may_be_gone_and_one_that_was_gone_before_may_not() {
        let renewed = LeaseEvent::Renewed {
            called: Duration::ZERO,
            returned: Duration::ZERO,
            ttl: Duration::from_secs(5),
        };
        let judged = |events: &[LeaseEvent]| {
            let events = [&[renewed], events].concat();
            check::leases(&[until_revoked(check::Lease { id: 1, events })], BOUNDS)
        };
        assert_eq!(judged(&[ended(1_000, false), ended(1_001, true)]), Ok(()));
        assert!(judged(&[ended(1_000, false), ended(999, true)]).is_err());
        assert!(judged(&[ended(999, true)]).is_err());
    }

    #[test]
    fn a_key_that_is_created_or_counted_wrongly_is_found() {
        let put = |create_revision, mod_revision, version| {
            let pair = KeyValue { create_revision, mod_revision, version, ..Default::default() };
            let pair = Some(pair.encode_to_vec().into());
            Change { revision: mod_revision, by: None, key: Bytes::from_static(b"a"), pair }
        };
        let delete = |revision| Change { revision, by: None, key: Bytes::from_static(b"a"), pair: None };
        let right = [put(2, 2, 1), put(2, 3, 2), delete(4), put(5, 5, 1)];
        assert!(versions(&right).is_ok());
        let said = |place, wrong| {
            let mut changes = right.to_vec();
            changes[place] = wrong;
            versions(&changes).unwrap_err().to_string()
        };
        assert!(said(1, put(3, 3, 1)).contains("was created at 2, and is put the 2. time at 3"));
        assert!(said(1, put(2, 3, 1)).contains("was created at 2"));
        assert!(said(3, put(2, 5, 3)).contains("was created at 5"));
        assert!(said(0, delete(2)).contains("which is not there"));
    }

    #[test]
    fn a_revision_belongs_to_the_request_that_one_of_its_values_names() {
        let pair = |value: &'static str| {
            KeyValue { value: Bytes::from_static(value.as_bytes()), ..Default::default() }.encode_to_vec()
        };
        let change = |revision, value: Option<&'static str>| Change {
            revision,
            by: None,
            key: Bytes::new(),
            pair: value.map(|value| pair(value).into()),
        };
        let changes = vec![
            change(2, None),
            change(2, Some("00000000000000ffvvv")),
            change(3, None),
            change(4, Some("x")),
        ];
        let writers: Vec<_> = named(changes).into_iter().map(|change| change.by).collect();
        assert_eq!(writers, [Some(255), Some(255), None, None]);
    }
}
