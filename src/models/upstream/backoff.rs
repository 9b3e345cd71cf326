//! How long to wait before the next try.

use std::time::Duration;

use super::UpstreamError;

/// Tries without any progress before giving up.
const MAX_TRIES: u32 = 5;

/// The wait after the first failure; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Longest wait that upstream may ask for; one that wants more is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Counts failures since the last progress.
#[derive(Debug, Default)]
pub(in crate::models) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something arrived.
    pub(in crate::models) const fn progress(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after this failure; `None`: give up.
    pub(in crate::models) fn after(&mut self, error: &UpstreamError) -> Option<Duration> {
        self.failures += 1;
        if !error.is_transient() || self.failures >= MAX_TRIES {
            return None;
        }
        let own = FIRST_WAIT * 2_u32.pow(self.failures - 1);
        // Spread out: many who were turned away at once must not come back at once.
        let mut random = [0];
        let spread = getrandom::fill(&mut random).map_or(0, |()| u32::from(random[0]));
        let own = own + own * spread / 512;
        match error.retry_after() {
            Some(asked) if asked > LONGEST_WAIT => None,
            Some(asked) => Some(asked.max(own)),
            None => Some(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(retry_after: Option<u64>) -> UpstreamError {
        let retry_after = retry_after.map(Duration::from_secs);
        UpstreamError::Busy { status: 503, retry_after, url: String::new() }
    }

    #[test]
    fn waits_grow_and_end_and_begin_anew_with_progress() {
        let mut backoff = Backoff::default();
        let mut last = Duration::ZERO;
        for _ in 1..MAX_TRIES {
            let wait = backoff.after(&busy(None)).unwrap();
            assert!(wait >= last, "{wait:?} after {last:?}");
            last = wait / 2;
        }
        assert_eq!(backoff.after(&busy(None)), None);
        backoff.progress();
        assert!(backoff.after(&busy(None)).is_some());
    }

    #[test]
    fn what_upstream_asks_for_is_held_to_within_reason() {
        assert_eq!(Backoff::default().after(&busy(Some(7))), Some(Duration::from_secs(7)));
        assert_eq!(Backoff::default().after(&busy(Some(61))), None);
        assert_eq!(Backoff::default().after(&UpstreamError::Off), None);
    }
}
