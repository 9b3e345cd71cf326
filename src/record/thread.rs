//! A recorder on a thread of its own: disks and encoders may take their time, and nobody's task waits for them.

use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::{BreakOff, RecordError, RecordOptions, Recorded, Recorder};
use crate::frame::VideoFrame;

/// Pictures that wait for the recorder, beside those that wait in the subscription: enough to keep it busy.
const WAITING: usize = 2;

/// A recorder on a thread of its own. Dropping it breaks the recording off and waits for the thread.
#[derive(Debug)]
pub struct RecorderThread {
    frames: Option<mpsc::Sender<VideoFrame>>,
    done: Option<oneshot::Receiver<Done>>,
    break_off: BreakOff,
    thread: Option<JoinHandle<()>>,
}

/// What has been recorded, and what ended it if it did not end well.
type Done = (Recorded, Result<(), RecordError>);

impl RecorderThread {
    /// Starts the thread. The file is made with the first picture.
    ///
    /// # Errors
    ///
    /// As [`Recorder::new`].
    pub fn start(options: RecordOptions) -> Result<Self, RecordError> {
        let path = options.path.clone();
        let recorder = Recorder::new(options)?;
        let break_off = recorder.break_off();
        let (frames, mut incoming) = mpsc::channel::<VideoFrame>(WAITING);
        let (tell, done) = oneshot::channel();
        let run = move || {
            let mut recorder = recorder;
            let mut result = Ok(());
            while let Some(frame) = incoming.blocking_recv() {
                result = recorder.write(&frame);
                if result.is_err() {
                    break;
                }
            }
            // From here on whoever writes is told that nobody listens.
            drop(incoming);
            // Nobody listens if the owner has given up.
            let _ = tell.send(match result {
                Ok(()) => recorder.finish(),
                Err(error) => (recorder.abandon(), Err(error)),
            });
        };
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(run)
            .map_err(|source| RecordError::File { source, path })?;
        Ok(Self { frames: Some(frames), done: Some(done), break_off, thread: Some(thread) })
    }

    /// Hands a picture over; waits while the recorder is behind. `false`: it has failed, and [`Self::finish`] says why.
    ///
    /// # Cancel safety
    ///
    /// The picture is lost if the future is dropped.
    pub async fn write(&self, frame: VideoFrame) -> bool {
        match &self.frames {
            Some(frames) => frames.send(frame).await.is_ok(),
            None => false,
        }
    }

    /// Waits until it takes no more pictures, as it has failed: [`Self::finish`] says why.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn failed(&self) {
        if let Some(frames) = &self.frames {
            frames.closed().await;
        }
    }

    /// Waits until everything is written and the file has its name.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks nothing off; dropping the recorder does.
    pub async fn finish(&mut self) -> (Recorded, Result<(), RecordError>) {
        self.frames = None;
        let answer = match &mut self.done {
            // Without an answer it has panicked, which the panic hook has reported.
            Some(done) => done.await.ok(),
            None => None,
        };
        self.done = None;
        answer.unwrap_or_else(|| (Recorded::default(), Err(RecordError::BrokenOff)))
    }
}

impl Drop for RecorderThread {
    fn drop(&mut self) {
        self.frames = None;
        self.break_off.set();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook.
            drop(thread.join());
        }
    }
}
