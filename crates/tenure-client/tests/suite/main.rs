//! The suite of the client, against the server that `TENURE_TARGET` names: `embedded` (a Tenure inside this process, the
//! default), `tenured` (the program of this workspace, which must be built), `etcd-3.4`, `etcd-3.5`, `etcd-3.7`.

mod auth;
mod cache;
mod cluster;
mod concurrency;
mod connect;
mod kubernetes;
mod kv;
mod lease;
mod leasing;
mod maintenance;
mod mirror;
mod naming;
mod nonsense;
mod ordering;
mod raw;
mod security;
mod support;
mod watch;
