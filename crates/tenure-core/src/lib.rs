//! Everything of Tenure that can run without IO.
//!
//! Values in, values out: nothing in this crate reads a clock, draws a random number, opens a file,
//! takes a lock or waits. Time is a parameter, randomness is a seed handed in, disk and network are
//! outputs that somebody else carries out.
//!
//! The modules form a line, and a test keeps it so:
//! `types <- command <- effects <- lease, alarm, membership, auth <- mvcc <- state <- node`.
//!
//! * [`types`]: newtypes and the record, the unit that the revision log stores.
//! * [`command`]: the replicated command and its encoding, etcd's `InternalRaftRequest`.
//! * [`effects`]: what applying a command does, as a value.
//! * [`mvcc`]: key index, range and transaction evaluation, compaction, hash.
//! * [`lease`], [`alarm`], [`membership`], [`auth`]: the small tables.
//! * [`state`]: the one `apply`, from a command to [`state::Effects`].
//! * [`node`]: drives Raft, inputs in, outputs out.

pub mod alarm;
pub mod auth;
pub mod command;
pub mod effects;
pub mod lease;
pub mod membership;
pub mod mvcc;
pub mod node;
pub mod state;
pub mod types;
