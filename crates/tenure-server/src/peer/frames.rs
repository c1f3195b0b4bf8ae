//! The bytes of the two streams between members.
//!
//! * `message`: each frame is a big-endian 64-bit length and a `raftpb.Message`.
//! * `msgapp` (etcd calls its encoding `msgappv2`): one byte says what follows. 0: nothing, the link is alive. 1: the number of
//!   entries, each with its length before it, and the commit index; index and term follow from the append before. 2: a whole
//!   append as in the other stream.
//!
//! All numbers have 64 bits, big-endian.

use crate::limits;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message as _;
use tenure_api::raftpb;
use tenure_core::node::{Message, MessageKind, entry_from_wire, entry_to_wire};
use tenure_core::types::{LogIndex, LogPosition, MemberId};

const LINK_HEARTBEAT: u8 = 0;
const APPEND_ENTRIES: u8 = 1;
const APPEND: u8 = 2;
const NUMBER_BYTES: usize = 8;

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// Everything but appends and snapshots.
    Message,
    /// Appends.
    Append,
}

impl StreamKind {
    /// The word in its path.
    #[must_use]
    pub fn path_word(self) -> &'static str {
        match self {
            StreamKind::Message => "message",
            StreamKind::Append => "msgapp",
        }
    }

    /// The stream with this word in its path.
    #[must_use]
    pub fn of_path_word(word: &str) -> Option<Self> {
        [StreamKind::Message, StreamKind::Append].into_iter().find(|kind| kind.path_word() == word)
    }
}

/// Makes the frames of one stream.
#[derive(Debug)]
pub struct FrameEncoder {
    kind: StreamKind,
    /// The last entry of the last append of the stream.
    last: LogPosition,
}

impl FrameEncoder {
    /// For a stream that begins.
    #[must_use]
    pub fn new(kind: StreamKind) -> Self {
        Self { kind, last: LogPosition::default() }
    }

    /// Adds the frame of a message.
    pub fn message(&mut self, message: &Message, out: &mut BytesMut) {
        if self.kind == StreamKind::Message {
            return put_sized(&message.to_wire(), out);
        }
        let before = LogPosition { index: message.index, term: message.log_term };
        let follows = before == self.last && message.log_term == message.term;
        if follows {
            out.put_u8(APPEND_ENTRIES);
            out.put_u64(message.entries.len() as u64);
            message.entries.iter().for_each(|entry| put_sized(&entry_to_wire(entry), out));
            out.put_u64(message.commit.0);
        } else {
            out.put_u8(APPEND);
            put_sized(&message.to_wire(), out);
        }
        self.last = last_of(message);
    }

    /// Adds the frame that says that the link is alive.
    pub fn link_heartbeat(&self, out: &mut BytesMut) {
        match self.kind {
            StreamKind::Append => out.put_u8(LINK_HEARTBEAT),
            StreamKind::Message => {
                let heartbeat = raftpb::Message {
                    r#type: Some(MessageKind::Heartbeat as i32),
                    ..raftpb::Message::default()
                };
                put_sized(&heartbeat, out);
            }
        }
    }
}

/// Adds a message with its length before it.
pub fn put_sized(message: &impl prost::Message, out: &mut BytesMut) {
    let bytes = message.encoded_len();
    out.reserve(NUMBER_BYTES + bytes);
    out.put_u64(bytes as u64);
    message.encode_raw(out);
}

/// Where the follower's log ends after an append, if it takes it.
fn last_of(message: &Message) -> LogPosition {
    let index = message.entries.last().map_or(message.index, |entry| entry.index);
    LogPosition { index, term: message.term }
}

/// The bytes are not those of a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed stream of another member: {0}")]
pub struct MalformedStream(String);

/// Takes one stream apart, whatever pieces it comes in.
#[derive(Debug)]
pub struct FrameDecoder {
    kind: StreamKind,
    from: MemberId,
    to: MemberId,
    last: LogPosition,
    bytes: BytesMut,
}

