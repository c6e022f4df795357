//! The system from outside: real programs in processes of their own, judged by foreign ones.

#![allow(
    unreachable_pub,
    reason = "what the tests share is public to all of them, in a program of its own"
)]

mod authority;
mod connections;
mod crash;
mod demo;
mod documents;
mod faults;
mod first_steps;
mod house;
mod library;
mod observability;
mod reload;
mod renewal;
mod rotation;
mod server;
mod support;
