//! Streams of the hub's own over time: do they hold their rate, how old is a picture when a subscriber has it, do eight at
//! once get through, and how soon a device is free again.
//!
//! The hub is the real binary with a display of the benchmark's own (Xvfb), the subscribers are in this process. The test
//! pattern stands for a camera.

use std::time::Instant;

use crate::support::{
    Bound, Samples,
    common::{Host, World, eventually},
    display, is_quick, judge, milliseconds, thorough_or_quick,
    watch::{Seen, Watched, is_read},
};
use framehost::{
    source::{SourceSpec, Sources, Stop, screen::ScreenOptions, synthetic::SyntheticOptions},
    streams::{Owner, StreamId, Streams},
};
use serde_json::json;

const FPS: u32 = 30;

pub fn run() {
    if !display::is_inside() {
        return display::run_inside();
    }
    let seconds = thorough_or_quick(60, 2);
    println!("streams at {FPS} pictures a second, {seconds} s\n");
    println!(
        "{:<28} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "", "pictures", "per s", "p50 ms", "p99 ms", "max ms", "dropped"
    );
    let mut verdicts = Vec::new();
    let camera = json!({"kind": "synthetic", "width": 1280, "height": 720, "fps": FPS});
    let screen = json!({"kind": "screen", "fps": FPS});
    for (name, source) in [("720p test pattern", camera), ("1080p screen", screen)] {
        let world = World::new();
        let [seen]: [Seen; 1] = Watched::start(world.host()).watch(&[source], seconds).try_into().unwrap();
        print(name, &seen);
        let deviation = 100.0 * (seen.rate - f64::from(FPS)).abs() / f64::from(FPS);
        verdicts.push((format!("{name}, deviation from the asked rate"), deviation, "%", Bound::Under(2.0)));
        let p99 = seen.latency.quantile(0.99);
        verdicts.push((format!("{name}, capture to subscriber, p99"), p99, "ms", Bound::Under(33.3)));
    }
    let eight = vec![json!({"kind": "synthetic", "width": 640, "height": 480, "fps": FPS}); 8];
    let world = World::new();
    let seen = Watched::start(world.host()).watch(&eight, seconds);
    let together = Seen {
        pictures: seen.iter().map(|one| one.pictures).sum(),
        rate: seen.iter().map(|one| one.rate).sum(),
        latency: Samples(seen.iter().flat_map(|one| one.latency.0.iter().copied()).collect()),
        dropped: seen.iter().map(|one| one.dropped).sum(),
    };
    print("eight of 640 x 480 at once", &together);
    let slowest = seen.iter().map(|one| one.rate).fold(f64::INFINITY, f64::min);
    let deviation = 100.0 * (slowest - f64::from(FPS)).abs() / f64::from(FPS);
    verdicts.push(("eight at once, pictures dropped".to_owned(), f64::from(together.dropped), "", Bound::Under(1.0)));
    verdicts.push((
        "eight at once, slowest, deviation from the asked rate".to_owned(),
        deviation,
        "%",
        Bound::Under(2.0),
    ));
    println!();
    verdicts.extend(closing());
    println!();
    for (what, value, unit, bound) in verdicts {
        judge(&what, value, unit, bound);
    }
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

fn print(name: &str, seen: &Seen) {
    let Seen { pictures, rate, latency, dropped } = seen;
    let [median, p99, max] = [latency.median(), latency.quantile(0.99), latency.max()];
    println!("{name:<28} {pictures:>9} {rate:>9.3} {median:>8.2} {p99:>8.2} {max:>8.2} {dropped:>8}");
}

type Verdict = (String, f64, &'static str, Bound);

/// From the wish to close a stream until its device is closed.
fn closing() -> Vec<Verdict> {
    let times = thorough_or_quick(50, 3);
    println!("ms from closing a stream until its device is closed, {times} times\n");
    println!("{:<28} {:>8} {:>8}", "", "p50", "max");
    let mut verdicts = Vec::new();
    let in_process = [
        ("test pattern, drop", SourceSpec::Synthetic(SyntheticOptions::default())),
        ("screen, drop", SourceSpec::Screen(ScreenOptions::default())),
    ];
    let mut verdict = |name: &str, samples: &Samples| {
        println!("{name:<28} {:>8.2} {:>8.2}", samples.median(), samples.max());
        verdicts.push((format!("{name} to closed, max"), samples.max(), "ms", Bound::Under(200.0)));
    };
    for (name, spec) in in_process {
        verdict(name, &(0..times).fold(Samples::default(), |samples, _| pushed(samples, drop_running(spec.clone()))));
    }
    for (name, kind) in [("test pattern, stream.close", "synthetic"), ("screen, stream.close", "screen")] {
        let world = World::new();
        let mut host = world.host();
        host.hello();
        let close = || close_stream(&world, &mut host, kind);
        verdict(name, &std::iter::repeat_with(close).take(times).fold(Samples::default(), pushed));
    }
    verdicts
}

fn pushed(mut samples: Samples, value: f64) -> Samples {
    samples.push(value);
    samples
}

/// In this process: the drop waits for the device.
fn drop_running(spec: SourceSpec) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _context = runtime.enter();
    let (streams, id) = (Streams::default(), StreamId::parse("cam").unwrap());
    let running = Sources::default().open(&streams, &id, spec, Owner::default(), &Stop::default()).unwrap();
    eventually("a picture has come", || running.publisher().snapshot().published > 0);
    let began = Instant::now();
    drop(running);
    milliseconds(began.elapsed())
}

/// By the native port of a hub: until the answer, and until no thread of its reads the device any more.
fn close_stream(world: &World, host: &mut Host, kind: &str) -> f64 {
    host.ok(&json!({"type": "stream.open", "stream_id": "cam", "source": {"kind": kind}}));
    let hub = world.hub_pid();
    assert!(is_read(hub), "the thread that reads the device is known by its name");
    eventually("a picture has come", || {
        let list = host.ok(&json!({"type": "stream.list"}));
        list["streams"].as_array().unwrap().iter().any(|stream| stream["published"] != json!(0))
    });
    let began = Instant::now();
    host.ok(&json!({"type": "stream.close", "stream_id": "cam"}));
    eventually("the device is closed", || !is_read(hub));
    milliseconds(began.elapsed())
}
