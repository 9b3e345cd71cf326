//! One wish about a stream, shared by the subscribers who have it: pictures are decoded, converted and scaled once.
//!
//! Pictures that fit as they are go straight on. Only for others the view has a thread, from the first one on, so that
//! [`super::Publisher::publish`] never waits for a conversion.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    Trouble, Wish,
    queue::{Depths, FrameQueue, Item, Notice, Room},
    stream::{Shown, Stream},
};
use crate::{
    error::ErrorKind,
    frame::VideoFrame,
    transcode::{TranscodeOptions, Transcoded, Transcoder},
};

/// Pictures that wait for their conversion where only the newest are wanted: one, and another so that the thread need not
/// wait for it. A decoder needs every packet, a file's reader every picture.
const LATEST: Depths = Depths { live: 2, packets: 64, lossless: Some(2) };

/// The same for those who want pictures in order.
const IN_ORDER: Depths = Depths { live: 64, ..LATEST };

/// How often the thread looks whether its subscribers are still there.
const TICK: Duration = Duration::from_millis(200);

/// A wish, and those who have it.
#[derive(Debug)]
pub(super) struct View {
    wish: Wish,
    in_order: bool,
    subscribers: Mutex<Vec<Arc<FrameQueue>>>,
    input: FrameQueue,
    /// Pictures that the thread has not handed on yet: until then later ones have to queue behind them.
    pending: AtomicUsize,
    has_thread: AtomicBool,
    room: Room,
}

/// Ends a view's subscriptions when its thread ends, however it does.
struct EndedAtLast<'a>(&'a View);

impl Drop for EndedAtLast<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "a conversion has failed; the log says where".to_owned();
            self.0.input.close(None);
            self.0.close_all(Some(&Trouble { kind: ErrorKind::Internal, reason: "internal", scope: None, message }));
        }
    }
}

impl View {
    /// `in_order`: for subscribers who keep more than the newest.
    pub(super) fn new(wish: Wish, in_order: bool, room: Room) -> Self {
        Self {
            wish,
            in_order,
            subscribers: Mutex::default(),
            input: FrameQueue::with_depths(if in_order { IN_ORDER } else { LATEST }, room.clone()),
            pending: AtomicUsize::new(0),
            has_thread: AtomicBool::new(false),
            room,
        }
    }

    pub(super) fn is_for(&self, wish: &Wish, in_order: bool) -> bool {
        self.wish == *wish && self.in_order == in_order
    }

    pub(super) fn add(&self, subscriber: Arc<FrameQueue>) {
        self.lock().push(subscriber);
    }

    /// Takes a subscriber out; `true` if it was the last one, and the view has ended.
    pub(super) fn remove(&self, subscriber: &Arc<FrameQueue>) -> bool {
        let mut subscribers = self.lock();
        subscribers.retain(|other| !Arc::ptr_eq(other, subscriber));
        if !subscribers.is_empty() {
            return false;
        }
        self.input.close(None);
        true
    }

    /// Takes a picture. Never waits.
    ///
    /// Called under the stream's lock, so one after another.
    pub(super) fn offer(
        self: &Arc<Self>,
        stream: &Arc<Stream>,
        frame: &Arc<VideoFrame>,
        shown: Shown,
        is_lossless: bool,
        options: &TranscodeOptions,
    ) {
        // A lossless publisher has looked at the thread's room, where there is one: that waits for the subscribers'.
        let is_direct = match (self.has_thread.load(Ordering::Acquire), is_lossless) {
            (true, true) => false,
            (true, false) => self.pending.load(Ordering::Acquire) == 0,
            (false, _) => true,
        };
        if is_direct && self.wish.passes(frame) {
            self.hand_on(frame, shown, is_lossless);
            return;
        }
        if !self.has_thread.swap(true, Ordering::AcqRel)
            && let Err(error) = self.start(stream, options.clone())
        {
            let message = format!("cannot start a thread for conversions: {error}");
            self.has_thread.store(false, Ordering::Release);
            self.close_all(Some(&Trouble {
                kind: ErrorKind::ResourceExhausted,
                reason: "no_thread",
                scope: None,
                message,
            }));
            return;
        }
        self.pending.fetch_add(1, Ordering::AcqRel);
        let lost = self.input.push(Arc::clone(frame), shown, is_lossless);
        self.settle(lost);
        self.count_dropped(lost);
    }

