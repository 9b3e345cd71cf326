//! The running `framehost-portal`: what is asked of it, and its records.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::wire::{ASK, HEADER_BYTES, Header, Order, PictureHeader, Word};
use crate::{
    ffmpeg::{Child, FfmpegError, Input, Read},
    frame::{Buffer, Pool},
    source::{SourceError, Stop, TICK},
};

/// How long it may leave its input unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it may take to end by itself, giving the screen back.
const END_TIMEOUT: Duration = Duration::from_millis(150);

/// A running program. Dropping it lets it give the screen back, and ends it.
#[derive(Debug)]
pub(super) struct Link {
    /// Until it has ended.
    child: Option<Child>,
    header: [u8; HEADER_BYTES],
    filled: usize,
    body: Option<Body>,
    pool: Pool,
}

/// A record of which the header has come, and some bytes.
#[derive(Debug)]
struct Body {
    header: Header,
    buffer: Buffer,
    filled: usize,
}

/// What the program sent.
#[derive(Debug)]
pub(super) enum Record {
    /// A word.
    Word(Word),
    /// A picture.
    Picture(PictureHeader, Buffer),
    /// Nothing has changed since the last picture.
    Unchanged,
}

/// Why nothing comes any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Process(#[from] FfmpegError),
    #[error(transparent)]
    Wire(#[from] super::wire::WireError),
    #[error("it said what nobody understands: {0}")]
    Word(#[from] serde_json::Error),
    #[error("the program has ended")]
    Ended,
}

impl From<LinkError> for SourceError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Process(FfmpegError::Start { program, source }) => Self::Missing {
                what: "the desktop portal".to_owned(),
                hint: format!("cannot start {program}: {source}"),
            },
            other => lost(&other),
        }
    }
}

/// The screen is gone.
pub(super) fn lost(problem: &impl ToString) -> SourceError {
    SourceError::DeviceLost { device: "the desktop portal's screen".to_owned(), problem: problem.to_string() }
}

impl Link {
    /// Starts the program and tells it what is wanted.
    pub(super) fn start(program: &Path, order: &Order, stop: &Stop) -> Result<Self, LinkError> {
        let child = Child::start(program, &[], Input::Pipe, |line| tracing::debug!(line, "framehost-portal"))?;
        let mut link =
            Self { child: Some(child), header: [0; HEADER_BYTES], filled: 0, body: None, pool: Pool::default() };
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        link.write(&line, stop)?;
        Ok(link)
    }

    /// Asks for a picture.
    pub(super) fn ask(&mut self, stop: &Stop) -> Result<(), LinkError> {
        self.write(&[ASK], stop)
    }

    /// The next record; `None` if it is not there in time.
    pub(super) fn receive(&mut self, timeout: Duration) -> Result<Option<Record>, LinkError> {
        let due = Instant::now() + timeout;
        loop {
            let rest = match &mut self.body {
                Some(body) if body.filled == body.buffer.len() => return self.take(),
                Some(body) => body.buffer.get_mut(body.filled..),
                None => self.header.get_mut(self.filled..),
            };
            let left = due.saturating_duration_since(Instant::now());
            let child = self.child.as_mut().ok_or(LinkError::Ended)?;
            let count = match child.read(rest.unwrap_or_default(), left)? {
                Read::Bytes(count) => count,
                Read::Nothing => return Ok(None),
                Read::End => return Err(self.ended()),
            };
            match &mut self.body {
                Some(body) => body.filled += count,
                None => self.filled += count,
            }
            if self.filled == HEADER_BYTES {
                self.filled = 0;
                let header = Header::decode(&self.header)?;
                let len = match header {
                    Header::Word { len } => len,
                    Header::Picture(picture) => picture.body_len()?,
                    Header::Unchanged => 0,
                };
                self.body = Some(Body { header, buffer: self.pool.take(len), filled: 0 });
            }
        }
    }

    fn take(&mut self) -> Result<Option<Record>, LinkError> {
        Ok(match self.body.take() {
            Some(Body { header: Header::Word { .. }, buffer, .. }) => {
                Some(Record::Word(serde_json::from_slice(&buffer)?))
            }
            Some(Body { header: Header::Picture(picture), buffer, .. }) => Some(Record::Picture(picture, buffer)),
            Some(Body { header: Header::Unchanged, .. }) => Some(Record::Unchanged),
            None => None,
        })
    }

    /// The program closed its output without a last word: how it ended, and its standard error, may have one.
    fn ended(&mut self) -> LinkError {
        match self.child.take().map(Child::finish) {
            Some(Err(error)) => error.into(),
            Some(Ok(_)) | None => LinkError::Ended,
        }
    }

    fn write(&mut self, mut bytes: &[u8], stop: &Stop) -> Result<(), LinkError> {
        // A pipe takes far more at once than is ever written: it is full when the program does not read.
        let due = Instant::now() + WRITE_TIMEOUT;
        let child = self.child.as_mut().ok_or(LinkError::Ended)?;
        while !bytes.is_empty() {
            let count = child.write(bytes, TICK)?;
            bytes = bytes.get(count..).unwrap_or_default();
            if stop.is_set() || Instant::now() > due {
                break;
            }
        }
        if bytes.is_empty() { Ok(()) } else { Err(child.hangs(WRITE_TIMEOUT).into()) }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        child.close_input();
        let due = Instant::now() + END_TIMEOUT;
        let mut rest = [0; 4096];
        // Its output closes when it is done. If not in time it is killed, and the portal sees its connection end.
        while Instant::now() < due && matches!(child.read(&mut rest, TICK), Ok(Read::Bytes(_) | Read::Nothing)) {}
    }
}
