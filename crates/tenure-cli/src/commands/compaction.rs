//! `compaction`: forgets what was before a revision.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    go::number,
    output,
};
use tenure_client::raw::etcdserverpb::CompactionRequest;

/// `compaction`.
pub static SPEC: Spec = Spec {
    words: "compaction [options] <revision>",
    about: "Forgets the versions of keys before a revision",
    group: Some(Group::KeyValue),
    flags: &[Flag::new("physical", Kind::Bool, "wait until the old versions are gone from the disk")],
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [revision] = arguments.as_slice() else {
            return Err(Failure::bad_args("compaction command needs 1 argument"));
        };
        let revision =
            number::parse_int(&lossy(revision), 10).map_err(|reason| Failure::new(Exit::Error, reason))?;
        let (client, _) = call.connect().await?;
        let physical = call.flag("physical");
        client.raw().call(&CompactionRequest { revision, physical }).await?;
        output::write(format!("compacted revision {revision}\n"))
    })
}
