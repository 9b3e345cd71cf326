//! Standard output on a thread of its own: whoever reads it may take its time, and nobody's task waits for that.

use std::{
    io::{self, Write},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::frame::VideoFrame;

/// Pictures that wait for the reader, beside the one that is written.
const WAITING: usize = 2;

/// Writes pictures one after another. Its thread is never joined: it may be in a write that nobody takes, and goes with the
/// process.
pub(super) struct StdoutThread {
    frames: Option<mpsc::Sender<VideoFrame>>,
    done: Option<oneshot::Receiver<io::Result<()>>>,
}

impl StdoutThread {
    pub(super) fn start() -> io::Result<Self> {
        let (frames, mut incoming) = mpsc::channel::<VideoFrame>(WAITING);
        let (tell, done) = oneshot::channel();
        let run = move || {
            let mut result = Ok(());
            while let Some(frame) = incoming.blocking_recv() {
                result = write(&frame);
                if result.is_err() {
                    break;
                }
            }
            // From here on whoever writes is told that nobody listens.
            drop(incoming);
            // Nobody listens if the owner has given up.
            let _ = tell.send(result);
        };
        thread::Builder::new().name("stdout".to_owned()).spawn(run)?;
        Ok(Self { frames: Some(frames), done: Some(done) })
    }

    /// Hands a picture over; waits while the reader is behind. `false`: it cannot be written, and [`Self::finish`] says why.
    ///
    /// # Cancel safety
    ///
    /// The picture is lost if the future is dropped.
    pub(super) async fn write(&self, frame: VideoFrame) -> bool {
        match &self.frames {
            Some(frames) => frames.send(frame).await.is_ok(),
            None => false,
        }
    }

    /// Waits until it takes no more pictures, as it has failed: [`Self::finish`] says why.
    pub(super) async fn failed(&self) {
        if let Some(frames) = &self.frames {
            frames.closed().await;
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.frames = None;
        match self.done.take() {
            // Without an answer it has panicked, which the panic hook has reported.
            Some(done) => done.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into())),
            None => Ok(()),
        }
    }
}

/// Whole: the reader need not wait for the next one to have it.
fn write(frame: &VideoFrame) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(frame.frame_data())?;
    stdout.flush()
}
