//! Requests whose `:authority` is a URL.
//!
//! etcd's client of 3.4 names the endpoint of Status, HashKV and Defragment by its URL, and sends that URL as `:authority`. Go's server
//! takes it; ours cannot read it as an authority and would reset the stream. So the first request of a connection is looked at before
//! HTTP is: if its authority is no URL, which is all but always so, the connection is left alone from then on. If it is one, a name stands
//! in for it in this header block and all that follow.
//!
//! No header is decoded for that (RFC 7541): a field is found by the lengths in front of it, and a URL by its first characters. What stands
//! in is shorter than what it replaces, so each entry of the client's table is one of ours, at the same index.

use crate::limits;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes in front of every frame: three of length, kind, flags, four of stream.
const FRAME_HEADER_BYTES: usize = 9;

/// The kind of a frame of header fields, and its flags that put something before or behind them.
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// `:authority` in HPACK's static table.
const AUTHORITY_INDEX: usize = 1;

/// Stands in for a URL. No host has this name, so who admits only certain hosts does not admit it.
const STAND_IN: &[u8] = b"url";

/// What a URL begins with.
const SCHEMES: [&[u8]; 4] = [b"http://", b"https://", b"unix://", b"unixs://"];

/// Reads HTTP/2 from `io` with names in place of URLs; writes pass.
#[derive(Debug)]
pub struct NamedAuthority<T> {
    io: T,
    state: State,
    /// Read and not yet understood: part of the preface, of a frame's header, of a header block.
    held: Vec<u8>,
    /// Understood; up to `taken` it was handed out.
    ready: Vec<u8>,
    taken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Preface,
    /// A frame begins.
    Frame {
        /// URLs were seen.
        replaces: bool,
    },
    /// The inside of a frame without header fields.
    Inside {
        rest: usize,
        replaces: bool,
    },
    /// Nothing is looked at any more.
    Plain,
}

impl<T> NamedAuthority<T> {
    /// Wraps a connection of which nothing was read.
    pub fn new(io: T) -> Self {
        Self { io, state: State::Preface, held: Vec::new(), ready: Vec::new(), taken: 0 }
    }

    /// Understands as much as it can of what is held.
    fn advance(&mut self) {
        loop {
            match self.state {
                State::Preface if self.held.len() < PREFACE.len() && PREFACE.starts_with(&self.held) => {
                    return;
                }
                State::Preface if self.held.starts_with(PREFACE) => {
                    self.pass(PREFACE.len());
                    self.state = State::Frame { replaces: false };
                }
                State::Frame { replaces } => match self.frame(replaces) {
                    Some(next) => self.state = next,
                    None => return,
                },
                State::Inside { rest, replaces } => {
                    let part = rest.min(self.held.len());
                    self.pass(part);
                    if part < rest {
                        self.state = State::Inside { rest: rest - part, replaces };
                        return;
                    }
                    self.state = State::Frame { replaces };
                }
                State::Preface | State::Plain => {
                    self.state = State::Plain;
                    // Nothing stays allocated in a connection that is left alone.
                    self.ready.extend(std::mem::take(&mut self.held));
                    return;
                }
            }
        }
    }

