//! Values that many answers share.

use bytes::Bytes;
use std::fmt;
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

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $raw);

        /// In hexadecimal, as etcd's tools print it.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                $name(raw)
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
    /// assert_eq!(LeaseId::default(), LeaseId(0));
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
    pub fn key_text(&self) -> std::borrow::Cow<'_, str> {
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
    pub fn value_text(&self) -> std::borrow::Cow<'_, str> {
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

/// What can be a key or a value: text and bytes, borrowed or not.
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
    &String => |text| Bytes::copy_from_slice(text.as_bytes()),
    &[u8] => |bytes| Bytes::copy_from_slice(bytes),
    Vec<u8> => |bytes| Bytes::from(bytes),
    &Vec<u8> => |bytes| Bytes::copy_from_slice(bytes),
    Bytes => |bytes| bytes,
    &Bytes => |bytes| bytes.clone(),
    std::borrow::Cow<'_, str> => |text| Bytes::from(text.into_owned()),
}

impl<const N: usize> IntoBytes for &[u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl<const N: usize> IntoBytes for [u8; N] {
    fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self)
    }
}
