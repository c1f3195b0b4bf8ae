//! Values that many answers share.

use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use std::{borrow::Cow, fmt, str::FromStr, sync::Arc, time::Duration};
use tenure_api::{etcdserverpb, mvccpb};

/// A revision of the store. Every change makes one; they count from 1.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::Revision;
///
/// let now: Revision = client.get("app/").prefix().await?.header.revision;
/// let changes = client.watch("app/").prefix().start_revision(now + 1).await?;
/// # drop(changes);
/// # Ok(())
/// # }
/// ```
pub type Revision = i64;

/// The bits of an id that is written in hexadecimal.
fn parse_hex(text: &str) -> Result<u64> {
    let is_hex = (1..=16).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    match u64::from_str_radix(text, 16) {
        Ok(bits) if is_hex => Ok(bits),
        _ => Err(Error::invalid(format!(
            "id {text:?}: write up to 16 hexadecimal digits, as etcd's tools print them"
        ))),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);

        /// In hexadecimal, as etcd's tools print it.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }

        /// As [`Display`](fmt::Display).
        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }

        /// As [`Display`](fmt::Display), in capitals.
        impl fmt::UpperHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::UpperHex::fmt(&self.0, f)
            }
        }

        /// In hexadecimal, as etcd's tools print it.
        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                parse_hex(text).map(|id| $name(id as $raw))
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                $name(raw)
            }
        }

        impl From<$name> for $raw {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// Names a lease. 0 is no lease.
    ///
    /// ```
    /// use tenure_client::LeaseId;
    ///
    /// // As `etcdctl lease list` prints it.
    /// assert_eq!(LeaseId(0x694d_5765_fc71_500b).to_string(), "694d5765fc71500b");
    /// assert_eq!("694d5765fc71500b".parse::<LeaseId>()?, LeaseId(0x694d_5765_fc71_500b));
    /// assert_eq!(format!("{:016x}", LeaseId(0x1234)), "0000000000001234");
    /// assert_eq!(LeaseId::default(), LeaseId(0));
    /// # Ok::<(), tenure_client::Error>(())
    /// ```
    LeaseId(i64)
}

id! {
    /// Names a member of a cluster.
    ///
    /// ```
    /// use tenure_client::MemberId;
    ///
    /// assert_eq!(MemberId(0x8e9e_05c5_2164_694d).to_string(), "8e9e05c52164694d");
    /// assert_eq!("8e9e05c52164694d".parse::<MemberId>()?, MemberId(0x8e9e_05c5_2164_694d));
    /// # Ok::<(), tenure_client::Error>(())
    /// ```
    MemberId(u64)
}

/// A key, its value, and when they were written.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// for pair in client.get("app/").prefix().await?.kvs {
///     println!("{} = {}", pair.key_text(), pair.value_text());
///     println!("made at {}, changed at {}", pair.create_revision, pair.mod_revision);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision at which the key was made, the last time that it was.
    pub create_revision: Revision,
    /// The revision of the last change.
    pub mod_revision: Revision,
    /// How often the key was written since it was made; 1 right after. 0 in an event that deletes it.
    pub version: i64,
    /// The lease that the key goes away with; 0 if it stays.
    pub lease: LeaseId,
}

impl KeyValue {
    /// The key as text, with what is not UTF-8 replaced.
    ///
    /// ```
    /// use tenure_client::KeyValue;
    ///
    /// let pair = KeyValue { key: "a\u{e9}".into(), ..KeyValue::default() };
    /// assert_eq!(pair.key_text(), "a\u{e9}");
    /// ```
    #[must_use]
    pub fn key_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }

    /// The value as text, with what is not UTF-8 replaced.
    ///
    /// ```
    /// use tenure_client::KeyValue;
    ///
    /// let pair = KeyValue { value: b"\xff on".as_slice().into(), ..KeyValue::default() };
    /// assert_eq!(pair.value_text(), "\u{fffd} on");
    /// // As it is, for those who do not want text:
    /// assert_eq!(&pair.value[..], b"\xff on");
    /// ```
    #[must_use]
    pub fn value_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(pair: mvccpb::KeyValue) -> Self {
        KeyValue {
            key: pair.key,
            value: pair.value,
            create_revision: pair.create_revision,
            mod_revision: pair.mod_revision,
            version: pair.version,
            lease: LeaseId(pair.lease),
        }
    }
}

