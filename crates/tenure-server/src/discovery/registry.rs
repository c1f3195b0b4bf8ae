//! What the registry of a cluster says: how many founders it wants, and who has registered. No IO.

use super::DiscoveryError;
use crate::config::{EndpointUrl, parse_cluster};
use std::collections::BTreeMap;

/// Names and peer URLs of the founders.
pub type Founders = BTreeMap<String, Vec<EndpointUrl>>;

/// The keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The number of founders, as decimal text.
    pub size: String,
    /// Before the id of each member.
    pub members: String,
}

impl Keys {
    /// The keys of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let parts = token.split('/').filter(|part| !part.is_empty() && *part != ".");
        let base = std::iter::once("/_etcd/registry").chain(parts).collect::<Vec<_>>().join("/");
        Self { size: format!("{base}/_config/size"), members: format!("{base}/members/") }
    }
}

/// The number of founders.
///
/// # Errors
/// [`DiscoveryError::BadSize`].
pub fn parse_size(text: &[u8]) -> Result<usize, DiscoveryError> {
    let size = std::str::from_utf8(text).ok().and_then(|text| text.parse::<usize>().ok());
    size.filter(|size| *size > 0).ok_or(DiscoveryError::BadSize)
}

/// One member that has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registration {
    key: String,
    /// `name=URL,name=URL`, all of one name.
    text: String,
    /// When: earlier ones have the smaller revision.
    created: i64,
}

impl Registration {
    fn name(&self) -> &str {
        self.text.split_once('=').map_or("", |(name, _)| name)
    }
}

/// Who has registered for a cluster of `size` founders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    size: usize,
    members: Vec<Registration>,
}

impl Registry {
    /// Nobody yet.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, members: Vec::new() }
    }

    /// Takes up what a key says.
    ///
    /// # Errors
    /// Why it is left out, in etcd's words.
    pub fn add(&mut self, key: &str, text: &str, created: i64) -> Result<(), &'static str> {
        let (key, text) = (key.trim(), text.trim());
        if !text.contains('=') {
            return Err("invalid peer info returned from discovery service");
        }
        if self.members.iter().any(|member| member.key == key) {
            return Err("found duplicate peer from discovery service");
        }
        self.members.push(Registration { key: key.to_owned(), text: text.to_owned(), created });
        self.members.sort_by_key(|member| member.created);
        Ok(())
    }

    /// How many have registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// How many there are to be.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether all founders are there.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.members.len() >= self.size
    }

    /// Whether the member of `key` is one of the founders, or may become one: the first of them to register are.
    ///
    /// # Errors
    /// [`DiscoveryError::Full`]; [`DiscoveryError::DuplicateName`] if an earlier one has its name.
    pub fn check(&self, key: &str, name: &str) -> Result<(), DiscoveryError> {
        let place = self.members.iter().position(|member| member.key == key);
        if place.unwrap_or(self.members.len()) >= self.size {
            return Err(DiscoveryError::Full);
        }
        let earlier = &self.members[..place.unwrap_or(self.members.len())];
        if earlier.iter().any(|member| member.name() == name) {
            return Err(DiscoveryError::DuplicateName(name.to_owned()));
        }
        Ok(())
    }

    /// The founders.
    ///
    /// # Errors
    /// [`DiscoveryError::InvalidUrl`], [`DiscoveryError::DuplicateName`], [`DiscoveryError::DuplicateUrl`].
    pub fn founders(&self) -> Result<Founders, DiscoveryError> {
        let mut founders = Founders::new();
        for member in self.members.iter().take(self.size) {
            let parsed = parse_cluster(&member.text).map_err(|_| DiscoveryError::InvalidUrl)?;
            for (name, urls) in parsed {
                if founders.insert(name.to_owned(), urls).is_some() {
                    return Err(DiscoveryError::DuplicateName(name.to_owned()));
                }
            }
        }
        let mut urls: Vec<String> = founders.values().flatten().map(ToString::to_string).collect();
        urls.sort_unstable();
        if urls.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DiscoveryError::DuplicateUrl(cluster_text(&founders)));
        }
        Ok(founders)
    }
}

