//! Users, roles and permissions.

use crate::{Client, Error, KeyRange, ResponseHeader, Result, rpc::method, types::header};
use futures::future::BoxFuture;
use prost::Message;
use std::{fmt, future::IntoFuture};
use tenure_api::{authpb, etcdserverpb as pb};

impl Client {
    /// Users, roles, permissions, and authentication on and off.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyRange, Permission};
    ///
    /// let auth = client.auth();
    /// auth.role_add("app").await?;
    /// auth.role_grant_permission("app", Permission::read_write(KeyRange::prefix("app/"))).await?;
    /// auth.user_add("alice", "secret").await?;
    /// auth.user_grant_role("alice", "app").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn auth(&self) -> Auth {
        Auth { client: self.clone() }
    }
}

/// Users, roles, permissions, and authentication on and off. From [`Client::auth`]; cheap to clone.
///
/// They belong to the cluster as a whole, so the keys of permissions are complete keys: the namespace of a client
/// ([`Client::with_namespace`]) is not put before them.
///
/// Once authentication is on, everything here but [`Auth::authenticate`] needs the role `root`; users may look at themselves and at
/// their roles. All methods fail with [`PermissionDenied`](crate::EtcdError::PermissionDenied) otherwise. No change is
/// sent twice: after [`Error::ConnectionLost`] look whether it took effect.
///
/// ```no_run
/// use tenure_client::{Client, KeyRange, Permission};
///
/// /// What has to be there before authentication can be turned on, and one user who may only read.
/// async fn secure(client: &Client) -> tenure_client::Result<()> {
///     let auth = client.auth();
///     auth.user_add("root", "a long secret").await?;
///     auth.role_add("root").await?;
///     auth.user_grant_role("root", "root").await?;
///
///     auth.role_add("reader").await?;
///     auth.role_grant_permission("reader", Permission::read(KeyRange::prefix("app/"))).await?;
///     auth.user_add("dashboard", "another secret").await?;
///     auth.user_grant_role("dashboard", "reader").await?;
///
///     auth.enable().await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Auth {
    client: Client,
}

/// What a permission allows.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// use tenure_client::{KeyRange, Permission, PermissionKind};
///
/// let permission = Permission { kind: PermissionKind::ReadWrite, range: KeyRange::key("counter") };
/// client.auth().role_grant_permission("app", permission).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionKind {
    /// Reading and watching.
    Read,
    /// Writing and deleting.
    Write,
    /// Both.
    ReadWrite,
}

/// What a role allows on a range of keys.
///
/// ```
/// use tenure_client::{KeyRange, Permission, PermissionKind};
///
/// let permission = Permission::read(KeyRange::prefix("app/"));
/// assert_eq!(permission.kind, PermissionKind::Read);
/// assert!(permission.range.contains("app/mode"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What.
    pub kind: PermissionKind,
    /// On which keys.
    pub range: KeyRange,
}

impl Permission {
    /// Reading and watching these keys.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyRange, Permission};
    ///
    /// client.auth().role_grant_permission("reader", Permission::read(KeyRange::prefix("app/"))).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn read(keys: impl Into<KeyRange>) -> Self {
        Permission { kind: PermissionKind::Read, range: keys.into() }
    }

    /// Writing and deleting these keys.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyRange, Permission};
    ///
    /// // One who reports, and need not see what others report.
    /// client.auth().role_grant_permission("sensor", Permission::write(KeyRange::prefix("metrics/"))).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn write(keys: impl Into<KeyRange>) -> Self {
        Permission { kind: PermissionKind::Write, range: keys.into() }
    }

    /// Everything with these keys.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyRange, Permission};
    ///
    /// client.auth().role_grant_permission("operator", Permission::read_write(KeyRange::all())).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn read_write(keys: impl Into<KeyRange>) -> Self {
        Permission { kind: PermissionKind::ReadWrite, range: keys.into() }
    }
}

impl From<Permission> for authpb::Permission {
    fn from(permission: Permission) -> Self {
        use authpb::permission::Type;
        let kind = match permission.kind {
            PermissionKind::Read => Type::Read,
            PermissionKind::Write => Type::Write,
            PermissionKind::ReadWrite => Type::Readwrite,
        };
        let KeyRange { key, end } = permission.range;
        authpb::Permission { perm_type: kind as i32, key, range_end: end }
    }
}

