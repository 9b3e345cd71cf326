//! One stream: its subscribers, the views they share, and its counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::value::RawValue;

use super::{
    MAX_SUBSCRIBERS, MAX_SUBSCRIBERS_OF_ONE, MAX_VIEWS, NoConsent, Origin, Publisher, Queue, Sight, StreamError,
    StreamId, StreamSnapshot, SubscribeOptions, Subscription, Trouble, Wish,
    counters::Counters,
    feedback::{FeedbackQueue, ResultEvent, ResultFate},
    queue::{FrameQueue, Notice, Room},
    table::Streams,
    view::View,
};
use crate::frame::{Format, MAX_FRAME_NUMBER, VideoFrame, key_frame};

/// A stream as the table holds it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) made_for: Option<String>,
    pub(super) room: Room,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    publisher: Option<PublisherState>,
    /// Counts publishers, so that a linger that ends late does not end the next publisher's stream.
    generation: u64,
    lingering: bool,
    subscribers: Vec<Subscriber>,
    views: Vec<Arc<View>>,
    last_subscriber_id: u64,
    last_place: Option<(u32, u64)>,
    pub(super) counters: Counters,
    pub(super) source: &'static str,
    /// Each kind of source that there was, with its last publisher's generation: pictures of an earlier one may wait.
    sources: BTreeMap<&'static str, u64>,
    pub(super) trouble: Option<Trouble>,
    is_lossless: bool,
}

#[derive(Debug)]
struct PublisherState {
    owner: Option<String>,
    feedback: Arc<FeedbackQueue>,
}

#[derive(Debug)]
struct Subscriber {
    id: u64,
    /// The extension whose it is.
    extension: Option<String>,
    queue: Arc<FrameQueue>,
    /// Through whom the pictures come, for those who do not take everything as it is.
    view: Option<Arc<View>>,
}

/// How a picture is to be handled in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It shows itself.
    Alone,
    /// A packet that others build on, and that builds on none.
    KeyFrame,
    /// A packet that builds on those before it.
    AfterOthers,
}

impl Shown {
    pub(super) fn of(frame: &VideoFrame) -> Self {
        match frame.format() {
            Format::Encoded(codec) if key_frame::is_inter_coded(codec) => {
                if key_frame::is_key_frame(codec, frame.frame_data()) { Self::KeyFrame } else { Self::AfterOthers }
            }
            Format::Encoded(_) | Format::Pixels(_) => Self::Alone,
        }
    }
}

