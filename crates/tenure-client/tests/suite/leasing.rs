//! Keys read from memory.
