//! Whose process is at the other end of a loopback connection.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "unknown.rs")]
mod system;

#[cfg(any(target_os = "linux", windows))]
mod browser;
#[cfg(target_os = "linux")]
mod holder;

use std::{io, net::SocketAddr};

use tokio::net::TcpStream;

/// The owner of a peer's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Our own user.
    SameUser,
    /// A browser of our own user.
    Browser,
    /// Somebody else.
    OtherUser,
    /// The system did not tell, or the peer is gone: it has to show a token.
    Unknown,
}

impl Peer {
    /// Whose process is at the other end. To be called at accept, while the peer's socket is established.
    ///
    /// # Errors
    ///
    /// If the connection has no addresses any more.
    pub fn of(stream: &TcpStream) -> io::Result<Self> {
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        if !peer.ip().to_canonical().is_loopback() {
            return Ok(Self::Unknown);
        }
        let owner = system::look_up(peer, local);
        // After the look-up: if our end is dead by now, the socket that was found may be somebody else's, who has taken
        // the port that the peer left. What the peer had sent can still be read, and must not pass as theirs.
        stream.peer_addr()?;
        Ok(owner)
    }

    /// Whether it is a browser, where it is our own user: that takes a look at this user's processes. `remote`, `local`: the
    /// connection's two addresses.
    pub async fn or_browser(self, remote: SocketAddr, local: SocketAddr) -> Self {
        if self != Self::SameUser {
            return self;
        }
        let asked = tokio::task::spawn_blocking(move || system::is_browser(remote, local)).await;
        if asked.unwrap_or(true) { Self::Browser } else { self }
    }
}
