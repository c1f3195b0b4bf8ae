//! bbolt database files: what etcd keeps its keys in, and what its tools expect of a backup.
