//! Connections: how they are made, kept and chosen.
//!
//! * `dial`: one connection to one endpoint, over TCP or a Unix socket, with or without TLS.
//! * `stream`: the socket of a connection, whose writes are collected.
//! * `body`: what goes out and what comes in.
//! * `connection`: HTTP/2 on it; knows of a failed request whether it was sent.
//! * `page`: what members tell over HTTP/1.1.
//! * `pool`: a connection to each endpoint, made anew whenever it breaks; requests take them in turn.

mod body;
mod connection;
mod dial;
mod page;
mod pool;
mod stream;

pub(crate) use connection::{Connection, TransportError};
pub(crate) use dial::Dialer;
pub(crate) use page::page;
pub(crate) use pool::{Driven, Pool};