pub(crate) fn pairs(pairs: Vec<mvccpb::KeyValue>) -> Vec<KeyValue> {
    pairs.into_iter().map(KeyValue::from).collect()
}

/// What every answer says of the server and the store.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let header = client.get("a").await?.header;
/// println!("member {} of cluster {:x}", header.member_id, header.cluster_id);
/// println!("revision {}, term {}", header.revision, header.raft_term);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The cluster.
    pub cluster_id: u64,
    /// The member that answered.
    pub member_id: MemberId,
    /// The revision of the store when the request was carried out. For a watch see [`WatchResponse`](crate::WatchResponse).
    pub revision: Revision,
    /// The Raft term.
    pub raft_term: u64,
}

impl From<etcdserverpb::ResponseHeader> for ResponseHeader {
    fn from(header: etcdserverpb::ResponseHeader) -> Self {
        ResponseHeader {
            cluster_id: header.cluster_id,
            member_id: MemberId(header.member_id),
            revision: header.revision,
            raft_term: header.raft_term,
        }
    }
}

pub(crate) fn header(header: Option<etcdserverpb::ResponseHeader>) -> ResponseHeader {
    header.unwrap_or_default().into()
}

/// What can be a key or a value: text and bytes, owned, borrowed, and references to such.
///
/// ```
/// use tenure_client::{IntoBytes, KeyRange};
///
/// /// Names may be texts and bytes, borrowed or not.
/// fn range_of(app: impl IntoBytes) -> KeyRange {
///     KeyRange::prefix([b"apps/", &app.into_bytes()[..], b"/"].concat())
/// }
///
/// assert_eq!(range_of("web"), range_of(b"web"));
/// assert_eq!(range_of(String::from("web")), range_of(vec![b'w', b'e', b'b']));
/// // As an iterator over names gives them:
/// assert!(["web", "api"].iter().map(range_of).all(|range| range.contains(&range.key)));
/// ```
pub trait IntoBytes {
    /// The bytes. Borrowed ones are copied.
    ///
    /// ```
    /// use tenure_client::IntoBytes;
    ///
    /// assert_eq!(&"text".into_bytes()[..], b"text");
    /// assert_eq!(&[0_u8, 255].into_bytes()[..], b"\x00\xff");
    /// ```
    fn into_bytes(self) -> Bytes;
}

macro_rules! into_bytes {
    ($($type:ty => |$value:ident| $bytes:expr,)*) => {
        $(impl IntoBytes for $type {
            fn into_bytes(self) -> Bytes {
                let $value = self;
                $bytes
            }
        })*
    };
}

into_bytes! {
    &str => |text| Bytes::copy_from_slice(text.as_bytes()),
    String => |text| Bytes::from(text),
    Box<str> => |text| Bytes::from(text.into_boxed_bytes()),
    Arc<str> => |text| Bytes::copy_from_slice(text.as_bytes()),
    Cow<'_, str> => |text| Bytes::from(text.into_owned()),
    &[u8] => |bytes| Bytes::copy_from_slice(bytes),
    Vec<u8> => |bytes| Bytes::from(bytes),
    Box<[u8]> => |bytes| Bytes::from(bytes),
    Arc<[u8]> => |bytes| Bytes::copy_from_slice(&bytes),
    Cow<'_, [u8]> => |bytes| Bytes::from(bytes.into_owned()),
    Bytes => |bytes| bytes,
    BytesMut => |bytes| bytes.freeze(),
}

impl<const N: usize> IntoBytes for [u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}

