//! Ranges of keys.

use crate::IntoBytes;
use bytes::Bytes;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// One key, or all keys from one to another.
///
/// Whatever takes keys takes such a range, a key alone, or Rust's ranges:
///
/// ```
/// use tenure_client::{KeyRange, Op};
///
/// assert_eq!(KeyRange::from("b"), KeyRange::key("b"));
/// assert_eq!(KeyRange::from("b".."d"), KeyRange::between("b", "d"));
/// assert_eq!(KeyRange::from("b"..), KeyRange::from_key("b"));
/// assert!(KeyRange::from("b"..="d").contains("d"));
/// assert_eq!(KeyRange::from(..), KeyRange::all());
///
/// let logs = KeyRange::between("logs/2024", "logs/2025");
/// assert!(logs.contains("logs/2024-12-31") && !logs.contains("logs/2025"));
/// assert_eq!(Op::get(&logs), Op::get("logs/2024").range_end("logs/2025"));
/// assert_eq!(Op::delete(KeyRange::prefix("tmp/")), Op::delete("tmp/").prefix());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The key, or the first of the range.
    pub key: Bytes,
    /// The first key after the range. Empty for one key alone; one zero byte for a range without end.
    pub end: Bytes,
}

/// What stands for "no end", and for the smallest of all keys.
pub(crate) const ZERO: Bytes = Bytes::from_static(b"\0");

impl KeyRange {
    /// One key.
    ///
    /// ```
    /// use tenure_client::KeyRange;
    ///
    /// assert!(KeyRange::key("app").contains("app"));
    /// assert!(!KeyRange::key("app").contains("app/a"));
    /// ```
    #[must_use]
    pub fn key(key: impl IntoBytes) -> Self {
        KeyRange { key: key.into_bytes(), end: Bytes::new() }
    }

    /// From `key` to `end`, which is not part of it.
    ///
    /// ```
    /// use tenure_client::KeyRange;
    ///
    /// let letters = KeyRange::between("a", "c");
    /// assert!(letters.contains("a") && letters.contains("bz"));
    /// assert!(!letters.contains("c"));
    /// ```
    #[must_use]
    pub fn between(key: impl IntoBytes, end: impl IntoBytes) -> Self {
        KeyRange { key: key.into_bytes(), end: end.into_bytes() }
    }

    /// All keys that begin with `prefix`. The empty prefix is that of all keys.
    ///
    /// ```
    /// use tenure_client::KeyRange;
    ///
    /// assert_eq!(KeyRange::prefix("app/"), KeyRange::between("app/", "app0"));
    /// assert_eq!(KeyRange::prefix(""), KeyRange::all());
    /// ```
    #[must_use]
    pub fn prefix(prefix: impl IntoBytes) -> Self {
        let prefix = prefix.into_bytes();
        match prefix.is_empty() {
            true => KeyRange::all(),
            false => KeyRange { end: prefix_end(&prefix), key: prefix },
        }
    }

    /// `key` and all keys after it.
    ///
    /// ```
    /// use tenure_client::KeyRange;
    ///
    /// assert!(KeyRange::from_key("m").contains("zebra"));
    /// assert!(!KeyRange::from_key("m").contains("a"));
    /// assert_eq!(KeyRange::from_key(""), KeyRange::all());
    /// ```
    #[must_use]
    pub fn from_key(key: impl IntoBytes) -> Self {
        let key = key.into_bytes();
        KeyRange { key: if key.is_empty() { ZERO } else { key }, end: ZERO }
    }

    /// All keys.
    ///
    /// ```
    /// use tenure_client::KeyRange;
    ///
    /// assert!(KeyRange::all().contains("any key"));
    /// ```
    #[must_use]
    pub fn all() -> Self {
        KeyRange { key: ZERO, end: ZERO }
    }

