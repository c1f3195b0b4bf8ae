//! Flags, environment and configuration file, and the typed `ServerConfig` they become.