/// So does a reference to what can be one: `&String`, `&&str`, `&[u8; 3]`.
impl<T: IntoBytes + Clone> IntoBytes for &T {
    fn into_bytes(self) -> Bytes {
        self.clone().into_bytes()
    }
}

/// How long a lease lives without being renewed, in whole seconds, as etcd counts it.
///
/// Made of a [`Duration`], it is rounded up: nobody's lease ends before the time that was asked for.
///
/// ```
/// use std::time::Duration;
/// use tenure_client::Ttl;
///
/// assert_eq!(Ttl::from(Duration::from_secs(10)), Ttl::seconds(10));
/// assert_eq!(Ttl::from(Duration::from_millis(1_500)).as_seconds(), 2);
/// assert_eq!(Ttl::from(Duration::MAX).as_seconds(), i64::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(i64);

impl Ttl {
    /// So many seconds. What a server refuses, such as 0, can be said, so that the server can refuse it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{EtcdError, Ttl};
    ///
    /// let refused = client.lease().grant(Ttl::seconds(9_000_000_001)).await.unwrap_err();
    /// assert!(refused.is(EtcdError::LeaseTTLTooLarge));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn seconds(seconds: i64) -> Self {
        Ttl(seconds)
    }

    /// The seconds.
    ///
    /// ```
    /// use tenure_client::Ttl;
    ///
    /// assert_eq!(Ttl::seconds(60).as_seconds(), 60);
    /// ```
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0
    }
}

/// Rounded up to whole seconds.
impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
        Ttl(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        for id in [LeaseId(0), LeaseId(0x694d_20481b3b309), LeaseId(i64::MAX), LeaseId(-1)] {
            assert_eq!(id.to_string().parse::<LeaseId>().unwrap(), id);
        }
        assert_eq!("FFFFFFFFFFFFFFFF".parse::<MemberId>().unwrap(), MemberId(u64::MAX));
        for wrong in ["", "0x12", "-1", "+1", "xyz", " 12", "12345678901234567"] {
            let error = wrong.parse::<LeaseId>().unwrap_err();
            assert!(error.to_string().contains("hexadecimal"), "{wrong}: {error}");
        }
        assert_eq!(
            format!("{:>6}|{:06x}|{:X}", LeaseId(0xab), LeaseId(0xab), LeaseId(0xab)),
            "    ab|0000ab|AB"
        );
    }

    #[test]
    fn texts_and_bytes_are_the_same_however_they_are_held() {
        fn is_k(key: impl IntoBytes) -> bool {
            key.into_bytes() == "k"
        }
        let (text, bytes) = ("k".to_owned(), Bytes::from_static(b"k"));
        let boxed: (Box<str>, Box<[u8]>) = ("k".into(), b"k".as_slice().into());
        let shared: (Arc<str>, Arc<[u8]>) = ("k".into(), b"k".as_slice().into());
        assert!(is_k("k") && is_k(&text) && is_k(text.clone()) && is_k(boxed.0) && is_k(shared.0));
        assert!(is_k(b"k") && is_k(*b"k") && is_k(b"k".as_slice()) && is_k(b"k".to_vec()) && is_k(boxed.1));
        assert!(
            is_k(shared.1) && is_k(BytesMut::from("k")) && is_k(Cow::Borrowed("k")) && is_k(bytes.clone())
        );
        assert!(["k"].iter().all(is_k) && [&&&"k"].into_iter().all(is_k) && [text].iter().all(is_k));
        assert!([bytes].iter().all(is_k) && [Cow::Borrowed(b"k".as_slice())].iter().all(is_k));
    }

    #[test]
    fn a_duration_is_never_made_shorter() {
        let ttl = |nanos| Ttl::from(Duration::from_nanos(nanos)).as_seconds();
        assert_eq!([ttl(0), ttl(1), ttl(1_000_000_000), ttl(1_000_000_001)], [0, 1, 1, 2]);
    }
}
