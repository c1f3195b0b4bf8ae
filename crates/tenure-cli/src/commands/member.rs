//! `member`: shows the members of the cluster.

use super::is_serializable;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    output::Answer,
};
use tenure_client::raw::etcdserverpb::MemberListRequest;

/// `member`.
pub static SPEC: Spec = Spec {
    words: "member <subcommand>",
    about: "Members of the cluster: list",
    group: Some(Group::Maintenance),
    commands: &[&LIST],
    ..Spec::EMPTY
};

static LIST: Spec = Spec {
    words: "list",
    about: "Lists the members",
    long: "Lists the members of the cluster. In the simple format a line has, separated by commas: ID, status, name, \
           peer addresses, client addresses, is learner.",
    flags: &[Flag::new("consistency", Kind::Text, "linearizable (l) or serializable (s) read").default("l")],
    run: Some(list),
    ..Spec::EMPTY
};

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let linearizable = !is_serializable(call)?;
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Members(client.raw().call(&MemberListRequest { linearizable }).await?))
    })
}
