//! `user`: users and their roles.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::Failure,
    output::{self, Answer, AuthAnswer},
    password,
};
use tenure_client::raw::{authpb::UserAddOptions, etcdserverpb as pb};

/// `user`.
pub static SPEC: Spec = Spec {
    words: "user <subcommand>",
    about: "Users: add, delete, get, grant-role, list, passwd, revoke-role",
    group: Some(Group::Authentication),
    commands: &[&ADD, &DELETE, &GET, &GRANT_ROLE, &LIST, &PASSWD, &REVOKE_ROLE],
    ..Spec::EMPTY
};

const INTERACTIVE: Flag = Flag::new(
    "interactive",
    Kind::Bool,
    "ask for the password; --interactive=false reads it from standard input without asking",
)
.default("true");

static ADD: Spec = Spec {
    words: "add <user name or user:password> [options]",
    about: "Makes a user",
    flags: &[
        INTERACTIVE,
        Flag::new("new-user-password", Kind::Text, "the password of the new user"),
        Flag::new("no-password", Kind::Bool, "make a user that only a certificate can name"),
    ],
    run: Some(add),
    ..Spec::EMPTY
};

static DELETE: Spec =
    Spec { words: "delete <user name>", about: "Removes a user", run: Some(delete), ..Spec::EMPTY };

static GET: Spec = Spec {
    words: "get <user name> [options]",
    about: "Shows the roles of a user",
    flags: &[Flag::new("detail", Kind::Bool, "show what these roles may do")],
    run: Some(user),
    ..Spec::EMPTY
};

static LIST: Spec = Spec { words: "list", about: "Lists all users", run: Some(list), ..Spec::EMPTY };

static PASSWD: Spec = Spec {
    words: "passwd <user name> [options]",
    about: "Changes the password of a user",
    flags: &[INTERACTIVE],
    run: Some(passwd),
    ..Spec::EMPTY
};

static GRANT_ROLE: Spec = Spec {
    words: "grant-role <user name> <role name>",
    about: "Grants a role to a user",
    run: Some(grant_role),
    ..Spec::EMPTY
};

static REVOKE_ROLE: Spec = Spec {
    words: "revoke-role <user name> <role name>",
    about: "Takes a role from a user",
    run: Some(revoke_role),
    ..Spec::EMPTY
};

/// The only argument.
fn name_of(call: &Call, command: &str) -> Result<String, Failure> {
    match call.arguments().as_slice() {
        [name] => Ok(lossy(name)),
        _ => Err(Failure::bad_args(format!("user {command} command requires user name as its argument"))),
    }
}

/// The password that is asked for, or read without asking.
fn typed(call: &Call, name: &str) -> Result<String, Failure> {
    if call.flag("interactive") { password::ask_twice(name) } else { Ok(password::first_word()) }
}

fn add(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let argument = name_of(call, "add")?;
        let no_password = call.flag("no-password");
        let given = call.text("new-user-password");
        let (name, password) = match argument.split_once(':') {
            _ if no_password => (argument, String::new()),
            _ if !given.is_empty() => (argument, given),
            Some(("", _)) => return Err(Failure::bad_args("empty user name is not allowed")),
            Some((name, password)) => (name.to_owned(), password.to_owned()),
            None => {
                let password = typed(call, &argument)?;
                (argument, password)
            }
        };
        let (client, printer) = call.connect().await?;
        let request = pb::AuthUserAddRequest {
            name: name.clone(),
            password,
            options: Some(UserAddOptions { no_password }),
            hashed_password: String::new(),
        };
        let header = client.raw().call(&request).await?.header;
        printer.changed(format!("User {name} created"), header)
    })
}

fn delete(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let name = name_of(call, "delete")?;
        let (client, printer) = call.connect().await?;
        let request = pb::AuthUserDeleteRequest { name: name.clone() };
        let header = client.raw().call(&request).await?.header;
        printer.changed(format!("User {name} deleted"), header)
    })
}

fn user(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let name = name_of(call, "get")?;
        let (client, printer) = call.connect().await?;
        let user = client.raw().call(&pb::AuthUserGetRequest { name: name.clone() }).await?;
        if !call.flag("detail") {
            return printer.print(&Answer::Auth(AuthAnswer::User(name, user)));
        }
        output::write(format!("User: {name}\n"))?;
        for role in user.roles {
            output::write("\n")?;
            let answer = client.raw().call(&pb::AuthRoleGetRequest { role: role.clone() }).await?;
            printer.print(&Answer::Auth(AuthAnswer::Role(role, answer)))?;
        }
        Ok(())
    })
}

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        if !call.arguments().is_empty() {
            return Err(Failure::bad_args("user list command requires no arguments"));
        }
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Auth(AuthAnswer::Users(client.raw().call(&pb::AuthUserListRequest {}).await?)))
    })
}

fn passwd(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let name = name_of(call, "passwd")?;
        let password = typed(call, &name)?;
        let (client, printer) = call.connect().await?;
        let request = pb::AuthUserChangePasswordRequest { name, password, hashed_password: String::new() };
        let header = client.raw().call(&request).await?.header;
        printer.changed("Password updated", header)
    })
}

/// The two arguments.
fn user_and_role(call: &Call, missing: &str) -> Result<(String, String), Failure> {
    match call.arguments().as_slice() {
        [user, role] => Ok((lossy(user), lossy(role))),
        _ => Err(Failure::bad_args(missing)),
    }
}

fn grant_role(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let missing = "user grant command requires user name and role name as its argument";
        let (user, role) = user_and_role(call, missing)?;
        let (client, printer) = call.connect().await?;
        let request = pb::AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
        let header = client.raw().call(&request).await?.header;
        printer.changed(format!("Role {role} is granted to user {user}"), header)
    })
}

fn revoke_role(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let missing = "user revoke-role requires user name and role name as its argument";
        let (user, role) = user_and_role(call, missing)?;
        let (client, printer) = call.connect().await?;
        let request = pb::AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() };
        let header = client.raw().call(&request).await?.header;
        printer.changed(format!("Role {role} is revoked from user {user}"), header)
    })
}
