//! Raw pictures out of an ffmpeg process, each with the time and size that its `showinfo` filter has said of it.

use std::{
    ffi::OsStr,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use super::{Child, FfmpegError, Read, Shown, child::Input, shown::ShownParser};
use crate::frame::{Buffer, MAX_FRAME_BYTES, Pool};

/// Pictures of which the time is known and the bytes have not been read: with more, ffmpeg waits.
const MAX_AHEAD: usize = 1024;

/// The arguments after the input's: a filter that says of each picture what it is, and pictures one after another on
/// standard output, none of them repeated or left out. `before`: filters with a comma behind each, or nothing.
pub fn output(before: &str, pix_fmt: &str) -> Vec<String> {
    let filters = format!("{before}showinfo=checksum=0");
    let words = ["-an", "-sn", "-dn", "-vf", &filters, "-fps_mode", "passthrough", "-f", "rawvideo"];
    words.into_iter().chain(["-pix_fmt", pix_fmt, "-flush_packets", "1", "pipe:1"]).map(str::to_owned).collect()
}

/// The name of the filter that [`skipping`] asks to speak.
pub(super) const SKIPPED: &str = "[showinfo@skipped";

/// Filters for [`output`] that leave out the pictures for which `condition` does not hold. They say so of each, too: as
/// long as some are left out, ffmpeg is not silent.
pub fn skipping(condition: &str) -> String {
    format!("showinfo@skipped=checksum=0,select='{condition}',")
}

/// A running ffmpeg that writes pictures.
#[derive(Debug)]
pub struct Pictures {
    /// Goes first: whoever tells must not wait for it when the process is ended.
    shown: Receiver<Shown>,
    child: Child,
    partial: Option<Partial>,
    heard: Heard,
}

/// When the last sign of progress came.
#[derive(Debug, Clone)]
struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A picture of which some bytes have come.
#[derive(Debug)]
struct Partial {
    shown: Shown,
    buffer: Buffer,
    filled: usize,
}

/// What a wait brought.
#[derive(Debug)]
pub enum Next {
    /// A whole picture.
    Picture(Shown, Buffer),
    /// Nothing in time.
    Nothing,
    /// No more will come.
    End,
}

impl Pictures {
    /// Starts ffmpeg. `arguments`: all of them; [`output`]'s last.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::Start`].
    pub fn start(ffmpeg: &Path, arguments: &[&OsStr], input: Input) -> Result<Self, FfmpegError> {
        let (tell, shown) = mpsc::sync_channel(MAX_AHEAD);
        let mut parser = ShownParser::default();
        let heard = Heard(Arc::new(Mutex::new(Instant::now())));
        let skipping = heard.clone();
        let child = Child::start(ffmpeg, arguments, input, move |line| {
            if line.starts_with(SKIPPED) {
                skipping.now();
            }
            if let Some(shown) = parser.push(line) {
                // Nobody listens any more when the process is about to be ended.
                let _ = tell.send(shown);
            }
        })?;
        Ok(Self { shown, child, partial: None, heard })
    }

    /// Waits for the next picture, for at most `timeout`. `len`: bytes of a picture of a width and height.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::Failed`] if a picture breaks off or is too long.
    pub fn next(
        &mut self,
        timeout: Duration,
        len: impl Fn(u32, u32) -> usize,
        pool: &Pool,
    ) -> Result<Next, FfmpegError> {
        let due = Instant::now() + timeout;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let mut partial = match self.partial.take() {
                Some(partial) => partial,
                None => match self.shown.recv_timeout(left) {
                    Ok(shown) => self.begin(shown, len(shown.width, shown.height), pool)?,
                    Err(RecvTimeoutError::Timeout) => return Ok(Next::Nothing),
                    Err(RecvTimeoutError::Disconnected) => return Ok(Next::End),
                },
            };
            let rest = partial.buffer.get_mut(partial.filled..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(Next::Picture(partial.shown, partial.buffer));
            }
            match self.child.read(rest, left)? {
                Read::Bytes(count) => {
                    self.heard.now();
                    partial.filled += count;
                    self.partial = Some(partial);
                }
                Read::Nothing => {
                    self.partial = Some(partial);
                    return Ok(Next::Nothing);
                }
                Read::End => return Err(self.child.failed("it ended in the middle of a picture")),
            }
        }
    }

    /// How long it has neither given anything nor skipped a picture.
    pub fn silence(&self) -> Duration {
        self.heard.elapsed()
    }

    /// It has been silent for too long.
    pub fn hangs(&self) -> FfmpegError {
        self.child.hangs(self.silence())
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end of a process that has closed its output.
    ///
    /// # Errors
    ///
    /// As [`Child::finish`].
    pub fn finish(self) -> Result<(), FfmpegError> {
        self.child.finish().map(drop)
    }

    fn begin(&self, shown: Shown, len: usize, pool: &Pool) -> Result<Partial, FfmpegError> {
        if len == 0 || len > MAX_FRAME_BYTES {
            let Shown { width, height, .. } = shown;
            return Err(self.child.failed(&format!("a picture of {width} x {height} has {len} bytes")));
        }
        Ok(Partial { shown, buffer: pool.take(len), filled: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::ffmpeg::Tools;

    #[test]
    fn who_skips_is_not_silent() {
        let input =
            ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "info", "-f", "lavfi", "-i", "testsrc2=s=64x36"];
        let words = input.map(str::to_owned).into_iter().chain(output(&skipping("gte(n\\,1e9)"), "yuv420p"));
        let words: Vec<OsString> = words.map(OsString::from).collect();
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        let ffmpeg = Tools::find(None).unwrap().ffmpeg;
        let mut pictures = Pictures::start(&ffmpeg, &words, Input::Nothing).unwrap();
        let started = Instant::now();
        // Until something is heard, the silence is at least as old as this.
        while pictures.silence() >= started.elapsed() {
            assert!(started.elapsed() < Duration::from_secs(20), "nothing was heard");
            let next = pictures.next(Duration::from_millis(10), |_, _| 1, &Pool::default()).unwrap();
            assert!(matches!(next, Next::Nothing), "{next:?}");
        }
    }
}