    /// Takes the frame that begins here; nothing if there is too little of it.
    fn frame(&mut self, replaces: bool) -> Option<State> {
        let header = self.held.first_chunk::<FRAME_HEADER_BYTES>()?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let whole = FRAME_HEADER_BYTES + length as usize;
        // One that is too long is refused behind us.
        if header[3] != HEADERS || length > limits::FRAME_BYTES_MAX {
            return Some(State::Inside { rest: whole, replaces });
        }
        let frame = self.held.get(..whole)?;
        match with_stand_in(frame) {
            Some(mut frame) => {
                self.ready.append(&mut frame);
                self.held.drain(..whole);
                Some(State::Frame { replaces: true })
            }
            None => {
                self.pass(whole);
                Some(if replaces { State::Frame { replaces } } else { State::Plain })
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        self.ready.extend(self.held.drain(..bytes));
    }

    /// Hands out what fits. False: there is nothing.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = &self.ready[self.taken..];
        if waiting.is_empty() {
            return false;
        }
        let part = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..part]);
        self.taken += part;
        if self.taken == self.ready.len() {
            (self.ready, self.taken) = (Vec::new(), 0);
        }
        true
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for NamedAuthority<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.hand_out(buffer) || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.state == State::Plain {
                return Pin::new(&mut self.io).poll_read(cx, buffer);
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
            let read = &buffer.filled()[before..];
            if read.is_empty() {
                self.state = State::Plain;
            }
            self.held.extend_from_slice(read);
            buffer.set_filled(before);
            self.advance();
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for NamedAuthority<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A HEADERS frame with a name in place of its URL; nothing if there is none.
fn with_stand_in(frame: &[u8]) -> Option<Vec<u8>> {
    let flags = frame[4];
    let mut first = FRAME_HEADER_BYTES;
    let mut padding = 0;
    if flags & PADDED != 0 {
        padding = usize::from(*frame.get(first)?);
        first += 1;
    }
    if flags & PRIORITY != 0 {
        first += 5;
    }
    let block = frame.get(first..frame.len().checked_sub(padding)?)?;
    let mut at = 0;
    while let Some(field) = Field::first(&block[at..]) {
        if field.name_index == AUTHORITY_INDEX
            && let Some(value) = field.value
            && value.is_url()
        {
            let (from, to) = (first + at, first + at + field.bytes);
            let length = frame.len() - FRAME_HEADER_BYTES - field.bytes + 2 + STAND_IN.len();
            let mut shorter = Vec::with_capacity(FRAME_HEADER_BYTES + length);
            shorter.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes()[1..]);
            // The representation says whether the field goes into the table: it stays.
            shorter.extend_from_slice(&frame[3..=from]);
            shorter.push(u8::try_from(STAND_IN.len()).ok()?);
            shorter.extend_from_slice(STAND_IN);
            shorter.extend_from_slice(&frame[to..]);
            return Some(shorter);
        }
        at += field.bytes;
    }
    None
}

/// One representation of a header block (RFC 7541, 6).
struct Field<'a> {
    /// 0: the name is spelled out, or this is no literal.
    name_index: usize,
    value: Option<Text<'a>>,
    /// All of it.
    bytes: usize,
}

impl<'a> Field<'a> {
    /// The first of a block; nothing if there is none, or only part of one.
    fn first(block: &'a [u8]) -> Option<Self> {
        let kind = *block.first()?;
        let literal_prefix = match kind {
            0x80.. => None,
            0x40.. => Some(6),
            0x20.. => None,
            _ => Some(4),
        };
        let Some(prefix) = literal_prefix else {
            let (_, bytes) = integer(block, if kind & 0x80 != 0 { 7 } else { 5 })?;
            return Some(Self { name_index: 0, value: None, bytes });
        };
        let (name_index, mut bytes) = integer(block, prefix)?;
        if name_index == 0 {
            bytes += Text::first(block.get(bytes..)?)?.1;
        }
        let (value, value_bytes) = Text::first(block.get(bytes..)?)?;
        Some(Self { name_index, value: Some(value), bytes: bytes + value_bytes })
    }
}

/// A string of a header block (RFC 7541, 5.2).
#[derive(Clone, Copy)]
struct Text<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

impl<'a> Text<'a> {
    /// The first of a block, and how many bytes it has with its length.
    fn first(block: &'a [u8]) -> Option<(Self, usize)> {
        let is_huffman = block.first()? & 0x80 != 0;
        let (length, from) = integer(block, 7)?;
        let to = from.checked_add(length)?;
        Some((Self { bytes: block.get(from..to)?, is_huffman }, to))
    }

    fn is_url(self) -> bool {
        SCHEMES.into_iter().any(|scheme| match self.is_huffman {
            false => self.bytes.starts_with(scheme),
            true => starts_with_code(self.bytes, scheme),
        })
    }
}

