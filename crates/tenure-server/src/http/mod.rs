//! The plain HTTP endpoints beside gRPC.
