//! The Tenure member: the gRPC and HTTP edge, the driver loop, configuration, logs and metrics, and the server that
//! other programs embed.
//!
//! What runs without IO is in `tenure-core`, what is on disk in `tenure-storage`; this crate carries bytes between
//! them and the world.

pub mod auth;
mod auto_compact;
pub mod config;
mod corruption;
pub mod discovery;
pub mod edge;
pub mod http;
pub mod limits;
pub mod log;
pub mod member;
pub mod metrics;
pub mod peer;
pub mod rpc;
mod server;
pub mod tls;
pub mod watch;

pub use server::{Halted, Server, StartError};
