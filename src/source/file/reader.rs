//! The pictures of a file, one after another, from an ffmpeg process.
//!
//! ffmpeg's `showinfo` filter says of each picture its time and size, before its bytes come: neither is ever guessed.

use std::{
    ffi::{OsStr, OsString},
    fs,
    time::{Duration, Instant},
};

use super::{
    FileOptions,
    index::Index,
    layout::{self, Layout},
    probe::{self, VideoInfo},
};
use crate::{
    ffmpeg::{self, Input, Next, Pictures, Shown, Tools},
    frame::{
        Buffer, Colour, Format, Metadata, Pool, VideoFrame,
        convert::{self, RawLayout, RawView},
    },
    source::{Capture, Granted, Number, Picture, SourceError, SourceOptions, Step, Stop, TICK},
};

/// How long ffmpeg may neither give nor skip a picture while one is waited for: a slow disk.
const SILENCE: Duration = Duration::from_secs(20);

/// An open file.
pub(super) struct FileReader {
    options: FileOptions,
    tools: Tools,
    info: VideoInfo,
    layout: Layout,
    colour: Colour,
    granted: Granted,
    start: Start,
    pictures: Option<Pictures>,
    /// Nothing has come yet: whether seeking has found its picture is not known.
    is_first: bool,
    /// The time of the file's first picture, as soon as it is known.
    first_time: Option<i64>,
    /// Seconds of a unit of time.
    time_base: f64,
    next_index: u64,
    last_ms: Option<u64>,
    /// When reading began, and with which time: the pace of `realtime`.
    paced: Option<(Instant, u64)>,
    held: Option<VideoFrame>,
    pool: Pool,
}

/// Where ffmpeg begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With the first picture, leaving out so many.
    Count(u64),
    /// With the key frame at `begin` (`None`: the first), leaving out what comes before `target`.
    Time { begin: Option<i64>, target: i64 },
}

impl FileReader {
    pub(super) fn open(options: &FileOptions, env: &SourceOptions, stop: &Stop) -> Result<Self, SourceError> {
        let path = &options.path;
        let file_error = |source| SourceError::File { source, path: path.clone() };
        let not_a_video = |problem: &str| SourceError::NotAVideo { problem: problem.to_owned(), path: path.clone() };
        let metadata = fs::metadata(path).map_err(file_error)?;
        if !metadata.is_file() {
            return Err(not_a_video("it is no regular file"));
        }
        if metadata.len() == 0 {
            return Err(not_a_video("it is empty"));
        }
        fs::File::open(path).map_err(file_error)?;
        let tools = Tools::find(env.ffmpeg.as_deref())?;
        let info = probe::probe(&tools, path, stop)?;
        let index = if options.start_frame > 0 { Index::read(&tools, path, stop)? } else { None };
        let start = start(options, index.as_ref())?;
        let layout = layout::of(&info.pix_fmt);
        let (width, height) = info.shown_size();
        let colour = layout::colour(&info.pix_fmt, info.color_space.as_deref(), info.color_range.as_deref(), height);
        let granted = granted(options, &info, colour, (width, height));
        let pictures = start_ffmpeg(&tools, options, layout, start, &info)?;
        Ok(Self {
            options: options.clone(),
            layout,
            colour,
            granted,
            start,
            pictures: Some(pictures),
            is_first: true,
            first_time: index.and_then(|index| index.first()),
            time_base: probe::fraction(&info.time_base).unwrap_or(0.001),
            tools,
            info,
            next_index: options.start_frame,
            last_ms: None,
            paced: None,
            held: None,
            pool: Pool::default(),
        })
    }

