//! Keys and ranges of keys.

use bytes::Bytes;
use std::fmt;

/// A key: any bytes, never empty once it passed the edge.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Bytes);

impl Key {
    /// The bytes of the key.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<&'static str> for Key {
    fn from(text: &'static str) -> Self {
        Key(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Key(bytes)
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Where a range stops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// The range is one key (an empty `range_end` on the wire).
    Single,
    /// Every key from the start on (a `range_end` of one zero byte).
    Open,
    /// Keys below this one. At or below the start the range is empty.
    Before(Key),
}

/// A range of keys as etcd's requests state it (reference R1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Key,
    /// Where it stops.
    pub end: RangeEnd,
}

impl KeyRange {
    /// The range that `key` and `range_end` of a request mean.
    #[must_use]
    pub fn from_wire(key: Bytes, range_end: Bytes) -> Self {
        let end = match &range_end[..] {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Open,
            _ => RangeEnd::Before(Key(range_end)),
        };
        Self { start: Key(key), end }
    }

    /// `range_end` as a request states it.
    #[must_use]
    pub fn wire_end(&self) -> Bytes {
        match &self.end {
            RangeEnd::Single => Bytes::new(),
            RangeEnd::Open => Bytes::from_static(&[0]),
            RangeEnd::Before(key) => key.0.clone(),
        }
    }

    /// One key.
    #[must_use]
    pub fn single(key: Key) -> Self {
        Self { start: key, end: RangeEnd::Single }
    }

    /// Every key there can be.
    #[must_use]
    pub fn everything() -> Self {
        Self { start: Key(Bytes::from_static(&[0])), end: RangeEnd::Open }
    }

    /// Whether the range has `key`.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start.as_slice(),
            RangeEnd::Open => key >= self.start.as_slice(),
            RangeEnd::Before(end) => key >= self.start.as_slice() && key < end.as_slice(),
        }
    }

    /// Whether no key can be in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if end <= &self.start)
    }
}
