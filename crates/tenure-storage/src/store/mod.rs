//! The revision log and the tables.
