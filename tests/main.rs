//! The system from outside: real programs in processes of their own, judged by foreign ones.

mod first_steps;
mod support;
