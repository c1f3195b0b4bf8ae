//! The client for etcd v3: for Tenure, and for every etcd from 3.4 to 3.7.
//!
//! Start with [`Client::connect`].

mod client;
mod config;
mod endpoint;
mod error;
pub mod kv;
mod namespace;
mod rpc;
mod tls;
mod transport;
mod types;

pub use client::Client;
pub use config::ClientConfig;
pub use endpoint::Endpoint;
pub use error::{Code, Error, EtcdError, Result};
pub use kv::{
    Compare, Delete, DeleteResponse, Get, GetResponse, KeyRange, Kv, Op, OpResponse, Put, PutResponse,
    SortOrder, SortTarget, Txn, TxnResponse, prefix_end,
};
pub use tls::{Pem, TlsConfig};
pub use types::{IntoBytes, KeyValue, LeaseId, MemberId, ResponseHeader, Revision};
