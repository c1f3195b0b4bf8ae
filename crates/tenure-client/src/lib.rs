//! The client for etcd v3: for Tenure, and for every etcd from 3.4 to 3.7.
//!
//! Start with [`Client::connect`].

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
mod rpc;
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
    Compare, Delete, DeleteResponse, Get, GetResponse, KeyRange, Kv, Op, OpResponse, Put, PutResponse,
    SortOrder, SortTarget, Txn, TxnResponse, prefix_end,
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
pub use types::{IntoBytes, KeyValue, LeaseId, MemberId, ResponseHeader, Revision};
pub use watch::{Event, EventKind, Watch, WatchResponse, WatchStream, Watcher};
