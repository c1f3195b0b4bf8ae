//! Answers of the server that are written from bytes the store already holds: a pair is encoded once, when it
//! is put, and from then on only copied.
//!
//! Each type encodes to exactly what the message of the same name in [`crate::etcdserverpb`] encodes to.
//! They are only ever sent: decoding skips every field.

use crate::etcdserverpb::ResponseHeader;
use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType},
};

/// `etcdserverpb.RangeResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeResponse {
    /// The header.
    pub header: Option<ResponseHeader>,
    /// Each pair as the bytes of its `KeyValue`.
    pub kvs: Vec<Bytes>,
    /// Whether the limit cut the answer.
    pub more: bool,
    /// Keys in the range.
    pub count: i64,
}

/// `etcdserverpb.RangeStreamResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeStreamResponse {
    /// A part of the answer.
    pub range_response: Option<RangeResponse>,
}

/// `etcdserverpb.PutResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PutResponse {
    /// The header.
    pub header: Option<ResponseHeader>,
    /// The pair before, as the bytes of its `KeyValue`.
    pub prev_kv: Option<Bytes>,
}

/// `etcdserverpb.DeleteRangeResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteRangeResponse {
    /// The header.
    pub header: Option<ResponseHeader>,
    /// Keys deleted.
    pub deleted: i64,
    /// The pairs before, each as the bytes of its `KeyValue`.
    pub prev_kvs: Vec<Bytes>,
}

/// `etcdserverpb.TxnResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TxnResponse {
    /// The header.
    pub header: Option<ResponseHeader>,
    /// Whether the compares held.
    pub succeeded: bool,
    /// One answer an operation.
    pub responses: Vec<ResponseOp>,
}

/// `etcdserverpb.ResponseOp`.
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseOp {
    /// `response_range`.
    Range(RangeResponse),
    /// `response_put`.
    Put(PutResponse),
    /// `response_delete_range`.
    DeleteRange(DeleteRangeResponse),
    /// `response_txn`.
    Txn(TxnResponse),
}

/// `etcdserverpb.WatchResponse`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchResponse {
    /// The header.
    pub header: Option<ResponseHeader>,
    /// Which watcher of the stream.
    pub watch_id: i64,
    /// Whether this announces the watcher.
    pub created: bool,
    /// Whether this is the watcher's last answer.
    pub canceled: bool,
    /// Where to start again after a compaction cancelled the watcher.
    pub compact_revision: i64,
    /// Why it was cancelled.
    pub cancel_reason: String,
    /// Whether more of the same revision follows.
    pub fragment: bool,
    /// Each event as the bytes of its `Event`.
    pub events: Vec<Bytes>,
}

fn skip(wire_type: WireType, tag: u32, buf: &mut impl Buf, ctx: DecodeContext) -> Result<(), DecodeError> {
    encoding::skip_field(wire_type, tag, buf, ctx)
}

fn header_write(header: &Option<ResponseHeader>, buf: &mut impl BufMut) {
    if let Some(header) = header {
        encoding::message::encode(1, header, buf);
    }
}

fn header_len(header: &Option<ResponseHeader>) -> usize {
    header.as_ref().map_or(0, |header| encoding::message::encoded_len(1, header))
}

fn blob_write(tag: u32, bytes: &Bytes, buf: &mut impl BufMut) {
    encoding::encode_key(tag, WireType::LengthDelimited, buf);
    encoding::encode_varint(bytes.len() as u64, buf);
    buf.put_slice(bytes);
}

fn blob_len(tag: u32, bytes: &Bytes) -> usize {
    encoding::key_len(tag) + encoding::encoded_len_varint(bytes.len() as u64) + bytes.len()
}

fn bool_write(tag: u32, value: bool, buf: &mut impl BufMut) {
    if value {
        encoding::bool::encode(tag, &value, buf);
    }
}

fn bool_len(tag: u32, value: bool) -> usize {
    if value { encoding::bool::encoded_len(tag, &value) } else { 0 }
}

fn int_write(tag: u32, value: i64, buf: &mut impl BufMut) {
    if value != 0 {
        encoding::int64::encode(tag, &value, buf);
    }
}

fn int_len(tag: u32, value: i64) -> usize {
    if value != 0 { encoding::int64::encoded_len(tag, &value) } else { 0 }
}

