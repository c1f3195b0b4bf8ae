//! Watches, and what they survive.
