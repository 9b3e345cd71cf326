//! A stream's pictures into a video file, each with its own time.
//!
//! Belongs here: files, containers, which coding a stream gets.
//! Does not belong here: where pictures come from (`streams`, `grpc::client`), reading files again (`source::file`).
//!
//! Invariants:
//! - Packets and JPEG pictures are kept as they are; raw pictures in `.mkv` come back bit for bit, unless told otherwise.
//! - A picture's time in the file is its `timestamp_ms` less that of the file's first one, to the millisecond.
//! - A file has its name when it is complete. Until then it is `NAME.PID.part`, and stays so if it is not completed.
//! - No process outlives its recorder; if framehost is killed, ffmpeg completes what it has, and leaves.
//!
//! Packets go into `.mkv` without any other program, by a writer of some hundred lines: Matroska counts milliseconds, as
//! streams do, and can be read as far as it has been written. Raw pictures go to ffmpeg in the same notation, as its
//! demuxer of bare ones knows a constant rate only. There they become FFVHUFF, which is lossless, in every ffmpeg, of key
//! frames only, and the one that keeps up with a live stream (1080p RGB on 2 cores: 33 pictures a second, FFV1 5); in
//! `.mp4`, and where asked for, H.264.
//!
//! A stream that changes its size, format or colours goes on in another file: `out-2.mkv`.
//!
//! Data path: [`RecorderThread::write`] -> [`Recorder::write`] -> `sample` -> `matroska` -> the file, or `process`.

mod av1;
mod container;
mod ebml;
mod error;
mod h264;
mod matroska;
mod part_file;
mod process;
mod sample;
mod thread;
mod track;

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

pub use self::{container::Container, error::RecordError, thread::RecorderThread};
use self::{
    matroska::{Muxer, Sink},
    part_file::PartFile,
    process::{BreakOff, Making, Process},
    sample::{Sample, Shape},
};
use crate::{
    ffmpeg::{self, Tools},
    frame::{Codec, Format, Pool, VideoFrame, key_frame::is_inter_coded},
};

/// Files of one recording: a stream that changes more often is not worth recording.
const MAX_FILES: usize = 64;

/// How long the last packet of an `.mp4` is shown, in nanoseconds: for no time, and players leave it out.
const LAST_PICTURE_NS: u64 = 40_000_000;

/// Encoders for `.mp4`, the best first; the last one is in every ffmpeg, and no H.264.
const LOSSY_ENCODERS: [&str; 3] = ["libx264", "libopenh264", "mpeg4"];

/// What to record to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOptions {
    /// `.mkv` or `.mp4`.
    pub path: PathBuf,
    /// Overwrites what has this name.
    pub force: bool,
    /// Raw pictures as H.264 in `.mkv`, too.
    pub lossy: bool,
    /// The ffmpeg program; `PATH` is searched unless it is set.
    pub ffmpeg: Option<PathBuf>,
}

/// What has been recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Complete files.
    pub files: Vec<RecordedFile>,
    /// One that is not, where something is in it.
    pub part: Option<PathBuf>,
    /// Packets that could not be recorded, as no key frame had come before them.
    pub skipped: u64,
    /// Still pictures that could not be decoded.
    pub broken: u64,
}

/// A complete file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFile {
    /// Where it is.
    pub path: PathBuf,
    /// `ffvhuff`, `ffv1`, `libx264`, … for what has been encoded; `jpeg`, `h264`, `vp8`, … for what has been kept.
    pub codec: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How many.
    pub pictures: u64,
    /// The file's length.
    pub bytes: u64,
    /// The stream's time of the first picture, which is 0 in the file.
    pub first_timestamp_ms: u64,
    /// The stream's time of the last picture.
    pub last_timestamp_ms: u64,
}

/// Writes files. Blocks for as long as disk and encoder take. Dropping it breaks the recording off.
#[derive(Debug)]
pub struct Recorder {
    options: RecordOptions,
    container: Container,
    encoders: Option<Vec<String>>,
    current: Option<Current>,
    recorded: Recorded,
    break_off: BreakOff,
    pool: Pool,
}

/// The file that is being written.
struct Current {
    shape: Shape,
    part: PartFile,
    muxer: Muxer<Output>,
    file: RecordedFile,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.file.fmt(f)
    }
}