macro_rules! send_only {
    () => {
        fn merge_field(
            &mut self,
            tag: u32,
            wire_type: WireType,
            buf: &mut impl Buf,
            ctx: DecodeContext,
        ) -> Result<(), DecodeError> {
            skip(wire_type, tag, buf, ctx)
        }

        fn clear(&mut self) {
            *self = Self::default();
        }
    };
}

impl Message for RangeResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        header_write(&self.header, buf);
        self.kvs.iter().for_each(|kv| blob_write(2, kv, buf));
        bool_write(3, self.more, buf);
        int_write(4, self.count, buf);
    }

    fn encoded_len(&self) -> usize {
        header_len(&self.header)
            + self.kvs.iter().map(|kv| blob_len(2, kv)).sum::<usize>()
            + bool_len(3, self.more)
            + int_len(4, self.count)
    }

    send_only!();
}

impl Message for RangeStreamResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(response) = &self.range_response {
            encoding::message::encode(1, response, buf);
        }
    }

    fn encoded_len(&self) -> usize {
        self.range_response.as_ref().map_or(0, |response| encoding::message::encoded_len(1, response))
    }

    send_only!();
}

impl Message for PutResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        header_write(&self.header, buf);
        self.prev_kv.iter().for_each(|kv| blob_write(2, kv, buf));
    }

    fn encoded_len(&self) -> usize {
        header_len(&self.header) + self.prev_kv.iter().map(|kv| blob_len(2, kv)).sum::<usize>()
    }

    send_only!();
}

impl Message for DeleteRangeResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        header_write(&self.header, buf);
        int_write(2, self.deleted, buf);
        self.prev_kvs.iter().for_each(|kv| blob_write(3, kv, buf));
    }

    fn encoded_len(&self) -> usize {
        header_len(&self.header)
            + int_len(2, self.deleted)
            + self.prev_kvs.iter().map(|kv| blob_len(3, kv)).sum::<usize>()
    }

    send_only!();
}

impl Message for TxnResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        header_write(&self.header, buf);
        bool_write(2, self.succeeded, buf);
        for response in &self.responses {
            encoding::encode_key(3, WireType::LengthDelimited, buf);
            encoding::encode_varint(response.encoded_len() as u64, buf);
            response.encode(buf);
        }
    }

    fn encoded_len(&self) -> usize {
        let responses = self.responses.iter().map(|response| {
            let len = response.encoded_len();
            encoding::key_len(3) + encoding::encoded_len_varint(len as u64) + len
        });
        header_len(&self.header) + bool_len(2, self.succeeded) + responses.sum::<usize>()
    }

    send_only!();
}

impl ResponseOp {
    fn encode(&self, buf: &mut impl BufMut) {
        match self {
            ResponseOp::Range(response) => encoding::message::encode(1, response, buf),
            ResponseOp::Put(response) => encoding::message::encode(2, response, buf),
            ResponseOp::DeleteRange(response) => encoding::message::encode(3, response, buf),
            ResponseOp::Txn(response) => encoding::message::encode(4, response, buf),
        }
    }

    fn encoded_len(&self) -> usize {
        match self {
            ResponseOp::Range(response) => encoding::message::encoded_len(1, response),
            ResponseOp::Put(response) => encoding::message::encoded_len(2, response),
            ResponseOp::DeleteRange(response) => encoding::message::encoded_len(3, response),
            ResponseOp::Txn(response) => encoding::message::encoded_len(4, response),
        }
    }
}

impl Message for WatchResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        header_write(&self.header, buf);
        int_write(2, self.watch_id, buf);
        bool_write(3, self.created, buf);
        bool_write(4, self.canceled, buf);
        int_write(5, self.compact_revision, buf);
        if !self.cancel_reason.is_empty() {
            encoding::string::encode(6, &self.cancel_reason, buf);
        }
        bool_write(7, self.fragment, buf);
        self.events.iter().for_each(|event| blob_write(11, event, buf));
    }

    fn encoded_len(&self) -> usize {
        let reason = if self.cancel_reason.is_empty() {
            0
        } else {
            encoding::string::encoded_len(6, &self.cancel_reason)
        };
        header_len(&self.header)
            + int_len(2, self.watch_id)
            + bool_len(3, self.created)
            + bool_len(4, self.canceled)
            + int_len(5, self.compact_revision)
            + reason
            + bool_len(7, self.fragment)
            + self.events.iter().map(|event| blob_len(11, event)).sum::<usize>()
    }

    send_only!();
}