impl TryFrom<authpb::Permission> for Permission {
    type Error = Error;

    fn try_from(permission: authpb::Permission) -> Result<Self> {
        use authpb::permission::Type;
        let kind = match Type::try_from(permission.perm_type) {
            Ok(Type::Read) => PermissionKind::Read,
            Ok(Type::Write) => PermissionKind::Write,
            Ok(Type::Readwrite) => PermissionKind::ReadWrite,
            Err(_) => return Err(Error::Protocol("a permission of an unknown kind")),
        };
        Ok(Permission { kind, range: KeyRange { key: permission.key, end: permission.range_end } })
    }
}

/// The answer to a change of users, roles or authentication.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.auth().role_add("app").await?;
/// println!("done by member {}", answer.header.member_id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthResponse {
    /// Server and store.
    pub header: ResponseHeader,
}

/// Whether authentication is on.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let status = client.auth().status().await?;
/// println!("on: {}, revision {}", status.is_enabled, status.auth_revision);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuthStatusResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// Whether it is on.
    pub is_enabled: bool,
    /// Counts the changes of users, roles and permissions.
    pub auth_revision: u64,
}

/// A token. It is not shown by `Debug`.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let answer = client.auth().authenticate("alice", "secret").await?;
/// assert!(!format!("{answer:?}").contains(&answer.token), "the token does not get into logs");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct AuthenticateResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// What calls carry from then on: see [`ClientConfig::token`](crate::ClientConfig::token).
    pub token: String,
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateResponse").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A user.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let user = client.auth().user_get("alice").await?;
/// println!("alice is {}", user.roles.join(", "));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserGetResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// The names of its roles.
    pub roles: Vec<String>,
}

/// All users.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// for name in client.auth().user_list().await?.users {
///     println!("{name}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserListResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// Their names.
    pub users: Vec<String>,
}

/// A role.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// for permission in client.auth().role_get("app").await?.permissions {
///     println!("{:?} {:?}", permission.kind, permission.range);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleGetResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// What it allows.
    pub permissions: Vec<Permission>,
}

/// All roles.
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// for name in client.auth().role_list().await?.roles {
///     println!("{name}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleListResponse {
    /// Server and store.
    pub header: ResponseHeader,
    /// Their names.
    pub roles: Vec<String>,
}

/// Has the answers that say nothing but that it is done share one type.
macro_rules! bare_answers {
    ($($answer:ident)*) => {
        $(impl From<pb::$answer> for AuthResponse {
            fn from(answer: pb::$answer) -> Self {
                AuthResponse { header: header(answer.header) }
            }
        })*
    };
}

bare_answers! {
    AuthEnableResponse AuthDisableResponse AuthUserAddResponse AuthUserDeleteResponse AuthUserChangePasswordResponse
    AuthUserGrantRoleResponse AuthUserRevokeRoleResponse AuthRoleAddResponse AuthRoleDeleteResponse
    AuthRoleGrantPermissionResponse AuthRoleRevokePermissionResponse
}

