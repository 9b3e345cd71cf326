//! What framehost costs before and while nothing happens: time to the first answer, memory, processor time.

use std::{fs, thread, time::Duration, time::Instant};

use crate::support::{
    Bound, Samples,
    common::{Host, World, resident_bytes},
    is_quick, jpeg_message, judge, milliseconds, open_request, thorough_or_quick,
    watch::connect,
};
use framehost::grpc::pb::SubscribeFramesRequest;

/// Of the counters in `/proc/PID/stat`. Source: `proc(5)`; the kernel reports in hundredths of a second to everybody.
const TICKS_PER_SECOND: f64 = 100.0;

pub fn run() {
    let starts = thorough_or_quick(40, 5);
    let mut without = Samples::default();
    for _ in 0..starts {
        without.push(time_to_hello(&World::new()).0);
    }
    let world = World::new();
    let mut keeper = world.host();
    keeper.hello();
    let mut with = Samples::default();
    for _ in 0..starts {
        with.push(time_to_hello(&world).0);
    }
    println!("ms from starting the process to the answer to `hello`, {starts} times\n");
    println!("{:<14} {:>8} {:>8} {:>8}", "", "p50", "p90", "max");
    for (name, samples) in [("with a hub", &with), ("without", &without)] {
        println!("{name:<14} {:>8.1} {:>8.1} {:>8.1}", samples.median(), samples.quantile(0.9), samples.max());
    }

    let at_rest = memory(&World::new(), 0, 0);
    let at_work = memory(&World::new(), thorough_or_quick(200, 20), 1 << 20);
    let at_hard_work = memory(&World::new(), thorough_or_quick(50, 5), 8 << 20);
    println!("\nresident memory, MB (10^6 bytes)\n");
    println!("{:<38} {:>8} {:>8}", "", "relay", "hub");
    let rows = [
        ("after hello", at_rest),
        ("after messages of 1 MiB, stream closed", at_work),
        ("after messages of 8 MiB, stream closed", at_hard_work),
    ];
    for (when, (relay, hub)) in rows {
        println!("{when:<38} {relay:>8.1} {hub:>8.1}");
    }

    let watched = Duration::from_secs(thorough_or_quick(5, 1));
    let [bare, attended] = idle_processor_times(watched);
    println!("\nprocessor time of the idle hub in {} s, s\n", watched.as_secs());
    println!("{:<38} {bare:>8.2}", "without sessions");
    println!("{:<38} {attended:>8.2}", "with a session and a gRPC subscriber");

    println!();
    judge("hello with a hub, median", with.median(), "ms", Bound::Under(30.0));
    judge("hello without a hub, median", without.median(), "ms", Bound::Under(150.0));
    judge("relay after hello", at_rest.0, "MB", Bound::Under(5.0));
    judge("hub after hello", at_rest.1, "MB", Bound::Under(25.0));
    judge("relay after messages of 8 MiB", at_hard_work.0, "MB", Bound::Under(5.0));
    judge("hub after messages of 1 MiB", at_work.1, "MB", Bound::Under(25.0));
    // One tick of the clock is the smallest that can be seen.
    judge("processor time of the idle hub", bare.max(attended), "s", Bound::Under(1.5 / TICKS_PER_SECOND));
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

fn time_to_hello(world: &World) -> (f64, Host) {
    let began = Instant::now();
    let mut host = world.host();
    host.hello();
    (milliseconds(began.elapsed()), host)
}

/// Of a relay and its hub, after this many pictures in messages of this size.
fn memory(world: &World, pictures: usize, message_bytes: usize) -> (f64, f64) {
    let mut host = world.host();
    host.hello();
    if pictures > 0 {
        let message = jpeg_message("cam", message_bytes);
        host.ok(&open_request("cam"));
        for _ in 0..pictures {
            host.send_raw(&message);
            host.event("frame_ack");
        }
        host.ok(&serde_json::json!({"type": "stream.close", "stream_id": "cam"}));
    }
    (megabytes(host.pid()), megabytes(world.hub_pid()))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(pid: i32) -> f64 {
    resident_bytes(pid) as f64 / 1e6
}

/// Of a hub that only waits, and of one with a session and a subscriber that wait, too.
fn idle_processor_times(watched: Duration) -> [f64; 2] {
    let bare = World::new();
    bare.host().hello();
    let attended = World::new();
    let mut host = attended.host();
    let address = host.hello()["grpc"].as_str().unwrap().to_owned();
    host.ok(&open_request("cam"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let subscription = runtime.block_on(async {
        let request = SubscribeFramesRequest { stream_id: "cam".to_owned(), ..Default::default() };
        connect(&address).await.subscribe_frames(request).await.unwrap()
    });
    let pids = [bare.hub_pid(), attended.hub_pid()];
    // What begins and ends a connection is over by then.
    thread::sleep(Duration::from_millis(300));
    let before = pids.map(processor_seconds);
    thread::sleep(watched);
    let after = pids.map(processor_seconds);
    drop(subscription);
    [after[0] - before[0], after[1] - before[1]]
}

/// User and system time of a process so far.
fn processor_seconds(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |at: usize| fields.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}
