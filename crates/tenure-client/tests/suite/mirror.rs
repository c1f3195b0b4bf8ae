//! Copies of a prefix.
