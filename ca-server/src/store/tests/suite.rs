//! What every kind of store does, by what is being asked of it.

pub(super) mod admin;
pub(super) mod authorities;
pub(super) mod inventory;
pub(super) mod keys;
pub(super) mod renewals;
pub(super) mod revocations;
pub(super) mod tokens;
