//! Users, roles, and who may do what (A1, A2, A9 to A14): names and lists, and every question answered by going through them.

use crate::model::{Model, contains};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tenure_api::error::EtcdError;
use tenure_core::command::{
    AuthCommand, Command, DeleteRange, Identity, Op, Permission, PermissionKind, Put, Txn,
};
use tenure_core::state::{Outcome, Response};
use tenure_core::types::{Key, KeyRange, LogIndex, RangeEnd, Revision};

const ROOT: &str = "root";

/// What must be true of users and roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    is_enabled: bool,
    revision: u64,
    /// The roles of each user, and whether he has a password.
    users: BTreeMap<String, (BTreeSet<String>, bool)>,
    roles: BTreeMap<String, Vec<Permission>>,
}

type Allowed = Result<(), EtcdError>;

impl Default for Auth {
    fn default() -> Self {
        Self { is_enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl Auth {
    /// Carries a command out. It changes nothing if it is refused, and the revision only if it changes something.
    pub(super) fn execute(&mut self, command: &AuthCommand, index: LogIndex, revision: Revision) -> Outcome {
        if let AuthCommand::Authenticate(who) = command {
            return match self.users.get(&who.name) {
                _ if !self.is_enabled => Err(EtcdError::AuthNotEnabled),
                Some((_, true)) => {
                    Ok(Response::Authenticated { index, auth_revision: self.revision, revision })
                }
                _ => Err(EtcdError::AuthFailed),
            };
        }
        let mut changed = self.clone();
        changed.change(command)?;
        if *self != changed && *command != AuthCommand::Enable || repeats(command) {
            changed.revision += 1;
        }
        *self = changed;
        Ok(Response::Done(revision))
    }

    fn change(&mut self, command: &AuthCommand) -> Allowed {
        match command {
            AuthCommand::Enable if self.is_enabled => {}
            AuthCommand::Enable => {
                let (roles, _) = self.users.get(ROOT).ok_or(EtcdError::RootUserNotExist)?;
                self.is_enabled = roles.contains(ROOT).then_some(true).ok_or(EtcdError::RootRoleNotExist)?;
            }
            AuthCommand::Disable => self.is_enabled = false,
            AuthCommand::Authenticate(_) => {}
            AuthCommand::UserAdd(add) => match self.users.get(&add.name) {
                _ if add.name.is_empty() => return Err(EtcdError::UserEmpty),
                Some(_) => return Err(EtcdError::UserAlreadyExist),
                None => drop(self.users.insert(add.name.clone(), (BTreeSet::new(), !add.no_password))),
            },
            AuthCommand::UserDelete(name) if name == ROOT && self.is_enabled => {
                return Err(EtcdError::InvalidAuthMgmt);
            }
            AuthCommand::UserDelete(name) => {
                self.users.remove(name).ok_or(EtcdError::UserNotFound)?;
            }
            AuthCommand::UserChangePassword(change) => {
                self.users.get(&change.name).ok_or(EtcdError::UserNotFound)?;
            }
            AuthCommand::UserGrantRole(grant) => {
                let is_there = grant.role == ROOT || self.roles.contains_key(&grant.role);
                let (roles, _) = self.users.get_mut(&grant.user).ok_or(EtcdError::UserNotFound)?;
                is_there.then_some(()).ok_or(EtcdError::RoleNotFound)?;
                roles.insert(grant.role.clone());
            }
            AuthCommand::UserRevokeRole(revoke) => {
                if self.is_enabled && revoke.user == ROOT && revoke.role == ROOT {
                    return Err(EtcdError::InvalidAuthMgmt);
                }
                let (roles, _) = self.users.get_mut(&revoke.user).ok_or(EtcdError::UserNotFound)?;
                roles.remove(&revoke.role).then_some(()).ok_or(EtcdError::RoleNotGranted)?;
            }
            _ => return self.change_role(command),
        }
        Ok(())
    }

    fn change_role(&mut self, command: &AuthCommand) -> Allowed {
        match command {
            AuthCommand::RoleAdd(name) if name.is_empty() => return Err(EtcdError::RoleEmpty),
            AuthCommand::RoleAdd(name) if self.roles.contains_key(name) => {
                return Err(EtcdError::RoleAlreadyExist);
            }
            AuthCommand::RoleAdd(name) => drop(self.roles.insert(name.clone(), Vec::new())),
            AuthCommand::RoleDelete(name) if name == ROOT && self.is_enabled => {
                return Err(EtcdError::InvalidAuthMgmt);
            }
            AuthCommand::RoleDelete(name) => {
                self.roles.remove(name).ok_or(EtcdError::RoleNotFound)?;
                for (roles, _) in self.users.values_mut() {
                    roles.remove(name);
                }
            }
            AuthCommand::RoleGrantPermission(grant) => {
                let given = grant.permission.as_ref().ok_or(EtcdError::PermissionNotGiven)?;
                if given.range.start.0.is_empty() || is_empty(&given.range) {
                    return Err(EtcdError::InvalidAuthMgmt);
                }
                let own = self.roles.get_mut(&grant.role).ok_or(EtcdError::RoleNotFound)?;
                // Only the first of those with the same key is compared (A10).
                let first = own.iter_mut().find(|known| known.range.start == given.range.start);
                match first {
                    Some(first) if first.range == given.range => first.kind = given.kind,
                    _ => own.push(given.clone()),
                }
                own.sort_by(|one, other| one.range.start.cmp(&other.range.start));
            }
            AuthCommand::RoleRevokePermission(revoke) => {
                let own = self.roles.get_mut(&revoke.role).ok_or(EtcdError::RoleNotFound)?;
                let before = own.len();
                own.retain(|known| known.range != revoke.range);
                (own.len() < before).then_some(()).ok_or(EtcdError::PermissionNotGranted)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether somebody may read a range.
    ///
    /// # Errors
    /// Why not.
    pub fn check_read(&self, who: &Identity, range: &KeyRange) -> Allowed {
        self.touch(who, false, range)
    }

    fn touch(&self, who: &Identity, writes: bool, range: &KeyRange) -> Allowed {
        if !self.is_enabled {
            return Ok(());
        }
        match self.users.get(&who.username) {
            _ if who.auth_revision == 0 => Err(EtcdError::UserEmpty),
            _ if who.auth_revision < self.revision => Err(EtcdError::AuthOldRevision),
            Some((roles, _)) if roles.contains(ROOT) || self.covers(roles, writes, range) => Ok(()),
            _ => Err(EtcdError::PermissionDenied),
        }
    }

    fn check_admin(&self, who: &Identity) -> Allowed {
        match self.users.get(&who.username) {
            _ if !self.is_enabled => Ok(()),
            _ if who.username.is_empty() => Err(EtcdError::UserEmpty),
            None => Err(EtcdError::UserNotFound),
            Some((roles, _)) if roles.contains(ROOT) => Ok(()),
            Some(_) => Err(EtcdError::PermissionDenied),
        }
    }

    /// Whether no key of a range is left out: the first one that is would be its start, or where a permission ends.
    fn covers(&self, roles: &BTreeSet<String>, writes: bool, range: &KeyRange) -> bool {
        let permissions = roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        let of_kind = |kind: PermissionKind| if writes { kind.writes() } else { kind.reads() };
        let granted: Vec<&KeyRange> =
            permissions.filter(|known| of_kind(known.kind)).map(|known| &known.range).collect();
        let asked = if is_empty(range) { KeyRange::single(range.start.clone()) } else { range.clone() };
        let ends = granted.iter().filter_map(|range| match &range.end {
            RangeEnd::Single => Some([range.start.as_slice(), b"\0"].concat()),
            RangeEnd::Before(end) => Some(end.as_slice().to_vec()),
            RangeEnd::Open => None,
        });
        let mut first_left_out =
            ends.filter(|end| contains(&asked, end)).chain([asked.start.as_slice().to_vec()]);
        first_left_out.all(|key| granted.iter().any(|range| contains(range, &key)))
            && (asked.end != RangeEnd::Open || granted.iter().any(|range| range.end == RangeEnd::Open))
    }
}

/// What changes something in etcd's view though it leaves all as it was: all but switching and granting a role once more.
fn repeats(command: &AuthCommand) -> bool {
    matches!(command, AuthCommand::UserChangePassword(_) | AuthCommand::RoleGrantPermission(_))
}

fn is_empty(range: &KeyRange) -> bool {
    matches!(&range.end, RangeEnd::Before(end) if *end <= range.start)
}

/// The walk over what a command touches.
impl Model {
    pub(super) fn check_allowed(&self, who: &Identity, command: &Command) -> Allowed {
        match command {
            Command::Put(put) => self.put_allowed(who, put),
            Command::DeleteRange(delete) => self.delete_allowed(who, delete),
            Command::Txn(txn) => self.txn_allowed(who, txn),
            Command::LeaseRevoke(revoke) => self.lease_allowed(who, revoke.id.0),
            Command::Auth(AuthCommand::Authenticate(_)) => Ok(()),
            Command::Auth(_) => self.auth.check_admin(who),
            _ => Ok(()),
        }
    }

    fn put_allowed(&self, who: &Identity, put: &Put) -> Allowed {
        let key = single(&put.key);
        self.auth.touch(who, true, &key)?;
        self.lease_allowed(who, put.lease)?;
        if put.prev_kv { self.auth.touch(who, false, &key) } else { Ok(()) }
    }

    fn delete_allowed(&self, who: &Identity, delete: &DeleteRange) -> Allowed {
        self.auth.touch(who, true, &delete.range)?;
        if delete.prev_kv { self.auth.touch(who, false, &delete.range) } else { Ok(()) }
    }

    fn txn_allowed(&self, who: &Identity, txn: &Txn) -> Allowed {
        for compare in &txn.compare {
            self.auth.touch(who, false, &compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                Op::Range(query) => self.auth.touch(who, false, &query.range)?,
                Op::Put(put) => self.put_allowed(who, put)?,
                Op::DeleteRange(delete) => self.delete_allowed(who, delete)?,
                Op::Txn(txn) => self.txn_allowed(who, txn)?,
            }
        }
        Ok(())
    }

    fn lease_allowed(&self, who: &Identity, lease: i64) -> Allowed {
        if self.auth.check_admin(who).is_ok() {
            return Ok(());
        }
        self.keys_of(lease).iter().try_for_each(|key| self.auth.touch(who, true, &single(key)))
    }
}

fn single(key: &Bytes) -> KeyRange {
    KeyRange::single(Key(key.clone()))
}
