//! What `stream.list`, `ListStreams` and `framehost status` show of a stream.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Trouble;
use crate::frame::{Format, VideoFrame};

/// Pictures over which the rate is measured.
const RATE_WINDOW: usize = 32;

/// A stream whose last picture is older than this shows a rate of 0, in seconds.
const RATE_STALE_S: f64 = 2.0;

/// A stream's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamSnapshot {
    /// Hub-wide name.
    pub stream_id: String,
    /// Kind of source; empty while nobody has opened the stream.
    pub source: &'static str,
    /// Who publishes, if it is a session or a call.
    pub owner: Option<String>,
    /// What is wrong with the source at this moment.
    pub trouble: Option<Trouble>,
    /// Pixels of the last picture; 0 before the first.
    pub width: u32,
    /// Pixels of the last picture; 0 before the first.
    pub height: u32,
    /// Of the last picture.
    pub format: Option<Format>,
    /// Measured pictures a second.
    pub fps: f64,
    /// Milliseconds from capture to publishing, the mean of the last pictures; 0 where the source does not tell.
    pub latency_ms: f64,
    /// Pictures that came, refused ones included.
    pub received: u64,
    /// Pictures handed to the subscribers there were.
    pub published: u64,
    /// Pictures refused.
    pub rejected: u64,
    /// Timestamps moved to the last plus one.
    pub clamped: u64,
    /// Packets that came in fragments of which some were lost.
    pub lost_packets: u64,
    /// Payload published.
    pub bytes: u64,
    /// Pictures lost, summed over subscribers, gone ones included.
    pub dropped: u64,
    /// Results handed to the publisher's session.
    pub results_delivered: u64,
    /// Results lost.
    pub results_dropped: u64,
    /// Those who subscribe now.
    pub subscribers: Vec<SubscriberSnapshot>,
}

/// A subscription's counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriberSnapshot {
    /// Counted from 1 in each stream.
    pub subscriber_id: u64,
    /// Pictures that its queue holds at most.
    pub depth: usize,
    /// Pictures handed out.
    pub delivered: u64,
    /// Pictures lost.
    pub dropped: u64,
    /// Pictures waiting.
    pub queued: usize,
}

/// The running counters of a stream.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) received: u64,
    pub(super) published: u64,
    pub(super) rejected: u64,
    pub(super) clamped: u64,
    pub(super) lost_packets: u64,
    pub(super) bytes: u64,
    /// By subscribers that are gone.
    pub(super) dropped_by_gone: u64,
    pub(super) results_delivered: u64,
    pub(super) results_dropped: u64,
    pub(super) last: Option<(Format, u32, u32)>,
    arrivals: VecDeque<Instant>,
    latencies: VecDeque<Duration>,
}

impl Counters {
    pub(super) fn count_published(&mut self, frame: &VideoFrame, now: Instant, captured_at: Option<Instant>) {
        self.published += 1;
        self.bytes += frame.frame_data().len() as u64;
        self.last = Some((frame.format(), frame.width(), frame.height()));
        if self.arrivals.len() == RATE_WINDOW {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        if let Some(captured_at) = captured_at {
            if self.latencies.len() == RATE_WINDOW {
                self.latencies.pop_front();
            }
            self.latencies.push_back(now.saturating_duration_since(captured_at));
        }
    }

    pub(super) fn latency_ms(&self) -> f64 {
        let count = u32::try_from(self.latencies.len()).unwrap_or(u32::MAX);
        let mean = self.latencies.iter().sum::<Duration>().checked_div(count).unwrap_or_default();
        (mean.as_secs_f64() * 100_000.0).round() / 100.0
    }

    pub(super) fn fps(&self, now: Instant) -> f64 {
        let (Some(first), Some(last)) = (self.arrivals.front(), self.arrivals.back()) else {
            return 0.0;
        };
        let span = last.duration_since(*first).as_secs_f64();
        if span <= 0.0 || now.duration_since(*last).as_secs_f64() > RATE_STALE_S {
            return 0.0;
        }
        let intervals = u32::try_from(self.arrivals.len() - 1).unwrap_or(u32::MAX);
        (f64::from(intervals) / span * 100.0).round() / 100.0
    }
}
