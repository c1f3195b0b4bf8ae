//! Writes: each checks, in the transaction that carries it out, that no other client owns what it writes.

use super::{
    Shared,
    book::{Flight, Landing},
    keeper::REVOKED,
};
use crate::{
    Compare, Error, KeyRange, KeyValue, Op, OpResponse, Result, Revision, TxnResponse,
    concurrency::deleted,
    kv::{Call, Get, Put, Txn},
};
use bytes::Bytes;
use std::{collections::BTreeSet, time::Instant};

/// Operations that a transaction may have with most servers.
const TXN_OPS: usize = 128;

/// What an operation writes.
#[derive(Default)]
struct Targets {
    keys: BTreeSet<Bytes>,
    ranges: Vec<KeyRange>,
}

impl Targets {
    fn of(op: &Op) -> Self {
        let mut targets = Targets::default();
        targets.add(op);
        targets
    }

    fn add(&mut self, op: &Op) {
        match op {
            Op::Get(_) => {}
            Op::Put(put) => self.add_key(&put.key),
            Op::Delete(delete) if delete.range.is_single() => self.add_key(&delete.range.key),
            Op::Delete(delete) => self.ranges.push(delete.range.clone()),
            Op::Txn(txn) => txn.success.iter().chain(&txn.failure).for_each(|op| self.add(op)),
        }
    }

    fn add_key(&mut self, key: &Bytes) {
        self.keys.insert(key.clone());
    }
}

/// A write on its way. If it is dropped before it has landed, it may have taken effect or not.
struct InFlight<'a> {
    shared: &'a Shared,
    flight: Option<Flight>,
}

impl<'a> InFlight<'a> {
    fn depart(shared: &'a Shared, targets: &Targets) -> Self {
        let flight = shared.book.lock().depart(&targets.keys, &targets.ranges);
        InFlight { shared, flight: Some(flight) }
    }

    fn epoch(&self, key: &[u8]) -> Option<Revision> {
        self.flight.as_ref()?.epoch(key)
    }

    fn owned(&self) -> Vec<Bytes> {
        self.flight.iter().flat_map(Flight::owned).cloned().collect()
    }

    fn land(mut self, landing: Landing) {
        if let Some(flight) = self.flight.take() {
            self.shared.book.lock().land(flight, landing, Instant::now());
        }
    }

    fn fail(self, error: Error) -> Error {
        let is_unknown = error.may_have_taken_effect();
        self.land(if is_unknown { Landing::Unknown } else { Landing::NoEffect });
        error
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.shared.book.lock().land(flight, Landing::Unknown, Instant::now());
        }
    }
}

/// A transaction that carries out an operation if nobody else owns what it writes.
struct Guarded {
    txn: Txn,
    /// Responses of the operation; those after them are of what the owned keys are now.
    ops: usize,
    /// The operation is a transaction inside the other one.
    is_nested: bool,
    refreshed: Vec<Bytes>,
}

impl Shared {
    /// Carries out an operation that writes.
    pub(super) async fn write(&self, op: Op) -> Result<OpResponse> {
        let targets = Targets::of(&op);
        self.check(&targets)?;
        loop {
            let mut listed = Vec::new();
            for range in &targets.ranges {
                listed.push(self.clear(range).await?);
            }
            let in_flight = InFlight::depart(self, &targets);
            let guarded = self.guard(&op, &targets, &listed, &in_flight);
            let response = match Call::new(&self.client, guarded.txn.clone()).await {
                Ok(response) => response,
                Err(error) => return Err(in_flight.fail(error)),
            };
            if response.succeeded {
                return self.carried_out(&op, guarded, response, in_flight);
            }
            let epochs: Vec<_> = targets.keys.iter().map(|key| in_flight.epoch(key)).collect();
            in_flight.land(Landing::NoEffect);
            self.see(response.header);
            self.make_way(&targets, &epochs, response).await?;
        }
    }

