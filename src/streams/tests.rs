use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::*;
use crate::frame::{Format, MAX_FRAME_NUMBER, VideoFrame};

fn id(name: &str) -> StreamId {
    StreamId::parse(name).unwrap()
}

fn frame(timestamp_ms: u64) -> VideoFrame {
    frame_in("rgb", timestamp_ms)
}

fn frame_in(format: &str, timestamp_ms: u64) -> VideoFrame {
    let format = Format::parse(format).unwrap();
    VideoFrame::try_new(format, Some((1, 1)), timestamp_ms, Bytes::from_static(&[0; 3])).unwrap()
}

fn from(source: &'static str) -> Origin {
    Origin { source, ..Origin::default() }
}

fn with(queue: Queue) -> SubscribeOptions {
    SubscribeOptions { queue, ..SubscribeOptions::default() }
}

fn waiting(queue: Queue) -> SubscribeOptions {
    SubscribeOptions { wait: true, queue, ..SubscribeOptions::default() }
}

async fn numbers(subscription: &Subscription, count: usize) -> Vec<(u32, u64)> {
    let mut got = Vec::new();
    for _ in 0..count {
        let delivered = subscription.next().await.unwrap().unwrap();
        got.push((delivered.frame.frame_number(), delivered.dropped));
    }
    got
}

#[test]
fn stream_ids_are_checked() {
    for good in ["a", "cam-001", "A.b_c:9", &"x".repeat(MAX_STREAM_ID_BYTES)] {
        assert_eq!(id(good).as_str(), good);
    }
    for bad in ["", " ", "a/b", "a\0", "ä", "..\\", &"x".repeat(MAX_STREAM_ID_BYTES + 1)] {
        assert!(matches!(StreamId::parse(bad), Err(StreamError::BadId { .. })), "{bad:?}");
    }
}

#[tokio::test]
async fn a_slow_subscriber_loses_its_own_oldest_and_counts_them() {
    let streams = Streams::default();
    let publisher = streams.open(&id("s"), from("extension")).unwrap();
    let latest = streams.subscribe(&id("s"), with(Queue::Latest)).unwrap();
    let fifo = streams.subscribe(&id("s"), with(Queue::fifo(3).unwrap())).unwrap();
    for timestamp_ms in 1..=5 {
        publisher.publish(frame(timestamp_ms), None);
    }
    assert_eq!(numbers(&latest, 1).await, [(4, 4)]);
    assert_eq!(numbers(&fifo, 3).await, [(2, 2), (3, 2), (4, 2)]);
    let snapshot = publisher.snapshot();
    assert_eq!((snapshot.received, snapshot.published, snapshot.dropped, snapshot.bytes), (5, 5, 6, 15));
    assert_eq!(snapshot.subscribers.iter().map(|s| (s.delivered, s.dropped)).collect::<Vec<_>>(), [(1, 4), (3, 2)]);
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_but_keeps_its_newest() {
    let streams = Streams::default();
    let publisher = streams.open(&id("s"), from("extension")).unwrap();
    let subscription = streams.subscribe(&id("s"), with(Queue::fifo(256).unwrap())).unwrap();
    // 48 MiB each and shared, so the test itself takes 48 MiB; five of them fit 256 MiB.
    let big = VideoFrame::try_new(
        Format::parse("rgb").unwrap(),
        Some((16_384, 1024)),
        0,
        Bytes::from(vec![0; 16_384 * 1024 * 3]),
    )
    .unwrap();
    for _ in 0..8 {
        publisher.publish(big.clone(), None);
    }
    assert_eq!(publisher.snapshot().subscribers[0].queued, 5);
    assert_eq!(numbers(&subscription, 1).await, [(3, 3)]);
}

#[test]
fn fifo_depth_has_its_limits() {
    for (depth, good) in [(-1, false), (0, false), (1, true), (256, true), (257, false), (i64::MAX, false)] {
        assert_eq!(Queue::fifo(depth).is_ok(), good, "{depth}");
    }
}

#[tokio::test]
async fn timestamps_increase_and_clamps_are_counted() {
    let streams = Streams::default();
    let publisher = streams.open(&id("s"), from("extension")).unwrap();
    let subscription = streams.subscribe(&id("s"), with(Queue::fifo(9).unwrap())).unwrap();
    for timestamp_ms in [10, 10, 5, 20] {
        publisher.publish(frame(timestamp_ms), None);
    }
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(subscription.next().await.unwrap().unwrap().frame.timestamp_ms());
    }
    assert_eq!(got, [10, 11, 12, 20]);
    assert_eq!(publisher.snapshot().clamped, 2);
}

