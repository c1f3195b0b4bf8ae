//! Addresses of services, kept in the store.
