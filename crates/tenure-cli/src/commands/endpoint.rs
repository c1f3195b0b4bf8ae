//! `endpoint`: asks each endpoint how it is.

use super::endpoints;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::{Exit, Failure},
    output::{Answer, EndpointHealth},
    settings::Settings,
};
use std::time::Instant;
use tenure_client::{
    AlarmKind, Client, EtcdError,
    raw::etcdserverpb::{HashKvRequest, StatusRequest},
};

/// `endpoint`.
pub static SPEC: Spec = Spec {
    words: "endpoint <subcommand>",
    about: "Endpoints one by one: hashkv, health, status",
    group: Some(Group::Maintenance),
    shared: &[CLUSTER],
    commands: &[&HASH_KV, &HEALTH, &STATUS],
    ..Spec::EMPTY
};

/// `--cluster`, which `defrag` has too.
pub const CLUSTER: Flag =
    Flag::new("cluster", Kind::Bool, "every endpoint that the members of the cluster announce");

static HEALTH: Spec = Spec {
    words: "health",
    about: "Shows whether each endpoint is fit to serve",
    run: Some(health),
    ..Spec::EMPTY
};

static STATUS: Spec = Spec {
    words: "status",
    about: "Shows how each endpoint is",
    long: "Shows how each endpoint is. In the simple format a line has, separated by commas: endpoint, ID, version, \
           storage version, db size, in use, percentage not in use, quota, is leader, is learner, raft term, raft \
           index, raft applied index, errors, downgrade target version, downgrade enabled.",
    run: Some(status),
    ..Spec::EMPTY
};

static HASH_KV: Spec = Spec {
    words: "hashkv",
    about: "Shows the checksum of the keys of each endpoint",
    flags: &[Flag::new("rev", Kind::Int, "hash up to this revision instead of the current one")],
    run: Some(hash_kv),
    ..Spec::EMPTY
};

fn health(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let settings = call.settings()?;
        let mut checks = Vec::new();
        for endpoint in endpoints(call, &settings).await? {
            let settings = settings.clone();
            checks.push(tokio::spawn(async move { check(endpoint, &settings).await }));
        }
        let mut found = Vec::new();
        for check in checks {
            found.push(check.await.map_err(|error| Failure::new(Exit::Error, error))??);
        }
        let unhealthy = found.iter().any(|endpoint| endpoint.error.is_some());
        settings.printer.print(&Answer::Health(found))?;
        if unhealthy {
            return Err(Failure::new(Exit::Error, "unhealthy cluster"));
        }
        Ok(())
    })
}

/// Reads any key, which every member must agree to, and looks for alarms.
async fn check(endpoint: String, settings: &Settings) -> Result<EndpointHealth, Failure> {
    let client = match settings.at(&endpoint).connect().await {
        Err(failure) if failure.exit() == Exit::BadConnection => {
            failure.log_cause();
            return Ok(EndpointHealth { endpoint, took: None, error: Some(failure.message().to_owned()) });
        }
        connected => connected?,
    };
    let start = Instant::now();
    let read = client.get("health").await;
    let took = Some(start.elapsed());
    let error = match read {
        // Who may not read was heard all the same.
        Err(error) if !error.is(EtcdError::PermissionDenied) => {
            let failure = Failure::from(error);
            failure.log_cause();
            Some(failure.message().to_owned())
        }
        _ => alarms(&client).await,
    };
    Ok(EndpointHealth { endpoint, took, error })
}

async fn alarms(client: &Client) -> Option<String> {
    let Ok(response) = client.maintenance().alarm_list().await else {
        return Some("Unable to fetch the alarm list".to_owned());
    };
    let names = response.alarms.iter().map(|alarm| match alarm.alarm {
        AlarmKind::NoSpace => "NOSPACE ",
        AlarmKind::Corrupt => "CORRUPT ",
        AlarmKind::None | AlarmKind::Other(_) => "UNKNOWN ",
    });
    (!response.alarms.is_empty()).then(|| format!("Active Alarm(s): {}", names.collect::<String>()))
}

fn status(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let settings = call.settings()?;
        let (mut found, mut failed) = (Vec::new(), false);
        for endpoint in endpoints(call, &settings).await? {
            let client = settings.at(&endpoint).connect().await?;
            match client.raw().call(&StatusRequest {}).await {
                Ok(status) => found.push((endpoint, status)),
                Err(error) => {
                    let failure = Failure::from(error);
                    failure.log_cause();
                    let reason = failure.message();
                    eprintln!("Failed to get the status of endpoint {endpoint} ({reason})");
                    failed = true;
                }
            }
        }
        settings.printer.print(&Answer::Status(found))?;
        if failed { Err(Failure::told(Exit::Error)) } else { Ok(()) }
    })
}

fn hash_kv(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let settings = call.settings()?;
        let (mut found, mut last) = (Vec::new(), None);
        for endpoint in endpoints(call, &settings).await? {
            let client = settings.at(&endpoint).connect().await?;
            match client.raw().call(&HashKvRequest { revision: call.int("rev") }).await {
                Ok(hash) => found.push((endpoint, hash)),
                Err(error) => {
                    let failure = Failure::from(error);
                    eprintln!("Failed to get the hash of endpoint {endpoint} ({})", failure.message());
                    last = Some(failure);
                }
            }
        }
        settings.printer.print(&Answer::HashKv(found))?;
        last.map_or(Ok(()), Err)
    })
}
