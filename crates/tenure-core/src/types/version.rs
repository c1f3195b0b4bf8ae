//! Versions of servers and clusters.

use std::fmt;
use std::str::FromStr;

/// Major and minor number of a version: all that members have to agree on. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinorVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// The text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version such as 3.7.1")]
pub struct MalformedVersion;

impl MinorVersion {
    /// What a cluster speaks before all its members are known.
    pub const OLDEST: Self = Self { major: 3, minor: 0 };

    /// A version as users write it: `X.Y`, or `X.Y.Z` of which `Z` is passed over.
    ///
    /// # Errors
    /// [`MalformedVersion`].
    pub fn from_user(text: &str) -> Result<Self, MalformedVersion> {
        text.parse().or_else(|_| format!("{text}.0").parse())
    }

    /// The one before, within its major version.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        Some(Self { minor: self.minor.checked_sub(1)?, ..self })
    }

    /// `X.Y`.
    #[must_use]
    pub fn short(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

/// `X.Y.0`, as it is stored and replicated.
impl fmt::Display for MinorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

/// `X.Y.Z`, with a pre-release (`-alpha.0`) or not.
impl FromStr for MinorVersion {
    type Err = MalformedVersion;

    fn from_str(text: &str) -> Result<Self, MalformedVersion> {
        let (text, metadata) = text.split_once('+').unwrap_or((text, ""));
        let (numbers, pre_release) = text.split_once('-').unwrap_or((text, ""));
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if !metadata.bytes().chain(pre_release.bytes()).all(is_word) {
            return Err(MalformedVersion);
        }
        let numbers: Vec<u32> =
            numbers.split('.').map(number).collect::<Option<_>>().ok_or(MalformedVersion)?;
        match numbers[..] {
            [major, minor, _] => Ok(Self { major, minor }),
            _ => Err(MalformedVersion),
        }
    }
}

fn number(text: &str) -> Option<u32> {
    // `parse` alone would take a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_what_etcd_takes_for_one() {
        let version = |text: &str| text.parse::<MinorVersion>().map(MinorVersion::short);
        for (text, short) in [
            ("3.7.1", "3.7"),
            ("3.8.0-alpha.0", "3.8"),
            ("3.10.2+build.5", "3.10"),
            ("3.7.1-rc.1+x-y", "3.7"),
        ] {
            assert_eq!(version(text).as_deref(), Ok(short));
        }
        for text in [
            "", "3", "3.7", "3.7.", "3.7.x", "3.7.1.0", "v3.7.1", "+3.7.1", "-3.7.1", "3.-7.1", " 3.7.1",
            "3.7.1-ä",
        ] {
            assert_eq!(version(text), Err(MalformedVersion), "{text:?}");
        }
    }

    #[test]
    fn users_leave_out_the_patch() {
        let version = |text| MinorVersion::from_user(text).map(|version| version.to_string());
        assert_eq!(version("3.6").as_deref(), Ok("3.6.0"));
        assert_eq!(version("3.6.5").as_deref(), Ok("3.6.0"));
        for text in ["", "x", "3", "3.x", "3.6.", "3.6.1.0"] {
            assert_eq!(version(text), Err(MalformedVersion), "{text:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let version = |text: &str| text.parse::<MinorVersion>().unwrap();
        assert!(version("3.9.9") < version("3.10.0") && version("3.10.0") < version("4.0.0"));
        assert_eq!(version("3.7.1").previous(), Some(version("3.6.9")));
        assert_eq!(version("4.0.0").previous(), None);
    }
}