/// Where the container's bytes go.
enum Output {
    File { file: fs::File, path: PathBuf },
    Ffmpeg(Process),
}

impl Recorder {
    /// Checks that a file can be made; it is, with the first picture.
    ///
    /// # Errors
    ///
    /// [`RecordError::Name`], [`RecordError::NoDirectory`], [`RecordError::Exists`].
    pub fn new(options: RecordOptions) -> Result<Self, RecordError> {
        let container = Container::named_by(&options.path)?;
        PartFile::check(&options.path, options.force)?;
        Ok(Self {
            options,
            container,
            encoders: None,
            current: None,
            recorded: Recorded::default(),
            break_off: BreakOff::default(),
            pool: Pool::default(),
        })
    }

    /// Writes a picture. Packets before the first key frame are skipped and counted.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the recording has ended then.
    pub fn write(&mut self, frame: &VideoFrame) -> Result<(), RecordError> {
        let shape = Shape::of(frame);
        if self.current.as_ref().is_some_and(|current| current.shape != shape) {
            self.end_file()?;
        }
        let Some(sample) = self.sample(frame)? else {
            self.recorded.broken += 1;
            return Ok(());
        };
        let mut current = match self.current.take() {
            Some(current) => current,
            None => match self.begin_file(frame, shape, &sample)? {
                Some(current) => current,
                None => {
                    self.recorded.skipped += 1;
                    return Ok(());
                }
            },
        };
        let result = current.write(frame.timestamp_ms(), &sample);
        match result {
            Ok(()) => self.current = Some(current),
            Err(_) => self.leave(current),
        }
        result
    }

    /// Completes the last file.
    pub fn finish(mut self) -> (Recorded, Result<(), RecordError>) {
        let mut result = self.end_file();
        if result.is_ok() && self.recorded.files.is_empty() {
            result = Err(RecordError::Nothing { skipped: self.recorded.skipped });
        }
        (std::mem::take(&mut self.recorded), result)
    }

    /// Leaves the last file as it is.
    pub fn abandon(mut self) -> Recorded {
        if let Some(current) = self.current.take() {
            self.leave(current);
        }
        std::mem::take(&mut self.recorded)
    }

    /// For another thread, to end waits of this one.
    fn break_off(&self) -> BreakOff {
        self.break_off.clone()
    }

    fn is_lossy(&self) -> bool {
        self.options.lossy || self.container == Container::Mp4
    }

    fn sample(&self, frame: &VideoFrame) -> Result<Option<Sample>, RecordError> {
        match frame.format() {
            Format::Encoded(codec) if codec == Codec::Jpeg || is_inter_coded(codec) => {
                Ok(Some(Sample::of_packet(frame, codec)))
            }
            Format::Encoded(_) | Format::Pixels(_) => Sample::of_pixels(frame, self.is_lossy(), &self.pool),
        }
    }

    /// `None` if no file can begin with this picture.
    fn begin_file(
        &mut self,
        frame: &VideoFrame,
        shape: Shape,
        sample: &Sample,
    ) -> Result<Option<Current>, RecordError> {
        let number = self.recorded.files.len() + 1;
        if number > MAX_FILES {
            return Err(RecordError::TooManyChanges { limit: MAX_FILES });
        }
        if self.container == Container::Mp4 && frame.format() == Format::Encoded(Codec::Vp8) {
            return Err(RecordError::NotInContainer { format: frame.format(), container: self.container });
        }
        let Some(mut track) = sample::track(frame, sample) else {
            return Ok(None);
        };
        let making = self.making(frame, sample)?;
        if making == Making::Copy && self.container == Container::Mp4 {
            track.duration_ns = Some(LAST_PICTURE_NS);
        }
        let codec = match &making {
            Making::Copy => frame.format().as_str(),
            Making::Encode { encoder, .. } => encoder,
        };
        let path = part_file::numbered(&self.options.path, number);
        let (part, file) = PartFile::create(&path, self.options.force)?;
        let output = if making == Making::Copy && self.container == Container::Matroska {
            Ok(Output::File { file, path: part.part().to_owned() })
        } else {
            Tools::find(self.options.ffmpeg.as_deref())
                .map_err(RecordError::from)
                .and_then(|tools| {
                    Process::start(&tools.ffmpeg, self.container, &making, part.part(), self.break_off.clone())
                })
                .map(Output::Ffmpeg)
        };
        let tags = [
            ("FRAMEHOST_FIRST_TIMESTAMP_MS", frame.timestamp_ms().to_string()),
            ("FRAMEHOST_FORMAT", frame.format().to_string()),
        ];
        let muxer = match output.and_then(|output| Muxer::begin(output, &track, &tags)) {
            Ok(muxer) => muxer,
            Err(error) => {
                self.recorded.part = part.keep();
                return Err(error);
            }
        };
        let file = RecordedFile {
            path,
            codec: codec.to_owned(),
            width: shape.width,
            height: shape.height,
            pictures: 0,
            bytes: 0,
            first_timestamp_ms: frame.timestamp_ms(),
            last_timestamp_ms: frame.timestamp_ms(),
        };
        Ok(Some(Current { shape, part, muxer, file }))
    }

