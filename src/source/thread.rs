//! A source's thread: opens the device, hands its pictures to the streams, looks for it again when it is lost.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Capture, Granted, Number, Picture, SourceError, SourceOptions, SourceSpec, Step, Stop, TICK};
use crate::{
    frame::MAX_FRAME_NUMBER,
    streams::{Publisher, Trouble},
};

/// First pause before a lost device is opened again; it doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);

/// Longest pause before a lost device is opened again.
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// How a source is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SourceState {
    /// Pictures come, or will.
    #[default]
    Live,
    /// The device is gone, and looked for.
    Lost(Trouble),
    /// Nothing comes any more; what ended it, if it did not come to its end.
    Ended(Option<Trouble>),
}

impl From<&SourceError> for Trouble {
    fn from(error: &SourceError) -> Self {
        Self { kind: error.kind(), reason: error.reason(), scope: None, message: error.to_string() }
    }
}

/// A device and its thread.
#[derive(Debug)]
pub(super) struct Device {
    spec: SourceSpec,
    stop: Stop,
    state: Mutex<State>,
    changed: Condvar,
    events: watch::Sender<SourceState>,
}

#[derive(Debug, Default)]
struct State {
    publishers: Vec<Arc<Publisher>>,
    /// What opening brought, for everybody who waits for it.
    opened: Option<Result<Granted, Arc<SourceError>>>,
    is_done: bool,
}

impl Device {
    /// Starts the thread, which opens the device at once.
    pub(super) fn start(spec: SourceSpec, options: SourceOptions) -> Result<Arc<Self>, SourceError> {
        let device = Arc::new(Self {
            spec,
            stop: Stop::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            events: watch::Sender::new(SourceState::Live),
        });
        let of_thread = Arc::clone(&device);
        thread::Builder::new()
            .name(format!("source-{}", device.spec.kind()))
            .spawn(move || {
                // The device is dropped on this thread, before anybody hears that it is done; after a panic, too.
                let done = DoneAtEnd(&of_thread);
                of_thread.run(&options);
                drop(done);
            })
            .map_err(|source| SourceError::Io { action: "cannot start the source's thread", source })?;
        Ok(device)
    }

