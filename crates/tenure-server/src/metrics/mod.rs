//! Metrics under the names of etcd.
