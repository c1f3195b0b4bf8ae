//! Counts the messages of a gRPC body without decoding them.

/// A flag byte and four bytes of length stand before every message.
const PREFIX_BYTES: u8 = 5;

/// Where a body stands between two of its pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    /// Bytes of the present prefix that were seen.
    prefix: u8,
    length: u32,
    /// Bytes of the present message that are still to come.
    rest: u32,
}

/// What a piece of a body added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Messages that began.
    pub messages: u64,
    /// Bytes of messages, without prefixes.
    pub bytes: u64,
    /// The length of the longest message that began.
    pub longest: u32,
}

impl Framing {
    /// Takes the next piece.
    pub fn take(&mut self, mut piece: &[u8]) -> Seen {
        let mut seen = Seen::default();
        while !piece.is_empty() {
            if self.rest > 0 {
                let part = piece.len().min(self.rest as usize);
                self.rest -= part as u32;
                seen.bytes += part as u64;
                piece = &piece[part..];
                continue;
            }
            // The flag byte is shifted out on the left by the four bytes of length.
            self.length = self.length << 8 | u32::from(piece[0]);
            self.prefix += 1;
            piece = &piece[1..];
            if self.prefix == PREFIX_BYTES {
                seen.messages += 1;
                seen.longest = seen.longest.max(self.length);
                *self = Self { prefix: 0, length: 0, rest: self.length };
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(lengths: &[usize]) -> Vec<u8> {
        let mut body = Vec::new();
        for length in lengths {
            body.push(1);
            body.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
            body.extend(std::iter::repeat_n(0xff, *length));
        }
        body
    }

    #[test]
    fn messages_are_counted_however_the_body_is_cut() {
        let body = body(&[0, 3, 300, 0, 70_000, 1]);
        for size in [1, 2, 5, 7, 1000, body.len()] {
            let mut framing = Framing::default();
            let mut total = Seen::default();
            for piece in body.chunks(size) {
                let seen = framing.take(piece);
                total.messages += seen.messages;
                total.bytes += seen.bytes;
                total.longest = total.longest.max(seen.longest);
            }
            assert_eq!(total, Seen { messages: 6, bytes: 70_304, longest: 70_000 }, "pieces of {size}");
            assert_eq!(framing, Framing::default());
        }
    }
}
