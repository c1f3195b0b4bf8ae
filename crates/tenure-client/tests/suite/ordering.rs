//! Reads that never go back in time.
