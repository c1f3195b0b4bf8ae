//! Servers as processes, seen from outside: what an operator starts, asks and kills.
//!
//! * [`process`]: starts `tenured` or a real etcd on free loopback ports, stops it, kills it, reads its cpu time and memory.
//! * [`port`]: loopback ports that no other process of the harness takes.
//! * [`rpc`]: gRPC calls whose messages are written as text, or as raw bytes.
//! * [`script`]: golden end-to-end scripts, the same for every server.
//! * [`pki`]: a certificate authority.
//! * [`links`]: links between members that can be cut and delayed; [`socket`]: whose a connection is; [`disk`]: a disk that can be full.
//! * [`faults`]: a cluster under load to which everything happens that can happen.
//! * [`crash`]: kills a server under load again and again and looks for what was lost.
//!
//! Nothing here knows the inside of the server.

pub mod cluster;
pub mod crash;
pub mod disk;
pub mod faults;
pub mod http;
pub mod links;
pub mod pki;
pub mod port;
pub mod process;
pub mod rpc;
pub mod script;
pub mod socket;
pub mod text;

/// How long a test waits for what must come true in the end. Only a test that fails waits so long, so it is far more than anything takes
/// on a machine with few processors, a slow disk and much else to do.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// The pause between two looks at a fact.
pub(crate) const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);
