//! The work of operators.
