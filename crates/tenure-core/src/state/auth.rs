//! Commands of authentication (A1, A2, A7 to A10). Each change adds one to the auth revision; a refusal adds nothing.

use super::{AuthRole, AuthUser, Halt, Outcome, Response, StateMachine, TableChange, WriteBatch};
use crate::auth::{ROOT_ROLE, ROOT_USER};
use crate::command::{
    AuthCommand, Authenticate, Permission, RoleGrantPermission, RoleRevokePermission, UserAdd,
    UserChangePassword, UserRole,
};
use crate::types::{LogIndex, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tenure_api::error::EtcdError;

/// The changes that a command makes; none if it succeeds without one.
type Changes = Result<Vec<TableChange>, EtcdError>;

/// Carries a command out.
pub(super) fn auth(
    state: &StateMachine,
    batch: &mut WriteBatch,
    command: &AuthCommand,
) -> Result<Outcome, Halt> {
    let changes = match command {
        AuthCommand::Enable => return Ok(enable(state, batch)),
        AuthCommand::Authenticate(authenticate) => {
            return Ok(self::authenticate(state, batch.applied(), authenticate));
        }
        AuthCommand::Disable => disable(state),
        AuthCommand::UserAdd(add) => user_add(state, add),
        AuthCommand::UserDelete(name) => user_delete(state, name),
        AuthCommand::UserChangePassword(change) => user_change_password(state, change),
        AuthCommand::UserGrantRole(grant) => user_grant_role(state, grant),
        AuthCommand::UserRevokeRole(revoke) => user_revoke_role(state, revoke),
        AuthCommand::RoleAdd(name) => role_add(state, name),
        AuthCommand::RoleDelete(name) => role_delete(state, name),
        AuthCommand::RoleGrantPermission(grant) => role_grant_permission(state, grant),
        AuthCommand::RoleRevokePermission(revoke) => role_revoke_permission(state, revoke),
    };
    Ok(changes.map(|changes| {
        if !changes.is_empty() {
            batch.tables.extend(changes);
            batch.tables.push(TableChange::AuthRevision(state.auth.revision() + 1));
        }
        done(state)
    }))
}

fn done(state: &StateMachine) -> Response {
    Response::Done(state.mvcc.revision())
}

/// Needs a user `root` with the role `root`, or nobody could switch it off again. Does not change the auth revision.
fn enable(state: &StateMachine, batch: &mut WriteBatch) -> Outcome {
    if !state.auth.is_enabled() {
        let root = state.auth.user(ROOT_USER).ok_or(EtcdError::RootUserNotExist)?;
        if !root.has_role(ROOT_ROLE) {
            return Err(EtcdError::RootRoleNotExist);
        }
        batch.tables.push(TableChange::AuthEnabled(true));
    }
    Ok(done(state))
}

/// His password was checked by the member that proposed it, against the user of then.
fn authenticate(state: &StateMachine, index: LogIndex, authenticate: &Authenticate) -> Outcome {
    if !state.auth.is_enabled() {
        return Err(EtcdError::AuthNotEnabled);
    }
    match state.auth.user(&authenticate.name) {
        Some(user) if !user.no_password => Ok(Response::Authenticated {
            index,
            auth_revision: state.auth.revision(),
            revision: state.mvcc.revision(),
        }),
        _ => Err(EtcdError::AuthFailed),
    }
}

fn disable(state: &StateMachine) -> Changes {
    Ok(if state.auth.is_enabled() { vec![TableChange::AuthEnabled(false)] } else { Vec::new() })
}

fn user_add(state: &StateMachine, add: &UserAdd) -> Changes {
    if add.name.is_empty() {
        return Err(EtcdError::UserEmpty);
    }
    if state.auth.user(&add.name).is_some() {
        return Err(EtcdError::UserAlreadyExist);
    }
    let password_hash = if add.no_password { Secret::default() } else { decoded(&add.hashed_password)? };
    let user =
        AuthUser { name: add.name.clone(), password_hash, roles: Vec::new(), no_password: add.no_password };
    Ok(vec![TableChange::AuthUserPut(user)])
}

fn user_delete(state: &StateMachine, name: &str) -> Changes {
    if state.auth.is_enabled() && name == ROOT_USER {
        return Err(EtcdError::InvalidAuthMgmt);
    }
    user_of(state, name)?;
    Ok(vec![TableChange::AuthUserDelete(name.to_owned())])
}

/// A user without a password keeps none, and that is no error (A8).
fn user_change_password(state: &StateMachine, change: &UserChangePassword) -> Changes {
    let user = user_of(state, &change.name)?;
    let password_hash = if user.no_password { Secret::default() } else { decoded(&change.hashed_password)? };
    Ok(vec![TableChange::AuthUserPut(AuthUser { password_hash, ..user.clone() })])
}

/// The role `root` need not exist to be granted (A1). A role that the user has already changes nothing.
fn user_grant_role(state: &StateMachine, UserRole { user, role }: &UserRole) -> Changes {
    let user = user_of(state, user)?;
    if role != ROOT_ROLE {
        role_of(state, role)?;
    }
    if user.has_role(role) {
        return Ok(Vec::new());
    }
    let mut user = user.clone();
    user.roles.push(role.clone());
    user.roles.sort_unstable();
    Ok(vec![TableChange::AuthUserPut(user)])
}

fn user_revoke_role(state: &StateMachine, UserRole { user, role }: &UserRole) -> Changes {
    if state.auth.is_enabled() && user == ROOT_USER && role == ROOT_ROLE {
        return Err(EtcdError::InvalidAuthMgmt);
    }
    let user = user_of(state, user)?;
    if !user.has_role(role) {
        return Err(EtcdError::RoleNotGranted);
    }
    Ok(vec![TableChange::AuthUserPut(without_role(user, role))])
}

fn role_add(state: &StateMachine, name: &str) -> Changes {
    if name.is_empty() {
        return Err(EtcdError::RoleEmpty);
    }
    if state.auth.role(name).is_some() {
        return Err(EtcdError::RoleAlreadyExist);
    }
    Ok(vec![TableChange::AuthRolePut(AuthRole { name: name.to_owned(), permissions: Vec::new() })])
}

/// Users lose the role with it (A9).
fn role_delete(state: &StateMachine, name: &str) -> Changes {
    if state.auth.is_enabled() && name == ROOT_ROLE {
        return Err(EtcdError::InvalidAuthMgmt);
    }
    role_of(state, name)?;
    let holders = state.auth.users().filter(|user| user.has_role(name));
    let mut changes: Vec<_> =
        holders.map(|user| TableChange::AuthUserPut(without_role(user, name))).collect();
    changes.push(TableChange::AuthRoleDelete(name.to_owned()));
    Ok(changes)
}

/// A10. Of the permissions with the same key etcd compares the first only, and members must agree about what is stored: one
/// that comes later is granted once more instead of being changed.
fn role_grant_permission(state: &StateMachine, grant: &RoleGrantPermission) -> Changes {
    let permission = grant.permission.as_ref().ok_or(EtcdError::PermissionNotGiven)?;
    if permission.range.start.0.is_empty() || permission.range.is_empty() {
        return Err(EtcdError::InvalidAuthMgmt);
    }
    let mut role = role_of(state, &grant.role)?.clone();
    let start = |permission: &Permission| permission.range.start.clone();
    let at = role.permissions.partition_point(|other| start(other) < start(permission));
    match role.permissions.get_mut(at) {
        Some(same) if same.range == permission.range => same.kind = permission.kind,
        _ => {
            let at = role.permissions.partition_point(|other| start(other) <= start(permission));
            role.permissions.insert(at, permission.clone());
        }
    }
    Ok(vec![TableChange::AuthRolePut(role)])
}

fn role_revoke_permission(state: &StateMachine, revoke: &RoleRevokePermission) -> Changes {
    let mut role = role_of(state, &revoke.role)?.clone();
    let before = role.permissions.len();
    role.permissions.retain(|permission| permission.range != revoke.range);
    if role.permissions.len() == before {
        return Err(EtcdError::PermissionNotGranted);
    }
    Ok(vec![TableChange::AuthRolePut(role)])
}

fn user_of<'a>(state: &'a StateMachine, name: &str) -> Result<&'a AuthUser, EtcdError> {
    state.auth.user(name).ok_or(EtcdError::UserNotFound)
}

fn role_of<'a>(state: &'a StateMachine, name: &str) -> Result<&'a AuthRole, EtcdError> {
    state.auth.role(name).ok_or(EtcdError::RoleNotFound)
}

fn without_role(user: &AuthUser, role: &str) -> AuthUser {
    let mut user = user.clone();
    user.roles.retain(|own| own != role);
    user
}

/// The hash that a request brings in base64. The edge makes it or checks it, so what cannot be decoded comes from elsewhere.
fn decoded(hash: &Secret) -> Result<Secret, EtcdError> {
    STANDARD.decode(&hash.0).map(|hash| Secret(hash.into())).map_err(|_| EtcdError::AuthFailed)
}
