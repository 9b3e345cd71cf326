//! Tells HTTP/2 with prior knowledge from HTTP/1.1 by a connection's first bytes, and gives them back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How every HTTP/2 connection begins. Source: RFC 9113, section 3.4.
const HTTP2_PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A connection whose first bytes are read again.
#[derive(Debug)]
pub(super) struct Rewound {
    first: [u8; HTTP2_PREFACE.len()],
    /// The part of `first` that has been received and not been read again.
    unread: std::ops::Range<usize>,
    stream: TcpStream,
}

/// Reads as many bytes as it takes to know the protocol.
///
/// # Errors
///
/// What the stream says; an end before the protocol is known is `UnexpectedEof`.
pub(super) async fn read(mut stream: TcpStream) -> io::Result<(Protocol, Rewound)> {
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut len = 0;
    let protocol = loop {
        let (known, rest) = first.split_at_mut(len);
        if !HTTP2_PREFACE.starts_with(known) {
            break Protocol::Http1;
        }
        if rest.is_empty() {
            break Protocol::Http2;
        }
        match stream.read(rest).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
    };
    Ok((protocol, Rewound { first, unread: 0..len, stream }))
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let again = self.first.get(self.unread.clone()).unwrap_or_default();
        let len = again.len().min(buf.remaining());
        buf.put_slice(again.get(..len).unwrap_or_default());
        self.unread.start += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn check(sent: &[u8], piece: usize, expected: Option<Protocol>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let reading = tokio::spawn(read(server));
        for piece in sent.chunks(piece) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        match (reading.await.unwrap(), expected) {
            (Ok((protocol, mut stream)), Some(expected)) => {
                assert_eq!(protocol, expected);
                let mut again = Vec::new();
                stream.read_to_end(&mut again).await.unwrap();
                assert_eq!(again, sent);
            }
            (Err(error), None) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof),
            (other, _) => panic!("{other:?} for {sent:?}"),
        }
    }

    #[tokio::test]
    async fn protocols_are_told_apart_whatever_the_pieces() {
        for piece in [1, 3, 24, 1000] {
            check(b"GET / HTTP/1.1\r\n\r\n", piece, Some(Protocol::Http1)).await;
            check(b"PUT /x HTTP/1.1\r\n", piece, Some(Protocol::Http1)).await;
            check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", piece, Some(Protocol::Http2)).await;
            check(b"PRI * HTTP/1.1\r\n\r\n", piece, Some(Protocol::Http1)).await;
            check(b"PRI * HT", piece, None).await;
            check(b"", piece, None).await;
        }
    }
}
