//! The RPCs of authentication.

use super::{Connection, Sends};
use crate::exit::Failure;
use tenure_api::etcdserverpb::{self as pb, auth_client::AuthClient};

macro_rules! calls {
    ($($method:ident $rpc:ident($($request:ident)?: $Request:ident) -> $Response:ident, $sends:ident;)*) => {
        impl Connection {
            $(
                #[doc = concat!("`Auth.", stringify!($rpc), "`.")]
                ///
                /// # Errors
                /// As [`Connection::range`].
                pub async fn $method(&self $(, $request: pb::$Request)?) -> Result<pb::$Response, Failure> {
                    let name = concat!("/etcdserverpb.Auth/", stringify!($rpc));
                    let message = calls!(@message $Request $($request)?);
                    self.unary(name, Sends::$sends, message, |channel, request| {
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
    auth_enable AuthEnable(: AuthEnableRequest) -> AuthEnableResponse, Once;
    auth_disable AuthDisable(: AuthDisableRequest) -> AuthDisableResponse, Once;
    auth_status AuthStatus(: AuthStatusRequest) -> AuthStatusResponse, Once;
    user_add UserAdd(request: AuthUserAddRequest) -> AuthUserAddResponse, Once;
    user_delete UserDelete(request: AuthUserDeleteRequest) -> AuthUserDeleteResponse, Once;
    user_change_password UserChangePassword(request: AuthUserChangePasswordRequest)
        -> AuthUserChangePasswordResponse, Once;
    user_grant_role UserGrantRole(request: AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse, Once;
    user_revoke_role UserRevokeRole(request: AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse, Once;
    role_add RoleAdd(request: AuthRoleAddRequest) -> AuthRoleAddResponse, Once;
    role_delete RoleDelete(request: AuthRoleDeleteRequest) -> AuthRoleDeleteResponse, Once;
    role_grant_permission RoleGrantPermission(request: AuthRoleGrantPermissionRequest)
        -> AuthRoleGrantPermissionResponse, Once;
    role_revoke_permission RoleRevokePermission(request: AuthRoleRevokePermissionRequest)
        -> AuthRoleRevokePermissionResponse, Once;
    user_get UserGet(request: AuthUserGetRequest) -> AuthUserGetResponse, Repeatable;
    role_get RoleGet(request: AuthRoleGetRequest) -> AuthRoleGetResponse, Repeatable;
    user_list UserList(: AuthUserListRequest) -> AuthUserListResponse, Repeatable;
    role_list RoleList(: AuthRoleListRequest) -> AuthRoleListResponse, Repeatable;
}
