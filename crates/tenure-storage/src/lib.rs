//! Tenure's bytes on disk.
//!
//! [`disk`] is the whole disk: everything else here works on its two traits. [`wal`] is the write-ahead log in etcd's record
//! format, [`store`] the revision log and the tables, [`bolt`] reads and writes bbolt files, [`snapshot`] makes and
//! takes backups. `docs/format/` says byte by byte what is on disk.

pub mod bolt;
pub mod disk;
pub mod snapshot;
pub mod store;
pub mod wal;