    pub(super) const fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// Waits until the device is open, or `stop` comes, which stops the wait only: others may wait, too.
    pub(super) fn wait_until_open(&self, stop: &Stop) -> Result<Granted, SourceError> {
        let timeout = self.spec.open_timeout();
        let due = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if stop.is_set() {
                return Err(SourceError::Abandoned { device: self.spec.mode() });
            }
            match &state.opened {
                Some(Ok(granted)) => return Ok(granted.clone()),
                Some(Err(error)) => return Err(SourceError::Shared(Arc::clone(error))),
                None => {}
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let waited_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                return Err(SourceError::OpenTimeout { device: self.spec.mode(), waited_ms });
            }
            state = self.changed.wait_timeout(state, left.min(TICK)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// From now on the stream gets the pictures, too. The first picture waits for the first stream.
    pub(super) fn attach(&self, publisher: Arc<Publisher>) {
        // Under the lock of `tell`: nobody misses what is told meanwhile.
        let mut state = self.state();
        match &*self.events.borrow() {
            SourceState::Live => {}
            SourceState::Lost(trouble) => publisher.set_trouble(Some(trouble.clone())),
            SourceState::Ended(trouble) => publisher.finish(trouble.as_ref()),
        }
        state.publishers.push(publisher);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn detach(&self, publisher: &Arc<Publisher>) {
        self.state().publishers.retain(|other| !Arc::ptr_eq(other, publisher));
    }

    pub(super) fn watch(&self) -> watch::Receiver<SourceState> {
        self.events.subscribe()
    }

    pub(super) fn stop(&self) {
        self.stop.set();
        self.changed.notify_all();
    }

    /// Will no stream get pictures from it any more?
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_set() || self.state().is_done
    }

    /// Waits until the thread has dropped the device; `false` if it has not in time.
    pub(super) fn wait_until_done(&self, timeout: Duration) -> bool {
        let state = self.state();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| !state.is_done)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_done
    }

    fn run(&self, options: &SourceOptions) {
        let mut capture = match self.spec.open(options, &self.stop) {
            Ok(capture) => capture,
            Err(error) => {
                self.set_opened(Err(Arc::new(error)));
                return;
            }
        };
        let granted = capture.granted().clone();
        let again = self.spec.pinned(&granted);
        self.set_opened(Ok(granted));
        self.wait_for_stream();
        let mut numbers = Numbers::default();
        loop {
            let end = self.pump(&mut *capture, &mut numbers);
            let lost = end.as_ref().err().filter(|error| error.is_lost() && again.is_some());
            if let Some(error) = lost {
                // Before the device is closed: a driver may take its time to let go of one that is gone.
                tracing::warn!(%error, "looking for the device");
                self.tell(SourceState::Lost(Trouble::from(error)));
            }
            drop(capture);
            // An end is told behind that: whoever opens the device then finds it closed.
            match &end {
                Err(_) if lost.is_some() => {}
                Ok(()) if self.stop.is_set() => return,
                Ok(()) => return self.end(None),
                Err(error) => return self.end(Some(error)),
            }
            let Some(found) = again.as_ref().and_then(|spec| self.reopen(spec, options)) else {
                return;
            };
            capture = found;
            numbers.begin_anew();
            self.tell(SourceState::Live);
        }
    }

    /// Hands pictures on until the source ends, or is told to.
    fn pump(&self, capture: &mut dyn Capture, numbers: &mut Numbers) -> Result<(), SourceError> {
        while !self.stop.is_set() {
            if self.spec.is_lossless() && !self.publishers().iter().all(|publisher| publisher.wait_for_room(TICK)) {
                continue;
            }
            let step = match capture.next(&self.stop) {
                Err(error) if self.stop.is_set() => {
                    tracing::debug!(%error, "the picture at hand was given up");
                    return Ok(());
                }
                step => step?,
            };
            match step {
                Step::Picture(picture) => self.publish(picture, numbers, capture.granted()),
                Step::Idle => {}
                Step::End => return Ok(()),
            }
        }
        Ok(())
    }

    fn publish(&self, picture: Picture, numbers: &mut Numbers, granted: &Granted) {
        let number = numbers.place(picture.number);
        let mut metadata = picture.frame.metadata().clone();
        for (key, value) in &granted.metadata {
            metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let frame = picture.frame.with_metadata(metadata);
        for publisher in self.publishers() {
            publisher.publish_captured(frame.clone(), Some(number), picture.captured_at);
        }
    }

    /// Opens the device again as soon as it is there; `None` when it is told to stop, or the user has refused.
    fn reopen(&self, spec: &SourceSpec, options: &SourceOptions) -> Option<Box<dyn Capture>> {
        let mut pause = MIN_BACKOFF;
        while !self.stop.wait(pause) {
            match spec.open(options, &self.stop) {
                Ok(capture) => return Some(capture),
                Err(error) if spec.is_final(&error) => {
                    self.end(Some(&error));
                    return None;
                }
                Err(error) => tracing::debug!(%error, "the device is not back"),
            }
            pause = (pause * 2).min(MAX_BACKOFF);
        }
        None
    }

    fn end(&self, error: Option<&SourceError>) {
        if let Some(error) = error {
            tracing::warn!(%error, "a source ended");
        }
        self.tell(SourceState::Ended(error.map(Trouble::from)));
    }

    fn tell(&self, state: SourceState) {
        let shared = self.state();
        for publisher in &shared.publishers {
            match &state {
                SourceState::Live => publisher.set_trouble(None),
                SourceState::Lost(trouble) => publisher.set_trouble(Some(trouble.clone())),
                SourceState::Ended(trouble) => publisher.finish(trouble.as_ref()),
            }
        }
        self.events.send_replace(state);
    }

    fn set_opened(&self, opened: Result<Granted, Arc<SourceError>>) {
        self.state().opened = Some(opened);
        self.changed.notify_all();
    }

    fn wait_for_stream(&self) {
        let waits = |state: &mut State| state.publishers.is_empty() && !self.stop.is_set();
        drop(self.changed.wait_while(self.state(), waits));
    }

    fn publishers(&self) -> Vec<Arc<Publisher>> {
        self.state().publishers.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the thread is done when it is dropped.
struct DoneAtEnd<'a>(&'a Device);

impl Drop for DoneAtEnd<'_> {
    fn drop(&mut self) {
        let failed = || SourceError::DeviceLost {
            device: self.0.spec.mode(),
            problem: "its thread has failed; the log says where".to_owned(),
        };
        if thread::panicking() {
            self.0.end(Some(&failed()));
        }
        let mut state = self.0.state();
        state.is_done = true;
        state.opened.get_or_insert_with(|| Err(Arc::new(failed())));
        drop(state);
        self.0.changed.notify_all();
    }
}

/// Numbers pictures by their sources' words.
#[derive(Debug, Default)]
struct Numbers {
    last: Option<u32>,
    /// A device's own count at the last picture.
    last_sequence: Option<u32>,
}

impl Numbers {
    fn place(&mut self, number: Number) -> u32 {
        let step = match number {
            Number::Exactly(exact) => {
                self.last = Some(exact);
                return exact;
            }
            Number::Next => 1,
            Number::Sequence(sequence) => {
                let before = self.last_sequence.replace(sequence);
                // A count that stands still or goes back says nothing about losses.
                before.map(|before| sequence.wrapping_sub(before)).filter(|step| *step < 1 << 31).unwrap_or(1).max(1)
            }
        };
        let next = match self.last {
            // From zero again behind the largest number, as the contract has it.
            Some(last) => (last + step) & MAX_FRAME_NUMBER,
            None => 0,
        };
        self.last = Some(next);
        next
    }

    /// The device was opened again: its count says nothing about what was before.
    fn begin_anew(&mut self) {
        self.last_sequence = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic::SyntheticOptions;

    #[test]
    fn everybody_who_waits_for_a_device_learns_why_it_does_not_open() {
        let spec = SourceSpec::Synthetic(SyntheticOptions { width: 0, ..SyntheticOptions::default() });
        let device = Device::start(spec, SourceOptions::default()).unwrap();
        for _ in 0..3 {
            let error = device.wait_until_open(&Stop::default()).unwrap_err();
            assert_eq!((error.reason(), error.field()), ("parameter", Some("width")), "{error}");
        }
    }

    #[test]
    fn numbers_follow_the_source_and_show_its_gaps() {
        let mut numbers = Numbers::default();
        let mut place = |number| numbers.place(number);
        assert_eq!([place(Number::Next), place(Number::Next)], [0, 1]);
        assert_eq!(
            [7, 8, 11, 11, 5].map(|sequence| place(Number::Sequence(sequence))),
            [2, 3, 6, 7, 8],
            "three were lost between 8 and 11"
        );
        assert_eq!([place(Number::Exactly(100)), place(Number::Next)], [100, 101]);
        let mut numbers = Numbers { last: Some(MAX_FRAME_NUMBER), last_sequence: Some(u32::MAX) };
        assert_eq!([numbers.place(Number::Sequence(0)), numbers.place(Number::Next)], [0, 1]);
        numbers.begin_anew();
        assert_eq!(numbers.place(Number::Sequence(50)), 2);
    }
}
