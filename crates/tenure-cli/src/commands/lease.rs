//! `lease`: makes, ends, renews and shows leases.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    go::number::{self, lease_id},
    output::{self, Answer, Format, TimeToLive},
};
use std::time::{Duration, Instant};
use tenure_api::{error::EtcdError, etcdserverpb as pb};
use tokio::time::{sleep, sleep_until};

/// How long to wait before a renewal that failed is tried again.
const RENEWAL_BACKOFF: Duration = Duration::from_millis(500);

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
        let (connection, printer) = call.connect().await?;
        let granted = connection.lease_grant(ttl).await;
        let words = |reason: String| format!("failed to grant lease ({reason})");
        printer.print(&Answer::LeaseGrant(granted.map_err(|failure| failure.map_message(words))?))
    })
}

fn revoke(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = lease(call, "lease revoke command needs 1 argument")?;
        let (connection, printer) = call.connect().await?;
        let revoked = connection.lease_revoke(id).await;
        let words = |reason: String| format!("failed to revoke lease ({reason})");
        printer.print(&Answer::LeaseRevoke(id, revoked.map_err(|failure| failure.map_message(words))?))
    })
}

fn time_to_live(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = lease(call, "lease timetolive command needs lease ID as argument")?;
        let keys = call.flag("keys");
        let (connection, printer) = call.connect().await?;
        let request = pb::LeaseTimeToLiveRequest { id, keys };
        let left = connection.lease_time_to_live(request).await;
        let left = left.map_err(|failure| failure.with_exit(Exit::BadConnection))?;
        let keys = if keys { TimeToLive::WithKeys } else { TimeToLive::Bare };
        printer.print(&Answer::LeaseTimeToLive(left, keys))
    })
}

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let (connection, printer) = call.connect().await?;
        let leases = connection.lease_leases().await;
        let leases = leases.map_err(|failure| failure.with_exit(Exit::BadConnection))?;
        printer.print(&Answer::LeaseLeases(leases))
    })
}

fn keep_alive(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let id = lease(call, "lease keep-alive command needs lease ID as argument")?;
        let (connection, printer) = call.connect().await?;
        if call.flag("once") {
            let renewed = connection.lease_keep_alive_once(id).await;
            let renewed = renewed.map_err(|failure| failure.with_exit(Exit::BadConnection))?;
            if renewed.ttl <= 0 {
                return Err(Failure::new(Exit::BadConnection, EtcdError::LeaseNotFound));
            }
            return printer.print(&Answer::LeaseKeepAlive(renewed));
        }
        // Nothing is known of the lease at first: it is as old as a command may take.
        let mut end = Instant::now() + connection.command_timeout();
        loop {
            let pause = tokio::select! {
                () = sleep_until(end.into()) => break,
                renewed = connection.lease_keep_alive_once(id) => match renewed {
                    Ok(renewed) if renewed.ttl <= 0 => break,
                    Ok(renewed) => {
                        let ttl = Duration::from_secs(u64::try_from(renewed.ttl).unwrap_or_default());
                        printer.print(&Answer::LeaseKeepAlive(renewed))?;
                        end = Instant::now() + ttl;
                        ttl / 3
                    }
                    Err(_) => RENEWAL_BACKOFF,
                },
            };
            sleep(pause).await;
        }
        match printer.format() {
            Format::Simple => output::write(format!("lease {} expired or revoked.\n", lease_id(id))),
            _ => Ok(()),
        }
    })
}