impl Auth {
    async fn change<R>(&self, method: &'static method::Method, request: &impl Message) -> Result<AuthResponse>
    where
        R: Message + Default + Into<AuthResponse> + 'static,
    {
        let response: R = self.client.unary(method, request).await?;
        Ok(response.into())
    }

    /// Turns authentication on. From then on every call needs a user or a token: see [`ClientConfig::user`](crate::ClientConfig::user).
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::EtcdError;
    ///
    /// match client.auth().enable().await {
    ///     Err(error) if error.is(EtcdError::RootUserNotExist) => println!("make the user root first"),
    ///     Err(error) if error.is(EtcdError::RootRoleNotExist) => println!("give root the role root first"),
    ///     answer => println!("on since revision {}", answer?.header.revision),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RootUserNotExist`](crate::EtcdError::RootUserNotExist) and [`RootRoleNotExist`](crate::EtcdError::RootRoleNotExist)
    /// until there is a user `root` with the role `root`.
    pub async fn enable(&self) -> Result<AuthResponse> {
        self.change::<pb::AuthEnableResponse>(&method::AUTH_ENABLE, &pb::AuthEnableRequest {}).await
    }

    /// Turns authentication off. Users and roles stay, tokens do not. That it is off already is no error.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// // By a client that has logged in as root.
    /// client.auth().disable().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Auth`].
    pub async fn disable(&self) -> Result<AuthResponse> {
        self.change::<pb::AuthDisableResponse>(&method::AUTH_DISABLE, &pb::AuthDisableRequest {}).await
    }

    /// Whether authentication is on. etcd 3.7 and Tenure tell everybody, etcd 3.5 and 3.6 tell `root` once it is on, etcd 3.4 does not
    /// know the question.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// if !client.auth().status().await?.is_enabled {
    ///     println!("everybody may do everything");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Auth`].
    pub async fn status(&self) -> Result<AuthStatusResponse> {
        let response: pb::AuthStatusResponse =
            self.client.unary(&method::AUTH_STATUS, &pb::AuthStatusRequest {}).await?;
        Ok(AuthStatusResponse {
            header: header(response.header),
            is_enabled: response.enabled,
            auth_revision: response.auth_revision,
        })
    }

    /// Fetches a token for a user. A client with [`ClientConfig::user`](crate::ClientConfig::user) does so by itself; this one's token is
    /// not changed.
    ///
    /// ```no_run
    /// use tenure_client::{Client, ClientConfig};
    ///
    /// # async fn example(client: Client) -> tenure_client::Result<()> {
    /// // Hands somebody a token instead of the password.
    /// let token = client.auth().authenticate("alice", "secret").await?.token;
    /// let alice = Client::connect(ClientConfig::new(client.endpoints()).token(token)).await?;
    /// # drop(alice);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AuthFailed`](crate::EtcdError::AuthFailed) for a wrong name or password, [`AuthNotEnabled`](crate::EtcdError::AuthNotEnabled).
    pub async fn authenticate(
        &self,
        name: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<AuthenticateResponse> {
        let request = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        let response: pb::AuthenticateResponse = self.client.unary(&method::AUTHENTICATE, &request).await?;
        Ok(AuthenticateResponse { header: header(response.header), token: response.token })
    }

    /// Makes a user: `auth.user_add("alice", "secret").await?`. One that proves itself with a certificate alone:
    /// `auth.user_add("node-1", "").no_password().await?`.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::EtcdError;
    ///
    /// match client.auth().user_add("alice", "secret").await {
    ///     Err(error) if error.is(EtcdError::UserAlreadyExist) => println!("alice is there already"),
    ///     answer => drop(answer?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UserAlreadyExist`](crate::EtcdError::UserAlreadyExist), [`UserEmpty`](crate::EtcdError::UserEmpty) for an empty name.
    pub fn user_add(&self, name: impl Into<String>, password: impl Into<String>) -> UserAdd {
        UserAdd {
            auth: self.clone(),
            request: pb::AuthUserAddRequest {
                name: name.into(),
                password: password.into(),
                ..Default::default()
            },
        }
    }

    /// Removes a user, and its tokens.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.auth().user_delete("alice").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UserNotFound`](crate::EtcdError::UserNotFound), [`InvalidAuthMgmt`](crate::EtcdError::InvalidAuthMgmt) for `root` while
    /// authentication is on.
    pub async fn user_delete(&self, name: impl Into<String>) -> Result<AuthResponse> {
        let request = pb::AuthUserDeleteRequest { name: name.into() };
        self.change::<pb::AuthUserDeleteResponse>(&method::USER_DELETE, &request).await
    }

    /// Sets a user's password, and ends its tokens.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.auth().user_change_password("alice", "a new secret").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UserNotFound`](crate::EtcdError::UserNotFound).
    pub async fn user_change_password(
        &self,
        name: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<AuthResponse> {
        let request = pb::AuthUserChangePasswordRequest {
            name: name.into(),
            password: password.into(),
            ..Default::default()
        };
        self.change::<pb::AuthUserChangePasswordResponse>(&method::USER_CHANGE_PASSWORD, &request).await
    }

    /// Gives a user a role. The role `root` allows everything.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.auth().user_grant_role("alice", "app").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UserNotFound`](crate::EtcdError::UserNotFound), [`RoleNotFound`](crate::EtcdError::RoleNotFound).
    pub async fn user_grant_role(
        &self,
        user: impl Into<String>,
        role: impl Into<String>,
    ) -> Result<AuthResponse> {
        let request = pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() };
        self.change::<pb::AuthUserGrantRoleResponse>(&method::USER_GRANT_ROLE, &request).await
    }

    /// A user's roles.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let is_root = client.auth().user_get("alice").await?.roles.iter().any(|role| role == "root");
    /// println!("alice may do everything: {is_root}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UserNotFound`](crate::EtcdError::UserNotFound).
    pub async fn user_get(&self, name: impl Into<String>) -> Result<UserGetResponse> {
        let request = pb::AuthUserGetRequest { name: name.into() };
        let response: pb::AuthUserGetResponse = self.client.unary(&method::USER_GET, &request).await?;
        Ok(UserGetResponse { header: header(response.header), roles: response.roles })
    }

    /// The names of all users.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let auth = client.auth();
    /// for user in auth.user_list().await?.users {
    ///     println!("{user}: {}", auth.user_get(&user).await?.roles.join(", "));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Auth`].
    pub async fn user_list(&self) -> Result<UserListResponse> {
        let response: pb::AuthUserListResponse =
            self.client.unary(&method::USER_LIST, &pb::AuthUserListRequest {}).await?;
        Ok(UserListResponse { header: header(response.header), users: response.users })
    }

    /// Takes a role from a user.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::EtcdError;
    ///
    /// match client.auth().user_revoke_role("alice", "app").await {
    ///     Err(error) if error.is(EtcdError::RoleNotGranted) => println!("alice did not have it"),
    ///     answer => drop(answer?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`UserNotFound`](crate::EtcdError::UserNotFound), [`RoleNotGranted`](crate::EtcdError::RoleNotGranted),
    /// [`InvalidAuthMgmt`](crate::EtcdError::InvalidAuthMgmt) for the role `root` of `root` while authentication is on.
    pub async fn user_revoke_role(
        &self,
        user: impl Into<String>,
        role: impl Into<String>,
    ) -> Result<AuthResponse> {
        let request = pb::AuthUserRevokeRoleRequest { name: user.into(), role: role.into() };
        self.change::<pb::AuthUserRevokeRoleResponse>(&method::USER_REVOKE_ROLE, &request).await
    }

    /// Makes a role, which allows nothing yet.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyRange, Permission};
    ///
    /// client.auth().role_add("app").await?;
    /// client.auth().role_grant_permission("app", Permission::read_write(KeyRange::prefix("app/"))).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RoleAlreadyExist`](crate::EtcdError::RoleAlreadyExist), [`RoleEmpty`](crate::EtcdError::RoleEmpty) for an empty name.
    pub async fn role_add(&self, name: impl Into<String>) -> Result<AuthResponse> {
        let request = pb::AuthRoleAddRequest { name: name.into() };
        self.change::<pb::AuthRoleAddResponse>(&method::ROLE_ADD, &request).await
    }

    /// Has a role allow something. A permission of the same range is replaced.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::{KeyRange, Permission};
    ///
    /// let auth = client.auth();
    /// auth.role_grant_permission("app", Permission::read_write(KeyRange::prefix("app/"))).await?;
    /// // What everybody may know, in addition.
    /// auth.role_grant_permission("app", Permission::read("mode")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RoleNotFound`](crate::EtcdError::RoleNotFound), [`InvalidAuthMgmt`](crate::EtcdError::InvalidAuthMgmt) for a range that ends
    /// before it begins.
    pub async fn role_grant_permission(
        &self,
        role: impl Into<String>,
        permission: Permission,
    ) -> Result<AuthResponse> {
        let request = pb::AuthRoleGrantPermissionRequest { name: role.into(), perm: Some(permission.into()) };
        self.change::<pb::AuthRoleGrantPermissionResponse>(&method::ROLE_GRANT_PERMISSION, &request).await
    }

    /// What a role allows.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::PermissionKind;
    ///
    /// let role = client.auth().role_get("app").await?;
    /// let writes = role.permissions.iter().filter(|permission| permission.kind != PermissionKind::Read);
    /// for permission in writes {
    ///     println!("may write {:?}", permission.range);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RoleNotFound`](crate::EtcdError::RoleNotFound).
    pub async fn role_get(&self, role: impl Into<String>) -> Result<RoleGetResponse> {
        let request = pb::AuthRoleGetRequest { role: role.into() };
        let response: pb::AuthRoleGetResponse = self.client.unary(&method::ROLE_GET, &request).await?;
        let permissions: Result<Vec<Permission>> =
            response.perm.into_iter().map(Permission::try_from).collect();
        Ok(RoleGetResponse { header: header(response.header), permissions: permissions? })
    }

    /// The names of all roles.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let auth = client.auth();
    /// for role in auth.role_list().await?.roles {
    ///     println!("{role}: {:?}", auth.role_get(&role).await?.permissions);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Auth`].
    pub async fn role_list(&self) -> Result<RoleListResponse> {
        let response: pb::AuthRoleListResponse =
            self.client.unary(&method::ROLE_LIST, &pb::AuthRoleListRequest {}).await?;
        Ok(RoleListResponse { header: header(response.header), roles: response.roles })
    }

    /// Takes a permission from a role: that of exactly this range.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// use tenure_client::KeyRange;
    ///
    /// // The range as it was granted: a part of it is not found.
    /// client.auth().role_revoke_permission("app", KeyRange::prefix("app/")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RoleNotFound`](crate::EtcdError::RoleNotFound), [`PermissionNotGranted`](crate::EtcdError::PermissionNotGranted).
    pub async fn role_revoke_permission(
        &self,
        role: impl Into<String>,
        range: KeyRange,
    ) -> Result<AuthResponse> {
        let KeyRange { key, end } = range;
        let request = pb::AuthRoleRevokePermissionRequest { role: role.into(), key, range_end: end };
        self.change::<pb::AuthRoleRevokePermissionResponse>(&method::ROLE_REVOKE_PERMISSION, &request).await
    }

    /// Removes a role, also from all users that have it.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.auth().role_delete("app").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RoleNotFound`](crate::EtcdError::RoleNotFound), [`InvalidAuthMgmt`](crate::EtcdError::InvalidAuthMgmt) for `root` while
    /// authentication is on.
    pub async fn role_delete(&self, role: impl Into<String>) -> Result<AuthResponse> {
        let request = pb::AuthRoleDeleteRequest { role: role.into() };
        self.change::<pb::AuthRoleDeleteResponse>(&method::ROLE_DELETE, &request).await
    }
}

/// A user that is being made, from [`Auth::user_add`].
///
/// ```no_run
/// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
/// let auth = client.auth();
/// auth.user_add("alice", "secret").await?;
/// // Known by the common name of its certificate.
/// auth.user_add("node-1", "").no_password().await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens until it is awaited"]
pub struct UserAdd {
    auth: Auth,
    request: pb::AuthUserAddRequest,
}

impl UserAdd {
    /// Makes a user that cannot log in with a password, only with a certificate that names it. A password that was given is dropped.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// client.auth().user_add("node-1", "").no_password().await?;
    /// client.auth().user_grant_role("node-1", "node").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn no_password(mut self) -> Self {
        self.request.password.clear();
        self.request.options = Some(authpb::UserAddOptions { no_password: true });
        self
    }

    /// Sends a bcrypt hash, in base64, beside the password. The servers of etcd up to 3.7 make the hash themselves and overwrite this
    /// one: the field is there for those that do not.
    ///
    /// ```no_run
    /// # async fn example(client: tenure_client::Client) -> tenure_client::Result<()> {
    /// let hash = "JDJhJDEwJE4uLi4="; // bcrypt, in base64
    /// client.auth().user_add("alice", "secret").hashed_password(hash).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn hashed_password(mut self, hash: impl Into<String>) -> Self {
        self.request.hashed_password = hash.into();
        self
    }
}

impl fmt::Debug for UserAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAdd").field("name", &self.request.name).finish_non_exhaustive()
    }
}

impl IntoFuture for UserAdd {
    type Output = Result<AuthResponse>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.auth.change::<pb::AuthUserAddResponse>(&method::USER_ADD, &self.request).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let answer = AuthenticateResponse { token: "SECRET".to_owned(), ..Default::default() };
        assert!(!format!("{answer:?}").contains("SECRET"));
    }

    #[test]
    fn a_permission_of_an_unknown_kind_is_an_error() {
        let permission = authpb::Permission { perm_type: 9, ..Default::default() };
        assert!(matches!(Permission::try_from(permission), Err(Error::Protocol(_))));
        let permission = Permission::read_write(KeyRange::prefix("a"));
        assert_eq!(Permission::try_from(authpb::Permission::from(permission.clone())).unwrap(), permission);
    }
}
