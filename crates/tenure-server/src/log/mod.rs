//! Log lines in the form that operators of etcd know.