    /// Refuses to write ownership keys: whoever is robbed of one goes on reading from memory.
    fn check(&self, targets: &Targets) -> Result<()> {
        let ownerships = KeyRange::prefix(&self.prefix);
        let is_ownership = |range: &KeyRange| {
            let is_before_end = |end: &[u8], key: &[u8]| end == b"\0" || key < end;
            is_before_end(&range.end, &ownerships.key) && is_before_end(&ownerships.end, &range.key)
        };
        let of_keys = targets.keys.iter().any(|key| key.starts_with(&self.prefix));
        if of_keys || targets.ranges.iter().any(is_ownership) {
            let prefix = String::from_utf8_lossy(&self.prefix);
            return Err(Error::invalid(format!(
                "the keys that begin with '{prefix}' say who owns which key: leave them out of what is written"
            )));
        }
        Ok(())
    }

    fn guard(&self, op: &Op, targets: &Targets, listed: &[Revision], in_flight: &InFlight<'_>) -> Guarded {
        let of_keys = targets.keys.iter().map(|key| {
            let epoch = in_flight.epoch(key).unwrap_or(0);
            Compare::create_revision(self.ownership(key)).equal(epoch)
        });
        let of_ranges = targets.ranges.iter().zip(listed).map(|(range, listed)| {
            let KeyRange { key, end } = self.ownerships(range);
            // Those that were there are this client's; newer ones are not known.
            Compare::create_revision(key).range_end(end).less(*listed + 1)
        });
        let (ops, is_nested): (Vec<Op>, bool) = match op {
            Op::Txn(txn) if txn.conditions.is_empty() => (txn.success.clone(), false),
            Op::Txn(txn) => (vec![txn.clone().into()], true),
            op => (vec![op.clone()], false),
        };
        let mut refreshed: Vec<Bytes> = match op {
            // What a deletion leaves is known.
            Op::Delete(_) => Vec::new(),
            _ => targets.keys.iter().filter(|key| in_flight.epoch(key).is_some()).cloned().collect(),
        };
        if ops.len() + refreshed.len() > TXN_OPS {
            refreshed.clear();
        }
        let count = ops.len();
        let reads = refreshed.iter().map(|key| refresh(op, key).into());
        let owners = targets.keys.iter().map(|key| self.in_the_way(op, key, in_flight.epoch(key)));
        let txn = Txn::new()
            .when(of_keys.chain(of_ranges))
            .and_then(ops.into_iter().chain(reads))
            .or_else(owners.collect::<Vec<Op>>());
        Guarded { txn, ops: count, is_nested, refreshed }
    }

    /// What is done about the ownership key of a key that cannot be written. Of a single key that others own the mark is put at
    /// once; where the ownership key may be missing there is nothing to put it on.
    fn in_the_way(&self, op: &Op, key: &Bytes, epoch: Option<Revision>) -> Op {
        match (op, epoch) {
            (Op::Put(_) | Op::Delete(_), None) => self.mark(key),
            _ => Get::new(self.ownership(key)).into(),
        }
    }

    fn mark(&self, key: &[u8]) -> Op {
        Put::new(self.ownership(key), REVOKED).ignore_lease().into()
    }

    fn carried_out(
        &self,
        op: &Op,
        guarded: Guarded,
        response: TxnResponse,
        in_flight: InFlight<'_>,
    ) -> Result<OpResponse> {
        let TxnResponse { header, mut responses, .. } = response;
        if responses.len() != guarded.ops + guarded.refreshed.len() {
            return Err(
                in_flight.fail(Error::Protocol("a transaction with more or fewer answers than operations"))
            );
        }
        let reads = responses.split_off(guarded.ops);
        let pairs: Vec<(Bytes, Option<KeyValue>)> = match op {
            Op::Delete(_) => in_flight.owned().into_iter().map(|key| (key, None)).collect(),
            op => {
                let reads = guarded.refreshed.into_iter().zip(reads);
                reads.map(|(key, read)| (key, now(op, read))).collect()
            }
        };
        in_flight.land(Landing::Done(header, pairs));
        let mut response = match op {
            Op::Txn(_) if !guarded.is_nested => {
                OpResponse::Txn(TxnResponse { header, succeeded: true, responses })
            }
            _ => responses.pop().ok_or(Error::Protocol("a transaction without an answer"))?,
        };
        match &mut response {
            OpResponse::Get(response) => response.header = header,
            OpResponse::Put(response) => response.header = header,
            OpResponse::Delete(response) => response.header = header,
            OpResponse::Txn(response) => response.header = header,
        }
        Ok(response)
    }

