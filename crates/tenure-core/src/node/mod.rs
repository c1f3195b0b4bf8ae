//! The consensus driver: inputs in, outputs out. The `raft` crate stays behind this module.