impl Stream {
    /// `made_for`: the extension that opens it, or waits for it.
    pub(super) fn new(id: StreamId, made_for: Option<String>) -> Self {
        Self { id, made_for, room: Room::default(), state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_publisher(&self) -> bool {
        self.state().publisher.is_some()
    }

    /// A kind of source since that publisher's generation that is not to be seen; the present one's if `None`.
    pub(super) fn may_be_seen(&self, sight: &Sight, since: Option<u64>) -> Result<(), NoConsent> {
        if sight.is_all() {
            return Ok(());
        }
        // Who may see what is for a file to say: nobody publishes meanwhile if that is asked under the lock.
        let seen: Vec<_> = {
            let state = self.state();
            let since = since.unwrap_or(state.generation);
            state.sources.iter().filter(|(_, last)| **last >= since).map(|(source, _)| *source).collect()
        };
        seen.into_iter().try_for_each(|source| sight.covers(source))
    }

    pub(super) fn has_subscribers(&self) -> bool {
        !self.state().subscribers.is_empty()
    }

    /// Is there anybody for whom the table should keep this stream?
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.state();
        state.publisher.is_some() || !state.subscribers.is_empty()
    }

    pub(super) fn attach(self: &Arc<Self>, table: &Streams, origin: Origin) -> Result<Publisher, StreamError> {
        let mut state = self.state();
        if state.publisher.is_some() {
            return Err(StreamError::AlreadyOpen { id: self.id.to_string() });
        }
        let feedback = Arc::new(FeedbackQueue::default());
        state.publisher = Some(PublisherState { owner: origin.owner.name, feedback: Arc::clone(&feedback) });
        state.generation += 1;
        state.lingering = false;
        state.source = origin.source;
        let generation = state.generation;
        state.sources.insert(origin.source, generation);
        state.is_lossless = origin.is_lossless;
        state.trouble = None;
        Ok(Publisher::new(Arc::clone(self), table.clone(), feedback))
    }

    /// Takes the publisher out, and tells which one it was.
    pub(super) fn detach(&self) -> u64 {
        let mut state = self.state();
        state.publisher = None;
        state.lingering = true;
        for view in &state.views {
            view.publisher_left();
        }
        state.generation
    }

    pub(super) fn subscribe(
        self: &Arc<Self>,
        table: &Streams,
        options: SubscribeOptions,
    ) -> Result<Subscription, StreamError> {
        let mut state = self.state();
        if state.subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(StreamError::TooManySubscribers { id: self.id.to_string(), limit: MAX_SUBSCRIBERS });
        }
        let extension = options.sight.extension().map(str::to_owned);
        let of_one = state.subscribers.iter().filter(|subscriber| subscriber.extension == extension).count();
        if extension.is_some() && of_one >= MAX_SUBSCRIBERS_OF_ONE {
            let limit = MAX_SUBSCRIBERS_OF_ONE;
            return Err(StreamError::TooManySubscribersOfOne { id: self.id.to_string(), limit });
        }
        let queue = Arc::new(FrameQueue::new(options.queue, self.room.clone()));
        let in_order = matches!(options.queue, Queue::Fifo { .. });
        let view =
            if options.wish.is_anything() { None } else { Some(state.view(options.wish, in_order, &self.room)?) };
        if let Some(view) = &view {
            view.add(Arc::clone(&queue));
        }
        state.last_subscriber_id += 1;
        let id = state.last_subscriber_id;
        state.subscribers.push(Subscriber { id, extension, queue: Arc::clone(&queue), view });
        // Whoever comes into the middle of coded video can begin with a key frame only.
        if state.counters.last.is_some_and(|(format, _, _)| is_inter_coded(format)) {
            state.want_key_frame();
        }
        let since = state.generation;
        drop(state);
        self.room.tell();
        Ok(Subscription::new(Arc::clone(self), table.clone(), id, queue, (options.sight, since)))
    }

    pub(super) fn unsubscribe(&self, id: u64) {
        let mut state = self.state();
        let Some(at) = state.subscribers.iter().position(|subscriber| subscriber.id == id) else {
            return;
        };
        let gone = state.subscribers.remove(at);
        state.counters.dropped_by_gone += gone.queue.dropped();
        if let Some(view) = gone.view
            && view.remove(&gone.queue)
        {
            state.views.retain(|other| !Arc::ptr_eq(other, &view));
        }
        drop(state);
        self.room.tell();
    }

    /// Gives a picture its place and hands it on. Never waits.
    pub(super) fn publish(
        self: &Arc<Self>,
        table: &Streams,
        frame: VideoFrame,
        frame_number: Option<u32>,
        captured_at: Option<Instant>,
    ) -> u32 {
        let shown = Shown::of(&frame);
        let mut state = self.state();
        let (frame, number) = state.place(frame, frame_number);
        let frame = Arc::new(frame);
        state.counters.received += 1;
        state.counters.count_published(&frame, Instant::now(), captured_at);
        for queue in state.direct() {
            queue.push(Arc::clone(&frame), shown, state.is_lossless);
        }
        for view in &state.views {
            view.offer(self, &frame, shown, state.is_lossless, table.transcode_options());
        }
        number
    }

