//! What keeps a hub alive: sessions, authenticated connections, and streams that calls have opened.
//!
//! Belongs here: the count, and waiting until it has been zero for a while.
//! Does not belong here: what the hub does then (`hub`).

use std::time::Duration;

use tokio::sync::watch;

/// Counts the reasons to stay. Cloning shares the count.
#[derive(Debug, Clone)]
pub struct Activity {
    count: watch::Sender<usize>,
}

/// One reason to stay, until it is dropped.
#[derive(Debug)]
pub struct ActivityGuard {
    count: watch::Sender<usize>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { count: watch::Sender::new(0) }
    }
}

impl Activity {
    /// Adds a reason to stay.
    pub fn enter(&self) -> ActivityGuard {
        self.count.send_modify(|count| *count += 1);
        ActivityGuard { count: self.count.clone() }
    }

    /// Is there no reason now?
    pub fn is_idle(&self) -> bool {
        *self.count.borrow() == 0
    }

    /// Waits until there has been no reason for `quiet` without a break.
    ///
    /// # Cancel safety
    ///
    /// The wait starts anew.
    pub async fn idle_for(&self, quiet: Duration) {
        let mut count = self.count.subscribe();
        loop {
            // The sender lives in `self`, so both waits end only by what they wait for.
            let _ = count.wait_for(|count| *count == 0).await;
            // `changed` also sees a reason that came and went at once.
            if tokio::time::timeout(quiet, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_begins_anew_with_every_reason_that_goes() {
        let activity = Activity::default();
        let start = Instant::now();
        let held = activity.enter();
        let later = {
            let activity = activity.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(20)).await;
                drop(held);
                sleep(Duration::from_secs(25)).await;
                drop(activity.enter());
            })
        };
        activity.idle_for(Duration::from_secs(30)).await;
        assert_eq!(start.elapsed().as_secs(), 75);
        later.await.unwrap();
    }
}
