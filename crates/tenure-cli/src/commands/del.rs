//! `del`: deletes keys.

use super::key_range;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::Failure,
    go::quote::quote,
    output::Answer,
};
use std::time::Duration;
use tenure_client::raw::etcdserverpb::DeleteRangeRequest;

/// How long a deletion of a range can be thought over.
const GRACE: Duration = Duration::from_secs(2);

/// `del`.
pub static SPEC: Spec = Spec {
    words: "del [options] <key> [range_end]",
    about: "Deletes a key or the keys of a range [key, range_end)",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("prefix", Kind::Bool, "all keys that begin with the key"),
        Flag::new("prev-kv", Kind::Bool, "answer the pairs deleted"),
        Flag::new("from-key", Kind::Bool, "all keys from the key on, by bytes"),
        Flag::new("range", Kind::Bool, "a range is meant: delete it without delay"),
    ],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let request = request(call).await?;
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::DeleteRange(client.raw().call(&request).await?))
    })
}

/// What the words ask for. A range without `--range` is waited with, in case it was meant otherwise.
///
/// # Errors
/// They contradict each other.
pub async fn request(call: &Call) -> Result<DeleteRangeRequest, Failure> {
    let arguments = call.arguments();
    let (key, end) = match arguments.as_slice() {
        [key] => (key, None),
        [key, end] => (key, Some(end.as_slice())),
        _ => {
            let message = "del command needs one argument as key and an optional argument as range_end";
            return Err(Failure::bad_args(message));
        }
    };
    let (first, range_end) = key_range(call, key, end)?;
    if let Some(end) = end
        && !call.flag("range")
    {
        let (key, end) = (quote(key), quote(end));
        eprintln!(
            "Warning: Keys between {key} and {end} will be deleted. Please interrupt the command within next \
             {} seconds to cancel. You can provide `--range` flag to avoid the delay.",
            GRACE.as_secs()
        );
        tokio::time::sleep(GRACE).await;
    }
    Ok(DeleteRangeRequest { key: first.into(), range_end: range_end.into(), prev_kv: call.flag("prev-kv") })
}
