//! The JSON of etcd's tables and of the context of a configuration change, byte for byte as Go writes it.

use super::{Downgrade, Member};
use crate::types::{ConfState, MemberId};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// The bytes are not the JSON they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("malformed JSON: {0}")]
pub struct MalformedJson(String);

#[derive(Serialize, Deserialize)]
struct WireMember {
    #[serde(default)]
    id: u64,
    #[serde(rename = "peerURLs", default, deserialize_with = "null_is_default")]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "is_false")]
    is_learner: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(
        rename = "clientURLs",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    client_urls: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WireChange {
    #[serde(flatten)]
    member: WireMember,
    #[serde(rename = "isPromote", default)]
    is_promote: bool,
}

#[derive(Serialize, Deserialize)]
struct WireDowngrade {
    #[serde(rename = "target-version", default)]
    target_version: String,
    #[serde(default)]
    enabled: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct WireConfState {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters_outgoing: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners_next: Vec<u64>,
    auto_leave: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Go writes a list without elements as `null`.
fn null_is_default<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, MalformedJson> {
    serde_json::from_slice(json).map_err(|error| MalformedJson(error.to_string()))
}

/// Go escapes what would be dangerous in HTML. None of these characters can stand outside a string.
fn write(value: &impl Serialize) -> String {
    let plain = serde_json::to_string(value).expect("numbers, strings and lists of them can be written");
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return plain;
    }
    let mut escaped = String::with_capacity(plain.len() + 20);
    for character in plain.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

impl Member {
    /// The JSON of the `members` table and of the first members' configuration changes.
    #[must_use]
    pub fn to_json(&self) -> String {
        write(&self.to_wire())
    }

    /// The member that a row of the `members` table holds.
    ///
    /// # Errors
    /// [`MalformedJson`] if it holds none.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedJson> {
        read::<WireMember>(json).map(Self::from_wire)
    }

    /// The context of the configuration change that adds, promotes or updates this member.
    #[must_use]
    pub fn to_change_context(&self, is_promote: bool) -> String {
        write(&WireChange { member: self.to_wire(), is_promote })
    }

    /// The member in the context of a configuration change, and whether it is promoted.
    ///
    /// # Errors
    /// [`MalformedJson`] if there is none.
    pub fn from_change_context(json: &[u8]) -> Result<(Self, bool), MalformedJson> {
        let change: WireChange = read(json)?;
        Ok((Self::from_wire(change.member), change.is_promote))
    }

    fn to_wire(&self) -> WireMember {
        WireMember {
            id: self.id.0,
            peer_urls: self.peer_urls.clone(),
            is_learner: self.is_learner,
            name: self.name.clone(),
            client_urls: self.client_urls.clone(),
        }
    }

    fn from_wire(wire: WireMember) -> Self {
        Self {
            id: MemberId(wire.id),
            name: wire.name,
            peer_urls: wire.peer_urls,
            client_urls: wire.client_urls,
            is_learner: wire.is_learner,
        }
    }
}

impl Downgrade {
    /// The JSON of the `downgrade` entry of the `cluster` table.
    #[must_use]
    pub fn to_json(&self) -> String {
        write(&WireDowngrade { target_version: self.target_version.clone(), enabled: self.enabled })
    }

    /// What the `downgrade` entry holds.
    ///
    /// # Errors
    /// [`MalformedJson`] if it holds something else.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedJson> {
        let wire: WireDowngrade = read(json)?;
        Ok(Self { enabled: wire.enabled, target_version: wire.target_version })
    }
}

/// The JSON of the `confState` entry of the `meta` table.
#[must_use]
pub fn conf_state_to_json(state: &ConfState) -> String {
    let numbers = |ids: &[MemberId]| ids.iter().map(|id| id.0).collect();
    write(&WireConfState {
        voters: numbers(&state.voters),
        learners: numbers(&state.learners),
        voters_outgoing: numbers(&state.voters_outgoing),
        learners_next: numbers(&state.learners_next),
        auto_leave: state.auto_leave,
    })
}

/// What the `confState` entry holds.
///
/// # Errors
/// [`MalformedJson`] if it holds something else.
pub fn conf_state_from_json(json: &[u8]) -> Result<ConfState, MalformedJson> {
    let wire: WireConfState = read(json)?;
    let ids = |numbers: Vec<u64>| numbers.into_iter().map(MemberId).collect();
    Ok(ConfState {
        voters: ids(wire.voters),
        learners: ids(wire.learners),
        voters_outgoing: ids(wire.voters_outgoing),
        learners_next: ids(wire.learners_next),
        auto_leave: wire.auto_leave,
    })
}