impl FrameDecoder {
    /// For a stream that begins, from one member to another.
    #[must_use]
    pub fn new(kind: StreamKind, from: MemberId, to: MemberId) -> Self {
        Self { kind, from, to, last: LogPosition::default(), bytes: BytesMut::new() }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message that is complete.
    ///
    /// # Errors
    /// [`MalformedStream`]: the rest of the stream cannot be read.
    pub fn next_message(&mut self) -> Result<Option<Message>, MalformedStream> {
        loop {
            let Some(bytes) = self.frame_bytes()? else { return Ok(None) };
            let frame = self.bytes.split_to(bytes).freeze();
            if let Some(message) = self.decode(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// The length of the first frame, once it is all there.
    fn frame_bytes(&self) -> Result<Option<usize>, MalformedStream> {
        let mut walk = Walk { bytes: &self.bytes, at: 0 };
        let complete = match (self.kind, self.bytes.first()) {
            (_, None) => return Ok(None),
            (StreamKind::Message, _) => walk.sized()?,
            (StreamKind::Append, Some(&LINK_HEARTBEAT)) => return Ok(Some(1)),
            (StreamKind::Append, Some(&APPEND)) => walk.skip(1) && walk.sized()?,
            (StreamKind::Append, Some(&APPEND_ENTRIES)) => walk.skip(1) && walk.entries()?,
            (StreamKind::Append, Some(other)) => {
                return Err(MalformedStream(format!("a frame of type {other}")));
            }
        };
        Ok(complete.then_some(walk.at))
    }

    /// The message in a frame; none in a sign of life.
    fn decode(&mut self, mut frame: Bytes) -> Result<Option<Message>, MalformedStream> {
        if self.kind == StreamKind::Message {
            frame.advance(NUMBER_BYTES);
            return decode_message(frame);
        }
        let message = match frame.get_u8() {
            LINK_HEARTBEAT => None,
            APPEND_ENTRIES => Some(self.decode_entries(frame)?),
            _ => {
                frame.advance(NUMBER_BYTES);
                decode_message(frame)?
            }
        };
        if let Some(message) = &message {
            self.last = last_of(message);
        }
        Ok(message)
    }

    fn decode_entries(&self, mut frame: Bytes) -> Result<Message, MalformedStream> {
        let mut message = Message::new(MessageKind::Append, self.from, self.to);
        message.term = self.last.term;
        message.log_term = self.last.term;
        message.index = self.last.index;
        for _ in 0..frame.get_u64() {
            let bytes = usize::try_from(frame.get_u64()).unwrap_or(usize::MAX);
            let wire = raftpb::Entry::decode(frame.split_to(bytes)).map_err(malformed)?;
            message.entries.push(entry_from_wire(wire).map_err(malformed)?);
        }
        message.commit = LogIndex(frame.get_u64());
        Ok(message)
    }
}

/// A message of another member in bytes of its own.
///
/// # Errors
/// [`MalformedStream`] if it is none.
pub fn decode_single(bytes: Bytes) -> Result<Message, MalformedStream> {
    decode_message(bytes)?.ok_or_else(|| MalformedStream("a message of nobody".into()))
}

/// The message; none in a sign of life.
fn decode_message(bytes: Bytes) -> Result<Option<Message>, MalformedStream> {
    let wire = raftpb::Message::decode(bytes).map_err(malformed)?;
    let is_from_nobody = wire.from.unwrap_or_default() == 0 && wire.to.unwrap_or_default() == 0;
    if is_from_nobody && wire.r#type == Some(MessageKind::Heartbeat as i32) {
        return Ok(None);
    }
    Message::from_wire(wire).map(Some).map_err(malformed)
}

fn malformed(error: impl std::fmt::Display) -> MalformedStream {
    MalformedStream(error.to_string())
}

/// Walks over lengths without looking at what they measure.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    /// Goes on by so many bytes; `false` if they are not all there.
    fn skip(&mut self, bytes: usize) -> bool {
        self.at += bytes;
        self.at <= self.bytes.len()
    }

    fn number(&mut self) -> Option<u64> {
        let rest = self.bytes.get(self.at..)?;
        let number = rest.first_chunk::<NUMBER_BYTES>().copied().map(u64::from_be_bytes)?;
        self.at += NUMBER_BYTES;
        Some(number)
    }

    fn sized(&mut self) -> Result<bool, MalformedStream> {
        let Some(bytes) = self.number() else { return Ok(false) };
        match usize::try_from(bytes).ok().filter(|bytes| *bytes <= limits::PEER_MESSAGE_BYTES_MAX) {
            Some(bytes) => Ok(self.skip(bytes)),
            None => Err(MalformedStream(format!("a message of {bytes} bytes"))),
        }
    }

    fn entries(&mut self) -> Result<bool, MalformedStream> {
        let Some(count) = self.number() else { return Ok(false) };
        for _ in 0..count {
            if self.at > limits::PEER_MESSAGE_BYTES_MAX {
                return Err(MalformedStream(format!("an append of {count} entries")));
            }
            if !self.sized()? {
                return Ok(false);
            }
        }
        Ok(self.skip(NUMBER_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tenure_core::types::{EntryKind, LogEntry, Term};

    fn append(term: u64, before: (u64, u64), entries: u64, commit: u64) -> Message {
        let mut message = Message::new(MessageKind::Append, MemberId(1), MemberId(2));
        message.term = Term(term);
        (message.index, message.log_term) = (LogIndex(before.0), Term(before.1));
        message.commit = LogIndex(commit);
        message.entries = (1..=entries)
            .map(|step| LogEntry {
                index: LogIndex(before.0 + step),
                term: Term(term),
                kind: EntryKind::Normal,
                data: Bytes::from(vec![b'x'; step as usize * 3]),
            })
            .collect();
        message
    }

    fn encode(kind: StreamKind, messages: &[Message]) -> BytesMut {
        let mut out = BytesMut::new();
        let mut encoder = FrameEncoder::new(kind);
        for message in messages {
            encoder.message(message, &mut out);
            encoder.link_heartbeat(&mut out);
        }
        out
    }

    fn decode(kind: StreamKind, bytes: &[u8], piece_bytes: usize) -> Result<Vec<Message>, MalformedStream> {
        let mut decoder = FrameDecoder::new(kind, MemberId(1), MemberId(2));
        let mut messages = Vec::new();
        for piece in bytes.chunks(piece_bytes.max(1)) {
            decoder.push(piece);
            while let Some(message) = decoder.next_message()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn an_append_that_follows_the_last_one_is_its_entries_and_the_commit_index() {
        let messages = [append(3, (7, 2), 1, 5), append(3, (8, 3), 2, 6), append(3, (10, 3), 0, 10)];
        let bytes = encode(StreamKind::Append, &messages);
        let first = 1 + 8 + messages[0].to_wire().encoded_len();
        assert_eq!((bytes[0], bytes[first], bytes[first + 1]), (APPEND, LINK_HEARTBEAT, APPEND_ENTRIES));
        assert_eq!(bytes[first + 2..first + 10], 2u64.to_be_bytes());
        let last = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0];
        assert!(bytes.ends_with(&last), "no entries, commit 10, alive");
        assert_eq!(decode(StreamKind::Append, &bytes, usize::MAX), Ok(messages.to_vec()));
    }

    #[test]
    fn what_is_no_stream_is_an_error_and_not_a_wait() {
        assert!(decode(StreamKind::Append, &[9], 1).is_err());
        let long = (limits::PEER_MESSAGE_BYTES_MAX as u64 + 1).to_be_bytes();
        assert!(decode(StreamKind::Message, &long, 8).is_err());
        let garbage = [&2u64.to_be_bytes()[..], &[0xff, 0xff]].concat();
        assert!(decode(StreamKind::Message, &garbage, 3).is_err());
    }

    proptest! {
        #[test]
        fn messages_come_back_from_whatever_pieces(
            steps in prop::collection::vec((1u64..4, 0u64..9, 0u64..4, any::<bool>()), 1..12),
            piece_bytes in 1usize..80,
        ) {
            let mut messages: Vec<Message> = Vec::new();
            for (term, index, entries, follows) in steps {
                let before = messages.last().map(last_of).filter(|_| follows);
                let before = before.map_or((index, 1), |last| (last.index.0, last.term.0));
                messages.push(append(term.max(before.1), before, entries, index));
            }
            for kind in [StreamKind::Append, StreamKind::Message] {
                let bytes = encode(kind, &messages);
                prop_assert_eq!(decode(kind, &bytes, piece_bytes), Ok(messages.clone()));
            }
        }
    }
}
