//! Users, roles, permissions, tokens.
