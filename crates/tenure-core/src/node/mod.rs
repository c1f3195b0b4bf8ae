//! The consensus driver: inputs in, outputs out. The `raft` crate stays behind this module.

mod config;
mod interface;
mod message;

pub use config::{NodeConfig, Restart, StartError};
pub use interface::{
    Applied, DropReason, Input, LeaseLife, LeaseRefusal, LeaseTicket, Output, Persist, PersistToken,
    Progress, Proposal, ReadTicket, Role, Status,
};
pub use message::{
    InvalidMessage, Message, MessageKind, Snapshot, conf_state_from_wire, conf_state_to_wire,
    entry_from_wire, entry_to_wire, hard_state_from_wire, hard_state_to_wire,
};
