//! The system from outside: real programs in processes of their own, judged by foreign ones.

#![allow(
    unreachable_pub,
    reason = "what the tests share is public to all of them, in a program of its own"
)]

mod admin_callers;
mod authority;
mod chains;
mod client_clocks;
mod client_files;
mod clock;
mod connections;
mod crash;
mod demo;
mod device_callers;
mod documents;
mod durability;
mod faults;
mod first_steps;
mod hierarchies;
mod house;
mod istio;
mod join_tokens;
mod judges;
mod jwt_callers;
mod library;
mod observability;
mod policy;
mod registered_names;
mod registrations;
mod reload;
mod renewal;
mod revocation;
mod rotation;
mod server;
mod support;
