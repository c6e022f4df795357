//! Real sockets on loopback and in folders of their own.

use super::*;
use std::os::unix::net::UnixStream;
use tempfile::TempDir;

const FLAG: &str = "--listen-grpc";

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn only_numeric_addresses_with_a_port_are_read() {
    assert_eq!(parse_address(FLAG, "127.0.0.1:80").unwrap(), loopback(80));
    assert!(parse_address(FLAG, "[::]:0").unwrap().is_ipv6());
    for text in [
        "",
        "127.0.0.1",
        ":80",
        "localhost:80",
        "127.0.0.1:65536",
        "::1:80:",
    ] {
        let error = parse_address(FLAG, text).unwrap_err().to_string();
        assert!(
            error.contains(FLAG) && error.contains(&format!("{text:?}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_flag() {
    let first = bind(FLAG, loopback(0)).unwrap();
    let taken = first.local_addr().unwrap();
    let error = bind(FLAG, taken).unwrap_err();
    assert!(matches!(error, ListenError::PortTaken { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("port {}", taken.port())) && text.contains(FLAG),
        "{text}"
    );
}

#[tokio::test]
async fn an_address_of_another_host_is_refused_with_its_flag() {
    // 192.0.2.0/24 is for documentation (RFC 5737), no host has it.
    let error = bind(FLAG, SocketAddr::from(([192, 0, 2, 1], 0))).unwrap_err();
    assert!(matches!(error, ListenError::Bind { .. }), "{error:?}");
    assert!(error.to_string().contains(FLAG), "{error}");
}

#[tokio::test]
async fn the_port_is_free_again_at_once_after_connections() {
    let listener = bind(FLAG, loopback(0)).unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let (server, _) = accept(&listener).await;
    // The side that closes first keeps the port in TIME_WAIT.
    drop(server);
    drop(client);
    drop(listener);
    bind(FLAG, address).unwrap();
}

#[tokio::test]
async fn any_address_of_ipv6_takes_ipv4_too_and_shows_its_peer_as_ipv4() {
    let listener = bind(FLAG, "[::]:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(loopback(port)).await.unwrap();
    let (server, peer) = accept(&listener).await;
    assert_eq!(peer, client.local_addr().unwrap());
    assert!(server.nodelay().unwrap());
}

#[test]
fn any_address_of_ipv6_falls_back_only_where_ipv6_is_off() {
    let any: SocketAddr = "[::]:15012".parse().unwrap();
    let off = io::Error::from(rustix::io::Errno::AFNOSUPPORT);
    let fallback = Some("0.0.0.0:15012".parse().unwrap());
    assert_eq!(without_ipv6(any, &off), fallback);
    assert_eq!(without_ipv6(any, &ErrorKind::AddrNotAvailable.into()), fallback);
    assert_eq!(without_ipv6(any, &ErrorKind::AddrInUse.into()), None);
    assert_eq!(without_ipv6("[::1]:15012".parse().unwrap(), &off), None);
}

fn folders(depth: usize) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // Fill up so that `data/admin.sock` has `depth` bytes, if asked for.
    let used = dir.path().as_os_str().len() + "//admin.sock".len();
    let data = dir.path().join("d".repeat(depth.saturating_sub(used).max(1)));
    let keys = data.join("keys");
    fs::create_dir_all(&keys).unwrap();
    fs::set_permissions(&keys, Permissions::from_mode(0o700)).unwrap();
    (dir, data.join("admin.sock"), keys)
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_accepts_and_goes_at_drop() {
    let (_dir, path, keys) = folders(0);
    let (listener, file) = unix_socket(&path, 0o600, &keys).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(
        fs::read_dir(&keys).unwrap().count(),
        0,
        "nothing stays in the staging folder"
    );
    let _client = UnixStream::connect(file.path()).unwrap();
    listener.accept().await.unwrap();
    drop(file);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_socket_of_a_killed_process_is_replaced_and_that_of_a_successor_is_kept() {
    let (_dir, path, keys) = folders(0);
    let (_old_listener, old) = unix_socket(&path, 0o600, &keys).unwrap();
    let (_listener, _file) = unix_socket(&path, 0o666, &keys).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o666);
    drop(old);
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn a_path_of_107_bytes_works_although_the_staging_folder_makes_it_longer() {
    let (_dir, path, keys) = folders(107);
    assert_eq!(path.as_os_str().len(), 107);
    let (listener, _file) = unix_socket(&path, 0o600, &keys).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    listener.accept().await.unwrap();

    let (_dir, path, keys) = folders(108);
    let error = unix_socket(&path, 0o600, &keys).unwrap_err().to_string();
    assert!(error.contains("108 bytes"), "{error}");
}

#[tokio::test]
async fn a_socket_that_cannot_be_placed_leaves_nothing_behind() {
    let (_dir, path, keys) = folders(0);
    let error = unix_socket(&path.with_file_name("absent/admin.sock"), 0o600, &keys).unwrap_err();
    assert!(error.to_string().contains("absent/admin.sock"), "{error}");
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 0);
}

#[tokio::test]
async fn files_that_are_no_sockets_and_open_staging_folders_are_refused() {
    let (_dir, path, keys) = folders(0);
    fs::write(&path, "precious").unwrap();
    let error = unix_socket(&path, 0o600, &keys).unwrap_err();
    assert!(matches!(error, ListenError::NotASocket { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    fs::set_permissions(&keys, Permissions::from_mode(0o755)).unwrap();
    let error = unix_socket(&path, 0o600, &keys).unwrap_err().to_string();
    assert!(
        error.contains("0755") && error.contains("expected 0700"),
        "{error}"
    );
}