    /// Something was owned by somebody else, or not by this client as it had thought. Waits until it is free.
    async fn make_way(
        &self,
        targets: &Targets,
        epochs: &[Option<Revision>],
        response: TxnResponse,
    ) -> Result<()> {
        let revision = response.header.revision;
        for ((key, epoch), owner) in targets.keys.iter().zip(epochs).zip(response.responses) {
            let owner = match owner {
                OpResponse::Get(owner) => owner.kvs.first().map(|owner| owner.create_revision),
                // The mark is put, and there was something to put it on.
                _ => {
                    self.evict(key, *epoch);
                    self.freed(key, revision).await?;
                    continue;
                }
            };
            if owner == *epoch {
                continue;
            }
            self.evict(key, *epoch);
            if owner.is_some() && owner != self.book.lock().epoch(key) {
                self.revoke(key).await?;
            }
        }
        Ok(())
    }

    fn evict(&self, key: &[u8], epoch: Option<Revision>) {
        if let Some(epoch) = epoch {
            self.book.lock().evict_epoch(key, epoch, Instant::now());
        }
    }

    /// Waits until nobody else owns a key of a range. The revision at which that was so.
    async fn clear(&self, range: &KeyRange) -> Result<Revision> {
        loop {
            let get = Get::new(self.ownerships(range)).keys_only();
            let owners = Call::new(&self.client, get).await?;
            let mut others = Vec::new();
            {
                let book = self.book.lock();
                for owner in owners.kvs {
                    let key = owner.key.slice(self.prefix.len().min(owner.key.len())..);
                    if book.epoch(&key) != Some(owner.create_revision) {
                        others.push(key);
                    }
                }
            }
            if others.is_empty() {
                return Ok(owners.header.revision);
            }
            for key in others {
                self.revoke(&key).await?;
            }
        }
    }

    /// Marks the ownership key of a key, if it has one, and waits until it is gone.
    async fn revoke(&self, key: &[u8]) -> Result<()> {
        let txn = Txn::new()
            .when([Compare::create_revision(self.ownership(key)).equal(0)])
            .or_else([self.mark(key)]);
        let response = Call::new(&self.client, txn).await?;
        if response.succeeded { Ok(()) } else { self.freed(key, response.header.revision).await }
    }

    /// Waits until an ownership key that was there at a revision is gone.
    async fn freed(&self, key: &[u8], revision: Revision) -> Result<()> {
        // If the history is compacted, what happened in between is seen by the next attempt.
        deleted(&self.client, &self.ownership(key), revision + 1).await.map(drop)
    }
}

/// Reads what an owned key is after the write. A value that is known need not be sent back.
fn refresh(op: &Op, key: &Bytes) -> Get {
    match op {
        Op::Put(put) if !put.is_value_ignored && !put.is_lease_ignored => Get::new(key).keys_only(),
        _ => Get::new(key),
    }
}

fn now(op: &Op, read: OpResponse) -> Option<KeyValue> {
    let OpResponse::Get(mut read) = read else { return None };
    let pair = read.kvs.pop()?;
    Some(match op {
        Op::Put(put) if !put.is_value_ignored && !put.is_lease_ignored => {
            KeyValue { value: put.value.clone(), lease: put.lease, ..pair }
        }
        _ => pair,
    })
}
