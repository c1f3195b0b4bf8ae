//! Answers about users and roles.

use super::{Format, Text, header_of, json};
use crate::{exit::Failure, go::quote::quote};
use prost::Message;
use tenure_client::{
    prefix_end,
    raw::{
        authpb::{Permission, permission::Type},
        etcdserverpb as pb,
    },
};

/// What is printed of users and roles.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthAnswer {
    /// Whether authentication is on.
    Status(pb::AuthStatusResponse),
    /// The user of this name.
    User(String, pb::AuthUserGetResponse),
    /// All users.
    Users(pb::AuthUserListResponse),
    /// The role of this name.
    Role(String, pb::AuthRoleGetResponse),
    /// All roles.
    Roles(pb::AuthRoleListResponse),
    /// A change was made: what people read of it, and the only field of its answer.
    Changed(Vec<u8>, Option<pb::ResponseHeader>),
}

pub(super) fn simple(answer: &AuthAnswer, text: &mut Text) {
    match answer {
        AuthAnswer::Status(status) => {
            text.line(format!("Authentication Status: {}", status.enabled));
            text.line(format!("AuthRevision: {}", status.auth_revision));
        }
        AuthAnswer::User(name, user) => {
            text.line(format!("User: {name}"));
            let roles = user.roles.iter().map(|role| format!(" {role}"));
            text.line(format!("Roles:{}", roles.collect::<String>()));
        }
        AuthAnswer::Users(users) => users.users.iter().for_each(|name| text.line(name)),
        AuthAnswer::Roles(roles) => roles.roles.iter().for_each(|name| text.line(name)),
        AuthAnswer::Role(name, role) => simple_role(name, &role.perm, text),
        AuthAnswer::Changed(line, _) => text.line(line),
    }
}

fn simple_role(name: &str, permissions: &[Permission], text: &mut Text) {
    text.line(format!("Role {name}"));
    let is_root = name == "root" && permissions.is_empty();
    for (title, kind) in [("KV Read:", Type::Read), ("KV Write:", Type::Write)] {
        text.line(title);
        if is_root {
            // What servers before 3.6 say of it: nothing.
            text.line("\t[, <open ended>");
        }
        let permits = |permission: &&Permission| [Type::Readwrite, kind].contains(&permission.perm_type());
        permissions.iter().filter(permits).for_each(|permission| text.line(range(permission)));
    }
}

fn range(Permission { key, range_end, .. }: &Permission) -> Vec<u8> {
    let mut line = b"\t".to_vec();
    match &range_end[..] {
        [] => return [b"\t", &key[..]].concat(),
        [0] => line.extend_from_slice(&[b"[", &key[..], b", <open ended>"].concat()),
        end => line.extend_from_slice(&[b"[", &key[..], b", ", end, b")"].concat()),
    }
    if !key.is_empty() && prefix_end(key) == range_end[..] {
        line.extend_from_slice(&[b" (prefix ", &key[..], b")"].concat());
    }
    line
}

/// The lines after the header; nothing for what this format has no way to print.
pub(super) fn fields(answer: &AuthAnswer) -> Result<(pb::ResponseHeader, Vec<String>), Failure> {
    Ok(match answer {
        AuthAnswer::Role(_, role) => {
            let lines = role.perm.iter().flat_map(|permission| {
                [
                    // Go puts a blank between what it prints.
                    format!("\"PermType\" :  {}", permission.perm_type().as_str_name()),
                    format!("\"Key\" : {}", quote(&permission.key)),
                    format!("\"RangeEnd\" : {}", quote(&permission.range_end)),
                ]
            });
            (header_of(&role.header), lines.collect())
        }
        AuthAnswer::Roles(roles) => {
            let names = roles.roles.iter().map(|name| format!(" {}", quote(name.as_bytes())));
            (header_of(&roles.header), vec![format!("\"Roles\" :{}", names.collect::<String>())])
        }
        AuthAnswer::Changed(_, header) => (header_of(header), Vec::new()),
        AuthAnswer::Status(_) | AuthAnswer::User(..) | AuthAnswer::Users(_) => {
            return Err(Format::Fields.unsupported());
        }
    })
}

pub(super) fn protobuf(answer: &AuthAnswer) -> Vec<u8> {
    match answer {
        AuthAnswer::Status(status) => status.encode_to_vec(),
        AuthAnswer::User(_, user) => user.encode_to_vec(),
        AuthAnswer::Users(users) => users.encode_to_vec(),
        AuthAnswer::Role(_, role) => role.encode_to_vec(),
        AuthAnswer::Roles(roles) => roles.encode_to_vec(),
        AuthAnswer::Changed(_, header) => pb::AuthRoleAddResponse { header: *header }.encode_to_vec(),
    }
}

pub(super) fn json(answer: &AuthAnswer) -> Vec<u8> {
    match answer {
        AuthAnswer::Status(status) => {
            json::auth(&status.header, json::Auth::Status(status.enabled, status.auth_revision))
        }
        AuthAnswer::User(_, user) => json::auth(&user.header, json::Auth::Roles(&user.roles)),
        AuthAnswer::Users(users) => json::auth(&users.header, json::Auth::Users(&users.users)),
        AuthAnswer::Role(_, role) => json::auth(&role.header, json::Auth::Permissions(&role.perm)),
        AuthAnswer::Roles(roles) => json::auth(&roles.header, json::Auth::Roles(&roles.roles)),
        AuthAnswer::Changed(_, header) => json::auth(header, json::Auth::Roles(&[])),
    }
}
