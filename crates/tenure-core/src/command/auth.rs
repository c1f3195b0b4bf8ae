//! Commands of authentication: users, roles and what they may do.

use crate::types::{KeyRange, Secret};

/// In whose name something is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The authenticated user; empty for nobody, and while authentication is off.
    pub username: String,
    /// The auth revision that the user was authenticated at; 0 for nobody, and while authentication is off.
    pub auth_revision: u64,
}

impl Identity {
    /// What a member does of its own accord, such as to revoke an expired lease: in the name of `root`, who exists and may do
    /// everything as long as authentication is on, and at a revision that no change outdates.
    #[must_use]
    pub fn of_cluster() -> Self {
        Self { username: "root".to_owned(), auth_revision: u64::MAX }
    }
}

/// A change of users, roles, or of authentication as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthCommand {
    /// Switch authentication on.
    Enable,
    /// Switch it off.
    Disable,
    /// A user has proved who he is; every member learns his token.
    Authenticate(Authenticate),
    /// Make a user.
    UserAdd(UserAdd),
    /// Remove the user of this name.
    UserDelete(String),
    /// Give a user another password.
    UserChangePassword(UserChangePassword),
    /// Grant a role to a user.
    UserGrantRole(UserRole),
    /// Take a role from a user.
    UserRevokeRole(UserRole),
    /// Make a role of this name that may do nothing.
    RoleAdd(String),
    /// Remove the role of this name, from all users too.
    RoleDelete(String),
    /// Let a role do something with a range, or change what it may do with it.
    RoleGrantPermission(RoleGrantPermission),
    /// Take from a role what it may do with a range.
    RoleRevokePermission(RoleRevokePermission),
}

/// See [`AuthCommand::Authenticate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticate {
    /// The user.
    pub name: String,
    /// The random part of his simple token; empty for tokens of another kind.
    pub simple_token: Secret,
}

/// See [`AuthCommand::UserAdd`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAdd {
    /// The user.
    pub name: String,
    /// The bcrypt hash of the password in base64, made before the proposal. Not looked at with `no_password`.
    pub hashed_password: Secret,
    /// The user has no password: only a certificate says who he is.
    pub no_password: bool,
}

/// See [`AuthCommand::UserChangePassword`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChangePassword {
    /// The user.
    pub name: String,
    /// The bcrypt hash of the new password in base64, made before the proposal.
    pub hashed_password: Secret,
}

/// A user and a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRole {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
}

/// See [`AuthCommand::RoleGrantPermission`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleGrantPermission {
    /// The role.
    pub role: String,
    /// What it may do; a request without it is refused when it is applied (A10).
    pub permission: Option<Permission>,
}

/// See [`AuthCommand::RoleRevokePermission`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRevokePermission {
    /// The role.
    pub role: String,
    /// The range, as it was granted.
    pub range: KeyRange,
}

/// What a role may do with a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What.
    pub kind: PermissionKind,
    /// With which keys.
    pub range: KeyRange,
}

/// What may be done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionKind {
    /// Read them.
    Read,
    /// Write them.
    Write,
    /// Both.
    ReadWrite,
    /// A number that this version does not know: it permits nothing.
    Unknown(i32),
}

impl PermissionKind {
    /// Whether it permits to read.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether it permits to write.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}
