//! Asks Windows for the table of connections, which names the process of each, and that process for its user.
//!
//! There is no way to ask for one connection. The table is read whole, of the one family.
//! Source: Microsoft, `GetExtendedTcpTable`.

use std::{
    ffi::c_void,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR},
    NetworkManagement::IpHelper::{
        GetExtendedTcpTable, MIB_TCP_STATE_ESTAB, MIB_TCP6ROW_OWNER_PID, MIB_TCPROW_OWNER_PID,
        TCP_TABLE_OWNER_PID_CONNECTIONS,
    },
    Networking::WinSock::{AF_INET, AF_INET6},
};

use super::{Peer, browser};
use crate::user::security;

/// Bytes of the first room for the table: some hundred connections.
const FIRST_ROOM: usize = 16 << 10;

/// Most bytes of a table (16 MiB: hundreds of thousands of connections); of a longer one nothing is known.
const MAX_ROOM: usize = 16 << 20;

pub(super) fn look_up(peer: SocketAddr, local: SocketAddr) -> Peer {
    match owner(peer, local) {
        Ok(true) => Peer::SameUser,
        Ok(false) => Peer::OtherUser,
        Err(error) => {
            tracing::debug!(%error, "the system did not tell whose connection it is");
            Peer::Unknown
        }
    }
}

/// Is it a browser's? So is what nobody holds any more: nothing vouches for it.
pub(super) fn is_browser(peer: SocketAddr, local: SocketAddr) -> bool {
    of_process(peer, local, runs_browser).unwrap_or(true)
}

/// Does this process run a browser's program?
fn runs_browser(pid: u32) -> io::Result<bool> {
    let program = security::program_of_process(pid)?;
    Ok(program.file_name().is_none_or(|name| browser::is_program(&name.to_string_lossy())))
}

/// Is the established connection whose own address is `socket` and whose peer is `remote` ours?
fn owner(socket: SocketAddr, remote: SocketAddr) -> io::Result<bool> {
    of_process(socket, remote, |pid| Ok(security::user_of_process(pid)? == security::current_user()?))
}