#[test]
fn frames_are_numbered_where_the_source_does_not() {
    let publisher = Streams::default().open(&id("s"), from("extension")).unwrap();
    assert_eq!(publisher.publish(frame(1), None), 0);
    assert_eq!(publisher.publish(frame(2), Some(7)), 7);
    assert_eq!(publisher.publish(frame(3), None), 8);
    assert_eq!(publisher.publish(frame(4), Some(MAX_FRAME_NUMBER)), MAX_FRAME_NUMBER);
    assert_eq!(publisher.publish(frame(5), None), 0);
}

#[tokio::test(start_paused = true)]
async fn subscribers_survive_a_publisher_who_comes_back_within_the_linger() {
    let streams = Streams::new(Duration::from_secs(10), Default::default());
    let first = streams.open(&id("s"), from("extension")).unwrap();
    let subscription = streams.subscribe(&id("s"), with(Queue::Latest)).unwrap();
    drop(first);
    tokio::time::sleep(Duration::from_secs(9)).await;
    let second = streams.open(&id("s"), from("synthetic")).unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    second.publish(frame(1), None);
    assert_eq!(subscription.next().await.unwrap().unwrap().source, "synthetic");
    second.publish(frame(2), None);
    drop(second);
    assert!(subscription.next().await.unwrap().is_some(), "what was published is still delivered");
    assert!(subscription.next().await.unwrap().is_none(), "then the stream ends");
    drop(subscription);
    assert!(streams.list().is_empty());
}

#[tokio::test]
async fn a_subscriber_may_come_first() {
    let streams = Streams::default();
    assert!(matches!(streams.subscribe(&id("s"), with(Queue::Latest)), Err(StreamError::NotFound { .. })));
    let subscription = streams.subscribe(&id("s"), waiting(Queue::Latest)).unwrap();
    let publisher = streams.open(&id("s"), from("extension")).unwrap();
    publisher.publish(frame(1), None);
    assert_eq!(numbers(&subscription, 1).await, [(0, 0)]);
}

#[tokio::test]
async fn what_a_source_left_waiting_is_not_shown_for_the_next_ones_sake() {
    let streams = Streams::default();
    let no_camera = |source| {
        let missing = NoConsent { scope: "camera", advice: "allow it".to_owned() };
        if source == "camera" { Err(missing) } else { Ok(()) }
    };
    let options = SubscribeOptions { sight: Sight::new("a", no_camera), ..waiting(Queue::fifo(9).unwrap()) };
    let subscription = streams.subscribe(&id("s"), options).unwrap();
    let camera = streams.open(&id("s"), from("camera")).unwrap();
    camera.publish(frame(1), None);
    drop(camera);
    let next = streams.open(&id("s"), from("extension")).unwrap();
    next.publish(frame(2), None);
    assert_eq!(subscription.next().await.unwrap_err().reason, "no_consent");
    let late = SubscribeOptions { sight: Sight::new("a", no_camera), ..waiting(Queue::Latest) };
    let late = streams.subscribe(&id("s"), late).unwrap();
    next.publish(frame(3), None);
    assert_eq!(late.next().await.unwrap().unwrap().frame.timestamp_ms(), 3, "a camera that was there before it came");
}

#[tokio::test]
async fn a_stream_has_one_publisher_and_goes_when_nobody_is_left() {
    let streams = Streams::default();
    let publisher = streams.open(&id("s"), from("extension")).unwrap();
    assert!(matches!(streams.open(&id("s"), from("extension")), Err(StreamError::AlreadyOpen { .. })));
    drop(publisher);
    assert!(streams.list().is_empty());
    assert!(streams.open(&id("s"), from("extension")).is_ok());
}

