//! Bytes of a file, read a little ahead of the client.

use std::ops::Range;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::body::Body;

use crate::models::{ModelError, ModelFile, STALL_LIMIT};

/// Bytes read at once (512 KiB).
const READ_BYTES: u64 = 512 << 10;

/// Reads ahead of a client: enough to read the disk while one is sent.
const READS_AHEAD: usize = 2;

/// The body of a range. It ends early, and so too short, if the bytes turn out to be wrong.
pub(super) fn body(file: ModelFile, range: Range<u64>) -> Body {
    let (sender, receiver) = mpsc::channel(READS_AHEAD);
    tokio::spawn(read(file, range, sender));
    Body::new(StreamBody::new(ReceiverStream::new(receiver).map(|read| read.map(Frame::data))))
}

/// Reads until the range is done or the client is gone. A client that waits holds no thread.
async fn read(file: ModelFile, range: Range<u64>, sender: mpsc::Sender<Result<Bytes, ModelError>>) {
    let mut offset = range.start;
    while offset < range.end {
        let read = tokio::select! {
            read = file.read_some(offset..range.end.min(offset + READ_BYTES)) => read,
            // It may take long until there is more of a file that arrives.
            () = sender.closed() => return,
        };
        let (read, is_end) = match read {
            Ok(bytes) => {
                offset += bytes.len() as u64;
                (Ok(bytes), false)
            }
            Err(error) => {
                tracing::warn!(%error, "a file is cut for its client");
                (Err(error), true)
            }
        };
        // One that takes nothing for so long has stopped, and gives the file and its memory back.
        let sent = tokio::time::timeout(STALL_LIMIT, sender.send(read)).await;
        if !matches!(sent, Ok(Ok(()))) || is_end {
            return;
        }
    }
}
