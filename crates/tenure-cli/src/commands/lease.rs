//! `lease`: makes, ends, renews and shows leases.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    go::number::{self, lease_id},
    output::{self, Answer, Format, TimeToLive, wire},
};
use tenure_client::{LeaseId, raw::etcdserverpb as pb};

/// `lease`.
pub static SPEC: Spec = Spec {
    words: "lease <subcommand>",
    about: "Leases: grant, keep-alive, list, revoke, timetolive",
    group: Some(Group::KeyValue),
    commands: &[&GRANT, &KEEP_ALIVE, &LIST, &REVOKE, &TIME_TO_LIVE],
    ..Spec::EMPTY
};

static GRANT: Spec = Spec { words: "grant <ttl>", about: "Makes a lease", run: Some(grant), ..Spec::EMPTY };

static REVOKE: Spec = Spec {
    words: "revoke <leaseID>",
    about: "Ends a lease and deletes its keys",
    run: Some(revoke),
    ..Spec::EMPTY
};

static TIME_TO_LIVE: Spec = Spec {
    words: "timetolive <leaseID> [options]",
    about: "Shows what is left of a lease",
    flags: &[Flag::new("keys", Kind::Bool, "show the keys attached to the lease")],
    run: Some(time_to_live),
    ..Spec::EMPTY
};

static LIST: Spec = Spec { words: "list", about: "Lists all leases", run: Some(list), ..Spec::EMPTY };

static KEEP_ALIVE: Spec = Spec {
    words: "keep-alive [options] <leaseID>",
    about: "Renews a lease until it is gone",
    flags: &[Flag::new("once", Kind::Bool, "renew the lease once and exit")],
    run: Some(keep_alive),
    ..Spec::EMPTY
};

/// The lease that the only argument names.
fn lease(call: &Call, missing: &str) -> Result<i64, Failure> {
    let arguments = call.arguments();
    let [id] = arguments.as_slice() else { return Err(Failure::bad_args(missing)) };
    number::parse_int(&lossy(id), 16)
        .map_err(|reason| Failure::bad_args(format!("bad lease ID arg ({reason}), expecting ID in Hex")))
}

fn grant(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [ttl] = arguments.as_slice() else {
            return Err(Failure::bad_args("lease grant command needs TTL argument"));
        };
        let ttl = number::parse_int(&lossy(ttl), 10)
            .map_err(|reason| Failure::bad_args(format!("bad TTL ({reason})")))?;
        let (client, printer) = call.connect().await?;
        let granted = client.raw().call(&pb::LeaseGrantRequest { ttl, id: 0 }).await;
        let words = |reason: String| format!("failed to grant lease ({reason})");
        printer.print(&Answer::LeaseGrant(granted.map_err(|error| Failure::from(error).map_message(words))?))
    })
}

fn revoke(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = lease(call, "lease revoke command needs 1 argument")?;
        let (client, printer) = call.connect().await?;
        let revoked = client.raw().call(&pb::LeaseRevokeRequest { id }).await;
        let words = |reason: String| format!("failed to revoke lease ({reason})");
        printer.print(&Answer::LeaseRevoke(
            id,
            revoked.map_err(|error| Failure::from(error).map_message(words))?,
        ))
    })
}

fn time_to_live(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = lease(call, "lease timetolive command needs lease ID as argument")?;
        let keys = call.flag("keys");
        let (client, printer) = call.connect().await?;
        let request = pb::LeaseTimeToLiveRequest { id, keys };
        let left = client.raw().call(&request).await;
        let left = left.map_err(|error| Failure::from(error).with_exit(Exit::BadConnection))?;
        let keys = if keys { TimeToLive::WithKeys } else { TimeToLive::Bare };
        printer.print(&Answer::LeaseTimeToLive(left, keys))
    })
}

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let (client, printer) = call.connect().await?;
        let leases = client.raw().call(&pb::LeaseLeasesRequest {}).await;
        let leases = leases.map_err(|error| Failure::from(error).with_exit(Exit::BadConnection))?;
        printer.print(&Answer::LeaseLeases(leases))
    })
}

fn keep_alive(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = lease(call, "lease keep-alive command needs lease ID as argument")?;
        let settings = call.settings()?;
        let (client, printer) = (settings.connect().await?, settings.printer);
        if call.flag("once") {
            let renewed = client.lease().keep_alive_once(LeaseId(id)).await;
            let renewed = renewed.map_err(|error| Failure::from(error).with_exit(Exit::BadConnection))?;
            return printer.print(&Answer::LeaseKeepAlive(wire::renewal(&renewed)));
        }
        // A lease of which nothing is known is as old as a command may take.
        if let Ok(mut keeper) = settings.in_time(client.lease().keep_alive(LeaseId(id))).await {
            while let Some(renewed) = keeper.next().await {
                printer.print(&Answer::LeaseKeepAlive(wire::renewal(&renewed)))?;
            }
        }
        match printer.format() {
            Format::Simple => output::write(format!("lease {} expired or revoked.\n", lease_id(id))),
            _ => Ok(()),
        }
    })
}
