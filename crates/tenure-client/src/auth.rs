//! Users, roles, permissions.
