//! Decoding from memory: from a framed body to a published picture.
//!
//! ```text
//! decode     a framed body that is in the decoder's buffer: pop, JSON, base64, publish. The one copy is base64's.
//! framing    the same, and the copy into the decoder's buffer, in pieces as a socket hands them over
//! session    all of it as the hub runs it: the session's own loop, credits and acknowledgements, without a socket
//! ```

use std::{
    hint::black_box,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use crate::support::{
    Bound, Samples, common, gigabytes_per_second, is_quick, jpeg_message, judge, open_request, thorough_or_quick,
};
use bytes::Bytes;
use framehost::{
    frame::{Format, VideoFrame},
    framing::{Decoder, MAX_INBOUND_BODY},
    hub::{Hub, HubSettings},
    message::Request,
    models::{ModelStore, SharedModels, StoreOptions, Upstream},
    session::{self, Caller, OUTBOUND_MESSAGES},
    streams::{Origin, Publisher, StreamId, Streams},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

const SIZES: [(&str, usize); 2] = [("1 MiB", 1 << 20), ("8 MiB", 8 << 20)];

/// What one read of a Unix socket gives at most, roughly.
const PIECE_BYTES: usize = 208 << 10;

pub fn run() {
    let rounds = thorough_or_quick(15, 3);
    let bytes_per_round = thorough_or_quick(1 << 30, 64 << 20);
    println!("GB/s of framed bytes, median (best) of {rounds} rounds\n");
    println!("{:<8} {:>16} {:>16} {:>16}", "message", "decode", "framing", "session");
    let mut verdicts = Vec::new();
    for (name, len) in SIZES {
        let message = jpeg_message("cam", len);
        let count = bytes_per_round / len;
        let mut columns = [const { Samples(Vec::new()) }; 3];
        for _ in 0..rounds {
            columns[0].push(decode(&message, count));
            columns[1].push(framing(&message, count));
            columns[2].push(session(&message, count));
        }
        let [decode, framing, session] =
            columns.each_ref().map(|column| format!("{:.2} ({:.2})", column.median(), column.max()));
        println!("{name:<8} {decode:>16} {framing:>16} {session:>16}");
        verdicts.push((name, columns[0].median(), columns[2].median()));
    }
    println!();
    for (name, decode, session) in verdicts {
        judge(&format!("decoding {name} messages from memory"), decode, "GB/s", Bound::AtLeast(1.0));
        judge(&format!("the whole session, {name} messages"), session, "GB/s", Bound::AtLeast(1.0));
    }
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

/// A stream without subscribers: pictures are gone once they are published.
fn publisher() -> Publisher {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _context = runtime.enter();
    Streams::default()
        .open(&StreamId::parse("cam").unwrap(), Origin { source: "extension", ..Origin::default() })
        .unwrap()
}

fn decode(message: &[u8], count: usize) -> f64 {
    let publisher = publisher();
    let mut decoder = Decoder::new(MAX_INBOUND_BODY);
    let mut elapsed = Duration::ZERO;
    for _ in 0..count {
        decoder.space().extend_from_slice(message);
        let began = Instant::now();
        let body = decoder.pop().unwrap().unwrap();
        black_box(publisher.publish(read_frame(&body), None));
        elapsed += began.elapsed();
    }
    gigabytes_per_second(message.len() * count, elapsed)
}

fn framing(message: &[u8], count: usize) -> f64 {
    let publisher = publisher();
    let mut decoder = Decoder::new(MAX_INBOUND_BODY);
    let began = Instant::now();
    for _ in 0..count {
        for piece in message.chunks(PIECE_BYTES) {
            let space = decoder.space();
            let room = space.capacity() - space.len();
            assert!(piece.len() <= room, "the decoder has room for a read");
            space.extend_from_slice(piece);
            while let Some(body) = decoder.pop().unwrap() {
                black_box(publisher.publish(read_frame(&body), None));
            }
        }
    }
    gigabytes_per_second(message.len() * count, began.elapsed())
}

/// What the session does with a `frame` request.
fn read_frame(body: &[u8]) -> VideoFrame {
    let request = Request::parse(body).unwrap();
    let format = Format::parse(&request.text("format").unwrap()).unwrap();
    let size = (request.required("width").unwrap(), request.required("height").unwrap());
    let data = Bytes::from(request.base64("data").unwrap());
    VideoFrame::try_new(format, Some(size), request.required("timestamp_ms").unwrap(), data).unwrap()
}

fn session(message: &[u8], count: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let hub =
            Hub::new(SharedModels::new(ModelStore::new(options), Upstream::off()), HubSettings::default()).unwrap();
        let (bodies, mut answers) = mpsc::channel(OUTBOUND_MESSAGES);
        let (give, credits) = mpsc::unbounded_channel();
        let open = common::framed(&serde_json::to_vec(&open_request("cam")).unwrap());
        let extension = Extension { current: open.into(), message: message.to_vec().into(), left: count, credits };
        for _ in 0..session::FRAME_CREDITS {
            give.send(()).unwrap();
        }
        let began = Instant::now();
        let serving = tokio::spawn(session::serve(hub, Caller::default(), extension, bodies));
        let mut published = 0;
        while let Some(body) = answers.recv().await {
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["event"], "frame_ack", "{body}");
            for _ in 0..body["credits"].as_u64().unwrap() {
                published += 1;
                // The extension is gone once it has sent everything.
                let _ = give.send(());
            }
        }
        let elapsed = began.elapsed();
        serving.await.unwrap();
        assert_eq!(published, count);
        gigabytes_per_second(message.len() * count, elapsed)
    })
}

/// A client in memory: opens a stream, then sends one message again and again, as far as its credits go.
struct Extension {
    current: Bytes,
    message: Bytes,
    left: usize,
    credits: mpsc::UnboundedReceiver<()>,
}

impl AsyncRead for Extension {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.current.is_empty() && this.left > 0 {
            ready!(this.credits.poll_recv(cx));
            this.current = this.message.clone();
            this.left -= 1;
        }
        let piece = this.current.len().min(buffer.remaining()).min(PIECE_BYTES);
        buffer.put_slice(&this.current.split_to(piece));
        Poll::Ready(Ok(()))
    }
}
