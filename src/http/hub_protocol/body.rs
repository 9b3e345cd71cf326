//! Bytes of a file, read a little ahead of the client.

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::body::Body;

use crate::models::{FileChunk, FileReader, ModelError, STALL_LIMIT};

/// Reads ahead of a client: enough to read the disk while one is sent.
const READS_AHEAD: usize = 2;

/// The body of a range. It ends early, and so too short, if the bytes turn out to be wrong.
pub(super) fn body(reader: FileReader) -> Body {
    let (sender, receiver) = mpsc::channel(READS_AHEAD);
    tokio::spawn(read(reader, sender));
    Body::new(StreamBody::new(ReceiverStream::new(receiver).map(|read| read.map(Frame::data))))
}

/// Reads until the range is done or the client is gone. A client that waits holds no thread.
async fn read(mut reader: FileReader, sender: mpsc::Sender<Result<Bytes, ModelError>>) {
    while !reader.is_done() {
        let read = tokio::select! {
            read = reader.next() => read.map(FileChunk::into_bytes),
            // It may take long until there is more of a file that arrives.
            () = sender.closed() => return,
        };
        if let Err(error) = &read {
            tracing::warn!(%error, "a file is cut for its client");
        }
        let is_end = read.is_err();
        // One that takes nothing for so long has stopped, and gives the file and its memory back.
        let sent = tokio::time::timeout(STALL_LIMIT, sender.send(read)).await;
        if !matches!(sent, Ok(Ok(()))) || is_end {
            return;
        }
    }
}
