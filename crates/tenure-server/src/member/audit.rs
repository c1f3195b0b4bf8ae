//! What the log says of changes of users and roles, in etcd's words. Never a password, a hash or a token.

use tenure_core::command::AuthCommand;

/// A change was applied.
pub fn note(command: &AuthCommand) {
    match command {
        AuthCommand::Enable => tracing::info!("enabled authentication"),
        AuthCommand::Disable => tracing::info!("disabled authentication"),
        AuthCommand::Authenticate(log_in) => {
            tracing::debug!("user-name" = log_in.name, "authenticated a user");
        }
        AuthCommand::UserAdd(add) => tracing::info!("user-name" = add.name, "added a user"),
        AuthCommand::UserDelete(name) => tracing::info!("user-name" = name, "deleted a user"),
        AuthCommand::UserChangePassword(change) => {
            tracing::info!("user-name" = change.name, "changed a password of a user");
        }
        AuthCommand::UserGrantRole(grant) => {
            tracing::info!(
                "user-name" = grant.user,
                "added-role-name" = grant.role,
                "granted a role to a user"
            );
        }
        AuthCommand::UserRevokeRole(revoke) => {
            let (user, role) = (&revoke.user, &revoke.role);
            tracing::info!("user-name" = user, "revoked-role-name" = role, "revoked a role from a user");
        }
        AuthCommand::RoleAdd(name) => tracing::info!("role-name" = name, "created a role"),
        AuthCommand::RoleDelete(name) => tracing::info!("role-name" = name, "deleted a role"),
        AuthCommand::RoleGrantPermission(grant) => {
            tracing::info!("role-name" = grant.role, "granted/updated a permission to a role");
        }
        AuthCommand::RoleRevokePermission(revoke) => {
            tracing::info!("role-name" = revoke.role, "revoked a permission on range");
        }
    }
}
