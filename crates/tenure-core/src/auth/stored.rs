//! Users and roles as etcd's buckets hold them.

use crate::command::Permission;
use crate::effects::{AuthRole, AuthUser};
use crate::types::Secret;
use bytes::Bytes;
use prost::Message;
use tenure_api::authpb;

impl AuthUser {
    /// The bytes of the value in etcd's bucket `authUsers`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let user = authpb::User {
            name: Bytes::copy_from_slice(self.name.as_bytes()),
            password: self.password_hash.0.clone(),
            roles: self.roles.clone(),
            options: Some(authpb::UserAddOptions { no_password: self.no_password }),
        };
        user.encode_to_vec()
    }

    /// The user that such bytes hold; nothing if they are not one.
    #[must_use]
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let user = authpb::User::decode(bytes).ok()?;
        Some(Self {
            name: String::from_utf8(user.name.into()).ok()?,
            password_hash: Secret(user.password),
            roles: user.roles,
            no_password: user.options.is_some_and(|options| options.no_password),
        })
    }
}

impl AuthRole {
    /// The bytes of the value in etcd's bucket `authRoles`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let role = authpb::Role {
            name: Bytes::copy_from_slice(self.name.as_bytes()),
            key_permission: self.permissions.iter().map(Permission::to_wire).collect(),
        };
        role.encode_to_vec()
    }

    /// The role that such bytes hold; nothing if they are not one.
    #[must_use]
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let role = authpb::Role::decode(bytes).ok()?;
        Some(Self {
            name: String::from_utf8(role.name.into()).ok()?,
            permissions: role.key_permission.into_iter().map(Permission::from_wire).collect(),
        })
    }
}