    /// The next picture, in the layout that is wanted.
    fn read(&mut self) -> Result<Option<VideoFrame>, ReadError> {
        let Some(pictures) = &mut self.pictures else {
            return Err(ReadError::End);
        };
        let layout = self.layout;
        let (shown, buffer) = match pictures.next(TICK, |width, height| layout.len(width, height), &self.pool)? {
            Next::Picture(shown, buffer) => (shown, buffer),
            Next::Nothing if pictures.silence() > SILENCE => return Err(pictures.hangs().into()),
            Next::Nothing => return Ok(None),
            Next::End => return Err(ReadError::End),
        };
        if std::mem::take(&mut self.is_first)
            && let Start::Time { target, .. } = self.start
            && shown.time != Some(target)
        {
            // This container does not find its key frames by time: count from the beginning instead.
            tracing::debug!(?shown, target, "seeking by time has failed");
            self.start = Start::Count(self.options.start_frame);
            self.pictures = None;
            self.pictures = Some(start_ffmpeg(&self.tools, &self.options, layout, self.start, &self.info)?);
            return Ok(None);
        }
        let timestamp_ms = self.timestamp_ms(&shown);
        let frame = self.frame(shown, buffer, timestamp_ms)?;
        self.next_index += 1;
        Ok(Some(frame))
    }

    /// Milliseconds from the file's first picture, rounded; after the last where the file has no times.
    fn timestamp_ms(&mut self, shown: &Shown) -> u64 {
        let first = match (self.first_time, shown.time) {
            (None, Some(time)) if self.next_index == 0 => *self.first_time.insert(time),
            (first, _) => first.unwrap_or(0),
        };
        let by_rate = || {
            let fps = if self.granted.fps > 0.0 { self.granted.fps } else { 25.0 };
            let milliseconds = Duration::from_secs_f64(1.0 / fps).as_secs_f64() * 1000.0;
            self.last_ms.map_or(0, |last| last + whole(milliseconds).max(1))
        };
        let timestamp_ms = match shown.time {
            #[expect(clippy::cast_precision_loss, reason = "times of 2^53 units are beyond any file")]
            Some(time) => whole((time.saturating_sub(first)) as f64 * self.time_base * 1000.0),
            None => by_rate(),
        };
        self.last_ms = Some(timestamp_ms);
        timestamp_ms
    }

    fn frame(&self, shown: Shown, buffer: Buffer, timestamp_ms: u64) -> Result<VideoFrame, SourceError> {
        let Shown { width, height, time, .. } = shown;
        let to = self.options.format;
        let data = if self.layout.raw == RawLayout::Pixels(to) {
            buffer.freeze()
        } else {
            let mut rest: &[u8] = &buffer;
            let planes = self.layout.raw.planes(width, height).map(|(row, rows)| {
                let (own, next) = rest.split_at_checked(row * rows).unwrap_or_default();
                rest = next;
                (own, row)
            });
            let view = RawView::from_planes(self.layout.raw, width, height, planes)?;
            convert::convert(&view, self.colour, to, &self.pool)?
        };
        let mut metadata = Metadata::from([("clock".to_owned(), "pts".to_owned())]);
        if let Some(time) = time {
            metadata.insert("pts".to_owned(), time.to_string());
        }
        let frame = VideoFrame::try_new(Format::Pixels(to), Some((width, height)), timestamp_ms, data)?;
        Ok(frame.with_metadata(metadata))
    }

    /// When a picture is to be handed on, at the file's own pace.
    fn due(&mut self, timestamp_ms: u64) -> Instant {
        let now = Instant::now();
        if !self.options.realtime {
            return now;
        }
        let (began, began_ms) = *self.paced.get_or_insert((now, timestamp_ms));
        began + Duration::from_millis(timestamp_ms.saturating_sub(began_ms))
    }
}

impl Capture for FileReader {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError> {
        let is_behind_end = self.options.end_frame.is_some_and(|end| self.next_index >= end);
        if self.held.is_none() {
            if is_behind_end {
                return Ok(Step::End);
            }
            match self.read() {
                Ok(frame) => self.held = frame,
                Err(ReadError::End) => return self.finish(),
                Err(ReadError::Source(error)) => return Err(error),
            }
        }
        let Some(frame) = self.held.take() else {
            return Ok(Step::Idle);
        };
        let due = self.due(frame.timestamp_ms());
        if due > Instant::now() + TICK || stop.wait_until(due) {
            if !stop.is_set() {
                stop.wait(TICK);
            }
            self.held = Some(frame);
            return Ok(Step::Idle);
        }
        // It was counted when it was read.
        let index = u32::try_from(self.next_index - 1).unwrap_or(u32::MAX);
        Ok(Step::Picture(Picture { frame, number: Number::Exactly(index), captured_at: Instant::now() }))
    }
}

