//! `downgrade`: makes a cluster ready for servers of the version before.

use super::lossy;
use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::Failure,
    output::{Answer, ClusterAnswer},
};
use tenure_client::raw::etcdserverpb::{DowngradeRequest, downgrade_request::DowngradeAction};

/// `downgrade`.
pub static SPEC: Spec = Spec {
    words: "downgrade <TARGET_VERSION>",
    about: "Downgrades of the cluster: cancel, enable, validate",
    group: Some(Group::Maintenance),
    commands: &[&CANCEL, &ENABLE, &VALIDATE],
    ..Spec::EMPTY
};

static CANCEL: Spec =
    Spec { words: "cancel", about: "Gives up a downgrade under way", run: Some(cancel), ..Spec::EMPTY };

static ENABLE: Spec = Spec {
    words: "enable <TARGET_VERSION>",
    about: "Lets servers of the version take over, one after the other",
    run: Some(enable),
    ..Spec::EMPTY
};

static VALIDATE: Spec = Spec {
    words: "validate <TARGET_VERSION>",
    about: "Says whether the cluster can be downgraded to the version",
    run: Some(validate),
    ..Spec::EMPTY
};

/// The version that the only argument names.
fn version(call: &Call) -> Result<String, Failure> {
    match call.arguments().as_slice() {
        [] => Err(Failure::bad_args("TARGET_VERSION not provided")),
        [version] if version.is_empty() => Err(Failure::bad_args("target version not provided")),
        [version] => Ok(lossy(version)),
        _ => Err(Failure::bad_args("too many arguments")),
    }
}

async fn ask(call: &Call, action: DowngradeAction, version: String) -> Result<(), Failure> {
    let (client, printer) = call.connect().await?;
    let response = client.raw().call(&DowngradeRequest { action: action.into(), version }).await?;
    let word = match action {
        DowngradeAction::Validate => "validate",
        DowngradeAction::Enable => "enable",
        DowngradeAction::Cancel => "cancel",
    };
    printer.print(&Answer::Cluster(ClusterAnswer::Downgrade(word, response)))
}

fn validate(call: &Call) -> Pending<'_> {
    Box::pin(async { ask(call, DowngradeAction::Validate, version(call)?).await })
}

fn enable(call: &Call) -> Pending<'_> {
    Box::pin(async { ask(call, DowngradeAction::Enable, version(call)?).await })
}

fn cancel(call: &Call) -> Pending<'_> {
    Box::pin(async { ask(call, DowngradeAction::Cancel, String::new()).await })
}
