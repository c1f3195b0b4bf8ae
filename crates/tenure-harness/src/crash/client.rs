//! One client: a request at a time on keys of its own, until the server is gone.

use super::{
    Acknowledged, Operation,
    model::{Change, Model},
};
use anyhow::{Result, bail};
use bytes::Bytes;
use rand::{RngExt, rngs::SmallRng};
use tenure_api::etcdserverpb::{self as pb, kv_client::KvClient, lease_client::LeaseClient};
use tonic::{Code, Status, transport::Channel};

/// Seconds that every lease lives: longer than any run.
pub(super) const TTL: i64 = 1_000_000;
/// Keys of a client.
const KEYS: u32 = 12;
/// Leases that a client may hold.
const LEASES: i64 = 3;

pub(super) struct Client {
    number: u32,
    /// What the client knows: its own keys and leases are right, those of others stand still.
    known: Model,
    /// Above any real one: the client's own acknowledgements are applied at made-up revisions.
    clock: i64,
    /// The history that is known to all: compactions go no further.
    settled: i64,
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    random: SmallRng,
    done: Vec<Acknowledged>,
}

impl Client {
    pub fn new(number: u32, known: Model, channel: Channel, random: SmallRng) -> Self {
        Self {
            number,
            clock: known.revision() + 1_000_000_000,
            settled: known.revision(),
            known,
            kv: KvClient::new(channel.clone()),
            lease: LeaseClient::new(channel),
            random,
            done: Vec::new(),
        }
    }

    /// Writes until an answer does not come. Returns what was acknowledged, and what was under way.
    pub async fn run(mut self) -> Result<(Vec<Acknowledged>, Option<Operation>)> {
        loop {
            let operation = self.choose();
            match self.send(&operation).await {
                Ok(revision) => {
                    self.learn(&operation);
                    self.done.push(Acknowledged { operation, revision });
                }
                Err(status) if is_gone(&status) => return Ok((self.done, Some(operation))),
                // Another client compacted further.
                Err(status)
                    if status.code() == Code::OutOfRange && matches!(operation, Operation::Compact(_)) => {}
                Err(status) => bail!("{operation:?} is refused: {status}"),
            }
        }
    }

    fn key(&mut self) -> Bytes {
        format!("c{:02}/{:02}", self.number, self.random.random_range(0..KEYS)).into()
    }

    fn put(&mut self, key: Bytes) -> Change {
        let leases = self.own_leases();
        let lease = match self.random.random_range(0..4) {
            0 if !leases.is_empty() => leases[self.random.random_range(0..leases.len())],
            _ => 0,
        };
        // Unique, so that a change is known by its value; long now and then, to cross pages and segments.
        let length =
            if self.random.random_range(0..50) == 0 { 20_000 } else { self.random.random_range(0..200) };
        let value = format!("{:016x}{}", self.random.random::<u64>(), "v".repeat(length));
        Change { key, value: Some(value.into()), lease }
    }

    fn own_leases(&self) -> Vec<i64> {
        let own = i64::from(self.number);
        self.known.leases().into_iter().filter(|lease| lease >> 32 == own + 1).collect()
    }

    fn choose(&mut self) -> Operation {
        let key = self.key();
        match self.random.random_range(0..100) {
            0..10 => match self.known.get(&key) {
                Some(_) => Operation::Write(vec![Change { key, value: None, lease: 0 }]),
                None => Operation::Write(vec![self.put(key)]),
            },
            10..25 => {
                let other = self.key();
                let mut changes = vec![self.put(key.clone())];
                if other != key {
                    changes.push(self.put(other));
                }
                // Events of one revision come in the order of the operations.
                Operation::Write(changes)
            }
            25..28 if self.settled > self.known.compacted() + 1 => {
                Operation::Compact(self.random.random_range(self.known.compacted() + 1..=self.settled))
            }
            28..33 => self.choose_lease(),
            _ => Operation::Write(vec![self.put(key)]),
        }
    }

    fn choose_lease(&mut self) -> Operation {
        let leases = self.own_leases();
        if leases.len() < LEASES as usize {
            let low = i64::from(self.random.random::<u32>());
            return Operation::Grant((i64::from(self.number) + 1) << 32 | low);
        }
        let lease = leases[self.random.random_range(0..leases.len())];
        let deleted = |key| Change { key, value: None, lease: 0 };
        Operation::Revoke(lease, self.known.attached(lease).into_iter().map(deleted).collect())
    }

    async fn send(&mut self, operation: &Operation) -> Result<i64, Status> {
        let header = match operation {
            Operation::Write(changes) => self.write(changes).await?,
            Operation::Compact(revision) => {
                let request = pb::CompactionRequest { revision: *revision, physical: self.random.random() };
                self.kv.compact(request).await?.into_inner().header
            }
            Operation::Grant(id) => {
                let request = pb::LeaseGrantRequest { ttl: TTL, id: *id };
                self.lease.lease_grant(request).await?.into_inner().header
            }
            Operation::Revoke(id, _) => {
                self.lease.lease_revoke(pb::LeaseRevokeRequest { id: *id }).await?.into_inner().header
            }
        };
        header.map(|header| header.revision).ok_or_else(|| Status::internal("no header"))
    }

    async fn write(&mut self, changes: &[Change]) -> Result<Option<pb::ResponseHeader>, Status> {
        let put = |change: &Change| pb::PutRequest {
            key: change.key.clone(),
            value: change.value.clone().unwrap_or_default(),
            lease: change.lease,
            ..Default::default()
        };
        match changes {
            [change] if change.value.is_some() => Ok(self.kv.put(put(change)).await?.into_inner().header),
            [change] => {
                let request = pb::DeleteRangeRequest { key: change.key.clone(), ..Default::default() };
                Ok(self.kv.delete_range(request).await?.into_inner().header)
            }
            changes => {
                let operation = |change| pb::RequestOp {
                    request: Some(pb::request_op::Request::RequestPut(put(change))),
                };
                let success = changes.iter().map(operation).collect();
                Ok(self.kv.txn(pb::TxnRequest { success, ..Default::default() }).await?.into_inner().header)
            }
        }
    }

    fn learn(&mut self, operation: &Operation) {
        if let Some(changes) = operation.changes() {
            self.clock += 1;
            self.known.append(self.clock, changes.clone());
        }
        match operation {
            Operation::Grant(lease) => self.known.add_lease(*lease),
            Operation::Revoke(lease, _) => self.known.forget_lease(*lease),
            Operation::Compact(_) | Operation::Write(_) => {}
        }
    }
}

/// Whether a status says that the server has gone, and not that it refuses.
fn is_gone(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal)
        && tenure_api::error::EtcdError::from_status(status).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_not_taken_for_a_death() {
        assert!(is_gone(&Status::unavailable("tcp connect error")));
        assert!(is_gone(&Status::unknown("transport error")));
        assert!(!is_gone(&tenure_api::error::EtcdError::NoSpace.into()));
        assert!(!is_gone(&Status::unknown("etcdserver: too many requests")));
    }
}
