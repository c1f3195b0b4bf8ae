//! TLS of `tenured` as clients of other makes meet it: etcdctl, curl, OpenSSL; and as bare sockets do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod foreign;
mod itself;
mod peers;
mod refused;
mod reload;
mod sockets;
mod start;
mod support;
