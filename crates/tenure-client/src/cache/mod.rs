//! A local copy of a prefix that answers reads and watches.
mod replica;
