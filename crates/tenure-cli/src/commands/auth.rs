//! `auth`: switches authentication on and off.

use crate::{
    command_line::{Call, Group, Pending, Spec},
    exit::Failure,
    output::{self, Answer, AuthAnswer},
};
use tenure_client::{EtcdError, raw::etcdserverpb as pb};

/// `auth`.
pub static SPEC: Spec = Spec {
    words: "auth <subcommand>",
    about: "Authentication: disable, enable, status",
    group: Some(Group::Authentication),
    commands: &[&DISABLE, &ENABLE, &STATUS],
    ..Spec::EMPTY
};

static ENABLE: Spec =
    Spec { words: "enable", about: "Switches authentication on", run: Some(enable), ..Spec::EMPTY };

static DISABLE: Spec =
    Spec { words: "disable", about: "Switches authentication off", run: Some(disable), ..Spec::EMPTY };

static STATUS: Spec =
    Spec { words: "status", about: "Says whether authentication is on", run: Some(status), ..Spec::EMPTY };

fn takes_nothing(call: &Call, name: &str) -> Result<(), Failure> {
    if call.arguments().is_empty() {
        return Ok(());
    }
    Err(Failure::bad_args(format!("auth {name} command does not accept any arguments")))
}

fn enable(call: &Call) -> Pending<'_> {
    Box::pin(async {
        takes_nothing(call, "enable")?;
        let (client, _) = call.connect().await?;
        let auth = client.auth();
        match auth.enable().await {
            Err(error) if error.is(EtcdError::RootRoleNotExist) => {
                auth.role_add("root").await?;
                auth.user_grant_role("root", "root").await?;
                auth.enable().await?
            }
            enabled => enabled?,
        };
        output::write("Authentication Enabled\n")
    })
}

fn disable(call: &Call) -> Pending<'_> {
    Box::pin(async {
        takes_nothing(call, "disable")?;
        let (client, _) = call.connect().await?;
        client.auth().disable().await?;
        output::write("Authentication Disabled\n")
    })
}

fn status(call: &Call) -> Pending<'_> {
    Box::pin(async {
        takes_nothing(call, "status")?;
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Auth(AuthAnswer::Status(client.raw().call(&pb::AuthStatusRequest {}).await?)))
    })
}
