//! Figures that are wrong by a factor of ten, not by a noisy machine: `benches/` measures, this only notices.
//!
//! Times are judged with `FRAMEHOST_JUDGE_SPEED` alone (`./test.sh speed`), on a machine that does nothing else; without it
//! they are shown, and all else is judged. The best of several tries counts. Tests are built without optimisation, so that
//! bytes a second, and times beside those of other programs, are `benches/`' own business; what converts pixels is optimised
//! here, too (`Cargo.toml`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]
#![allow(clippy::print_stdout, reason = "what was measured is shown")]

#[path = "../benches/support/mod.rs"]
mod support;

use std::{
    io::Write,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use framehost::link::{self, Frame, HubPreamble, RelayPreamble};
use serde_json::{Value, json};
use support::{
    common::{Host, World, base64, eventually, framed, resident_bytes},
    display::Display,
    video,
    watch::{Watched, is_read},
};

const TRIES: usize = 10;

/// A figure, and whether it is as it should be on a machine that does nothing else.
fn judge(is_right: bool, figure: &str) {
    println!("{figure}");
    assert!(is_right || std::env::var_os("FRAMEHOST_JUDGE_SPEED").is_none(), "{figure}");
}

fn best(what: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(what).take(TRIES).min().unwrap()
}

fn time_to_hello(world: &World) -> (Duration, Host) {
    let began = Instant::now();
    let mut host = world.host();
    host.hello();
    (began.elapsed(), host)
}

#[test]
fn hello_is_answered_soon() {
    let without = best(|| time_to_hello(&World::new()).0);
    judge(without < Duration::from_millis(1500), &format!("without a hub: {without:?}"));
    let world = World::new();
    let (_, _keeper) = time_to_hello(&world);
    let with = best(|| time_to_hello(&world).0);
    judge(with < Duration::from_millis(300), &format!("with a hub: {with:?}"));
}

#[test]
fn the_relay_adds_little_time() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    let mut hub = UnixStream::connect(world.runtime_dir().join("hub.sock")).unwrap();
    let preamble = RelayPreamble { version: "test".to_owned(), argv: Vec::new(), pid: std::process::id() };
    hub.write_all(&link::encode_preamble(&preamble).unwrap()).unwrap();
    let _: HubPreamble = link::read_preamble(&mut hub).unwrap();
    let ping = framed(br#"{"id":1,"type":"ping"}"#);
    let direct = best(|| {
        let began = Instant::now();
        hub.write_all(&ping).unwrap();
        assert!(matches!(link::read_frame(&mut hub), Ok(Frame::Message(_))));
        began.elapsed()
    });
    let through = best(|| {
        let began = Instant::now();
        host.ok(&json!({"type": "ping"}));
        began.elapsed()
    });
    let is_right = through.saturating_sub(direct) < Duration::from_millis(10);
    judge(is_right, &format!("{through:?} instead of {direct:?}"));
}

#[test]
fn relay_and_hub_stay_small() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    host.ok(&json!({"type": "stream.open", "stream_id": "cam", "source": {"kind": "extension"}}));
    // Raw pictures of 1080p, 8 MiB each as they come: memory that is not given back would show.
    let data = base64(&vec![0x55; 1920 * 1080 * 3]);
    for number in 0..20 {
        host.ok(&json!({"type": "frame", "stream_id": "cam", "format": "rgb", "width": 1920, "height": 1080,
                        "timestamp_ms": number, "data": data}));
        host.event("frame_ack");
    }
    let (relay, hub) = (resident_bytes(host.pid()), resident_bytes(world.hub_pid()));
    assert!(relay < 50_000_000, "relay: {relay} bytes");
    assert!(hub < 250_000_000, "hub: {hub} bytes");
}

/// Opens a stream until it has shown so many pictures, and gives its counters and the time that closing it took.
fn show(world: &World, host: &mut Host, source: &Value, pictures: u64) -> (Value, Duration) {
    host.ok(&json!({"type": "stream.open", "stream_id": "cam", "source": source}));
    eventually("pictures have come", || {
        let list = host.ok(&json!({"type": "stream.list"}));
        list["streams"][0]["published"].as_u64().unwrap() >= pictures
    });
    let hub = world.hub_pid();
    assert!(is_read(hub), "the thread that reads the source is known by its name");
    let began = Instant::now();
    let counters = host.ok(&json!({"type": "stream.close", "stream_id": "cam"}));
    eventually("the source is closed", || !is_read(hub));
    (counters, began.elapsed())
}

#[test]
fn a_1080p_screen_is_read_soon_and_at_its_rate_and_closed_at_once() {
    let display = Display::start();
    let world = World::new();
    let mut command = world.command(&[]);
    display.show_to(&mut command);
    let mut host = Host::start(command);
    host.hello();
    let tries: Vec<_> = (0..3).map(|_| show(&world, &mut host, &json!({"kind": "screen"}), 60)).collect();
    let best = |figure: &dyn Fn(&(Value, Duration)) -> f64| tries.iter().map(figure).fold(f64::INFINITY, f64::min);
    assert_eq!(tries[0].0["width"], json!(1920));
    // From the request to the server to the published picture.
    let latency_ms = best(&|(counters, _)| counters["latency_ms"].as_f64().unwrap());
    judge(latency_ms < 25.0, &format!("{latency_ms} ms for a picture"));
    let deviation = best(&|(counters, _)| (counters["fps"].as_f64().unwrap() / 30.0 - 1.0).abs());
    judge(deviation < 0.2, &format!("the rate is wrong by {deviation}"));
    let closing = best(&|(_, closing)| closing.as_secs_f64());
    judge(closing < 2.0, &format!("closed after {closing} s"));
}

#[test]
fn pictures_are_young_when_they_reach_a_subscriber() {
    // The best of some tries: others may be using the machine.
    let tries = (0..3).map(|_| {
        let world = World::new();
        let seen = Watched::start(world.host()).watch(&[json!({"kind": "synthetic", "fps": 30})], 3);
        (seen[0].latency.quantile(0.99), seen[0].rate)
    });
    let is_soon_enough = |(p99, rate): &(f64, f64)| *p99 < 333.0 && (rate / 30.0 - 1.0).abs() < 0.2;
    let mut seen = Vec::new();
    for figures in tries {
        seen.push(figures);
        if is_soon_enough(&figures) {
            return;
        }
    }
    judge(false, &format!("p99 in ms, and pictures a second: {seen:?}"));
}

#[test]
fn a_video_file_is_read_nearly_as_fast_as_ffmpeg_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("1080p.mp4");
    video::make(&path, 30, "ultrafast");
    let ours = best(|| video::read_by_framehost(&path, 30));
    let ffmpeg = best(|| video::read_by_ffmpeg(&path, 30));
    judge(ours < ffmpeg * 10, &format!("{ours:?} instead of {ffmpeg:?}"));
}
