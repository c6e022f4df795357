//! client-lib.