    /// Whether `key` is in the range.
    ///
    /// ```
    /// use tenure_client::KeyRange;
    ///
    /// let app = KeyRange::prefix("app/");
    /// assert!(app.contains("app/mode"));
    /// assert!(!app.contains("apple"));
    /// ```
    #[must_use]
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        let key = key.as_ref();
        match &self.end[..] {
            b"" => key == &self.key[..],
            b"\0" => key >= &self.key[..],
            end => key >= &self.key[..] && key < end,
        }
    }

    /// What is left of the range behind `key`, for reading it page by page.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::KeyRange;
    ///
    /// let mut range = KeyRange::prefix("users/");
    /// // 0 is now; the later pages are of the revision of the first.
    /// let mut revision = 0;
    /// loop {
    ///     let page = client.get(&range).limit(100).revision(revision).await?;
    ///     if revision == 0 {
    ///         revision = page.header.revision;
    ///     }
    ///     println!("{} users", page.kvs.len());
    ///     match page.kvs.last() {
    ///         Some(last) if page.more => range = range.after(&last.key),
    ///         _ => break,
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Client::get_stream`](crate::Client::get_stream) does all of this.
    #[must_use]
    pub fn after(&self, key: impl AsRef<[u8]>) -> Self {
        match self.is_single() {
            true => KeyRange::nothing(),
            false => KeyRange { key: next_key(key.as_ref()), end: self.end.clone() },
        }
    }

    /// From `first` to `last`, which is part of it.
    fn through(first: Bytes, last: &[u8]) -> Self {
        // No key is empty; and the key behind an empty one would stand for "no end".
        match last.is_empty() {
            true => KeyRange::nothing(),
            false => KeyRange { key: if first.is_empty() { ZERO } else { first }, end: next_key(last) },
        }
    }

    /// No key: it ends where it begins.
    fn nothing() -> Self {
        KeyRange::between("\x01", "\x01")
    }

    pub(crate) fn is_single(&self) -> bool {
        self.end.is_empty()
    }
}

/// One key.
impl<T: IntoBytes> From<T> for KeyRange {
    fn from(key: T) -> Self {
        KeyRange::key(key)
    }
}

impl From<&KeyRange> for KeyRange {
    fn from(range: &KeyRange) -> Self {
        range.clone()
    }
}

/// As [`KeyRange::between`].
impl<T: IntoBytes> From<Range<T>> for KeyRange {
    fn from(range: Range<T>) -> Self {
        KeyRange::between(range.start, range.end)
    }
}

/// As [`KeyRange::from_key`].
impl<T: IntoBytes> From<RangeFrom<T>> for KeyRange {
    fn from(range: RangeFrom<T>) -> Self {
        KeyRange::from_key(range.start)
    }
}

/// Both ends are part of it.
impl<T: IntoBytes> From<RangeInclusive<T>> for KeyRange {
    fn from(range: RangeInclusive<T>) -> Self {
        let (first, last) = range.into_inner();
        KeyRange::through(first.into_bytes(), &last.into_bytes())
    }
}

/// From the first of all keys to the end, which is not part of it.
impl<T: IntoBytes> From<RangeTo<T>> for KeyRange {
    fn from(range: RangeTo<T>) -> Self {
        let end = range.end.into_bytes();
        // No key comes before these; as ends they would stand for something else.
        if end.is_empty() || end == ZERO { KeyRange::nothing() } else { KeyRange::between(ZERO, end) }
    }
}

/// From the first of all keys to the end, which is part of it.
impl<T: IntoBytes> From<RangeToInclusive<T>> for KeyRange {
    fn from(range: RangeToInclusive<T>) -> Self {
        KeyRange::through(ZERO, &range.end.into_bytes())
    }
}

/// As [`KeyRange::all`].
impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> Self {
        KeyRange::all()
    }
}

/// The first key after all keys that begin with `prefix`; one zero byte, which stands for "no end", if there is none.
///
/// ```
/// assert_eq!(tenure_client::prefix_end("app/"), "app0");
/// assert_eq!(tenure_client::prefix_end(b"\xff"), "\0");
/// ```
#[must_use]
pub fn prefix_end(prefix: impl AsRef<[u8]>) -> Bytes {
    let mut end = prefix.as_ref().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    ZERO
}

/// The first key that comes after `key`.
fn next_key(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_rust_mean_what_they_say() {
        assert_eq!(KeyRange::from("a".."c"), KeyRange::between("a", "c"));
        let through = KeyRange::from("a"..="c");
        assert!(through.contains("c") && !through.contains("c\0") && !through.contains("Z"));
        let up_to = KeyRange::from(.."c");
        assert!(up_to.contains("\0") && up_to.contains("b") && !up_to.contains("c"));
        let up_to = KeyRange::from(..="c");
        assert!(up_to.contains("\0") && up_to.contains("c") && !up_to.contains("ca"));
        // The end of these must not be taken for "no end".
        let empty = [
            KeyRange::from("a"..=""),
            KeyRange::from(..=""),
            KeyRange::from(""..=""),
            KeyRange::from(..""),
            KeyRange::from(.."\0"),
            KeyRange::key("a").after("a"),
        ];
        for range in empty {
            assert!(!["a", "b", "\0", "\x01"].iter().any(|key| range.contains(key)), "{range:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_range() {
        let rest = KeyRange::prefix("a").after("ab");
        assert!(!rest.contains("ab") && rest.contains("ab\0") && rest.contains("az") && !rest.contains("b"));
        assert!(KeyRange::all().after("x").contains("y"));
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(&prefix_end(b"a\xff\xff")[..], b"b");
        assert_eq!(&prefix_end(b"")[..], b"\0");
    }

    #[test]
    fn what_a_range_contains() {
        assert!(KeyRange::key("a").contains(b"a") && !KeyRange::key("a").contains(b"ab"));
        assert!(KeyRange::prefix("a").contains(b"ab") && !KeyRange::prefix("a").contains(b"b"));
        assert!(KeyRange::from_key("b").contains(b"c") && !KeyRange::from_key("b").contains(b"a"));
        assert!(KeyRange::between("a", "c").contains(b"b") && !KeyRange::between("a", "c").contains(b"c"));
        assert!(KeyRange::all().contains(b"\0"));
    }
}
