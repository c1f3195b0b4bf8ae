//! Listeners and connections: one port for gRPC, HTTP/1.1 and HTTP/2.
