//! A named pipe. Its name is new for each hub, and stands in the socket's file: so the file is there as long as somebody can
//! connect, as on Unix, and nobody can have taken the name before.
//!
//! Source: Microsoft, "Named Pipes"; "Named Pipe Security and Access Rights".

use std::{
    ffi::c_void,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::windows::{
        fs::OpenOptionsExt as _,
        io::{AsHandle as _, OwnedHandle},
    },
    path::Path,
    pin::Pin,
    ptr,
    task::{Context, Poll, ready},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf},
    net::windows::named_pipe::{NamedPipeServer, ServerOptions},
};
use windows_sys::Win32::{
    Foundation::ERROR_PIPE_BUSY,
    Storage::FileSystem::{FILE_FLAG_OVERLAPPED, SECURITY_ANONYMOUS},
};

use super::chunks::{Chunks, Next};
pub use super::pipe::Stream;
use crate::user::{
    self,
    security::{self, Descriptor},
};

/// A path has no limit of the socket's own.
pub const MAX_PATH_BYTES: Option<usize> = None;

/// What every name begins with.
const PREFIX: &str = r"\\.\pipe\framehost-";

/// Bytes that may wait in a pipe in either direction (256 KiB: of a picture, as Unix's sockets have room for).
const BUFFER_BYTES: u32 = 256 << 10;

/// How long a hub may be busy with taking others (1 s).
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// Connects to the hub that has made this socket.
///
/// # Errors
///
/// `NotFound` if there is none, also where somebody else has taken the pipe's name, and what the system says.
pub fn connect(socket: &Path) -> io::Result<Stream> {
    let name = read_name(socket)?;
    let pipe = open(&name)?;
    // Whoever serves it is told nothing before this: a name that a dead hub had could be another user's by now.
    if security::owner_of_pipe(pipe.as_handle())? != security::current_user()? {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the pipe is another user's"));
    }
    Stream::new(pipe)
}

fn read_name(socket: &Path) -> io::Result<String> {
    let mut name = String::new();
    fs::File::open(socket)?.take(100).read_to_string(&mut name)?;
    if name.starts_with(PREFIX) { Ok(name) } else { Err(io::Error::new(io::ErrorKind::NotFound, "it names no pipe")) }
}

fn open(name: &str) -> io::Result<OwnedHandle> {
    let began = Instant::now();
    let mut options = OpenOptions::new();
    // Its server may not pass itself off as us.
    options.read(true).write(true).custom_flags(FILE_FLAG_OVERLAPPED).security_qos_flags(SECURITY_ANONYMOUS);
    loop {
        match options.open(name) {
            Ok(pipe) => return Ok(pipe.into()),
            Err(error) if is_busy(&error) && began.elapsed() < BUSY_TIMEOUT => thread::sleep(BUSY_PAUSE),
            Err(error) => return Err(error),
        }
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_PIPE_BUSY.cast_signed())
}

/// Makes the socket, in place of one that a dead hub left.
///
/// # Errors
///
/// What the system says.
pub fn bind(socket: &Path) -> io::Result<Listener> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    let name = format!("{PREFIX}{:032x}", u128::from_ne_bytes(random));
    let first = instance(&name, true)?;
    let temporary = socket.with_extension(std::process::id().to_string());
    let published = user::create_file(&temporary)
        .and_then(|mut file| file.write_all(name.as_bytes()))
        .and_then(|()| fs::rename(&temporary, socket));
    if let Err(error) = published {
        // The first error is the one that matters.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(Listener { name, next: Some(first) })
}

/// One end of the pipe, which waits for somebody to connect. `is_first`: it has to be.
#[expect(unsafe_code, reason = "tokio takes an access list by its address")]
fn instance(name: &str, is_first: bool) -> io::Result<NamedPipeServer> {
    let descriptor = Descriptor::private_pipe()?;
    let mut attributes = descriptor.attributes();
    let mut options = ServerOptions::new();
    options.first_pipe_instance(is_first).reject_remote_clients(true);
    options.in_buffer_size(BUFFER_BYTES).out_buffer_size(BUFFER_BYTES);
    // SAFETY: `attributes`, which points into `descriptor`, lives until the call returns.
    unsafe { options.create_with_security_attributes_raw(name, ptr::from_mut(&mut attributes).cast::<c_void>()) }
}

/// Takes connections.
#[derive(Debug)]
pub struct Listener {
    name: String,
    /// Whom nobody has connected to yet; `None` where none could be made.
    next: Option<NamedPipeServer>,
}

impl Listener {
    /// The next connection.
    ///
    /// # Errors
    ///
    /// What the system says.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn accept(&mut self) -> io::Result<(Connection, ())> {
        let next = match self.next.take() {
            Some(next) => next,
            None => instance(&self.name, false)?,
        };
        // In its place while it is waited for.
        let connected = self.next.insert(next).connect().await;
        // Whoever comes meanwhile is told that the pipe is busy, and tries again.
        let server = self.next.take();
        self.next = instance(&self.name, false).ok();
        connected?;
        server.map(|server| (Connection::new(server), ())).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// Is the other end the same user's? Nobody else can connect: the pipe's access list names nobody else.
///
/// # Errors
///
/// None.
pub const fn is_own_user(_connection: &Connection) -> io::Result<bool> {
    Ok(true)
}

/// The hub's end.
#[derive(Debug)]
pub struct Connection {
    reader: Reader,
    writer: Writer,
}

/// What sends to the relay. The pipe is closed with the last of both halves.
pub type Writer = WriteHalf<NamedPipeServer>;

/// What comes from the relay, up to the end that it has said.
#[derive(Debug)]
pub struct Reader {
    pipe: ReadHalf<NamedPipeServer>,
    chunks: Chunks,
}

impl Connection {
    fn new(pipe: NamedPipeServer) -> Self {
        let (pipe, writer) = tokio::io::split(pipe);
        Self { reader: Reader { pipe, chunks: Chunks::default() }, writer }
    }

    /// Both directions.
    pub fn into_split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match this.chunks.next() {
                Next::End => return Poll::Ready(Ok(())),
                Next::Length(missing) => {
                    let mut length = [0; size_of::<u32>()];
                    let room = length.get_mut(..missing).unwrap_or_default();
                    match ready!(poll_pipe(&mut this.pipe, cx, room))? {
                        0 => this.chunks.end(),
                        count => this.chunks.take_length(length.get(..count).unwrap_or_default()),
                    }
                }
                Next::Bytes(left) => {
                    let room = left.min(into.remaining());
                    let count = ready!(poll_pipe(&mut this.pipe, cx, into.initialize_unfilled_to(room)))?;
                    if count == 0 {
                        this.chunks.end();
                    }
                    this.chunks.take_bytes(count);
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Reads some; that the relay is gone is the end.
fn poll_pipe(pipe: &mut ReadHalf<NamedPipeServer>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(room);
    match ready!(Pin::new(pipe).poll_read(cx, &mut room)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(0)),
        Err(error) => Poll::Ready(Err(error)),
        Ok(()) => Poll::Ready(Ok(room.filled().len())),
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}
