//! How a byte stream to `HOST:PORT` comes about. Programs behind a proxy, or tests, bring a road of their own.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What dialling yields.
pub type Dialled<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// A road to addresses.
pub trait Dial: Send + Sync + fmt::Debug {
    /// Opens a stream to `address`, `HOST:PORT`. TLS is laid over it afterwards, so the road need not be trusted.
    fn dial<'a>(&'a self, address: &'a str) -> Dialled<'a>;
}

/// Plain TCP, names resolved by the system, all addresses tried in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial<'a>(&'a self, address: &'a str) -> Dialled<'a> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
