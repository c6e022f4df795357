//! Listeners whose failures name the flag to change, and an accept loop that survives what the network and the kernel do to it.
//! A Unix socket is bound inside a closed folder and renamed into place, so that nobody connects before its mode is right.

use crate::instance::{InstanceError, socket_path_fits};
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener};

/// Connections that the kernel completes before we accept them.
const BACKLOG: u32 = 1024;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The text is not an address.
    #[error(
        "{flag} {found:?} is not an address, expected ADDR:PORT with a numeric address, such as 127.0.0.1:8443 or [::]:8443"
    )]
    Address {
        /// The flag that held it.
        flag: String,
        /// The text, cut to 100 characters.
        found: String,
    },
    /// Someone else listens there.
    #[error(
        "port {} of {} is taken, expected a free one: stop the other program, or give another address with {flag} (port 0 takes a free one)",
        address.port(), address.ip()
    )]
    PortTaken {
        /// The flag that held the address.
        flag: String,
        /// The address.
        address: SocketAddr,
    },
    /// The kernel refused for another reason: an address of another host, a port below 1024 without the right to it.
    #[error(
        "cannot listen on {address}: {source}; give an address of this host and a port allowed to this user with {flag}"
    )]
    Bind {
        /// The flag that held the address.
        flag: String,
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The path of a Unix socket is too long.
    #[error(transparent)]
    Path(#[from] InstanceError),
    /// The folder in which the socket would be bound lets others in.
    #[error("the folder {} has mode {found:04o}, expected 0700: a socket is bound there before its own mode is set", dir.display())]
    StagingOpen {
        /// The folder.
        dir: PathBuf,
        /// Its permission bits.
        found: u32,
    },
    /// Something that is not a socket stands at the path.
    #[error("{} is there and not a socket, expected nothing or an old socket: move it away", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Any other failure on the way to a Unix socket.
    #[error("cannot {step} the socket {}: {source}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Reads `ADDR:PORT`. Names are not looked up: what a listener binds must not depend on a name server.
pub fn parse_address(flag: &str, text: &str) -> Result<SocketAddr, ListenError> {
    text.trim().parse().map_err(|_| ListenError::Address {
        flag: flag.to_owned(),
        found: text.chars().take(100).collect(),
    })
}

/// Listens on `address`, which came from `flag` (`--listen-grpc`). `[::]` takes IPv4 too, and where IPv6 is off it becomes `0.0.0.0`, which
/// is logged. Needs a tokio runtime.
pub fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let failure = |address: SocketAddr, source: io::Error| match source.kind() {
        ErrorKind::AddrInUse => ListenError::PortTaken {
            flag: flag.to_owned(),
            address,
        },
        _ => ListenError::Bind {
            flag: flag.to_owned(),
            address,
            source,
        },
    };
    bind_once(address).or_else(|error| {
        let fallback = without_ipv6(address, &error).ok_or_else(|| failure(address, error))?;
        tracing::warn!(flag, asked = %address, taken = %fallback, "IPv6 is off on this host, listening on IPv4 alone");
        bind_once(fallback).map_err(|error| failure(fallback, error))
    })
}

fn bind_once(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        let socket = TcpSocket::new_v6()?;
        if address.ip().is_unspecified() {
            rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
        }
        socket
    } else {
        TcpSocket::new_v4()?
    };
    // A restart need not wait for the connections of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What to bind instead of `[::]` if `error` says that this host has no IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let off = error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    (off && address.is_ipv6() && address.ip().is_unspecified())
        .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
}

/// The next connection, without Nagle's delay, and its peer, as IPv4 where it came over IPv4. Failures are not the caller's: a connection
/// that broke before it was accepted is skipped, and when files or memory are short it tries again each second.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // It fails only on a connection that is gone already, which the first read tells.
                let _ = stream.set_nodelay(true);
                return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
            Err(error) if is_of_the_peer(&error) => {
                tracing::debug!(%error, "a connection broke before it was accepted")
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept connections, trying again in a second");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

/// The file of a Unix socket; removed at drop if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same =
            fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == (self.device, self.inode));
        if same && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

/// Listens on `path` with `mode`. The socket is bound inside `staging`, a folder with mode 0700 on the same file system, and renamed to
/// `path`, over the socket of a process that was killed. Needs a tokio runtime.
pub fn unix_socket(
    path: &Path,
    mode: u32,
    staging: &Path,
) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |step| {
        move |source| ListenError::Socket {
            path: path.to_owned(),
            step,
            source,
        }
    };
    socket_path_fits(path)?;
    refuse_other_files(path)?;
    let open = fs::metadata(staging)
        .map_err(failed("look at the folder for"))?
        .mode()
        & 0o7777;
    if open & 0o077 != 0 {
        return Err(ListenError::StagingOpen {
            dir: staging.to_owned(),
            found: open,
        });
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    let staged = staging.join(name);
    refuse_other_files(&staged)?;
    match fs::remove_file(&staged) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed("remove a leftover of")(e)),
        _ => {}
    }
    let listener = bind_staged(&staged, staging).map_err(failed("bind"))?;
    let made = fs::symlink_metadata(&staged).map_err(failed("look at"))?;
    let mut file = SocketFile {
        path: staged,
        device: made.dev(),
        inode: made.ino(),
    };
    fs::set_permissions(&file.path, Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    fs::rename(&file.path, path).map_err(failed("rename into place"))?;
    path.clone_into(&mut file.path);
    Ok((listener, file))
}

/// Binds at `staged`. The staging folder may make the path too long where the final one fits: then the folder is reached through /proc.
fn bind_staged(staged: &Path, staging: &Path) -> io::Result<UnixListener> {
    if socket_path_fits(staged).is_ok() {
        return UnixListener::bind(staged);
    }
    let folder = File::open(staging)?;
    let name = staged.file_name().unwrap_or(staged.as_os_str());
    UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

fn refuse_other_files(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(ListenError::NotASocket {
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
