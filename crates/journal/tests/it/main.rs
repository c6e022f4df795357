//! The journal as its callers and its operators meet it, on real files.

mod behaviour;
mod support;
