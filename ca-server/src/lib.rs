//! ca-server.