/// What `ask` says of the process whose own address is `socket` and whose peer is `remote`.
fn of_process<T>(socket: SocketAddr, remote: SocketAddr, ask: impl Fn(u32) -> io::Result<T>) -> io::Result<T> {
    let (socket, remote) = (canonical(socket), canonical(remote));
    let process = || match socket.ip() {
        IpAddr::V4(_) => process_of::<MIB_TCPROW_OWNER_PID>(socket, remote),
        IpAddr::V6(_) => process_of::<MIB_TCP6ROW_OWNER_PID>(socket, remote),
    };
    // The system's own idle process has none, and so has what the table knows no process of.
    let pid = process()?.filter(|pid| *pid != 0).ok_or(io::ErrorKind::NotFound)?;
    let answer = ask(pid)?;
    // A process that has ended in between leaves its number to another, but not its connection.
    if process()? == Some(pid) { Ok(answer) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A line of the table.
trait Row: Copy {
    const FAMILY: u16;
    fn ends(self) -> (SocketAddr, SocketAddr);
    fn is_established(self) -> bool;
    fn pid(self) -> u32;
}

/// Ports are in the network's byte order, in the lower half.
fn port(word: u32) -> u16 {
    let [high, low, ..] = word.to_ne_bytes();
    u16::from_be_bytes([high, low])
}

impl Row for MIB_TCPROW_OWNER_PID {
    const FAMILY: u16 = AF_INET;

    fn ends(self) -> (SocketAddr, SocketAddr) {
        let end = |ip: u32, word| SocketAddr::new(Ipv4Addr::from(ip.to_ne_bytes()).into(), port(word));
        (end(self.dwLocalAddr, self.dwLocalPort), end(self.dwRemoteAddr, self.dwRemotePort))
    }

    fn is_established(self) -> bool {
        self.dwState.cast_signed() == MIB_TCP_STATE_ESTAB
    }

    fn pid(self) -> u32 {
        self.dwOwningPid
    }
}

impl Row for MIB_TCP6ROW_OWNER_PID {
    const FAMILY: u16 = AF_INET6;

    fn ends(self) -> (SocketAddr, SocketAddr) {
        let end = |ip: [u8; 16], word| SocketAddr::new(Ipv6Addr::from(ip).into(), port(word));
        (end(self.ucLocalAddr, self.dwLocalPort), end(self.ucRemoteAddr, self.dwRemotePort))
    }

    fn is_established(self) -> bool {
        self.dwState.cast_signed() == MIB_TCP_STATE_ESTAB
    }

    fn pid(self) -> u32 {
        self.dwOwningPid
    }
}

fn process_of<R: Row>(socket: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    let rows = table::<R>()?;
    let found = rows.into_iter().find(|row| row.is_established() && row.ends() == (socket, remote));
    Ok(found.map(Row::pid))
}

#[expect(unsafe_code, reason = "calls the system")]
fn table<R: Row>() -> io::Result<Vec<R>> {
    let mut room = vec![0_u32; FIRST_ROOM / size_of::<u32>()];
    loop {
        let mut bytes = u32::try_from(size_of_val(room.as_slice())).unwrap_or(u32::MAX);
        // SAFETY: `room` takes `bytes` bytes.
        let error = unsafe {
            GetExtendedTcpTable(
                room.as_mut_ptr().cast::<c_void>(),
                &raw mut bytes,
                0,
                R::FAMILY.into(),
                TCP_TABLE_OWNER_PID_CONNECTIONS,
                0,
            )
        };
        let needed = usize::try_from(bytes).unwrap_or(usize::MAX);
        match error {
            NO_ERROR => break,
            // Some more, as others open connections meanwhile.
            ERROR_INSUFFICIENT_BUFFER if needed <= MAX_ROOM => {
                room.resize(needed.div_ceil(size_of::<u32>()).max(room.len()) + 1024, 0);
            }
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
    // A count, and the rows behind it, all of whose fields take four bytes or consist of bytes.
    let Some((count, rows)) = room.split_first() else {
        return Ok(Vec::new());
    };
    let fit = size_of_val(rows) / size_of::<R>();
    let count = usize::try_from(*count).unwrap_or(usize::MAX).min(fit);
    let first = rows.as_ptr().cast::<R>();
    // SAFETY: `count` rows are within `rows`, which is aligned for them, and any bytes are a row.
    Ok((0..count).map(|index| unsafe { ptr::read(first.add(index)) }).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        io::Read as _,
        net::{TcpListener, TcpStream},
        process::{Command, Stdio},
    };

    use super::*;

    /// For the program that a test starts, which is this one.
    const WAITS: &str = "FRAMEHOST_TEST_WAITS";

    #[test]
    fn somebody_waits() {
        if env::var_os(WAITS).is_some() {
            let _ = io::stdin().read(&mut [0]);
        }
    }

    /// By the process, and not by a connection: not every Wine names the process of one.
    #[test]
    fn a_browser_is_known_by_its_program_and_not_by_what_it_says() {
        let own = env::current_exe().unwrap();
        for (name, expected) in [("Chrome.exe", true), ("firefox.exe", true), ("python.exe", false)] {
            // Beside this one, where the libraries are that it may need.
            let program = own.with_file_name(name);
            fs::copy(&own, &program).unwrap();
            let mut child = Command::new(&program)
                .args(["--exact", "access::peer::system::tests::somebody_waits"])
                .env(WAITS, "1")
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            assert_eq!(runs_browser(child.id()).unwrap(), expected, "{name}");
            drop(child.stdin.take());
            child.wait().unwrap();
            fs::remove_file(program).unwrap();
        }
    }

    #[test]
    fn a_connection_that_nobody_holds_any_more_is_taken_for_a_browsers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        drop(client);
        assert!(is_browser(peer, local));
    }

    #[test]
    fn our_own_connection_is_nobody_elses() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            // Not every Wine names the process.
            assert_ne!(look_up(peer, server.local_addr().unwrap()), Peer::OtherUser, "{address}");
        }
    }
}
