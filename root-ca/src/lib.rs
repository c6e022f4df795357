//! root-ca.
