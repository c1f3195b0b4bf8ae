//! `member`: the members of the cluster, and changes of them.

use super::{is_serializable, lossy};
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::Failure,
    go::number,
    output::{Answer, ClusterAnswer, wire},
};
use tenure_client::{
    MemberId,
    raw::etcdserverpb::{MemberAddResponse, MemberListRequest},
};

/// `member`.
pub static SPEC: Spec = Spec {
    words: "member <subcommand>",
    about: "Members of the cluster: add, list, promote, remove, update",
    group: Some(Group::Maintenance),
    commands: &[&ADD, &LIST, &PROMOTE, &REMOVE, &UPDATE],
    ..Spec::EMPTY
};

const PEER_URLS: Flag =
    Flag::new("peer-urls", Kind::Text, "where the other members reach this one, separated by commas");

static ADD: Spec = Spec {
    words: "add <memberName> [options]",
    about: "Adds a member, which is to be started then",
    long: "Adds a member to the cluster and prints the variables with which it is to be started.

A voter that is not started counts nevertheless: of one member and a new one, both must run. Add it as a learner, start it,
and promote it when it has caught up.",
    flags: &[PEER_URLS, Flag::new("learner", Kind::Bool, "add it without a vote")],
    run: Some(add),
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

static PROMOTE: Spec = Spec {
    words: "promote <memberID>",
    about: "Gives a learner that has caught up a vote",
    run: Some(promote),
    ..Spec::EMPTY
};

static REMOVE: Spec =
    Spec { words: "remove <memberID>", about: "Removes a member", run: Some(remove), ..Spec::EMPTY };

static UPDATE: Spec = Spec {
    words: "update <memberID> [options]",
    about: "Changes where the other members reach a member",
    flags: &[PEER_URLS],
    run: Some(update),
    ..Spec::EMPTY
};

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let linearizable = !is_serializable(call)?;
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Members(client.raw().call(&MemberListRequest { linearizable }).await?))
    })
}

/// The id that the only argument names.
fn member(call: &Call) -> Result<MemberId, Failure> {
    let arguments = call.arguments();
    let [id] = arguments.as_slice() else { return Err(Failure::bad_args("member ID is not provided")) };
    let id = number::parse_hex(&lossy(id))
        .map_err(|reason| Failure::bad_args(format!("bad member ID arg ({reason}), expecting ID in Hex")))?;
    Ok(MemberId(id))
}

fn peer_urls(call: &Call) -> Result<Vec<String>, Failure> {
    let urls = call.text("peer-urls");
    if urls.is_empty() {
        return Err(Failure::bad_args("member peer urls not provided"));
    }
    Ok(urls.split(',').map(str::to_owned).collect())
}

fn add(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let name = match arguments.as_slice() {
            [] => return Err(Failure::bad_args("member name not provided")),
            [name] => lossy(name),
            _ => return Err(Failure::bad_args("too many arguments")),
        };
        let urls = peer_urls(call)?;
        let (client, printer) = call.connect().await?;
        let cluster = client.cluster();
        let added = match call.flag("learner") {
            true => cluster.member_add_as_learner(urls).await?,
            false => cluster.member_add(urls).await?,
        };
        let response = MemberAddResponse {
            header: Some(wire::header(&added.header)),
            member: Some(wire::member(&added.member)),
            members: added.members.iter().map(wire::member).collect(),
        };
        printer.print(&Answer::Cluster(ClusterAnswer::Added(name, response)))
    })
}

fn promote(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = member(call)?;
        let (client, printer) = call.connect().await?;
        let members = wire::members(&client.cluster().member_promote(id).await?);
        printer.print(&Answer::Cluster(ClusterAnswer::Changed(id.0, "promoted", members)))
    })
}

fn remove(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = member(call)?;
        let (client, printer) = call.connect().await?;
        let members = wire::members(&client.cluster().member_remove(id).await?);
        printer.print(&Answer::Cluster(ClusterAnswer::Changed(id.0, "removed", members)))
    })
}

fn update(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = member(call)?;
        let urls = peer_urls(call)?;
        let (client, printer) = call.connect().await?;
        let members = wire::members(&client.cluster().member_update(id, urls).await?);
        printer.print(&Answer::Cluster(ClusterAnswer::Changed(id.0, "updated", members)))
    })
}
