//! The write-ahead log, in etcd's record format.
