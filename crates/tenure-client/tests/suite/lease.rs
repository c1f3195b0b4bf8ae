//! Leases and their renewal.
