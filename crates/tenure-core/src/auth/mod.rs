//! Users, roles, and who may do what with which keys.
//!
//! [`Auth`] is replicated state. It knows neither tokens nor passwords in plain text: who somebody is is found out at the rim, which
//! hands in an [`Identity`]. What a request needs is for [`crate::state`] to say; here it is only compared with what was granted.

mod range_set;
mod stored;

pub use range_set::RangeSet;

use crate::command::{Identity, Permission};
use crate::effects::{AuthRole, AuthUser, TableChange};
use crate::types::KeyRange;
use std::collections::BTreeMap;
use tenure_api::error::EtcdError;

/// The user without whom authentication cannot be switched on.
pub const ROOT_USER: &str = "root";
/// The role that may do everything.
pub const ROOT_ROLE: &str = "root";

/// Users, roles, and whether they count.
#[derive(Clone, Debug)]
pub struct Auth {
    /// `None` until it was switched for the first time.
    enabled: Option<bool>,
    revision: u64,
    users: BTreeMap<String, KnownUser>,
    roles: BTreeMap<String, AuthRole>,
}

/// A user with what his roles permit.
#[derive(Clone, Debug)]
struct KnownUser {
    user: AuthUser,
    granted: Granted,
}

/// What the roles of a user permit, united: a request must be contained in the union (A11).
#[derive(Clone, Debug, Default)]
struct Granted {
    everything: bool,
    read: RangeSet,
    write: RangeSet,
}

/// What somebody may do with keys.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a>(Option<&'a Granted>);

impl Default for Auth {
    fn default() -> Self {
        Self { enabled: None, revision: Self::REVISION_FIRST, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

impl Auth {
    /// The auth revision of a store on which authentication was never touched.
    pub const REVISION_FIRST: u64 = 1;

    /// Whether authentication is on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled == Some(true)
    }

    /// Counts every change of users and roles, and every switching off (A2).
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The user of this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&AuthUser> {
        self.users.get(name).map(|known| &known.user)
    }

    /// All users by name.
    pub fn users(&self) -> impl Iterator<Item = &AuthUser> {
        self.users.values().map(|known| &known.user)
    }

    /// The role of this name.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&AuthRole> {
        self.roles.get(name)
    }

    /// All roles by name.
    pub fn roles(&self) -> impl Iterator<Item = &AuthRole> {
        self.roles.values()
    }

    /// What somebody may do with keys; everything while authentication is off.
    ///
    /// # Errors
    /// `UserEmpty` for nobody; `AuthOldRevision` if users or roles have changed since he was authenticated (A2); `PermissionDenied` for a
    /// user who is gone.
    pub fn authority(&self, who: &Identity) -> Result<Authority<'_>, EtcdError> {
        if !self.is_enabled() {
            return Ok(Authority(None));
        }
        if who.auth_revision == 0 {
            return Err(EtcdError::UserEmpty);
        }
        if who.auth_revision < self.revision {
            return Err(EtcdError::AuthOldRevision);
        }
        let known = self.users.get(&who.username).ok_or(EtcdError::PermissionDenied)?;
        Ok(Authority((!known.granted.everything).then_some(&known.granted)))
    }

    /// Whether somebody has the role that may do everything; true while authentication is off. The auth revision does not count here:
    /// whoever changes many things in a row would be refused by his own changes.
    ///
    /// # Errors
    /// `UserEmpty` for nobody, `UserNotFound` for a user who is gone, `PermissionDenied` for everybody else.
    pub fn check_admin(&self, who: &Identity) -> Result<(), EtcdError> {
        if !self.is_enabled() {
            return Ok(());
        }
        if who.username.is_empty() {
            return Err(EtcdError::UserEmpty);
        }
        let known = self.users.get(&who.username).ok_or(EtcdError::UserNotFound)?;
        if known.granted.everything { Ok(()) } else { Err(EtcdError::PermissionDenied) }
    }

