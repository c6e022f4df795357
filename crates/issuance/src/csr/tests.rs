//! What is accepted is made by openssl; what is refused is put together by hand, mistake by mistake.

mod accepted;
mod recipe;
mod refused;
