//! The gRPC services, one file each. The only place, with `core::command`, that sees wire types.

pub mod auth;
pub mod cluster;
pub mod election;
pub mod encode;
pub mod gate;
pub mod header;
pub mod health;
pub mod kv;
pub mod lease;
mod line;
pub mod lock;
pub mod maintenance;
mod range_stream;
mod routes;
pub mod watch;

pub use routes::routes;

use tenure_core::state::Response;
use tonic::Status;

/// A command was answered by the response of another kind: a bug of ours, told to the client as such.
fn unexpected(response: &Response) -> Status {
    Status::internal(format!("the state machine answered with {response:?}; please report this as a bug"))
}
