//! A Unix socket.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use rustix::{
    io::FdFlags,
    net::{AddressFamily, SocketAddrUnix, SocketType},
};

/// The relay's end.
pub use std::os::unix::net::UnixStream as Stream;
/// The hub's ends, and the halves of one.
pub use tokio::net::{
    UnixListener as Listener, UnixStream as Connection,
    unix::{OwnedReadHalf as Reader, OwnedWriteHalf as Writer},
};

/// Longest path of a socket, in bytes: `sun_path` has 108 with its end. Source: `unix(7)`.
pub const MAX_PATH_BYTES: Option<usize> = Some(107);

/// How long a hub that has no room for another connection is waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to the hub that has made this socket. `UnixStream::connect` would wait for ever where more connections wait
/// than the hub has room for.
///
/// # Errors
///
/// What the system says; `WouldBlock` where there is no room for long.
pub fn connect(socket: &Path) -> io::Result<Stream> {
    let hub = Stream::from(rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?);
    rustix::io::fcntl_setfd(&hub, FdFlags::CLOEXEC)?;
    // It holds for connecting, too. Source: `unix(7)`.
    hub.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    rustix::net::connect(&hub, &SocketAddrUnix::new(socket)?)?;
    hub.set_write_timeout(None)?;
    Ok(hub)
}

/// Makes the socket, in place of one that a dead hub left.
///
/// # Errors
///
/// What the system says; a path over 107 bytes is `InvalidInput`.
pub fn bind(socket: &Path) -> io::Result<Listener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = Listener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Is the other end the same user's? The directory's mode keeps others out already.
///
/// # Errors
///
/// What the system says.
pub fn is_own_user(connection: &Connection) -> io::Result<bool> {
    Ok(connection.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}
