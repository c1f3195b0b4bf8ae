//! The disk: two traits that everything on disk works on, and their implementations.