/// An integer whose first byte has `prefix` bits of it, and how many bytes it has (RFC 7541, 5.1).
fn integer(block: &[u8], prefix: u32) -> Option<(usize, usize)> {
    let mask = (1 << prefix) - 1;
    let mut value = usize::from(*block.first()?) & mask;
    if value < mask {
        return Some((value, 1));
    }
    // Longer ones than four bytes are longer than any header block.
    for (at, byte) in block.iter().enumerate().skip(1).take(4) {
        value += usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Whether a string in Huffman's code begins with these characters, which are among those of [`code`].
fn starts_with_code(bytes: &[u8], characters: &[u8]) -> bool {
    let (mut pattern, mut length) = (0_u64, 0);
    for character in characters {
        let (bits, count) = code(*character);
        pattern = pattern << count | bits;
        length += count;
    }
    let mut start = [0; 8];
    let known = bytes.len().min(start.len());
    start[..known].copy_from_slice(&bytes[..known]);
    bytes.len() * 8 >= length && u64::from_be_bytes(start) >> (64 - length) == pattern
}

/// The code of a character that [`SCHEMES`] have, and its bits (RFC 7541, appendix B). Any other is none of them.
const fn code(character: u8) -> (u64, usize) {
    match character {
        b's' => (0x08, 5),
        b't' => (0x09, 5),
        b'i' => (0x06, 5),
        b'/' => (0x18, 6),
        b'h' => (0x27, 6),
        b'n' => (0x2a, 6),
        b'p' => (0x2b, 6),
        b'u' => (0x2d, 6),
        b':' => (0x5c, 7),
        _ => (0x79, 7),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// What Go's HPACK encoder makes of a gRPC request to `http://127.0.0.1:2379`, the first and the second of a connection.
    pub const FIRST: &str = "83864595626b2b22f394742675fb857c651d099d8bd3949d7f418f9d29aee30c044eae05c0b86e09975f5f8b1d75d0620d263d4c4d65\
                             647a8a9acac8b4c7602b89c5c140027465864d833505b11f";
    const SECOND: &str = "8386c2c1c0bfbe";
    /// The first with the name.
    const NAMED: &str = "83864595626b2b22f394742675fb857c651d099d8bd3949d7f410375726c5f8b1d75d0620d263d4c4d65\
                         647a8a9acac8b4c7602b89c5c140027465864d833505b11f";

    pub fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    pub fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        // Settings belong to no stream.
        let stream = u8::from(kind != 4);
        frame.extend([kind, flags, 0, 0, 0, stream]);
        frame.extend(payload);
        frame
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [PREFACE.to_vec(), frame(4, 0, &[0, 3, 0, 0, 0, 100]), frames.concat()].concat()
    }

    /// Gives a number of bytes at a time.
    struct Pieces<'a> {
        rest: &'a [u8],
        size: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (piece, rest) = self.rest.split_at(self.size.min(self.rest.len()).min(buffer.remaining()));
            buffer.put_slice(piece);
            self.rest = rest;
            Poll::Ready(Ok(()))
        }
    }

    /// What comes out, if it comes in in pieces of `size` bytes.
    async fn read(sent: &[u8], size: usize) -> (Vec<u8>, State) {
        let mut io = NamedAuthority::new(Pieces { rest: sent, size });
        let mut received = Vec::new();
        // A small buffer: what is understood at once does not fit.
        let mut buffer = [0; 7];
        let mut state = io.state;
        loop {
            match io.read(&mut buffer).await.unwrap() {
                0 => return (received, state),
                read => received.extend_from_slice(&buffer[..read]),
            }
            state = io.state;
        }
    }

    #[tokio::test]
    async fn a_url_becomes_a_name_however_the_bytes_are_cut() {
        let data = frame(0, 1, &[0; 100]);
        let later = [frame(HEADERS, 4, &bytes(SECOND)), data.clone(), frame(HEADERS, 4, &bytes(FIRST))];
        let padded = [[3].as_slice(), &bytes(FIRST), &[0; 3]].concat();
        let with_priority = [[0; 5].as_slice(), &bytes(FIRST)].concat();
        let sent = connection(&[
            frame(HEADERS, 4, &bytes(FIRST)),
            later.concat(),
            frame(HEADERS, 4 | PADDED, &padded),
            frame(HEADERS, 4 | PRIORITY, &with_priority),
        ]);
        let expected = connection(&[
            frame(HEADERS, 4, &bytes(NAMED)),
            frame(HEADERS, 4, &bytes(SECOND)),
            data,
            frame(HEADERS, 4, &bytes(NAMED)),
            frame(HEADERS, 4 | PADDED, &[[3].as_slice(), &bytes(NAMED), &[0; 3]].concat()),
            frame(HEADERS, 4 | PRIORITY, &[[0; 5].as_slice(), &bytes(NAMED)].concat()),
        ]);
        for size in [1, 2, 9, 24, 50, sent.len()] {
            let (received, state) = read(&sent, size).await;
            assert_eq!(received, expected, "pieces of {size}");
            assert_eq!(state, State::Frame { replaces: true });
        }
    }

    #[tokio::test]
    async fn any_other_connection_passes_and_is_left_alone() {
        // The same request with `127.0.0.1:2379`, and afterwards one that would be changed, were it looked at.
        let usual = bytes(&FIRST.replace("418f9d29aee30c044eae05c0b86e09975f", "418a089d5c0b8170dc132ebf"));
        let usual = connection(&[frame(HEADERS, 4, &usual), frame(HEADERS, 4, &bytes(FIRST))]);
        // Header blocks that end in the middle of a field, claim more than there is, or are padded by more than they have.
        let broken: Vec<Vec<u8>> =
            ["41", "418f9d29", "7fffffffffffff", "40", "0f", "ff", ""].iter().map(|hex| bytes(hex)).collect();
        let mut all: Vec<Vec<u8>> =
            broken.iter().map(|block| connection(&[frame(HEADERS, 4, block)])).collect();
        all.extend(broken.iter().map(|block| connection(&[frame(HEADERS, 4 | PADDED | PRIORITY, block)])));
        all.push(b"GET /health HTTP/1.1\r\nHost: http://x\r\n\r\n".to_vec());
        all.push(usual);
        for sent in all {
            for size in [1, sent.len()] {
                assert_eq!(read(&sent, size).await, (sent.clone(), State::Plain), "pieces of {size}");
            }
        }
        // One that ends early, in the preface or in a frame, passes as far as it came.
        for sent in [&PREFACE[..10], &connection(&[frame(HEADERS, 4, &bytes(FIRST))])[..80]] {
            assert_eq!(read(sent, 5).await.0, sent);
        }
    }

    #[test]
    fn urls_are_told_by_their_first_characters() {
        let huffman = |hex: &str| {
            let bytes = bytes(hex);
            Text { bytes: &bytes, is_huffman: true }.is_url()
        };
        for (name, hex) in
            [("https://h", "9d29ad1718627f"), ("unix://p", "b6a379b8c315ff"), ("unixs://p", "b6a37945c618af")]
        {
            assert!(huffman(hex), "{name}");
        }
        for (name, hex) in [
            ("httpx://a", "9d29afcdc6181f"),
            ("127.0.0.1:2379", "089d5c0b8170dc132ebf"),
            ("http", "9d29af"),
            ("", ""),
        ] {
            assert!(!huffman(hex), "{name}");
        }
        for (text, is_url) in
            [("http://h", true), ("unixs://s", true), ("http:", false), ("h:2379", false), ("", false)]
        {
            assert_eq!(Text { bytes: text.as_bytes(), is_huffman: false }.is_url(), is_url, "{text}");
        }
    }

    #[test]
    fn integers_of_every_length() {
        assert_eq!(integer(&[0x0a], 5), Some((10, 1)));
        assert_eq!(integer(&[0xff, 0x9a, 0x0a], 5), Some((1337, 3)), "RFC 7541, C.1.2");
        assert_eq!(integer(&[0x1f], 5), None);
        assert_eq!(integer(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], 7), None);
    }
}