impl FileReader {
    /// ffmpeg has closed its output: because the file has ended, or it could not go on.
    fn finish(&mut self) -> Result<Step, SourceError> {
        if let Some(pictures) = self.pictures.take() {
            pictures.finish()?;
        }
        let frames = self.next_index;
        if frames == self.options.start_frame && frames > 0 {
            return Err(SourceError::StartBehindEnd { start_frame: frames, frames });
        }
        if frames == 0 {
            let problem = "it holds no picture that can be decoded".to_owned();
            return Err(SourceError::NotAVideo { problem, path: self.options.path.clone() });
        }
        Ok(Step::End)
    }
}

/// Why no picture came.
enum ReadError {
    End,
    Source(SourceError),
}

impl<T: Into<SourceError>> From<T> for ReadError {
    fn from(error: T) -> Self {
        Self::Source(error.into())
    }
}

/// A number of milliseconds, rounded; none is negative.
fn whole(value: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range")]
    let whole = value.round().max(0.0) as u64;
    whole
}

fn start(options: &FileOptions, index: Option<&Index>) -> Result<Start, SourceError> {
    let start_frame = options.start_frame;
    let Some(index) = index.filter(|index| index.len() > 0) else {
        return Ok(Start::Count(start_frame));
    };
    let frames = u64::try_from(index.len()).unwrap_or(u64::MAX);
    let target = usize::try_from(start_frame).ok().and_then(|k| index.time(k));
    let target = target.ok_or(SourceError::StartBehindEnd { start_frame, frames })?;
    Ok(Start::Time { begin: index.begin(target), target })
}

fn granted(options: &FileOptions, info: &VideoInfo, colour: Colour, (width, height): (u32, u32)) -> Granted {
    let mut metadata = Metadata::from([("device_format".to_owned(), info.codec_name.clone())]);
    colour.write(&mut metadata);
    // Pixels are not stretched: whoever shows them may.
    if let Some(ratio) = info.sample_aspect_ratio.as_ref().filter(|ratio| *ratio != "1:1" && *ratio != "0:1") {
        metadata.insert("sample_aspect_ratio".to_owned(), ratio.clone());
    }
    Granted {
        device: options.path.display().to_string(),
        backend: "ffmpeg",
        width,
        height,
        fps: info.fps(),
        format: Format::Pixels(options.format),
        metadata,
    }
}

fn start_ffmpeg(
    tools: &Tools,
    options: &FileOptions,
    layout: Layout,
    start: Start,
    info: &VideoInfo,
) -> Result<Pictures, SourceError> {
    // The file's own times, and all that is decoded from a key frame on: what is wanted is selected by a filter.
    let mut arguments: Vec<OsString> =
        ["-nostdin", "-hide_banner", "-nostats", "-loglevel", "info", "-copyts"].map(OsString::from).to_vec();
    let select = match start {
        Start::Count(0) => String::new(),
        Start::Count(count) => ffmpeg::skipping(&format!("gte(n\\,{count})")),
        Start::Time { begin, target } => {
            if let Some(begin) = begin {
                #[expect(clippy::cast_precision_loss, reason = "times of 2^53 units are beyond any file")]
                let seconds = begin as f64 * probe::fraction(&info.time_base).unwrap_or(0.001);
                arguments.extend(["-noaccurate_seek", "-seek_timestamp", "1", "-ss"].map(OsString::from));
                arguments.push(format!("{seconds:.6}").into());
            }
            ffmpeg::skipping(&format!("gte(pts\\,{target})"))
        }
    };
    arguments.extend(probe::input(&options.path));
    arguments.extend(["-map", "0:v:0"].map(OsString::from));
    arguments.extend(ffmpeg::output(&select, layout.pix_fmt).into_iter().map(OsString::from));
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    Ok(Pictures::start(&tools.ffmpeg, &arguments, Input::Nothing)?)
}