/// Founders as `--initial-cluster` has them.
#[must_use]
pub fn cluster_text(founders: &Founders) -> String {
    let pairs = founders.iter().flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")));
    pairs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(size: usize, members: &[(&str, &str, i64)]) -> Registry {
        let mut registry = Registry::new(size);
        for (key, text, created) in members {
            registry.add(key, text, *created).expect("it fits");
        }
        registry
    }

    #[test]
    fn the_keys_are_etcds() {
        let keys = Keys::of("6c007a14875d53d9bf0ef5a6fc0257c8");
        assert_eq!(keys.size, "/_etcd/registry/6c007a14875d53d9bf0ef5a6fc0257c8/_config/size");
        assert_eq!(keys.members, "/_etcd/registry/6c007a14875d53d9bf0ef5a6fc0257c8/members/");
        assert_eq!(Keys::of("/a//b/"), Keys::of("a/b"));
    }

    #[test]
    fn a_size_is_a_number_above_0() {
        assert_eq!(parse_size(b"3"), Ok(3));
        for bad in [&b""[..], b"0", b"-1", b"three", b"3 ", b"\xff", b"99999999999999999999999"] {
            assert_eq!(parse_size(bad), Err(DiscoveryError::BadSize), "{bad:?}");
        }
    }

    #[test]
    fn who_registers_first_founds_the_cluster() {
        let three =
            registry(2, &[("/2", "b=http://h:2", 7), ("/1", "a=http://h:1", 9), ("/0", "z=http://h:3", 11)]);
        let founders = three.founders().expect("a cluster");
        assert_eq!(cluster_text(&founders), "a=http://h:1,b=http://h:2");
        assert_eq!(three.check("/1", "a"), Ok(()));
        assert_eq!(three.check("/0", "z"), Err(DiscoveryError::Full), "registered too late");
        assert_eq!(three.check("/9", "x"), Err(DiscoveryError::Full), "not registered");
        let one = registry(2, &[("/2", "b=http://h:2", 7)]);
        assert!(!one.is_full() && three.is_full());
        assert_eq!(one.check("/9", "x"), Ok(()));
    }

    #[test]
    fn names_and_urls_are_of_one_member() {
        let twice = registry(3, &[("/1", "a=http://h:1", 1), ("/2", "a=http://h:2", 2)]);
        assert_eq!(twice.check("/1", "a"), Ok(()), "the first keeps its name");
        assert_eq!(twice.check("/2", "a"), Err(DiscoveryError::DuplicateName("a".into())));
        assert_eq!(twice.check("/3", "a"), Err(DiscoveryError::DuplicateName("a".into())));
        assert_eq!(twice.founders(), Err(DiscoveryError::DuplicateName("a".into())));
        let same = registry(2, &[("/1", "a=http://h:1", 1), ("/2", "b=http://h:1", 2)]);
        let text = same.founders().expect_err("one URL").to_string();
        assert_eq!(text, "discovery cluster a=http://h:1,b=http://h:1 has duplicate url");
        let many = registry(1, &[("/1", "a=http://h:1,a=http://h:2", 1)]);
        assert_eq!(many.founders().map(|founders| founders["a"].len()), Ok(2));
    }

    #[test]
    fn what_is_no_member_is_left_out() {
        let mut registry = registry(2, &[("/1", "a=http://h:1", 1)]);
        assert_eq!(
            registry.add("/2", "nonsense", 2),
            Err("invalid peer info returned from discovery service")
        );
        assert_eq!(registry.add("/1", "a=http://h:9", 3), Err("found duplicate peer from discovery service"));
        registry.add("/2", "b=ftp://h", 4).expect("looked at later");
        assert_eq!(registry.founders(), Err(DiscoveryError::InvalidUrl));
    }
}