#[tokio::test]
async fn streams_and_subscribers_are_limited() {
    let streams = Streams::default();
    let publishers: Vec<_> =
        (0..MAX_STREAMS).map(|n| streams.open(&id(&n.to_string()), from("extension")).unwrap()).collect();
    assert!(matches!(streams.open(&id("more"), from("extension")), Err(StreamError::TooManyStreams { .. })));
    let _subscriptions: Vec<_> =
        (0..MAX_SUBSCRIBERS).map(|_| streams.subscribe(&id("0"), with(Queue::Latest)).unwrap()).collect();
    let one_more = streams.subscribe(&id("0"), with(Queue::Latest));
    assert!(matches!(one_more, Err(StreamError::TooManySubscribers { .. })));
    drop(publishers);
    assert_eq!(streams.list().len(), 1);
}

#[tokio::test]
async fn one_extension_leaves_room_for_others() {
    let streams = Streams::default();
    let owner = |name: &str| Owner { extension: Some(name.to_owned()), ..Owner::default() };
    let of = |name| Origin { owner: owner(name), ..from("extension") };
    let seen_by = |name, wait| SubscribeOptions { wait, sight: Sight::new(name, |_| Ok(())), ..with(Queue::Latest) };
    let half = MAX_STREAMS_OF_ONE / 2;
    let open: Vec<_> = (0..half).map(|n| streams.open(&id(&format!("a{n}")), of("a")).unwrap()).collect();
    // Whoever waits for a stream holds its name.
    let waits: Vec<_> = (half..MAX_STREAMS_OF_ONE)
        .map(|n| streams.subscribe(&id(&format!("a{n}")), seen_by("a", true)).unwrap())
        .collect();
    assert!(matches!(streams.open(&id("more"), of("a")), Err(StreamError::TooManyStreamsOfOne { .. })));
    assert!(matches!(streams.check_free(&id("more"), Some("a")), Err(StreamError::TooManyStreamsOfOne { .. })));
    let waiting = streams.subscribe(&id("more"), seen_by("a", true));
    assert!(matches!(waiting, Err(StreamError::TooManyStreamsOfOne { .. })));
    let others = [streams.open(&id("b"), of("b")).unwrap(), streams.open(&id("own"), from("process")).unwrap()];

    let subscribe = |name| streams.subscribe(&id("b"), seen_by(name, false));
    let subscriptions: Vec<_> = (0..MAX_SUBSCRIBERS_OF_ONE).map(|_| subscribe("a").unwrap()).collect();
    assert!(matches!(subscribe("a"), Err(StreamError::TooManySubscribersOfOne { .. })));
    let rest: Vec<_> = [subscribe("b"), streams.subscribe(&id("b"), with(Queue::Latest))].into_iter().collect();
    assert!(rest.iter().all(Result::is_ok));
    drop((open, waits, subscriptions));
    assert!(subscribe("a").is_ok() && streams.open(&id("more"), of("a")).is_ok());
    drop(others);
}

#[tokio::test]
async fn results_reach_the_publisher_and_the_oldest_goes_first() {
    let streams = Streams::default();
    let publisher = streams.open(&id("s"), from("extension")).unwrap();
    let json: Arc<RawValue> = Arc::from(serde_json::value::to_raw_value(&1).unwrap());
    assert!(streams.give_result(&id("other"), 0, Arc::clone(&json)).is_err());
    for number in 0..=u32::try_from(MAX_WAITING_RESULTS).unwrap() {
        let delivered = streams.give_result(&id("s"), number, Arc::clone(&json)).unwrap();
        assert_eq!(delivered, number < u32::try_from(MAX_WAITING_RESULTS).unwrap());
    }
    let Feedback::Result(first) = publisher.feedback().next().await else { panic!("a result") };
    assert_eq!(first.frame_number, 1);
    let snapshot = publisher.snapshot();
    assert_eq!((snapshot.results_delivered, snapshot.results_dropped), (64, 1));
}

