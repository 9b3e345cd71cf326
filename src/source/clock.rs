//! When pictures were taken, and when the next one is due.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Stop, TICK};
use crate::frame::Metadata;

/// A picture that is said to be older was stamped by another clock: no driver keeps one for so long.
#[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
const MAX_AGE: Duration = Duration::from_secs(3);

/// How far ahead of us a driver's clock may seem to be: it works out some times, and rounds them.
#[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
const MAX_AHEAD: Duration = Duration::from_millis(5);

/// Turns moments of the monotonic clock into wall time, by one reading of both: a wall clock that is set does not make
/// pictures jump.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    wall_us: u64,
    mono_us: u64,
}

impl Clock {
    /// Reads both clocks now.
    pub(super) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { began: Instant::now(), wall_us: micros(wall), mono_us: monotonic_us() }
    }

    /// Milliseconds since 1970 of a moment.
    pub(super) fn wall_ms(&self, at: Instant) -> u64 {
        self.since(self.wall_us, at) / 1000
    }

    /// The moment when a device says that it took a picture, by the system's monotonic clock, if that can be true.
    #[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
    pub(super) fn at_sane_mono_us(&self, stamp_us: u64) -> Option<Instant> {
        let now_us = monotonic_us();
        sane_age(Duration::from_micros(stamp_us), Duration::from_micros(now_us))?;
        self.at_mono_us(stamp_us.min(now_us))
    }

    /// The moment of a reading of the system's monotonic clock.
    #[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
    pub(super) fn at_mono_us(&self, mono_us: u64) -> Option<Instant> {
        match mono_us.checked_sub(self.mono_us) {
            Some(after) => self.began.checked_add(Duration::from_micros(after)),
            None => self.began.checked_sub(Duration::from_micros(self.mono_us - mono_us)),
        }
    }

    /// Says in a picture's metadata when it was taken, and by whose clock: `kernel` or `host`.
    pub(super) fn stamp(&self, at: Instant, clock: &str, metadata: &mut Metadata) {
        metadata.insert("clock".to_owned(), clock.to_owned());
        metadata.insert("mono_us".to_owned(), self.since(self.mono_us, at).to_string());
    }

    fn since(&self, began_us: u64, at: Instant) -> u64 {
        match at.checked_duration_since(self.began) {
            Some(after) => began_us.saturating_add(micros(after)),
            None => began_us.saturating_sub(micros(self.began.duration_since(at))),
        }
    }
}

/// How long ago a device took a picture, if what it says can be true: neither zero nor in the future nor long ago.
///
/// `stamp`, `now`: by the same clock.
#[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
pub(super) fn sane_age(stamp: Duration, now: Duration) -> Option<Duration> {
    let is_sane = !stamp.is_zero() && stamp.saturating_sub(now) <= MAX_AHEAD;
    Some(now.saturating_sub(stamp)).filter(|age| is_sane && *age <= MAX_AGE)
}

/// The system's monotonic clock, which other programs and the kernel read, too.
#[cfg(unix)]
pub(super) fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1000
}

/// A monotonic clock of this process alone: the wall clock at its first reading, and steady from there.
#[cfg(not(unix))]
pub(super) fn monotonic_us() -> u64 {
    static BEGAN: std::sync::LazyLock<(Instant, Duration)> =
        std::sync::LazyLock::new(|| (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()));
    micros(BEGAN.1.saturating_add(BEGAN.0.elapsed()))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A steady rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    began: Instant,
    interval: Duration,
    /// Intervals from the beginning to the next picture.
    count: u64,
}

impl Pace {
    /// Begins now. `fps`: above 0.
    pub(super) fn start(fps: f64) -> Self {
        Self { began: Instant::now(), interval: Duration::from_secs_f64(1.0 / fps), count: 0 }
    }

    /// Waits until the next picture is due, and tells for when it is meant; `None` if it is not due within a tick. One
    /// that falls behind leaves out what it has missed, so that there is no burst.
    pub(super) fn wait(&mut self, stop: &Stop) -> Option<Instant> {
        let due = self.due(self.count);
        let now = Instant::now();
        if due > now + TICK {
            stop.wait(TICK);
            return None;
        }
        if stop.wait_until(due) {
            return None;
        }
        self.count += 1;
        let missed = Instant::now().saturating_duration_since(due).as_nanos() / self.interval.as_nanos().max(1);
        self.count += u64::try_from(missed).unwrap_or(0);
        Some(due)
    }

    /// When the picture after the last one that was waited for is due.
    #[cfg(all(feature = "screen", target_os = "linux"))]
    pub(super) fn next_due(&self) -> Instant {
        self.due(self.count)
    }

    /// From the beginning each time: a sum of intervals would drift.
    fn due(&self, count: u64) -> Instant {
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        self.began + Duration::from_nanos(nanos.saturating_mul(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_one_place_on_every_clock() {
        let clock = Clock::start();
        let at = clock.began + Duration::from_millis(1500);
        assert_eq!(clock.wall_ms(at), (clock.wall_us + 1_500_000) / 1000);
        let mut metadata = Metadata::new();
        clock.stamp(at, "host", &mut metadata);
        assert_eq!(metadata["mono_us"], (clock.mono_us + 1_500_000).to_string());
    }

    #[test]
    #[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
    fn a_timestamp_is_believed_only_if_it_can_be_true() {
        let us = Duration::from_micros;
        let now = us(100_000_000);
        let age = |stamp| sane_age(stamp, now);
        assert_eq!(age(now), Some(us(0)));
        assert_eq!(age(now - us(20_000)), Some(us(20_000)));
        assert_eq!(age(now - MAX_AGE), Some(MAX_AGE));
        assert_eq!(age(now + MAX_AHEAD), Some(us(0)));
        for stamp in [us(0), us(1), now - MAX_AGE - us(1), now + MAX_AHEAD + us(1), Duration::MAX] {
            assert_eq!(age(stamp), None, "{stamp:?}");
        }
        assert_eq!(sane_age(us(0), us(5)), None, "zero is no time even just after the start");
    }

    #[test]
    #[cfg(any(feature = "camera", all(feature = "screen", target_os = "linux")))]
    fn the_kernels_moments_are_ours() {
        let clock = Clock::start();
        assert_eq!(clock.at_mono_us(clock.mono_us + 7), Some(clock.began + Duration::from_micros(7)));
        assert!(clock.at_mono_us(clock.mono_us - 1).is_some_and(|before| before < clock.began));
    }

    #[test]
    fn a_pace_that_has_missed_its_time_leaves_pictures_out() {
        let stop = Stop::default();
        let mut pace = Pace::start(100.0);
        pace.began -= Duration::from_millis(255);
        assert_eq!(pace.wait(&stop), Some(pace.began));
        let next = pace.due(pace.count);
        assert!(next > Instant::now() - Duration::from_millis(10), "no burst");
        let mut slow = Pace::start(0.1);
        assert!(slow.wait(&stop).is_some(), "the first is due at once");
        assert_eq!(slow.wait(&stop), None, "a tick is waited at most");
    }
}
