//! `role`: roles and what they may do.

use super::lossy;
use crate::{
    command_line::{Call, Flag, Group, Kind, Pending, Spec},
    exit::Failure,
    output::{Answer, AuthAnswer},
};
use tenure_client::{
    prefix_end,
    raw::{
        authpb::{Permission, permission::Type},
        etcdserverpb as pb,
    },
};

/// `role`.
pub static SPEC: Spec = Spec {
    words: "role <subcommand>",
    about: "Roles: add, delete, get, grant-permission, list, revoke-permission",
    group: Some(Group::Authentication),
    commands: &[&ADD, &DELETE, &GET, &GRANT, &LIST, &REVOKE],
    ..Spec::EMPTY
};

static ADD: Spec = Spec { words: "add <role name>", about: "Makes a role", run: Some(add), ..Spec::EMPTY };

static DELETE: Spec =
    Spec { words: "delete <role name>", about: "Removes a role", run: Some(delete), ..Spec::EMPTY };

static GET: Spec =
    Spec { words: "get <role name>", about: "Shows what a role may do", run: Some(role), ..Spec::EMPTY };

static LIST: Spec = Spec { words: "list", about: "Lists all roles", run: Some(list), ..Spec::EMPTY };

const RANGES: &[Flag] = &[
    Flag::new("prefix", Kind::Bool, "every key that begins with the key"),
    Flag::new("from-key", Kind::Bool, "every key that is the key or greater, byte by byte"),
];

static GRANT: Spec = Spec {
    words: "grant-permission [options] <role name> <permission type> <key> [endkey]",
    about: "Lets a role read, write or readwrite keys",
    flags: RANGES,
    run: Some(grant),
    ..Spec::EMPTY
};

static REVOKE: Spec = Spec {
    words: "revoke-permission <role name> <key> [endkey]",
    about: "Takes from a role what it may do with keys",
    flags: RANGES,
    run: Some(revoke),
    ..Spec::EMPTY
};

/// The only argument.
fn name_of(call: &Call, command: &str) -> Result<String, Failure> {
    match call.arguments().as_slice() {
        [name] => Ok(lossy(name)),
        _ => Err(Failure::bad_args(format!("role {command} command requires role name as its argument"))),
    }
}

fn add(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let name = name_of(call, "add")?;
        let (client, printer) = call.connect().await?;
        let header = client.raw().call(&pb::AuthRoleAddRequest { name: name.clone() }).await?.header;
        printer.changed(format!("Role {name} created"), header)
    })
}

fn delete(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let role = name_of(call, "delete")?;
        let (client, printer) = call.connect().await?;
        let header = client.raw().call(&pb::AuthRoleDeleteRequest { role: role.clone() }).await?.header;
        printer.changed(format!("Role {role} deleted"), header)
    })
}

fn role(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let role = name_of(call, "get")?;
        let (client, printer) = call.connect().await?;
        let answer = client.raw().call(&pb::AuthRoleGetRequest { role: role.clone() }).await?;
        printer.print(&Answer::Auth(AuthAnswer::Role(role, answer)))
    })
}

fn list(call: &Call) -> Pending<'_> {
    Box::pin(async {
        if !call.arguments().is_empty() {
            return Err(Failure::bad_args("role list command requires no arguments"));
        }
        let (client, printer) = call.connect().await?;
        printer.print(&Answer::Auth(AuthAnswer::Roles(client.raw().call(&pb::AuthRoleListRequest {}).await?)))
    })
}

/// Key and range end of a permission. The empty key stands for the first that there can be.
fn range(call: &Call, key: &[u8], end: Option<&[u8]>) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let (prefix, from_key) = (call.flag("prefix"), call.flag("from-key"));
    if prefix && from_key && (end.is_none() || key.is_empty()) {
        return Err(Failure::bad_args("--from-key and --prefix flags are mutually exclusive"));
    }
    if key.is_empty() {
        return Ok((vec![0], if prefix || from_key { vec![0] } else { Vec::new() }));
    }
    let end = match end {
        Some(_) if prefix => return Err(Failure::bad_args("unexpected endkey argument with --prefix flag")),
        Some(_) if from_key => {
            return Err(Failure::bad_args("unexpected endkey argument with --from-key flag"));
        }
        Some(end) => end.to_vec(),
        None if prefix => prefix_end(key).to_vec(),
        None if from_key => vec![0],
        None => Vec::new(),
    };
    Ok((key.to_vec(), end))
}

fn grant(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [role, kind, key, rest @ ..] = arguments.as_slice() else {
            let message =
                "role grant command requires role name, permission type, and key [endkey] as its argument";
            return Err(Failure::bad_args(message));
        };
        let kind = lossy(kind);
        let perm_type = Type::from_str_name(&kind.to_uppercase())
            .ok_or_else(|| Failure::bad_args(format!("invalid permission type: {kind}")))?;
        let (key, range_end) = range(call, key, rest.first().map(Vec::as_slice))?;
        let (client, printer) = call.connect().await?;
        let perm = Permission { perm_type: perm_type.into(), key: key.into(), range_end: range_end.into() };
        let name = lossy(role);
        let request = pb::AuthRoleGrantPermissionRequest { name: name.clone(), perm: Some(perm) };
        let header = client.raw().call(&request).await?.header;
        printer.changed(format!("Role {name} updated"), header)
    })
}

fn revoke(call: &Call) -> Pending<'_> {
    Box::pin(async {
        let arguments = call.arguments();
        let [role, given, rest @ ..] = arguments.as_slice() else {
            let message =
                "role revoke-permission command requires role name and key [endkey] as its argument";
            return Err(Failure::bad_args(message));
        };
        let (key, end) = range(call, given, rest.first().map(Vec::as_slice))?;
        let (client, printer) = call.connect().await?;
        let role = lossy(role);
        let request = pb::AuthRoleRevokePermissionRequest {
            role: role.clone(),
            key: key.into(),
            range_end: end.clone().into(),
        };
        let header = client.raw().call(&request).await?.header;
        let of = match &end[..] {
            [] => [b"key ", &given[..]].concat(),
            [0] => [b"range [", &given[..], b", <open ended>"].concat(),
            end => [b"range [", &given[..], b", ", end, b")"].concat(),
        };
        let from = format!(" is revoked from role {role}");
        printer.changed([b"Permission of ", &of[..], from.as_bytes()].concat(), header)
    })
}
