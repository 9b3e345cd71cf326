//! Subscribers of a hub's own streams, in this process, each with a connection of its own (by `clients/rust`). The time of
//! a picture is `mono_us` in its metadata: the system's clock, which both processes read.

use std::{fs, thread, time::Duration};

use framehost::grpc::{self, pb};
use framehost_client::Transport;
use pb::stream_service_client::StreamServiceClient;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::mpsc, task::JoinHandle};

use super::{Samples, common::Host};

/// Pictures that do not count: connections and buffers are new. A second of them.
const WARM_UP: usize = 30;

/// What one subscriber has seen.
#[derive(Debug)]
pub struct Seen {
    pub pictures: usize,
    /// Pictures a second, by the times at which they were captured.
    pub rate: f64,
    /// From capture to receipt.
    pub latency: Samples,
    /// Numbers that did not come.
    pub dropped: u32,
}

/// The session that opens a hub's streams, and the runtime of its subscribers.
pub struct Watched {
    host: Host,
    address: String,
    runtime: Runtime,
}

/// A received picture: its number, the time of its capture and of its receipt, in microseconds.
type Received = (i32, u64, u64);

impl Watched {
    /// A session that has not said `hello`.
    pub fn start(mut host: Host) -> Self {
        let address = host.hello()["grpc"].as_str().unwrap().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { host, address, runtime }
    }

    /// Opens the sources, each with a subscriber, and says what those have seen in so many seconds.
    pub fn watch(mut self, sources: &[Value], seconds: u64) -> Vec<Seen> {
        let subscribers: Vec<_> = sources
            .iter()
            .enumerate()
            .map(|(number, source)| {
                let stream_id = format!("s{number}");
                let (tell, received) = mpsc::unbounded_channel();
                let task = self.subscribe(stream_id.clone(), tell);
                self.host.ok(&json!({"type": "stream.open", "stream_id": stream_id, "source": source}));
                (task, received)
            })
            .collect();
        thread::sleep(Duration::from_secs(seconds));
        for number in 0..sources.len() {
            self.host.ok(&json!({"type": "stream.close", "stream_id": format!("s{number}")}));
        }
        subscribers
            .into_iter()
            .map(|(task, mut received)| {
                task.abort();
                let mut pictures = Vec::new();
                while let Some(picture) = self.runtime.block_on(received.recv()) {
                    pictures.push(picture);
                }
                seen(&pictures)
            })
            .collect()
    }

    fn subscribe(&self, stream_id: String, tell: mpsc::UnboundedSender<Received>) -> JoinHandle<()> {
        let address = self.address.clone();
        self.runtime.spawn(async move {
            let mut client = connect(&address).await;
            let request = pb::SubscribeFramesRequest { stream_id, wait: true, ..Default::default() };
            let mut frames = client.subscribe_frames(request).await.unwrap().into_inner();
            while let Ok(Some(frame)) = frames.message().await {
                let captured = frame.metadata["mono_us"].parse().unwrap();
                if tell.send((frame.frame_number, captured, monotonic_us())).is_err() {
                    return;
                }
            }
        })
    }
}

/// A client of a hub with a connection of its own.
pub async fn connect(address: &str) -> StreamServiceClient<Transport> {
    let transport = Transport::connect(address).await.unwrap();
    let origin = transport.origin();
    StreamServiceClient::with_origin(transport, origin).max_decoding_message_size(grpc::MAX_MESSAGE_BYTES)
}

fn seen(pictures: &[Received]) -> Seen {
    let pictures = &pictures[WARM_UP.min(pictures.len() / 2)..];
    let ((first, begin, _), (last, end, _)) = (pictures[0], pictures[pictures.len() - 1]);
    let intervals = (pictures.len() - 1) as f64;
    Seen {
        pictures: pictures.len(),
        rate: intervals / ((end - begin) as f64 / 1e6),
        latency: Samples(pictures.iter().map(|(_, captured, got)| (got - captured) as f64 / 1e3).collect()),
        dropped: (last - first + 1).cast_unsigned() - u32::try_from(pictures.len()).unwrap(),
    }
}

/// The system's monotonic clock.
fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap()
}

/// Does a process have a thread that reads a source?
pub fn is_read(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // One may end while it is looked at.
    let names = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.into_iter().any(|name| name.starts_with("source-"))
}
