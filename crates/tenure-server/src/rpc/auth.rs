//! The Auth service.

use crate::auth::Caller;
use crate::member::{LogInError, Member};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tenure_api::error::{EtcdError, UnlistedError};
use tenure_api::etcdserverpb as pb;
use tenure_api::server::etcdserverpb::auth_server::Auth;
use tenure_core::auth::{self, ROOT_ROLE};
use tenure_core::command::{
    AuthCommand, Command, Permission, PermissionKind, RoleGrantPermission, RoleRevokePermission, UserAdd,
    UserChangePassword, UserRole,
};
use tenure_core::state::{self, Access, AuthRole};
use tenure_core::types::{Key, KeyRange, RangeEnd, Secret};
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct AuthService {
    member: Member,
}

impl AuthService {
    /// The service of a member.
    #[must_use]
    pub fn new(member: Member) -> Self {
        Self { member }
    }

    fn header(&self) -> Option<pb::ResponseHeader> {
        Some(self.member.headers().at(self.member.revision()))
    }

    /// Has the change made that a request asks for: the header of the answer.
    async fn change<T>(
        &self,
        request: Request<T>,
        command_of: impl FnOnce(T) -> AuthCommand,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        let caller = Caller::of(&request);
        self.propose(&caller, command_of(request.into_inner())).await
    }

    async fn propose(
        &self,
        caller: &Caller,
        command: AuthCommand,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        match self.member.propose(caller, Command::Auth(command)).await? {
            state::Response::Done(revision) => Ok(Some(self.member.headers().at(revision))),
            other => Err(super::unexpected(&other)),
        }
    }

    async fn hashed(&self, caller: &Caller, password: String) -> Result<Secret, Status> {
        Ok(self.member.hash_password(caller, password.into()).await?)
    }
}

impl From<LogInError> for Status {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::Etcd(error) => error.into(),
            LogInError::Unlisted(error) => error.into(),
            LogInError::TooLong | LogInError::NotHashed => Status::unknown(error.to_string()),
        }
    }
}

/// What a role may do, as it is shown: `root` may do everything, whatever was granted to it (A12).
fn shown(role: &AuthRole) -> Vec<tenure_api::authpb::Permission> {
    if role.name == ROOT_ROLE {
        let range = KeyRange { start: Key::from(""), end: RangeEnd::Open };
        return vec![Permission { kind: PermissionKind::ReadWrite, range }.to_wire()];
    }
    role.permissions.iter().map(Permission::to_wire).collect()
}