    fn making(&mut self, frame: &VideoFrame, sample: &Sample) -> Result<Making, RecordError> {
        let Some(pixels) = sample.pixels else {
            return Ok(Making::Copy);
        };
        let size @ (width, _) = (frame.width(), frame.height());
        let encoder = if self.is_lossy() {
            let ffmpeg = self.options.ffmpeg.as_deref();
            let known = match self.encoders.take() {
                Some(known) => known,
                None => ffmpeg::encoders(&Tools::find(ffmpeg)?.ffmpeg)?,
            };
            let known = self.encoders.insert(known);
            let found = LOSSY_ENCODERS.iter().find(|name| known.iter().any(|known| known == *name));
            found.copied().ok_or_else(|| RecordError::NoEncoder { wanted: LOSSY_ENCODERS.join(", ") })?
        } else if pixels.pix_fmt.starts_with("yuv") && width % 2 == 1 {
            // FFVHUFF takes no odd widths there.
            "ffv1"
        } else {
            "ffvhuff"
        };
        let (pix_fmt, colour) = (pixels.pix_fmt, pixels.colour);
        Ok(Making::Encode { encoder: encoder.to_owned(), pix_fmt, colour, size })
    }

    fn end_file(&mut self) -> Result<(), RecordError> {
        let Some(Current { part, muxer, mut file, .. }) = self.current.take() else {
            return Ok(());
        };
        match muxer.finish().and_then(Output::finish).and_then(|()| part.publish()) {
            Ok(bytes) => {
                file.bytes = bytes;
                self.recorded.files.push(file);
                Ok(())
            }
            Err(error) => {
                self.recorded.part = part.keep();
                Err(error)
            }
        }
    }

    /// A file that will not be completed.
    fn leave(&mut self, current: Current) {
        let Current { part, muxer, .. } = current;
        // Its process goes first.
        drop(muxer);
        self.recorded.part = part.keep();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(current) = self.current.take() {
            self.leave(current);
        }
    }
}

impl Current {
    fn write(&mut self, timestamp_ms: u64, sample: &Sample) -> Result<(), RecordError> {
        let file = &mut self.file;
        // Streams see to it that times increase; a caller of its own need not.
        let earliest = if file.pictures == 0 { file.first_timestamp_ms } else { file.last_timestamp_ms + 1 };
        let timestamp_ms = timestamp_ms.max(earliest);
        self.muxer.write(timestamp_ms - file.first_timestamp_ms, sample.is_key_frame, &sample.data)?;
        file.last_timestamp_ms = timestamp_ms;
        file.pictures += 1;
        Ok(())
    }
}

impl Output {
    fn finish(self) -> Result<(), RecordError> {
        match self {
            Self::File { .. } => Ok(()),
            Self::Ffmpeg(process) => process.finish(),
        }
    }
}

impl Sink for Output {
    fn append(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        match self {
            Self::File { file, path } => file.write_all(bytes).map_err(|error| RecordError::of_file(error, path)),
            Self::Ffmpeg(process) => process.append(bytes),
        }
    }

    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), RecordError> {
        match self {
            Self::File { file, path } => {
                let mut over = || {
                    file.seek(SeekFrom::Start(at))?;
                    file.write_all(bytes)?;
                    file.seek(SeekFrom::End(0)).map(drop)
                };
                over().map_err(|error| RecordError::of_file(error, path))
            }
            Self::Ffmpeg(process) => process.patch(at, bytes),
        }
    }

    fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// Does a path name a recording, by its ending?
