//! The journal as its callers and its operators meet it, on real files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod anything;
mod behaviour;
mod crash;
mod damage;
mod full_disk;
mod indexes;
mod support;
