//! What must not be seen.

use bytes::Bytes;
use std::fmt;

/// Bytes that no log and no error may show, such as the hash of a password. Its debug form says only that it is there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