pub fn is_recording(path: &Path) -> bool {
    Container::of(path).is_some()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const JPEG: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.jpg");

    fn options(path: &Path) -> RecordOptions {
        RecordOptions { path: path.to_owned(), force: false, lossy: false, ffmpeg: Some("/nowhere/ffmpeg".into()) }
    }

    fn vp8(width: u32, timestamp_ms: u64, is_key_frame: bool) -> VideoFrame {
        let data = Bytes::from_static(if is_key_frame { &[0x10, 1, 2] } else { &[0x11, 1, 2] });
        VideoFrame::try_new(Format::Encoded(Codec::Vp8), Some((width, 48)), timestamp_ms, data).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn packets_need_no_other_program_and_each_size_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::new(options(&dir.path().join("a.mkv"))).unwrap();
        for frame in [
            vp8(64, 90, false),
            vp8(64, 100, true),
            vp8(64, 133, false),
            vp8(32, 170, false),
            vp8(32, 200, true),
            // A caller whose times do not increase.
            vp8(32, 200, false),
        ] {
            recorder.write(&frame).unwrap();
        }
        let (recorded, result) = recorder.finish();
        result.unwrap();
        assert_eq!((recorded.skipped, recorded.part), (2, None));
        let files: Vec<_> = recorded
            .files
            .iter()
            .map(|file| (file.width, file.pictures, file.first_timestamp_ms, file.last_timestamp_ms))
            .collect();
        assert_eq!(files, [(64, 2, 100, 133), (32, 2, 200, 201)]);
        assert_eq!(names(dir.path()), ["a-2.mkv", "a.mkv"]);
    }

    #[test]
    fn a_recording_of_nothing_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mkv");
        let mut recorder = Recorder::new(options(&path)).unwrap();
        recorder.write(&vp8(64, 1, false)).unwrap();
        let (recorded, result) = recorder.finish();
        assert!(matches!(result, Err(RecordError::Nothing { skipped: 1 })) && recorded.files.is_empty());
        // Raw pictures need ffmpeg, which is not there.
        let raw = VideoFrame::try_new(
            Format::Pixels(crate::frame::PixelFormat::Gray),
            Some((1, 1)),
            1,
            Bytes::from_static(&[7]),
        );
        let error = Recorder::new(options(&path)).unwrap().write(&raw.unwrap()).unwrap_err();
        assert_eq!(error.reason(), "ffmpeg_missing");
        assert_eq!(names(dir.path()), [""; 0]);
        assert!(matches!(Recorder::new(options(&dir.path().join("a.avi"))), Err(RecordError::Name { .. })));
    }

    #[test]
    fn a_stream_that_changes_all_the_time_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut recorder = Recorder::new(options(&dir.path().join("a.mkv"))).unwrap();
        let results = (0..65).map(|n| recorder.write(&vp8(64 + n % 2, n.into(), true)));
        let last = results.last().unwrap();
        assert!(matches!(last, Err(RecordError::TooManyChanges { limit: MAX_FILES })));
        assert_eq!(recorder.abandon().files.len(), MAX_FILES);
    }

    #[tokio::test]
    async fn a_thread_completes_its_file_or_leaves_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mkv");
        let jpeg = |timestamp_ms| {
            VideoFrame::try_new(Format::Encoded(Codec::Jpeg), None, timestamp_ms, Bytes::from_static(JPEG)).unwrap()
        };
        let mut thread = RecorderThread::start(options(&path)).unwrap();
        assert!(thread.write(jpeg(5)).await && thread.write(jpeg(9)).await);
        let (recorded, result) = thread.finish().await;
        result.unwrap();
        assert_eq!((recorded.files[0].pictures, recorded.files[0].codec.as_str()), (2, "jpeg"));
        assert!(matches!(thread.finish().await.1, Err(RecordError::BrokenOff)), "once only");
        assert!(matches!(RecorderThread::start(options(&path)), Err(RecordError::Exists { .. })));

        let other = dir.path().join("b.mp4");
        let mut thread = RecorderThread::start(options(&other)).unwrap();
        // It fails with the first one, and says so when it is asked.
        while thread.write(jpeg(5)).await {}
        assert_eq!(thread.finish().await.1.unwrap_err().reason(), "ffmpeg_missing");
        drop(RecorderThread::start(options(&other)).unwrap());
        assert_eq!(names(dir.path()), ["a.mkv"]);
    }
}
