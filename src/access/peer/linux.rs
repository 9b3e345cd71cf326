//! Asks the kernel for one socket by its addresses (netlink, `SOCK_DIAG_BY_FAMILY`).
//!
//! `/proc/net/tcp` tells the same, but is read whole: with ten thousand connections that is a megabyte for each accept.
//! Source: Linux, `include/uapi/linux/inet_diag.h` and `sock_diag(7)`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
};

use super::{Peer, holder};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 1;

/// `nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;

pub(super) fn look_up(peer: SocketAddr, local: SocketAddr) -> Peer {
    whose(told(peer, local))
}

/// Is it a browser's? So is what nobody holds any more: nothing vouches for it.
pub(super) fn is_browser(peer: SocketAddr, local: SocketAddr) -> bool {
    match told(peer, local) {
        Ok(Some(Owner { inode, .. })) => holder::is_browser_of(inode),
        Ok(None) | Err(_) => true,
    }
}

/// Whose a socket is, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    uid: u32,
    inode: u32,
}

fn whose(owner: io::Result<Option<Owner>>) -> Peer {
    match owner {
        Ok(Some(Owner { uid, .. })) if uid == rustix::process::geteuid().as_raw() => Peer::SameUser,
        Ok(Some(_)) => Peer::OtherUser,
        Ok(None) | Err(_) => Peer::Unknown,
    }
}

/// The owner, as the kernel tells it. Where it does not, as without descriptors, the user's own programs are denied: the log
/// says why, once, however often strangers connect.
fn told(peer: SocketAddr, local: SocketAddr) -> io::Result<Option<Owner>> {
    static FAILS: AtomicBool = AtomicBool::new(false);
    let owner = owner(peer, local);
    let did_fail = FAILS.swap(owner.is_err(), Ordering::Relaxed);
    if let (Err(error), false) = (&owner, did_fail) {
        tracing::warn!(%error, "the kernel does not tell whose a connection is: without a token it is denied");
    }
    owner
}

/// The established socket whose own address is `socket` and whose peer is `remote`.
fn owner(socket: SocketAddr, remote: SocketAddr) -> io::Result<Option<Owner>> {
    let netlink = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(SOCK_DIAG),
    )?;
    rustix::net::sendto(&netlink, &request(socket, remote), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    // The kernel answers within `sendto`, so the answer is there or there is none.
    let mut answer = [0; 512];
    let (len, _) = rustix::net::recv(&netlink, &mut answer, RecvFlags::empty())?;
    Ok(answer.get(..len).and_then(owner_in))
}

fn request(socket: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let (socket_ip, remote_ip) = (socket.ip().to_canonical(), remote.ip().to_canonical());
    let family = match socket_ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let mut request = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    let total = u32::try_from(HEADER_BYTES + REQUEST_BYTES).unwrap_or_default();
    request.extend_from_slice(&total.to_ne_bytes());
    request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // sequence, port id
    request.push(family.as_raw().to_le_bytes()[0]);
    request.extend_from_slice(&[IPPROTO_TCP, 0, 0]);
    request.extend_from_slice(&u32::MAX.to_ne_bytes()); // any state: the answer is checked
    request.extend_from_slice(&socket.port().to_be_bytes());
    request.extend_from_slice(&remote.port().to_be_bytes());
    request.extend_from_slice(&address(socket_ip));
    request.extend_from_slice(&address(remote_ip));
    request.extend_from_slice(&0_u32.to_ne_bytes()); // any interface
    request.extend_from_slice(&[0xff; 8]); // no cookie
    request
}

fn address(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The owner in an answer, if that is an established socket that still has an inode: of one whose process is gone the
/// kernel says uid 0, which would be root.
fn owner_in(answer: &[u8]) -> Option<Owner> {
    let u32_at = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind = answer.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
    let state = *answer.get(HEADER_BYTES + 1)?;
    let (uid, inode) = (u32_at(HEADER_BYTES + 64)?, u32_at(HEADER_BYTES + 68)?);
    (kind == SOCK_DIAG_BY_FAMILY && state == TCP_ESTABLISHED && inode != 0).then_some(Owner { uid, inode })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn our_own_connection_is_ours_until_it_is_closed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            let local = server.local_addr().unwrap();
            assert_eq!(look_up(peer, local), Peer::SameUser, "{address}");
            drop(client);
            assert_eq!(look_up(peer, local), Peer::Unknown, "{address}");
        }
    }

    #[tokio::test]
    async fn a_port_that_its_owner_has_left_vouches_for_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let reconnect = |_| {
            let stranger = TcpStream::connect(address).unwrap();
            let port = stranger.local_addr().unwrap();
            // A reset, and the same port again, before the first connection has been accepted.
            rustix::net::sockopt::set_socket_linger(&stranger, Some(std::time::Duration::ZERO)).unwrap();
            drop(stranger);
            let again = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            rustix::net::bind(&again, &port).ok()?;
            rustix::net::connect(&again, &address).ok()?;
            Some((again, port))
        };
        // Another test's child may hold the first one for a moment, or somebody else take its port.
        let (_again, port) = (0..20).find_map(reconnect).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (mut ours, mut dead) = (0, 0);
        while let Ok((server, peer)) = listener.accept() {
            if peer != port {
                continue;
            }
            server.set_nonblocking(true).unwrap();
            match Peer::of(&tokio::net::TcpStream::from_std(server).unwrap()) {
                Ok(peer) => ours += u32::from(peer == Peer::SameUser),
                Err(_) => dead += 1,
            }
        }
        assert_eq!(ours, 1, "{dead} dead connections");
    }

    #[test]
    fn whom_the_kernel_does_not_name_is_nobody() {
        let own = rustix::process::geteuid().as_raw();
        let owner = |uid| Ok(Some(Owner { uid, inode: 7 }));
        assert_eq!(whose(owner(own)), Peer::SameUser);
        assert_eq!(whose(owner(own + 1)), Peer::OtherUser);
        assert_eq!(whose(Ok(None)), Peer::Unknown);
        assert_eq!(whose(Err(io::ErrorKind::PermissionDenied.into())), Peer::Unknown);
    }

    #[test]
    fn an_answer_counts_only_for_an_established_socket_with_an_inode() {
        let answer = |kind: u16, state: u8, inode: u32| {
            let mut answer = vec![0; HEADER_BYTES + 72];
            answer[4..6].copy_from_slice(&kind.to_ne_bytes());
            answer[HEADER_BYTES + 1] = state;
            answer[HEADER_BYTES + 64..HEADER_BYTES + 68].copy_from_slice(&1000_u32.to_ne_bytes());
            answer[HEADER_BYTES + 68..].copy_from_slice(&inode.to_ne_bytes());
            answer
        };
        assert_eq!(owner_in(&answer(SOCK_DIAG_BY_FAMILY, TCP_ESTABLISHED, 7)), Some(Owner { uid: 1000, inode: 7 }));
        assert_eq!(owner_in(&answer(SOCK_DIAG_BY_FAMILY, TCP_ESTABLISHED, 0)), None);
        assert_eq!(owner_in(&answer(SOCK_DIAG_BY_FAMILY, 6, 7)), None);
        assert_eq!(owner_in(&answer(2, TCP_ESTABLISHED, 7)), None);
        assert_eq!(owner_in(&answer(SOCK_DIAG_BY_FAMILY, TCP_ESTABLISHED, 7)[..80]), None);
    }

    proptest::proptest! {
        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120)) {
            let _ = owner_in(&junk);
        }
    }
}