    /// Whether somebody is a user at all; true while authentication is off.
    ///
    /// # Errors
    /// `UserEmpty` for nobody, `PermissionDenied` for a user who is gone.
    pub fn check_user(&self, who: &Identity) -> Result<(), EtcdError> {
        match (self.is_enabled(), &who.username[..]) {
            (false, _) => Ok(()),
            (true, "") => Err(EtcdError::UserEmpty),
            (true, name) if self.users.contains_key(name) => Ok(()),
            (true, _) => Err(EtcdError::PermissionDenied),
        }
    }

    /// Whether a user has a role.
    #[must_use]
    pub fn has_role(&self, user: &str, role: &str) -> bool {
        self.user(user).is_some_and(|user| user.has_role(role))
    }

    pub(crate) fn install_table(&mut self, change: &TableChange) {
        match change {
            TableChange::AuthEnabled(enabled) => self.enabled = Some(*enabled),
            TableChange::AuthRevision(revision) => self.revision = *revision,
            TableChange::AuthUserPut(user) => {
                let granted = self.granted(user);
                self.users.insert(user.name.clone(), KnownUser { user: user.clone(), granted });
            }
            TableChange::AuthUserDelete(name) => drop(self.users.remove(name)),
            TableChange::AuthRolePut(role) => {
                self.roles.insert(role.name.clone(), role.clone());
                self.grant_again(&role.name);
            }
            TableChange::AuthRoleDelete(name) => {
                self.roles.remove(name);
                self.grant_again(name);
            }
            _ => {}
        }
    }

    /// The rows of the tables. Roles come first, so that users find them.
    pub(crate) fn tables(&self) -> impl Iterator<Item = TableChange> + '_ {
        let is_touched = self.revision != Self::REVISION_FIRST;
        let head = self.enabled.map(TableChange::AuthEnabled).into_iter();
        head.chain(is_touched.then_some(TableChange::AuthRevision(self.revision)))
            .chain(self.roles().cloned().map(TableChange::AuthRolePut))
            .chain(self.users().cloned().map(TableChange::AuthUserPut))
    }

    fn grant_again(&mut self, role: &str) {
        let affected: Vec<(String, Granted)> = self
            .users()
            .filter(|user| user.has_role(role))
            .map(|user| (user.name.clone(), self.granted(user)))
            .collect();
        for (name, granted) in affected {
            if let Some(known) = self.users.get_mut(&name) {
                known.granted = granted;
            }
        }
    }

    fn granted(&self, user: &AuthUser) -> Granted {
        let permissions: Vec<&Permission> = user
            .roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flat_map(|role| &role.permissions)
            .collect();
        let ranges = |permits: fn(&Permission) -> bool| {
            RangeSet::of(
                permissions
                    .iter()
                    .filter(|permission| permits(permission))
                    .map(|permission| &permission.range),
            )
        };
        Granted {
            everything: user.has_role(ROOT_ROLE),
            read: ranges(|permission| permission.kind.reads()),
            write: ranges(|permission| permission.kind.writes()),
        }
    }
}

impl AuthUser {
    /// Whether the user has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }
}

impl Authority<'_> {
    /// Whether every key of a range may be read.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn read(self, range: &KeyRange) -> Result<(), EtcdError> {
        permit(self.0.is_none_or(|granted| granted.read.contains(range)))
    }

    /// Whether every key of a range may be written.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn write(self, range: &KeyRange) -> Result<(), EtcdError> {
        permit(self.0.is_none_or(|granted| granted.write.contains(range)))
    }

    /// Whether a key may be read.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn read_key(self, key: &[u8]) -> Result<(), EtcdError> {
        permit(self.0.is_none_or(|granted| granted.read.contains_key(key)))
    }

    /// Whether a key may be written.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn write_key(self, key: &[u8]) -> Result<(), EtcdError> {
        permit(self.0.is_none_or(|granted| granted.write.contains_key(key)))
    }

    /// Whether everything may be done.
    #[must_use]
    pub fn is_everything(self) -> bool {
        self.0.is_none()
    }
}

fn permit(permitted: bool) -> Result<(), EtcdError> {
    if permitted { Ok(()) } else { Err(EtcdError::PermissionDenied) }
}

#[cfg(test)]
mod tests;
