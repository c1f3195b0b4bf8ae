//! One file a command.

mod alarm;
mod auth;
mod check;
mod compaction;
mod completion;
mod defrag;
mod del;
mod downgrade;
mod elect;
mod endpoint;
mod get;
mod help;
mod lease;
mod lock;
mod make_mirror;
mod member;
mod move_leader;
mod options;
mod put;
mod role;
mod snapshot;
mod txn;
mod user;
mod version;
mod watch;

use crate::{
    command_line::{Call, Spec},
    exit::{Exit, Failure},
    go::quote::quote,
    settings::Settings,
};

/// The program itself.
pub static ROOT: Spec = Spec {
    words: crate::help::PROGRAM,
    about: "The command line of Tenure and etcd.",
    commands: &[
        &alarm::SPEC,
        &auth::SPEC,
        &check::SPEC,
        &compaction::SPEC,
        &completion::SPEC,
        &defrag::SPEC,
        &del::SPEC,
        &downgrade::SPEC,
        &elect::SPEC,
        &endpoint::SPEC,
        &get::SPEC,
        &help::SPEC,
        &lease::SPEC,
        &lock::SPEC,
        &make_mirror::SPEC,
        &member::SPEC,
        &move_leader::SPEC,
        &options::SPEC,
        &put::SPEC,
        &role::SPEC,
        &snapshot::SPEC,
        &txn::SPEC,
        &user::SPEC,
        &version::SPEC,
        &watch::SPEC,
    ],
    ..Spec::EMPTY
};

/// Whether reads are serializable, as `--consistency` says.
fn is_serializable(call: &Call) -> Result<bool, Failure> {
    let consistency = call.text("consistency");
    match consistency.as_str() {
        "s" => Ok(true),
        "l" => Ok(false),
        other => {
            let message = format!("unknown consistency flag {}", quote(other.as_bytes()));
            Err(Failure::new(Exit::BadFeature, message))
        }
    }
}

/// An argument that must be text to mean something, such as a number.
fn lossy(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

/// The range that `--prefix`, `--from-key` or a second argument make of a key: the first key, and the key after the last or
/// empty or a zero byte as in the protocol.
fn key_range(call: &Call, key: &[u8], end: Option<&[u8]>) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let (prefix, from_key) = (call.flag("prefix"), call.flag("from-key"));
    if prefix && from_key {
        let message = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
        return Err(Failure::bad_args(message));
    }
    if end.is_some() && (prefix || from_key) {
        let message = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
        return Err(Failure::bad_args(message));
    }
    let every = || (vec![0], vec![0]);
    Ok(match end {
        Some(end) => (key.to_vec(), end.to_vec()),
        None if (prefix || from_key) && key.is_empty() => every(),
        None if prefix => (key.to_vec(), tenure_client::prefix_end(key).to_vec()),
        None if from_key => (key.to_vec(), vec![0]),
        None => (key.to_vec(), Vec::new()),
    })
}

/// The endpoints that a command addresses one by one: those given, or with `--cluster` those that the members announce.
async fn endpoints(call: &Call, settings: &Settings) -> Result<Vec<String>, Failure> {
    if !call.flag("cluster") {
        return Ok(settings.endpoints.clone());
    }
    let client = settings.connect().await.map_err(|failure| match failure.exit() {
        Exit::BadConnection => failure.with_exit(Exit::Error),
        _ => failure,
    })?;
    let members = client.cluster().member_list().await.map_err(|error| {
        let words =
            |reason: String| format!("failed to fetch endpoints from etcd cluster member list: {reason}");
        Failure::from(error).map_message(words)
    })?;
    Ok(members.members.into_iter().flat_map(|member| member.client_urls).collect())
}
