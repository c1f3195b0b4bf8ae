//! `check`: whether a cluster bears a load.
//!
//! * `perf`: how fast it writes.
//! * `datascale`: how much memory it takes.

mod datascale;
mod perf;

use crate::{
    command_line::{Call, Flag, Group, Kind, Spec},
    exit::{Exit, Failure},
    output,
    settings::Settings,
};
use std::collections::BTreeMap;
use tenure_client::{Client, raw::etcdserverpb::DefragmentRequest};

/// `check`.
pub static SPEC: Spec = Spec {
    words: "check <subcommand>",
    about: "Properties of the cluster: datascale, perf",
    group: Some(Group::Utility),
    commands: &[&datascale::SPEC, &perf::SPEC],
    ..Spec::EMPTY
};

const LOAD: Flag =
    Flag::new("load", Kind::Text, "size of the load: s(mall), m(edium), l(arge), xl(arge)").default("s");
const AUTO_COMPACT: Flag = Flag::new("auto-compact", Kind::Bool, "forget the history of the keys at the end");
const AUTO_DEFRAG: Flag =
    Flag::new("auto-defrag", Kind::Bool, "give the disk space of the endpoints back at the end");

/// The bytes of every value that is written.
const VALUE_BYTES: usize = 1024;

/// How large a load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Small,
    Medium,
    Large,
    ExtraLarge,
}

impl Size {
    /// The size that `--load` names.
    fn of(call: &Call) -> Result<Self, Failure> {
        let name = call.text("load");
        Ok(match name.as_str() {
            "s" | "small" => Size::Small,
            "m" | "medium" => Size::Medium,
            "l" | "large" => Size::Large,
            "xl" | "xLarge" => Size::ExtraLarge,
            _ => return Err(Failure::new(Exit::BadFeature, format!("unknown load option {name}"))),
        })
    }

    /// How many write at once.
    fn clients(self) -> usize {
        match self {
            Size::Small => 50,
            Size::Medium => 200,
            Size::Large => 500,
            Size::ExtraLarge => 1_000,
        }
    }
}

/// Refuses to write among keys that are there: all with the prefix are deleted at the end. `delete` is the command that does it.
async fn expect_no_keys(client: &Client, prefix: &str, delete: &str) -> Result<(), Failure> {
    if client.get(prefix).prefix().limit(1).keys_only().await?.count == 0 {
        return Ok(());
    }
    let quoted = crate::go::quote::quote(prefix.as_bytes());
    let message = format!("prefix {quoted} has keys. Delete with {delete} first");
    Err(Failure::new(Exit::InvalidInput, message))
}

/// The number of a key as its own bytes: neighbours in time are none in the order of keys.
fn key(prefix: &[u8], number: u64, len: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + len);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key.resize(prefix.len() + len, 0);
    key
}

/// Deletes what was written, and what there is of it in history and on disks if that is asked for. It takes as long as it takes.
async fn clean_up(call: &Call, settings: &Settings, prefix: &str) -> Result<(), Failure> {
    let settings = settings.clone().patient();
    let client = settings.connect().await?;
    let deleted = client.delete(prefix).prefix().await?;
    if call.flag("auto-compact") {
        let revision = deleted.header.revision;
        output::write(format!("Compacting with revision {revision}\n"))?;
        client.compact(revision).physical().await?;
        output::write(format!("Compacted with revision {revision}\n"))?;
    }
    if call.flag("auto-defrag") {
        for endpoint in &settings.endpoints {
            let quoted = crate::go::quote::quote(endpoint.as_bytes());
            output::write(format!("Defragmenting {quoted}\n"))?;
            settings.at(endpoint).connect().await?.raw().call(&DefragmentRequest {}).await?;
            output::write(format!("Defragmented {quoted}\n"))?;
        }
    }
    Ok(())
}

/// What went wrong and how often, as lines.
fn error_lines(errors: &BTreeMap<String, u64>) -> Vec<String> {
    let mut lines = Vec::new();
    if !errors.is_empty() {
        lines.push("FAIL: too many errors".to_owned());
        lines.extend(errors.iter().map(|(error, count)| format!("FAIL: ERROR({error}) -> {count}")));
    }
    lines
}
