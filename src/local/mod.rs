//! The local socket, by which relays reach the hub: a Unix socket, or a named pipe of Windows.
//!
//! Belongs here: both ends of it, in blocking form for the relay and in async form for the hub, with the same functions on
//! every system. Does not belong here: what goes over it (`link`), who serves it (`hub`), who finds it (`relay`).
//!
//! Invariants:
//! - Nobody but the user can connect to it or serve it.
//! - Its file is there as long as somebody can connect; it goes by being removed, and what had connected stays.
//! - A [`Stream`] that is shut down for writing is at its end for the hub, and can still be read.

#[cfg(any(windows, test))]
mod chunks;
#[cfg(windows)]
mod pipe;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

pub use self::system::{Connection, Listener, MAX_PATH_BYTES, Reader, Stream, Writer, bind, connect, is_own_user};

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Read as _, Write as _},
        net::Shutdown,
        path::{Path, PathBuf},
        thread,
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        runtime::Runtime,
    };

    use super::*;

    /// More than a socket or a pipe holds.
    const LEN: usize = 3_000_000;

    fn bytes() -> Vec<u8> {
        (0..LEN).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    /// A hub that answers what it has got when that has ended, once for each relay; the path of its socket.
    fn hub(runtime: &Runtime, dir: &Path, relays: usize) -> PathBuf {
        let socket = dir.join("hub.sock");
        #[allow(unused_mut, reason = "a named pipe's changes as it takes connections")]
        let mut listener = runtime.block_on(async { bind(&socket) }).unwrap();
        runtime.spawn(async move {
            for _ in 0..relays {
                let (connection, _) = listener.accept().await.unwrap();
                assert!(is_own_user(&connection).unwrap());
                tokio::spawn(async move {
                    let (mut reader, mut writer) = connection.into_split();
                    let mut received = Vec::new();
                    reader.read_to_end(&mut received).await.unwrap();
                    // It may be gone by then.
                    let _ = writer.write_all(&received).await;
                });
            }
            std::future::pending::<()>().await;
        });
        socket
    }

    #[test]
    fn what_was_sent_before_the_end_is_answered_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let socket = hub(&runtime, dir.path(), 8);
        let relays: Vec<_> = (0..8)
            .map(|_| {
                let socket = socket.clone();
                thread::spawn(move || {
                    let mut stream = connect(&socket).unwrap();
                    let mut answers = stream.try_clone().unwrap();
                    stream.write_all(&bytes()).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert!(stream.write_all(b"late").is_err());
                    let mut answer = vec![0; LEN];
                    answers.read_exact(&mut answer).unwrap();
                    assert!(answer == bytes());
                    assert_eq!(answers.read(&mut [0]).unwrap(), 0, "the hub's end");
                })
            })
            .collect();
        for relay in relays {
            relay.join().unwrap();
        }
    }

    #[test]
    fn a_read_ends_in_time_and_with_what_is_shut_down() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let socket = hub(&runtime, dir.path(), 1);
        let mut stream = connect(&socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
        stream.set_read_timeout(None).unwrap();
        let mut other = stream.try_clone().unwrap();
        let reading = thread::spawn(move || other.read(&mut [0]));
        // It may read before or after that.
        thread::sleep(Duration::from_millis(20));
        // A write and a read do not wait for each other.
        stream.write_all(b"while it is read").unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), 0);
        assert!(stream.write_all(b"late").is_err());
    }

    #[test]
    fn nobody_is_found_without_a_hub_and_the_next_one_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("hub.sock");
        let check = |stream: io::Result<Stream>| {
            let kind = stream.unwrap_err().kind();
            assert!(matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused), "{kind:?}");
        };
        check(connect(&socket));
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(async { bind(&socket) }).unwrap();
        drop(listener);
        assert!(socket.exists(), "as a hub that was killed leaves it");
        check(connect(&socket));
        let socket = hub(&runtime, dir.path(), 1);
        connect(&socket).unwrap();
    }
}