    /// Would a picture of a lossless stream fit?
    pub(super) fn has_room(&self) -> bool {
        if self.has_thread.load(Ordering::Acquire) {
            return self.input.has_room();
        }
        self.subscribers().iter().all(|subscriber| subscriber.has_room())
    }

    /// Pictures that a decoder holds back for the sake of later ones are handed on.
    pub(super) fn publisher_left(&self) {
        if self.has_thread.load(Ordering::Acquire) {
            self.input.leave();
        }
    }

    pub(super) fn notify(&self, notice: &Notice) {
        if self.has_thread.load(Ordering::Acquire) {
            self.input.notify(notice.clone());
        } else {
            self.notify_all(notice);
        }
    }

    /// Ends the subscriptions, after what is under way.
    pub(super) fn close(&self, end: Option<&Trouble>) {
        if self.has_thread.load(Ordering::Acquire) {
            self.input.close(end.cloned());
        } else {
            self.close_all(end);
        }
    }

    fn start(self: &Arc<Self>, stream: &Arc<Stream>, options: TranscodeOptions) -> std::io::Result<()> {
        let (view, stream) = (Arc::clone(self), Arc::downgrade(stream));
        let run = move || view.run(&stream, options);
        thread::Builder::new().name("view".to_owned()).spawn(run).map(drop)
    }

    /// Converts until the stream or the last subscriber goes.
    fn run(&self, stream: &Weak<Stream>, options: TranscodeOptions) {
        // After a panic, too, nobody waits for what does not come.
        let _ended = EndedAtLast(self);
        let mut transcoder = Transcoder::new(self.wish.clone(), options);
        // Of the last picture: one publisher may follow on another.
        let mut was_lossless = false;
        loop {
            match self.input.next_blocking(TICK) {
                None => {}
                Some(Item::Left) => self.hand_on_made(transcoder.publisher_left(), stream, was_lossless),
                Some(Item::Notice(notice)) => self.notify_all(&notice),
                Some(Item::End(end)) => {
                    self.hand_on_made(transcoder.finish(), stream, was_lossless);
                    self.close_all(end.as_ref());
                    return;
                }
                Some(Item::Frame { frame, is_lossless, .. }) => {
                    was_lossless = is_lossless;
                    self.hand_on_made(transcoder.push(&frame), stream, is_lossless);
                    self.settle(1);
                }
            }
        }
    }

    fn hand_on_made(&self, made: Transcoded, stream: &Weak<Stream>, is_lossless: bool) {
        for frame in made.frames {
            self.hand_on_when_room(frame, is_lossless);
        }
        self.count_dropped(made.lost);
        if made.needs_key_frame
            && let Some(stream) = stream.upgrade()
        {
            stream.want_key_frame();
        }
        match made.error {
            Some(error) if error.is_lasting() => {
                let trouble =
                    Trouble { kind: error.kind(), reason: error.reason(), scope: None, message: error.to_string() };
                self.close_all(Some(&trouble));
            }
            Some(error) => tracing::debug!(%error, "a picture could not be converted"),
            None => {}
        }
    }

    fn hand_on_when_room(&self, frame: Arc<VideoFrame>, is_lossless: bool) {
        let has_room = || self.subscribers().iter().all(|subscriber| subscriber.has_room());
        // A subscriber that goes tells the room, too.
        while is_lossless && !self.room.wait(TICK, has_room) {}
        self.hand_on(&frame, Shown::of(&frame), is_lossless);
    }

    fn hand_on(&self, frame: &Arc<VideoFrame>, shown: Shown, is_lossless: bool) {
        for subscriber in self.subscribers() {
            subscriber.push(Arc::clone(frame), shown, is_lossless);
        }
    }

    /// Pictures that are not under way any more.
    fn settle(&self, count: u64) {
        // Each was added when it was offered.
        self.pending.fetch_sub(usize::try_from(count).unwrap_or(0), Ordering::AcqRel);
    }

    fn count_dropped(&self, lost: u64) {
        for subscriber in self.subscribers() {
            subscriber.count_dropped(lost);
        }
    }

    fn notify_all(&self, notice: &Notice) {
        for subscriber in self.subscribers() {
            subscriber.notify(notice.clone());
        }
    }

    fn close_all(&self, end: Option<&Trouble>) {
        for subscriber in self.subscribers() {
            subscriber.close(end.cloned());
        }
    }

    /// Those there are now. Nothing is done to them under the lock: what they tell, others wait for with locks of their own.
    fn subscribers(&self) -> Vec<Arc<FrameQueue>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<FrameQueue>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