    /// Is there a subscriber, and has every one room, those apart who want only the latest?
    pub(super) fn has_room(&self) -> bool {
        let state = self.state();
        !state.subscribers.is_empty() && state.subscribers.iter().all(Subscriber::has_room)
    }

    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut state = self.state();
        state.notify(&trouble.clone().map_or(Notice::Back, Notice::Lost));
        state.trouble = trouble;
    }

    pub(super) fn finish(&self, trouble: Option<&Trouble>) {
        let mut state = self.state();
        state.close(trouble);
        state.trouble = trouble.cloned();
    }

    /// Ends a linger that nobody used: every subscription gets its last pictures and then the end.
    pub(super) fn end_linger(&self, generation: u64) {
        let mut state = self.state();
        if state.lingering && state.generation == generation {
            state.close(None);
        }
    }

    pub(super) fn give_result(&self, frame_number: u32, json: Arc<RawValue>) -> ResultFate {
        let mut state = self.state();
        let Some(publisher) = &state.publisher else {
            state.counters.results_dropped += 1;
            return ResultFate::Dropped;
        };
        let fate = publisher.feedback.push_result(ResultEvent { stream_id: self.id.clone(), frame_number, json });
        match fate {
            ResultFate::Delivered => state.counters.results_delivered += 1,
            ResultFate::Dropped => state.counters.results_dropped += 1,
        }
        fate
    }

    /// Asks the publisher for a key frame.
    pub(super) fn want_key_frame(&self) {
        self.state().want_key_frame();
    }

    pub(super) fn snapshot(&self) -> StreamSnapshot {
        let state = self.state();
        let counters = &state.counters;
        let subscribers: Vec<_> = state.subscribers.iter().map(|one| one.queue.snapshot(one.id)).collect();
        StreamSnapshot {
            stream_id: self.id.to_string(),
            source: state.source,
            owner: state.publisher.as_ref().and_then(|publisher| publisher.owner.clone()),
            trouble: state.trouble.clone(),
            width: counters.last.map_or(0, |(_, width, _)| width),
            height: counters.last.map_or(0, |(_, _, height)| height),
            format: counters.last.map(|(format, _, _)| format),
            fps: counters.fps(Instant::now()),
            latency_ms: counters.latency_ms(),
            received: counters.received,
            published: counters.published,
            rejected: counters.rejected,
            clamped: counters.clamped,
            lost_packets: counters.lost_packets,
            bytes: counters.bytes,
            dropped: counters.dropped_by_gone + subscribers.iter().map(|one| one.dropped).sum::<u64>(),
            results_delivered: counters.results_delivered,
            results_dropped: counters.results_dropped,
            subscribers,
        }
    }
}

impl Subscriber {
    fn has_room(&self) -> bool {
        match &self.view {
            Some(view) => view.has_room(),
            None => self.queue.has_room(),
        }
    }
}

impl State {
    /// The picture with its number, and a time that is later than the last one's.
    fn place(&mut self, frame: VideoFrame, frame_number: Option<u32>) -> (VideoFrame, u32) {
        let (next_number, earliest_ms) = match self.last_place {
            Some((number, timestamp_ms)) if number < MAX_FRAME_NUMBER => (number + 1, timestamp_ms + 1),
            Some((_, timestamp_ms)) => (0, timestamp_ms + 1),
            None => (0, 0),
        };
        let number = frame_number.unwrap_or(next_number);
        if frame.timestamp_ms() < earliest_ms {
            self.counters.clamped += 1;
        }
        let timestamp_ms = frame.timestamp_ms().max(earliest_ms);
        self.last_place = Some((number, timestamp_ms));
        (frame.with_place(number, timestamp_ms), number)
    }

    /// The view for a wish: one for all who have it.
    fn view(&mut self, wish: Wish, in_order: bool, room: &Room) -> Result<Arc<View>, StreamError> {
        if let Some(view) = self.views.iter().find(|view| view.is_for(&wish, in_order)) {
            return Ok(Arc::clone(view));
        }
        if self.views.len() >= MAX_VIEWS {
            return Err(StreamError::TooManyViews { limit: MAX_VIEWS });
        }
        let view = Arc::new(View::new(wish, in_order, room.clone()));
        self.views.push(Arc::clone(&view));
        Ok(view)
    }

    /// The queues of those who take everything as it is.
    fn direct(&self) -> impl Iterator<Item = &FrameQueue> {
        self.subscribers.iter().filter(|subscriber| subscriber.view.is_none()).map(|subscriber| &*subscriber.queue)
    }

    fn notify(&self, notice: &Notice) {
        for queue in self.direct() {
            queue.notify(notice.clone());
        }
        for view in &self.views {
            view.notify(notice);
        }
    }

    /// Ends every subscription, and forgets it: one that is not read to its end must not be in the way of the next ones.
    fn close(&mut self, end: Option<&Trouble>) {
        for queue in self.direct() {
            queue.close(end.cloned());
        }
        for view in std::mem::take(&mut self.views) {
            view.close(end);
        }
        for gone in std::mem::take(&mut self.subscribers) {
            self.counters.dropped_by_gone += gone.queue.dropped();
        }
    }

    fn want_key_frame(&self) {
        if let Some(publisher) = &self.publisher {
            publisher.feedback.want_key_frame();
        }
    }
}

fn is_inter_coded(format: Format) -> bool {
    matches!(format, Format::Encoded(codec) if key_frame::is_inter_coded(codec))
}
