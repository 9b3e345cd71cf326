//! Whose process is at the other end of a loopback connection.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "unknown.rs")]
mod system;

use std::net::SocketAddr;

/// The owner of a peer's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Our own user.
    SameUser,
    /// Somebody else.
    OtherUser,
    /// The system did not tell, or the peer is gone: it has to show a token.
    Unknown,
}

impl Peer {
    /// Looks the peer up. To be called at accept, while the peer's socket is established.
    ///
    /// `peer`, `local`: the connection's two addresses, as our end sees them.
    pub fn look_up(peer: SocketAddr, local: SocketAddr) -> Self {
        if !peer.ip().to_canonical().is_loopback() {
            return Self::Unknown;
        }
        system::look_up(peer, local)
    }
}