#[tokio::test]
async fn who_does_not_read_to_the_end_is_in_nobodys_way() {
    let streams = Streams::default();
    let wish = || Wish::new(vec![Format::parse("bgr").unwrap()], None, None).unwrap();
    let options =
        || SubscribeOptions { wait: true, queue: Queue::fifo(9).unwrap(), wish: wish(), ..SubscribeOptions::default() };
    let first = streams.open(&id("s"), from("synthetic")).unwrap();
    let deaf = streams.subscribe(&id("s"), options()).unwrap();
    first.publish(frame(1), None);
    first.finish(None);
    drop(first);
    let second = streams.open(&id("s"), Origin { is_lossless: true, ..from("file") }).unwrap();
    assert!(!second.wait_for_room(Duration::ZERO), "whoever is left of the first stream is no reader of the second");
    let next = streams.subscribe(&id("s"), options()).unwrap();
    assert!(second.wait_for_room(Duration::from_secs(60)));
    second.publish(frame(2), None);
    assert_eq!(numbers(&next, 1).await, [(0, 0)]);
    drop(deaf);
    second.finish(None);
    assert!(next.next().await.unwrap().is_none());
}

/// The view's thread has been started by the live publisher's picture. The file's have to be converted, or fit.
#[tokio::test]
async fn a_file_that_takes_over_from_a_live_publisher_loses_nothing() {
    for format in ["bgr", "rgb"] {
        let streams = Streams::default();
        let wish = Wish::new(vec![Format::parse("rgb").unwrap()], None, None).unwrap();
        let first = streams.open(&id("s"), from("extension")).unwrap();
        let options =
            SubscribeOptions { wait: true, queue: Queue::fifo(3).unwrap(), wish, ..SubscribeOptions::default() };
        let subscription = streams.subscribe(&id("s"), options).unwrap();
        first.publish(frame_in("bgr", 1), None);
        assert_eq!(numbers(&subscription, 1).await, [(0, 0)], "{format}");
        drop(first);
        let file = streams.open(&id("s"), Origin { is_lossless: true, ..from("file") }).unwrap();
        let reader = std::thread::spawn(move || {
            for number in 1..=60 {
                while !file.wait_for_room(Duration::from_secs(1)) {}
                file.publish(frame_in(format, u64::from(number) * 10), Some(number));
            }
            file.finish(None);
        });
        // Read only when the publisher has filled whatever there is.
        while !streams.list()[0].subscribers.iter().any(|subscriber| subscriber.queued >= 3) {
            tokio::task::yield_now().await;
        }
        let expected: Vec<_> = (1..=60).map(|number| (number, 0)).collect();
        assert_eq!(numbers(&subscription, 60).await, expected, "{format}");
        assert!(subscription.next().await.unwrap().is_none());
        reader.join().unwrap();
    }
}

#[tokio::test]
async fn a_live_publisher_pushes_out_nothing_of_a_file() {
    for queue in [Queue::Suitable, Queue::fifo(2).unwrap()] {
        let streams = Streams::default();
        let file = streams.open(&id("s"), Origin { is_lossless: true, ..from("file") }).unwrap();
        let subscription = streams.subscribe(&id("s"), with(queue)).unwrap();
        for number in 1..=2 {
            assert!(file.wait_for_room(Duration::ZERO));
            file.publish(frame(u64::from(number)), Some(number));
        }
        drop(file);
        let live = streams.open(&id("s"), from("extension")).unwrap();
        for number in 10..15 {
            live.publish(frame(u64::from(number)), Some(number));
        }
        let live = if queue == Queue::Suitable { vec![14] } else { vec![13, 14] };
        let expected: Vec<u32> = [1, 2].into_iter().chain(live).collect();
        let got = numbers(&subscription, expected.len()).await;
        assert_eq!(got.iter().map(|(number, _)| *number).collect::<Vec<_>>(), expected, "{queue:?}");
    }
}
