//! Commands of authentication as wire messages.

use crate::command::{
    AuthCommand, Authenticate, Permission, PermissionKind, RoleGrantPermission, RoleRevokePermission,
    UserAdd, UserChangePassword, UserRole,
};
use crate::types::{KeyRange, Secret};
use tenure_api::{authpb, etcdserverpb as pb};

impl AuthCommand {
    /// The command that a message holds, if it is one of authentication, in etcd's order of dispatch. What only reads
    /// (`auth_status`, `auth_user_get` and so on) changes nothing and is none.
    pub(super) fn from_wire(wire: &mut pb::InternalRaftRequest) -> Option<Self> {
        let user_role = |user, role| UserRole { user, role };
        Some(if let Some(authenticate) = wire.authenticate.take() {
            let simple_token = authenticate.simple_token.into();
            Self::Authenticate(Authenticate { name: authenticate.name, simple_token })
        } else if wire.auth_enable.is_some() {
            Self::Enable
        } else if wire.auth_disable.is_some() {
            Self::Disable
        } else if let Some(add) = wire.auth_user_add.take() {
            Self::UserAdd(UserAdd {
                name: add.name,
                hashed_password: add.hashed_password.into(),
                no_password: add.options.is_some_and(|options| options.no_password),
            })
        } else if let Some(delete) = wire.auth_user_delete.take() {
            Self::UserDelete(delete.name)
        } else if let Some(change) = wire.auth_user_change_password.take() {
            let hashed_password = change.hashed_password.into();
            Self::UserChangePassword(UserChangePassword { name: change.name, hashed_password })
        } else if let Some(grant) = wire.auth_user_grant_role.take() {
            Self::UserGrantRole(user_role(grant.user, grant.role))
        } else if let Some(revoke) = wire.auth_user_revoke_role.take() {
            Self::UserRevokeRole(user_role(revoke.name, revoke.role))
        } else if let Some(add) = wire.auth_role_add.take() {
            Self::RoleAdd(add.name)
        } else if let Some(grant) = wire.auth_role_grant_permission.take() {
            Self::RoleGrantPermission(RoleGrantPermission {
                role: grant.name,
                permission: grant.perm.map(Permission::from_wire),
            })
        } else if let Some(revoke) = wire.auth_role_revoke_permission.take() {
            let range = KeyRange::from_wire(revoke.key, revoke.range_end);
            Self::RoleRevokePermission(RoleRevokePermission { role: revoke.role, range })
        } else if let Some(delete) = wire.auth_role_delete.take() {
            Self::RoleDelete(delete.role)
        } else {
            return None;
        })
    }

    pub(super) fn to_wire(&self, wire: &mut pb::InternalRaftRequest) {
        match self {
            Self::Enable => wire.auth_enable = Some(pb::AuthEnableRequest {}),
            Self::Disable => wire.auth_disable = Some(pb::AuthDisableRequest {}),
            Self::Authenticate(Authenticate { name, simple_token }) => {
                wire.authenticate = Some(pb::InternalAuthenticateRequest {
                    name: name.clone(),
                    password: String::new(),
                    simple_token: text_of(simple_token),
                });
            }
            Self::UserAdd(add) => wire.auth_user_add = Some(add.to_wire()),
            Self::UserDelete(name) => {
                wire.auth_user_delete = Some(pb::AuthUserDeleteRequest { name: name.clone() });
            }
            Self::UserChangePassword(UserChangePassword { name, hashed_password }) => {
                wire.auth_user_change_password = Some(pb::AuthUserChangePasswordRequest {
                    name: name.clone(),
                    password: String::new(),
                    hashed_password: text_of(hashed_password),
                });
            }
            Self::UserGrantRole(UserRole { user, role }) => {
                wire.auth_user_grant_role =
                    Some(pb::AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() });
            }
            Self::UserRevokeRole(UserRole { user, role }) => {
                wire.auth_user_revoke_role =
                    Some(pb::AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() });
            }
            Self::RoleAdd(name) => wire.auth_role_add = Some(pb::AuthRoleAddRequest { name: name.clone() }),
            Self::RoleDelete(role) => {
                wire.auth_role_delete = Some(pb::AuthRoleDeleteRequest { role: role.clone() });
            }
            Self::RoleGrantPermission(RoleGrantPermission { role, permission }) => {
                wire.auth_role_grant_permission = Some(pb::AuthRoleGrantPermissionRequest {
                    name: role.clone(),
                    perm: permission.as_ref().map(Permission::to_wire),
                });
            }
            Self::RoleRevokePermission(RoleRevokePermission { role, range }) => {
                wire.auth_role_revoke_permission = Some(pb::AuthRoleRevokePermissionRequest {
                    role: role.clone(),
                    key: range.start.0.clone(),
                    range_end: range.wire_end(),
                });
            }
        }
    }
}

/// The text of a secret that a message brought as text.
fn text_of(secret: &Secret) -> String {
    String::from_utf8_lossy(&secret.0).into_owned()
}

impl UserAdd {
    fn to_wire(&self) -> pb::AuthUserAddRequest {
        pb::AuthUserAddRequest {
            name: self.name.clone(),
            password: String::new(),
            options: Some(authpb::UserAddOptions { no_password: self.no_password }),
            hashed_password: text_of(&self.hashed_password),
        }
    }
}

impl Permission {
    /// The permission that a message states.
    #[must_use]
    pub fn from_wire(wire: authpb::Permission) -> Self {
        use authpb::permission::Type;
        let kind = match Type::try_from(wire.perm_type) {
            Ok(Type::Read) => PermissionKind::Read,
            Ok(Type::Write) => PermissionKind::Write,
            Ok(Type::Readwrite) => PermissionKind::ReadWrite,
            Err(_) => PermissionKind::Unknown(wire.perm_type),
        };
        Self { kind, range: KeyRange::from_wire(wire.key, wire.range_end) }
    }

    /// The message that states it.
    #[must_use]
    pub fn to_wire(&self) -> authpb::Permission {
        use authpb::permission::Type;
        let perm_type = match self.kind {
            PermissionKind::Read => Type::Read.into(),
            PermissionKind::Write => Type::Write.into(),
            PermissionKind::ReadWrite => Type::Readwrite.into(),
            PermissionKind::Unknown(number) => number,
        };
        authpb::Permission { perm_type, key: self.range.start.0.clone(), range_end: self.range.wire_end() }
    }
}
