//! A part of the keys as if it were all of them.

use crate::{
    KeyRange, KeyValue, OpResponse,
    kv::{Compare, Get, Op, Txn, prefix_end},
};
use bytes::{Bytes, BytesMut};

/// A prefix that is put before every key that goes out, and taken from every key that comes back.
///
/// A client with one comes from [`Client::with_namespace`](crate::Client::with_namespace).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    prefix: Bytes,
}

impl Namespace {
    pub(crate) fn new(prefix: Bytes) -> Self {
        Namespace { prefix }
    }

    pub(crate) fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The key as the server has it.
    pub(crate) fn prefix_key(&self, key: &[u8]) -> Bytes {
        let mut full = BytesMut::with_capacity(self.prefix.len() + key.len());
        full.extend_from_slice(&self.prefix);
        full.extend_from_slice(key);
        full.freeze()
    }

    /// The range as the server has it. A range without end ends with the namespace.
    pub(crate) fn prefix_range(&self, range: &KeyRange) -> KeyRange {
        let end = match &range.end[..] {
            b"" => Bytes::new(),
            b"\0" => prefix_end(&self.prefix),
            end => self.prefix_key(end),
        };
        KeyRange { key: self.prefix_key(&range.key), end }
    }

    /// The key as the user has it.
    pub(crate) fn strip_key(&self, key: &Bytes) -> Bytes {
        // A server answers with keys of the range that it was asked for; whatever else comes is passed on as it is.
        if key.starts_with(&self.prefix) { key.slice(self.prefix.len()..) } else { key.clone() }
    }

    pub(crate) fn strip_pairs(&self, pairs: &mut [KeyValue]) {
        for pair in pairs {
            pair.key = self.strip_key(&pair.key);
        }
    }

    pub(crate) fn prefix_get(&self, mut get: Get) -> Get {
        get.range = self.prefix_range(&get.range);
        get
    }

    pub(crate) fn prefix_op(&self, op: Op) -> Op {
        match op {
            Op::Get(get) => Op::Get(self.prefix_get(get)),
            Op::Put(mut put) => {
                if !put.key.is_empty() {
                    put.key = self.prefix_key(&put.key);
                }
                Op::Put(put)
            }
            Op::Delete(mut delete) => {
                delete.range = self.prefix_range(&delete.range);
                Op::Delete(delete)
            }
            Op::Txn(txn) => Op::Txn(self.prefix_txn(txn)),
        }
    }

    fn prefix_txn(&self, txn: Txn) -> Txn {
        let ops = |ops: Vec<Op>| ops.into_iter().map(|op| self.prefix_op(op)).collect();
        let condition = |mut condition: Compare| {
            condition.range = self.prefix_range(&condition.range);
            condition
        };
        Txn {
            conditions: txn.conditions.into_iter().map(condition).collect(),
            success: ops(txn.success),
            failure: ops(txn.failure),
        }
    }

    pub(crate) fn strip_response(&self, response: &mut OpResponse) {
        match response {
            OpResponse::Get(response) => self.strip_pairs(&mut response.kvs),
            OpResponse::Put(response) => self.strip_pairs(response.prev_kv.as_mut_slice()),
            OpResponse::Delete(response) => self.strip_pairs(&mut response.prev_kvs),
            OpResponse::Txn(response) => {
                response.responses.iter_mut().for_each(|response| self.strip_response(response));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_without_end_stays_in_the_namespace() {
        let namespace = Namespace::new("a/".into());
        assert_eq!(namespace.prefix_range(&KeyRange::from_key("k")), KeyRange::between("a/k", "a0"));
        assert_eq!(namespace.prefix_range(&KeyRange::key("k")), KeyRange::key("a/k"));
        assert_eq!(namespace.prefix_range(&KeyRange::between("k", "l")), KeyRange::between("a/k", "a/l"));
        assert_eq!(namespace.prefix_range(&KeyRange::all()), KeyRange::between("a/\0", "a0"));
    }
}
