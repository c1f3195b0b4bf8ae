//! `move-leader`: hands the leadership over.

use super::lossy;
use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::Failure,
    go::number,
    output::{Answer, ClusterAnswer},
};
use tenure_client::raw::etcdserverpb::{MoveLeaderRequest, StatusRequest};

/// `move-leader`.
pub static SPEC: Spec = Spec {
    words: "move-leader <transferee-member-id>",
    about: "Hands the leadership over to another member",
    long: "Hands the leadership over to another member. One of the endpoints must be the leader's.",
    group: Some(Group::Maintenance),
    run: Some(run),
    ..Spec::EMPTY
};

fn run(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [target] = arguments.as_slice() else {
            return Err(Failure::bad_args("move-leader command needs 1 argument"));
        };
        let target_id = number::parse_hex(&lossy(target)).map_err(Failure::bad_args)?;
        let settings = call.settings()?;
        for endpoint in &settings.endpoints {
            let client = settings.at(endpoint).connect().await?;
            let status = client.raw().call(&StatusRequest {}).await?;
            if status.header.unwrap_or_default().member_id != status.leader {
                continue;
            }
            let moved = client.raw().call(&MoveLeaderRequest { target_id }).await?;
            let answer = ClusterAnswer::LeaderMoved(status.leader, target_id, moved);
            return settings.printer.print(&Answer::Cluster(answer));
        }
        let endpoints = settings.endpoints.join(" ");
        Err(Failure::bad_args(format!("no leader endpoint given at [{endpoints}]")))
    })
}
