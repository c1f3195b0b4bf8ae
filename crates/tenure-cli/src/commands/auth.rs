//! `auth`: switches authentication on and off.

use crate::{
    command_line::{Call, Group, Pending, Spec},
    connection::Connection,
    exit::Failure,
    output::{self, Answer, AuthAnswer},
};
use tenure_api::{error::EtcdError, etcdserverpb as pb};

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
        let (connection, _) = call.connect().await?;
        if let Err(failure) = connection.auth_enable().await {
            if !failure.says(EtcdError::RootRoleNotExist) {
                return Err(failure);
            }
            give_root_his_role(&connection).await?;
            connection.auth_enable().await?;
        }
        output::write("Authentication Enabled\n")
    })
}

async fn give_root_his_role(connection: &Connection) -> Result<(), Failure> {
    connection.role_add(pb::AuthRoleAddRequest { name: "root".into() }).await?;
    let grant = pb::AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    connection.user_grant_role(grant).await.map(drop)
}

fn disable(call: &Call) -> Pending<'_> {
    Box::pin(async {
        takes_nothing(call, "disable")?;
        let (connection, _) = call.connect().await?;
        connection.auth_disable().await?;
        output::write("Authentication Disabled\n")
    })
}

fn status(call: &Call) -> Pending<'_> {
    Box::pin(async {
        takes_nothing(call, "status")?;
        let (connection, printer) = call.connect().await?;
        printer.print(&Answer::Auth(AuthAnswer::Status(connection.auth_status().await?)))
    })
}
