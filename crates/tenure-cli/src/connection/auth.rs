//! The RPCs of authentication.

use super::{Connection, Sends};
use crate::exit::Failure;
use tenure_api::etcdserverpb::{self as pb, auth_client::AuthClient};

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident $rpc:literal $method:ident($($request:ident)?: $Request:ident) -> $Response:ident, $sends:ident;)*) => {
        impl Connection {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As [`Connection::range`].
                pub async fn $name(&self $(, $request: pb::$Request)?) -> Result<pb::$Response, Failure> {
                    let message = calls!(@message $Request $($request)?);
                    self.unary($rpc, Sends::$sends, message, |channel, request| {
                        let mut client = AuthClient::new(channel);
                        async move { client.$method(request).await }
                    })
                    .await
                }
            )*
        }
    };
    (@message $Request:ident $request:ident) => { $request };
    (@message $Request:ident) => { pb::$Request {} };
}

calls! {
    /// `Auth.AuthEnable`.
    auth_enable "/etcdserverpb.Auth/AuthEnable" auth_enable(: AuthEnableRequest) -> AuthEnableResponse, Once;
    /// `Auth.AuthDisable`.
    auth_disable "/etcdserverpb.Auth/AuthDisable" auth_disable(: AuthDisableRequest) -> AuthDisableResponse, Once;
    /// `Auth.AuthStatus`.
    auth_status "/etcdserverpb.Auth/AuthStatus" auth_status(: AuthStatusRequest) -> AuthStatusResponse, Once;
    /// `Auth.UserAdd`.
    user_add "/etcdserverpb.Auth/UserAdd" user_add(request: AuthUserAddRequest) -> AuthUserAddResponse, Once;
    /// `Auth.UserDelete`.
    user_delete "/etcdserverpb.Auth/UserDelete" user_delete(request: AuthUserDeleteRequest) -> AuthUserDeleteResponse, Once;
    /// `Auth.UserChangePassword`.
    user_change_password "/etcdserverpb.Auth/UserChangePassword" user_change_password(request: AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse, Once;
    /// `Auth.UserGrantRole`.
    user_grant_role "/etcdserverpb.Auth/UserGrantRole" user_grant_role(request: AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse, Once;
    /// `Auth.UserRevokeRole`.
    user_revoke_role "/etcdserverpb.Auth/UserRevokeRole" user_revoke_role(request: AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse, Once;
    /// `Auth.RoleAdd`.
    role_add "/etcdserverpb.Auth/RoleAdd" role_add(request: AuthRoleAddRequest) -> AuthRoleAddResponse, Once;
    /// `Auth.RoleDelete`.
    role_delete "/etcdserverpb.Auth/RoleDelete" role_delete(request: AuthRoleDeleteRequest) -> AuthRoleDeleteResponse, Once;
    /// `Auth.RoleGrantPermission`.
    role_grant_permission "/etcdserverpb.Auth/RoleGrantPermission" role_grant_permission(request: AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse, Once;
    /// `Auth.RoleRevokePermission`.
    role_revoke_permission "/etcdserverpb.Auth/RoleRevokePermission" role_revoke_permission(request: AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse, Once;
    /// `Auth.UserGet`.
    user_get "/etcdserverpb.Auth/UserGet" user_get(request: AuthUserGetRequest) -> AuthUserGetResponse, Repeatable;
    /// `Auth.RoleGet`.
    role_get "/etcdserverpb.Auth/RoleGet" role_get(request: AuthRoleGetRequest) -> AuthRoleGetResponse, Repeatable;
    /// `Auth.UserList`.
    user_list "/etcdserverpb.Auth/UserList" user_list(: AuthUserListRequest) -> AuthUserListResponse, Repeatable;
    /// `Auth.RoleList`.
    role_list "/etcdserverpb.Auth/RoleList" role_list(: AuthRoleListRequest) -> AuthRoleListResponse, Repeatable;
}
