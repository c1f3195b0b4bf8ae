//! Notations of Go's standard library (and of one library beside it) that etcdctl reads and prints.

pub mod duration;
pub mod number;
pub mod quote;
pub mod size;
