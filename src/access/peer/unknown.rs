//! Systems where the owner of a TCP socket is not looked up: every caller shows a token.

use std::net::SocketAddr;

use super::Peer;

pub(super) fn look_up(_peer: SocketAddr, _local: SocketAddr) -> Peer {
    Peer::Unknown
}
