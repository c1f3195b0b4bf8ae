//! Addresses of services.
