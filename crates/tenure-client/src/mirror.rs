//! A copy of a prefix that follows its changes.
