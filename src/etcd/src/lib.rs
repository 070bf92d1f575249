//! Room `etcd`.
