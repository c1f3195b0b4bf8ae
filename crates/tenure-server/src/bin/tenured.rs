//! The server: `tenured`.

fn main() {}