#[tonic::async_trait]
impl Auth for AuthService {
    async fn auth_enable(
        &self,
        request: Request<pb::AuthEnableRequest>,
    ) -> Result<Response<pb::AuthEnableResponse>, Status> {
        let header = self.change(request, |_| AuthCommand::Enable).await?;
        Ok(Response::new(pb::AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<pb::AuthDisableRequest>,
    ) -> Result<Response<pb::AuthDisableResponse>, Status> {
        let header = self.change(request, |_| AuthCommand::Disable).await?;
        Ok(Response::new(pb::AuthDisableResponse { header }))
    }

    /// Open to everybody, unlike in etcd before 3.7.
    async fn auth_status(
        &self,
        request: Request<pb::AuthStatusRequest>,
    ) -> Result<Response<pb::AuthStatusResponse>, Status> {
        let caller = Caller::of(&request);
        let status = |auth: &auth::Auth| (auth.is_enabled(), auth.revision());
        let (enabled, auth_revision) = self.member.auth(&caller, None, status).await?;
        Ok(Response::new(pb::AuthStatusResponse { header: self.header(), enabled, auth_revision }))
    }

    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        let pb::AuthenticateRequest { name, password } = request.into_inner();
        let token = self.member.log_in(&name, password.into()).await?;
        Ok(Response::new(pb::AuthenticateResponse { header: self.header(), token }))
    }

    /// A hash that the client brings is overwritten, a password of somebody who shall have none is dropped (A8).
    async fn user_add(
        &self,
        request: Request<pb::AuthUserAddRequest>,
    ) -> Result<Response<pb::AuthUserAddResponse>, Status> {
        let caller = Caller::of(&request);
        let pb::AuthUserAddRequest { name, password, options, .. } = request.into_inner();
        let no_password = options.is_some_and(|options| options.no_password);
        let hashed_password =
            if no_password { Secret::default() } else { self.hashed(&caller, password).await? };
        let add = AuthCommand::UserAdd(UserAdd { name, hashed_password, no_password });
        let header = self.propose(&caller, add).await?;
        Ok(Response::new(pb::AuthUserAddResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<pb::AuthUserGetRequest>,
    ) -> Result<Response<pb::AuthUserGetResponse>, Status> {
        let caller = Caller::of(&request);
        let pb::AuthUserGetRequest { name } = request.into_inner();
        let roles = |auth: &auth::Auth| auth.user(&name).map(|user| user.roles.clone());
        let roles = self.member.auth(&caller, Some(Access::UserGet(&name)), roles).await?;
        let roles = roles.ok_or(EtcdError::UserNotFound)?;
        Ok(Response::new(pb::AuthUserGetResponse { header: self.header(), roles }))
    }

    async fn user_list(
        &self,
        request: Request<pb::AuthUserListRequest>,
    ) -> Result<Response<pb::AuthUserListResponse>, Status> {
        let caller = Caller::of(&request);
        let names = |auth: &auth::Auth| auth.users().map(|user| user.name.clone()).collect();
        let users = self.member.auth(&caller, Some(Access::Admin), names).await?;
        Ok(Response::new(pb::AuthUserListResponse { header: self.header(), users }))
    }

    async fn user_delete(
        &self,
        request: Request<pb::AuthUserDeleteRequest>,
    ) -> Result<Response<pb::AuthUserDeleteResponse>, Status> {
        let header = self.change(request, |asked| AuthCommand::UserDelete(asked.name)).await?;
        Ok(Response::new(pb::AuthUserDeleteResponse { header }))
    }

    /// A hash that the client brings counts if there is no password (A8).
    async fn user_change_password(
        &self,
        request: Request<pb::AuthUserChangePasswordRequest>,
    ) -> Result<Response<pb::AuthUserChangePasswordResponse>, Status> {
        let caller = Caller::of(&request);
        let pb::AuthUserChangePasswordRequest { name, password, hashed_password } = request.into_inner();
        let hashed_password = if !password.is_empty() {
            self.hashed(&caller, password).await?
        } else if STANDARD.decode(&hashed_password).is_ok() {
            hashed_password.into()
        } else {
            self.member.authorize(&caller, Access::Admin).await?;
            return Err(UnlistedError::NoPasswordUser.into());
        };
        let change = AuthCommand::UserChangePassword(UserChangePassword { name, hashed_password });
        let header = self.propose(&caller, change).await?;
        Ok(Response::new(pb::AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<pb::AuthUserGrantRoleRequest>,
    ) -> Result<Response<pb::AuthUserGrantRoleResponse>, Status> {
        let header = self
            .change(request, |asked| {
                AuthCommand::UserGrantRole(UserRole { user: asked.user, role: asked.role })
            })
            .await?;
        Ok(Response::new(pb::AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<pb::AuthUserRevokeRoleRequest>,
    ) -> Result<Response<pb::AuthUserRevokeRoleResponse>, Status> {
        let header = self
            .change(request, |asked| {
                AuthCommand::UserRevokeRole(UserRole { user: asked.name, role: asked.role })
            })
            .await?;
        Ok(Response::new(pb::AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<pb::AuthRoleAddRequest>,
    ) -> Result<Response<pb::AuthRoleAddResponse>, Status> {
        let header = self.change(request, |asked| AuthCommand::RoleAdd(asked.name)).await?;
        Ok(Response::new(pb::AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<pb::AuthRoleGetRequest>,
    ) -> Result<Response<pb::AuthRoleGetResponse>, Status> {
        let caller = Caller::of(&request);
        let pb::AuthRoleGetRequest { role } = request.into_inner();
        let permissions = |auth: &auth::Auth| auth.role(&role).map(shown);
        let permissions = self.member.auth(&caller, Some(Access::RoleGet(&role)), permissions).await?;
        let perm = permissions.ok_or(EtcdError::RoleNotFound)?;
        Ok(Response::new(pb::AuthRoleGetResponse { header: self.header(), perm }))
    }

    async fn role_list(
        &self,
        request: Request<pb::AuthRoleListRequest>,
    ) -> Result<Response<pb::AuthRoleListResponse>, Status> {
        let caller = Caller::of(&request);
        let names = |auth: &auth::Auth| auth.roles().map(|role| role.name.clone()).collect();
        let roles = self.member.auth(&caller, Some(Access::Admin), names).await?;
        Ok(Response::new(pb::AuthRoleListResponse { header: self.header(), roles }))
    }

    async fn role_delete(
        &self,
        request: Request<pb::AuthRoleDeleteRequest>,
    ) -> Result<Response<pb::AuthRoleDeleteResponse>, Status> {
        let header = self.change(request, |asked| AuthCommand::RoleDelete(asked.role)).await?;
        Ok(Response::new(pb::AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<pb::AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<pb::AuthRoleGrantPermissionResponse>, Status> {
        let header = self
            .change(request, |asked| {
                let permission = asked.perm.map(Permission::from_wire);
                AuthCommand::RoleGrantPermission(RoleGrantPermission { role: asked.name, permission })
            })
            .await?;
        Ok(Response::new(pb::AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<pb::AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<pb::AuthRoleRevokePermissionResponse>, Status> {
        let header = self
            .change(request, |asked| {
                let range = KeyRange::from_wire(asked.key, asked.range_end);
                AuthCommand::RoleRevokePermission(RoleRevokePermission { role: asked.role, range })
            })
            .await?;
        Ok(Response::new(pb::AuthRoleRevokePermissionResponse { header }))
    }
}
