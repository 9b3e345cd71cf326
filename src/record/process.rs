//! An ffmpeg process that makes the file: of raw pictures, by encoding them; of packets, by putting them into another
//! container. It reads Matroska from its input, which brings each picture's own time; its demuxer of bare pictures
//! knows a constant rate only.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{RecordError, container::Container, matroska::Sink};
use crate::{
    ffmpeg::{Child, FfmpegError, Input, Read},
    frame::{Colour, Matrix, Range},
};

/// How long ffmpeg may neither read nor write: a slow disk, a long flush.
const SILENCE: Duration = Duration::from_secs(20);

/// How often is looked whether somebody has given up.
const TICK: Duration = Duration::from_millis(50);

/// Set by whoever wants a recording to end at once, whatever state it is in. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct BreakOff(Arc<AtomicBool>);

impl BreakOff {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How the file is made of what comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Making {
    /// The packets as they are.
    Copy,
    /// Pictures by an encoder.
    Encode {
        /// ffmpeg's name of it.
        encoder: String,
        /// And of the pixels that it is given.
        pix_fmt: &'static str,
        /// What luma and chroma mean.
        colour: Option<Colour>,
        /// Pixels.
        size: (u32, u32),
    },
}

/// A running ffmpeg. Dropping it kills and reaps it.
pub(super) struct Process {
    /// None after its end.
    child: Option<Child>,
    part: PathBuf,
    break_off: BreakOff,
}

impl Process {
    /// Starts it. `part`: the file that it writes, which exists.
    pub(super) fn start(
        ffmpeg: &Path,
        container: Container,
        making: &Making,
        part: &Path,
        break_off: BreakOff,
    ) -> Result<Self, RecordError> {
        let mut words: Vec<OsString> =
            ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "error"].map(OsString::from).to_vec();
        let input = ["-protocol_whitelist", "file,pipe", "-f", "matroska", "-i", "pipe:0", "-map", "0:v:0"];
        if matches!(making, Making::Encode { .. }) {
            // The header tells all; packets have to be looked into.
            words.extend(["-probesize", "32", "-analyzeduration", "0"].map(OsString::from));
        }
        words.extend(input.map(OsString::from));
        words.extend(making.arguments().into_iter().map(OsString::from));
        if container == Container::Mp4 {
            // Whole milliseconds, and the index first, so that it plays while it is still being fetched.
            words.extend(["-video_track_timescale", "1000", "-movflags", "+faststart"].map(OsString::from));
        }
        words.extend(["-f", container.muxer(), "-y"].map(OsString::from));
        let mut file = OsString::from("file:");
        file.push(part);
        words.push(file);
        let words: Vec<&OsStr> = words.iter().map(OsString::as_os_str).collect();
        let child = Child::start(ffmpeg, &words, Input::Pipe, |_| {})?;
        Ok(Self { child: Some(child), part: part.to_owned(), break_off })
    }

    /// Waits until the file is complete.
    pub(super) fn finish(mut self) -> Result<(), RecordError> {
        let Some(mut child) = self.child.take() else {
            return Err(RecordError::BrokenOff);
        };
        child.close_input();
        // An mp4 is rewritten in the end, which takes as long as it takes: what it has to do is go on.
        let (mut seen, mut moved) = (self.progress(), Instant::now());
        loop {
            match child.read(&mut [0; 256], TICK) {
                Ok(Read::Bytes(_)) => {}
                Ok(Read::End) => {
                    // It tells that it could not write its last bytes, and ends as if all were well.
                    let words = child.finish().map_err(|error| self.named(error))?;
                    return RecordError::in_words(&words, &self.part).map_or(Ok(()), Err);
                }
                Ok(Read::Nothing) => {
                    let now = self.progress();
                    if now != seen {
                        (seen, moved) = (now, Instant::now());
                    }
                    self.check(&child, moved)?;
                }
                Err(error) => return Err(self.named(error)),
            }
        }
    }

    /// The file's length and time: what changes while it is written to.
    fn progress(&self) -> Option<(u64, SystemTime)> {
        let metadata = fs::metadata(&self.part).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    fn check(&self, child: &Child, moved: Instant) -> Result<(), RecordError> {
        if self.break_off.is_set() {
            return Err(RecordError::BrokenOff);
        }
        if moved.elapsed() > SILENCE { Err(child.hangs(moved.elapsed()).into()) } else { Ok(()) }
    }

    fn named(&self, error: FfmpegError) -> RecordError {
        RecordError::of_ffmpeg(error, &self.part)
    }

    /// It does not read any more: its own words say why.
    fn ended(&mut self, error: FfmpegError) -> RecordError {
        let words = self.child.take().and_then(|child| child.finish().err());
        self.named(words.unwrap_or(error))
    }
}

impl Sink for Process {
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), RecordError> {
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            let Some(child) = &mut self.child else {
                return Err(RecordError::BrokenOff);
            };
            match child.write(bytes, TICK) {
                Ok(0) => {
                    if let Some(child) = &self.child {
                        self.check(child, moved)?;
                    }
                }
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    moved = Instant::now();
                }
                Err(error) => return Err(self.ended(error)),
            }
        }
        Ok(())
    }

    fn patch(&mut self, _at: u64, _bytes: &[u8]) -> Result<(), RecordError> {
        Ok(())
    }

    fn is_file(&self) -> bool {
        false
    }
}

impl Making {
    /// Each picture once, at its own time in milliseconds.
    fn arguments(&self) -> Vec<String> {
        let Self::Encode { encoder, pix_fmt, colour, size: (width, height) } = self else {
            return ["-c", "copy"].map(str::to_owned).to_vec();
        };
        let words = ["-fps_mode", "passthrough", "-enc_time_base", "1:1000", "-c:v", encoder, "-pix_fmt", pix_fmt];
        let mut words = words.map(str::to_owned).to_vec();
        if let Some(Colour { matrix, range }) = colour {
            let matrix = match matrix {
                Matrix::Bt601 => "smpte170m",
                Matrix::Bt709 => "bt709",
                Matrix::Bt2020 => "bt2020nc",
            };
            let range = if *range == Range::Full { "pc" } else { "tv" };
            words.extend(["-colorspace", matrix, "-color_range", range].map(str::to_owned));
        }
        if is_lossless(encoder) {
            return words;
        }
        // Pictures in the order of their times, none held back for others.
        words.extend(["-bf", "0"].map(str::to_owned));
        match encoder.as_str() {
            // Next to nothing to be seen, at several times the speed of the usual preset.
            "libx264" => words.extend(["-preset", "veryfast", "-crf", "18"].map(str::to_owned)),
            "mpeg4" => words.extend(["-q:v", "2"].map(str::to_owned)),
            // It knows bit rates only: 6 bits a pixel and second are plenty.
            _ => words.extend(["-b:v".to_owned(), (6 * u64::from(*width) * u64::from(*height)).to_string()]),
        }
        if width % 2 == 1 || height % 2 == 1 {
            // H.264 of every player has even sides: the last column and row are there twice.
            let (right, bottom) = (width % 2, height % 2);
            let smeared = format!("fillborders=right={right}:bottom={bottom}:mode=smear");
            words.extend(["-vf".to_owned(), format!("pad=ceil(iw/2)*2:ceil(ih/2)*2,{smeared}")]);
        }
        words
    }
}

/// Does what comes out equal what went in?
pub(super) fn is_lossless(encoder: &str) -> bool {
    matches!(encoder, "ffvhuff" | "ffv1")
}
