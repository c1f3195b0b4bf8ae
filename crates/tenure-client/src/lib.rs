//! The client for etcd v3: for Tenure, and for every etcd from 3.4 to 3.7.
//!
//! It looks after what a program that uses a store over a network otherwise has to: connections that break are made anew,
//! watches go on where they stopped, leases are renewed, tokens are fetched, locks tell when they are lost. And it says what
//! it does not know: a write whose answer was lost is told as such, and never repeated behind your back.
//!
//! ```no_run
//! use std::time::Duration;
//! use tenure_client::{Client, Compare, Op};
//!
//! #[tokio::main]
//! async fn main() -> tenure_client::Result<()> {
//!     let client = Client::connect(["10.0.0.1:2379", "10.0.0.2:2379", "10.0.0.3:2379"]).await?;
//!
//!     client.put("greeting", "hello").await?;
//!     let page = client.get("greet").prefix().limit(10).await?;
//!     println!("{} keys at revision {}", page.count, page.header.revision);
//!
//!     let lease = client.lease().grant(Duration::from_secs(10)).await?;
//!     let taken = client
//!         .txn()
//!         .when([Compare::missing("leader")])
//!         .and_then([Op::put("leader", "me").lease(lease.id)])
//!         .or_else([Op::get("leader")])
//!         .commit()
//!         .await?;
//!     println!("{}", if taken.succeeded { "I lead" } else { "somebody else leads" });
//!
//!     let mut watch = client.watch("leader").start_revision(page.header.revision + 1).await?;
//!     while let Some(response) = watch.next().await {
//!         for event in response?.events {
//!             println!("{:?} {}", event.kind, event.kv.value_text());
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! | what | where |
//! |---|---|
//! | connecting | [`Client::connect`], [`ClientConfig`], [`TlsConfig`] |
//! | keys | [`Client::put`], [`get`](Client::get), [`delete`](Client::delete), [`txn`](Client::txn), [`execute`](Client::execute) |
//! | large ranges, history | [`Client::get_stream`], [`Client::compact`] |
//! | operations as values | [`Op`], [`Get`], [`Put`], [`Delete`], [`Txn`], [`Compare`] |
//! | leases | [`Client::lease`] |
//! | watches | [`Client::watch`], [`Client::watcher`] |
//! | users, members, upkeep | [`Client::auth`], [`Client::cluster`], [`Client::maintenance`] |
//! | locks, elections, transactional memory, queues | [`concurrency`] |
//! | a prefix as if it were all keys | [`Client::with_namespace`] |
//! | reads from memory | [`cache`] (a copy that follows), [`leasing`] (keys that are owned) |
//! | reads that never go back in time | [`ordering`] |
//! | copies, services' addresses, Kubernetes' calls | [`mirror`], [`naming`], [`kubernetes`] |
//! | the protocol's own messages | [`raw`] |
//! | what went wrong | [`Error`], [`EtcdError`] |
//!
//! # What is repeated, and what is not
//!
//! Reads are repeated, on the next endpoint and after pauses, until they are answered or the retries are used up. A write is
//! repeated only if it surely did not take effect: it never left, the server said that it did not look at it, or it was
//! refused because of a token that had expired. Of every other failure [`Error::may_have_taken_effect`] tells whether to
//! look before trying again.
//!
//! # Giving up
//!
//! Every call is given up by dropping its future; [`ClientConfig::request_timeout`] bounds all that have one answer. A call
//! that was given up may still be carried out.
//!
//! # The runtime
//!
//! The client runs on tokio, with a timer. [`Client::connect`] spawns a task for each endpoint; watches and lease renewals have
//! one task each for a whole client. All end with the last clone of the client.

#![warn(clippy::missing_errors_doc, clippy::must_use_candidate, clippy::return_self_not_must_use)]

mod auth;
pub mod cache;
mod client;
mod cluster;
pub mod concurrency;
mod config;
mod endpoint;
mod error;
pub mod kubernetes;
pub mod kv;
mod lease;
pub mod leasing;
mod maintenance;
pub mod mirror;
mod namespace;
pub mod naming;
pub mod ordering;
pub mod raw;
mod rpc;
mod steps;
mod tls;
mod transport;
mod types;
mod watch;

pub use auth::{
    Auth, AuthResponse, AuthStatusResponse, AuthenticateResponse, Permission, PermissionKind,
    RoleGetResponse, RoleListResponse, UserAdd, UserGetResponse, UserListResponse,
};
pub use client::Client;
pub use cluster::{Cluster, Member, MemberAddResponse, MemberList, MembersResponse};
pub use config::ClientConfig;
pub use endpoint::Endpoint;
pub use error::{Code, Error, EtcdError, Result};
pub use kv::{
    Call, Compact, CompactResponse, Compare, Comparison, Delete, DeleteResponse, Get, GetResponse, GetStream,
    KeyRange, Kv, Op, OpResponse, Operation, Put, PutResponse, SortOrder, SortTarget, Txn, TxnCall,
    TxnResponse, prefix_end,
};
pub use lease::{
    Lease, LeaseGrant, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseKeeper, LeaseLeasesResponse,
    LeaseRevokeResponse, LeaseTimeToLive, LeaseTimeToLiveResponse,
};
pub use maintenance::{
    AlarmKind, AlarmMember, AlarmResponse, DowngradeAction, DowngradeResponse, HashKvResponse, HashResponse,
    Maintenance, MaintenanceResponse, SavedSnapshot, Snapshot, SnapshotCall, StatusResponse,
};
pub use tls::{Pem, TlsConfig};
pub use types::{IntoBytes, KeyValue, LeaseId, MemberId, ResponseHeader, Revision, Ttl};
pub use watch::{Event, EventKind, Watch, WatchResponse, WatchStream, Watcher};
