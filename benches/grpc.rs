//! Pictures to gRPC subscribers: how long from publication to the moment when a client has the picture.
//!
//! ```text
//! publish    publisher in this process -> streams -> grpc -> http -> loopback TCP -> clients: time counts from
//!            just before `Publisher::publish`. The server has a runtime of its own, with the hub's number of threads.
//! extension  this process as an extension -> stdin of the real binary -> hub process -> the same clients: time counts
//!            from the first byte written to stdin, so that pipe, relay, socket, JSON and base64 are in it.
//! ```
//!
//! The clients are in this process, on another runtime, each with a connection of its own, so that one clock measures.

use std::{
    collections::BTreeMap,
    io::Write,
    process::ChildStdin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::support::{
    Bound, Samples,
    common::{Host, PATIENCE, World, framed},
    frame_body, is_quick, jpeg, judge, milliseconds, noise, open_request, thorough_or_quick,
    watch::connect,
};
use bytes::Bytes;
use framehost::{
    access::{Access, Grants},
    activity::Activity,
    frame::{Format, VideoFrame},
    grpc::{self, pb},
    http,
    models::{ModelStore, SharedModels, StoreOptions, Upstream},
    source::Sources,
    streams::{Origin, Publisher, StreamId, Streams},
};
use tokio::{net::TcpListener, runtime::Runtime, sync::Barrier};
use tokio_util::sync::CancellationToken;

/// A case of the issue.
struct Case {
    name: &'static str,
    format: &'static str,
    size: (u16, u16),
    data: Vec<u8>,
    subscribers: u16,
    /// Of the time from publication to receipt: 99 of 100 pictures.
    p99_ms: f64,
}

const FPS: u32 = 30;

/// Pictures that do not count: connections and buffers are new.
const WARM_UP: u32 = 10;

pub fn run() {
    let cases = [
        Case {
            name: "1080p JPEG to four",
            format: "jpeg",
            size: (1920, 1080),
            data: jpeg(1920, 1080, 400_000),
            subscribers: 4,
            p99_ms: 5.0,
        },
        Case {
            name: "640x480 RGB to four",
            format: "rgb",
            size: (640, 480),
            data: noise(640 * 480 * 3),
            subscribers: 4,
            p99_ms: 5.0,
        },
        Case {
            name: "1080p RGB to one",
            format: "rgb",
            size: (1920, 1080),
            data: noise(1920 * 1080 * 3),
            subscribers: 1,
            p99_ms: 33.0,
        },
    ];
    let (rounds, frames) = thorough_or_quick((3, 75), (1, 20));
    println!("ms at {FPS} pictures a second; each figure is the median of {rounds} rounds of {frames} pictures\n");
    println!(
        "{:<20} {:<10} {:>8} {:>8} {:>8} {:>9} {:>12} {:>12}",
        "", "from", "p50", "p99", "max", "received", "sending p50", "sending p99"
    );
    let mut verdicts = Vec::new();
    for case in &cases {
        let [mut publish, mut extension] = [const { Vec::new() }; 2];
        for _ in 0..rounds {
            publish.push(in_process(case, frames));
            extension.push(by_extension(case, frames));
        }
        for (way, name, rounds) in [("publish", case.name, publish), ("extension", "", extension)] {
            let median = |figure: &dyn Fn(&Figure) -> f64| Samples(rounds.iter().map(figure).collect()).median();
            let p99 = median(&|round| round.latency.quantile(0.99));
            println!(
                "{name:<20} {way:<10} {:>8.2} {p99:>8.2} {:>8.2} {:>8.1}% {:>12.3} {:>12.3}",
                median(&|round| round.latency.median()),
                median(&|round| round.latency.max()),
                median(&|round| round.received_percent),
                median(&|round| round.sending.median()),
                median(&|round| round.sending.quantile(0.99)),
            );
            verdicts.push((format!("{}, {way} to receive, p99", case.name), p99, case.p99_ms));
        }
    }
    println!();
    for (what, p99, bound) in verdicts {
        judge(&what, p99, "ms", Bound::Under(bound));
    }
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

/// One round.
struct Figure {
    latency: Samples,
    /// How long the publisher was kept: by `publish` and handing it over, or by the write to stdin.
    sending: Samples,
    /// Of the pictures, over all subscribers.
    received_percent: f64,
}

/// Subscribers with their clock.
struct Clients {
    runtime: Runtime,
    sent: Arc<Mutex<BTreeMap<i32, Instant>>>,
    latencies: mpsc::Receiver<(i32, f64)>,
}

impl Clients {
    /// Returns when all are subscribed and have waited for each other.
    fn start(address: String, stream_id: &str, case: &Case) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sent = Arc::new(Mutex::new(BTreeMap::new()));
        let (tell, latencies) = mpsc::channel();
        let ready = Arc::new(Barrier::new(usize::from(case.subscribers) + 1));
        for _ in 0..case.subscribers {
            let (sent, tell, ready) = (Arc::clone(&sent), tell.clone(), Arc::clone(&ready));
            let (address, stream_id, len) = (address.clone(), stream_id.to_owned(), case.data.len());
            runtime.spawn(async move {
                let mut client = connect(&address).await;
                let request = pb::SubscribeFramesRequest { stream_id, ..Default::default() };
                let mut frames = client.subscribe_frames(request).await.unwrap().into_inner();
                ready.wait().await;
                while let Ok(Some(frame)) = frames.message().await {
                    let now = Instant::now();
                    assert_eq!(frame.frame_data.len(), len);
                    let began = sent.lock().unwrap().get(&frame.frame_number).copied();
                    let latency = milliseconds(now - began.expect("it was noted before it was sent"));
                    if tell.send((frame.frame_number, latency)).is_err() {
                        return;
                    }
                }
            });
        }
        runtime.block_on(ready.wait());
        Self { runtime, sent, latencies }
    }

    /// Makes pictures before their times, sends them at their times, and waits for what is still under way.
    fn run<T>(self, case: &Case, frames: u32, mut make: impl FnMut(u32) -> T, mut send: impl FnMut(T)) -> Figure {
        let began = Instant::now();
        let mut sending = Samples::default();
        for number in 0..WARM_UP + frames {
            let made = make(number);
            thread::sleep((began + Duration::from_secs(1) / FPS * number).saturating_duration_since(Instant::now()));
            let start = Instant::now();
            self.sent.lock().unwrap().insert(number.cast_signed(), start);
            send(made);
            sending.push(milliseconds(start.elapsed()));
        }
        let expected = f64::from(frames) * f64::from(case.subscribers);
        let mut latency = Samples::default();
        // Silence ends it: a subscriber that is too slow gets fewer.
        while let Ok((number, milliseconds)) = self.latencies.recv_timeout(Duration::from_millis(500)) {
            if number.cast_unsigned() >= WARM_UP {
                latency.push(milliseconds);
            }
        }
        self.runtime.shutdown_background();
        Figure { sending, received_percent: 100.0 * latency.0.iter().map(|_| 1.0).sum::<f64>() / expected, latency }
    }
}

fn in_process(case: &Case, frames: u32) -> Figure {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let shutdown = CancellationToken::new();
    let _context = runtime.enter();
    let streams = Streams::default();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let models = SharedModels::new(ModelStore::new(options), Upstream::off());
    let service = http::Service {
        access: Access::new(Grants::default()).unwrap(),
        activity: Activity::default(),
        routes: grpc::routes(&grpc::Served {
            streams: streams.clone(),
            sources: Sources::default(),
            models: models.clone(),
            activity: Activity::default(),
        }),
        models,
        streams: streams.clone(),
        shutdown: shutdown.clone(),
        places: http::Places::default(),
    };
    runtime.spawn(http::serve(listener, service));
    let publisher: Publisher =
        streams.open(&StreamId::parse("cam").unwrap(), Origin { source: "extension", ..Origin::default() }).unwrap();
    let clients = Clients::start(address, "cam", case);
    let format = Format::parse(case.format).unwrap();
    let size = (case.size.0.into(), case.size.1.into());
    let make = |number: u32| {
        // A copy, as every picture is a new one.
        let data = Bytes::copy_from_slice(&case.data);
        VideoFrame::try_new(format, Some(size), number.into(), data).unwrap()
    };
    // By a task of the server's runtime, as a session does it; handing it over counts, too.
    let publisher = Arc::new(publisher);
    let figure = clients.run(case, frames, make, |frame| {
        let publisher = Arc::clone(&publisher);
        runtime.block_on(runtime.spawn(async move { publisher.publish(frame, None) })).unwrap();
    });
    drop(publisher);
    shutdown.cancel();
    figure
}

fn by_extension(case: &Case, frames: u32) -> Figure {
    let world = World::new();
    let mut host = world.host();
    let address = host.hello()["grpc"].as_str().unwrap().to_owned();
    host.ok(&open_request("cam"));
    let clients = Clients::start(address, "cam", case);
    let message = framed(&frame_body("cam", case.format, case.size.0, case.size.1, &case.data));
    let mut extension = ExtensionEnd::new(host);
    let figure = clients.run(case, frames, drop, |()| extension.send(&message));
    extension.finish();
    figure
}

/// Sends pictures as a careful extension does: without credit it would wait.
struct ExtensionEnd {
    stdin: ChildStdin,
    spent: u32,
    given: Arc<AtomicU32>,
    reading: JoinHandle<()>,
}

impl ExtensionEnd {
    fn new(mut host: Host) -> Self {
        let stdin = host.take_stdin();
        let given = Arc::new(AtomicU32::new(framehost::session::FRAME_CREDITS));
        let counter = Arc::clone(&given);
        let reading = thread::spawn(move || {
            while let Some(message) = host.try_receive(PATIENCE) {
                let credits = message["credits"].as_u64().expect("nothing but acknowledgements comes");
                counter.fetch_add(u32::try_from(credits).unwrap(), Ordering::Release);
            }
        });
        Self { stdin, spent: 0, given, reading }
    }

    fn send(&mut self, message: &[u8]) {
        while self.spent == self.given.load(Ordering::Acquire) {
            thread::yield_now();
        }
        self.spent += 1;
        self.stdin.write_all(message).unwrap();
    }

    /// Before the hub goes: a relay that lives longer would start another one.
    fn finish(self) {
        drop(self.stdin);
        self.reading.join().unwrap();
    }
}
