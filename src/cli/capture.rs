//! `framehost capture` and `framehost devices`: what this machine can be captured from, without a hub.

use std::{
    collections::BTreeMap,
    fs,
    future::pending,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::{
    arguments::{CameraBackendArgument, CaptureArguments, CaptureSource, DevicesArguments},
    described, say,
    stdout_thread::StdoutThread,
    system::Interruptions,
};
use crate::{
    config::Config,
    frame::{Codec, Format, PixelFormat, VideoFrame, still},
    hex,
    record::{self, RecordError, RecordOptions, RecorderThread},
    source::{
        Granted, SourceOptions, SourceSpec,
        camera::{CameraBackend, CameraId, CameraOptions},
        devices::{self, Devices},
        file::FileOptions,
        screen::{Region, ScreenOptions, ScreenTarget},
    },
    stream_handler::{Captured, HandlerError, StreamHandler},
    streams::Queue,
};

/// Pictures that may wait for the disk or a pipe.
const DEPTH: i64 = 64;

/// How long whoever reads the pictures may take for what waits, when the user has interrupted.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) fn devices(arguments: &DevicesArguments) -> anyhow::Result<ExitCode> {
    let devices = devices::list(&source_options()?);
    if arguments.json {
        say(serde_json::to_string(&devices)?)?;
    } else {
        print(&devices)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(devices: &Devices) -> io::Result<()> {
    say(format_args!("cameras: {}", devices.cameras.len()))?;
    for camera in &devices.cameras {
        say(format_args!("  {}  {}  {}  {}", camera.index, camera.id, camera.path, camera.name))?;
        for mode in &camera.modes {
            let fps = mode.fps.iter().map(|fps| format!("{fps:.4}")).collect::<Vec<_>>().join(", ");
            say(format_args!("    {} {} x {} at {fps}", mode.device_format, mode.width, mode.height))?;
        }
    }
    say(format_args!("screens: {}", devices.screens.len()))?;
    for screen in &devices.screens {
        let primary = if screen.is_primary { ", primary" } else { "" };
        let (id, width, height, x, y) = (&screen.id, screen.width, screen.height, screen.x, screen.y);
        say(format_args!("  {id}  {width} x {height} at {x},{y}{primary}"))?;
    }
    say(format_args!("windows: {}", devices.windows.len()))?;
    for window in &devices.windows {
        say(format_args!("  {}  {} x {}  {}", window.id, window.width, window.height, window.title))?;
    }
    for part in &devices.missing {
        say(format_args!("missing: {}: {}", part.what, part.problem))?;
    }
    Ok(())
}

pub(super) fn run(arguments: &CaptureArguments) -> anyhow::Result<ExitCode> {
    let options = source_options()?;
    let ffmpeg = options.ffmpeg.clone();
    let handler = StreamHandler::new(options);
    let spec = spec(&arguments.source)?;
    let mut sink = match Sink::new(arguments, ffmpeg) {
        Err(error) if arguments.json => {
            say(json!({"error": described(&error)}))?;
            return Ok(ExitCode::FAILURE);
        }
        other => other?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(capture(&handler, spec, arguments, &mut sink));
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if arguments.json => {
            sink.note(&json!({"error": described(&error)}))?;
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error),
    }
}

/// What sources may use here.
fn source_options() -> anyhow::Result<SourceOptions> {
    let paths = super::paths()?;
    let ffmpeg = Config::read(&paths)?.ffmpeg;
    Ok(SourceOptions { ffmpeg, state_dir: Some(paths.state_dir) })
}

async fn capture(
    handler: &StreamHandler,
    spec: SourceSpec,
    arguments: &CaptureArguments,
    sink: &mut Sink<'_>,
) -> anyhow::Result<()> {
    // One for all pictures: an interruption that comes while a picture is written counts, too.
    let mut interruptions = Interruptions::new()?;
    let captured = tokio::select! {
        opened = handler.open(spec, Queue::fifo(DEPTH)?) => opened?,
        () = interruptions.next() => bail!("interrupted before anything was captured"),
    };
    sink.granted(captured.granted())?;
    let ended = carry(&captured, arguments, sink, &mut interruptions).await;
    let dropped = captured.dropped();
    // Closing waits for the picture at hand.
    tokio::task::spawn_blocking(move || drop(captured)).await?;
    // What has been captured is kept, whatever ended it.
    let written = tokio::select! {
        written = sink.finish(dropped, matches!(ended, Ok(End::Interrupted))) => written,
        () = interruptions.next() => Err(RecordError::BrokenOff.into()),
    };
    sink.note(&json!({"dropped": dropped}))?;
    ended.and(written)
}

/// What ended a capture that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The source's end, or a limit; or the sink, which says why.
    Reached,
    /// The user, or the system.
    Interrupted,
}

/// Hands pictures on until something ends it: the source, a limit, the user, or where they go.
async fn carry(
    captured: &Captured,
    arguments: &CaptureArguments,
    sink: &mut Sink<'_>,
    interruptions: &mut Interruptions,
) -> anyhow::Result<End> {
    let mut left = arguments.frames.unwrap_or(u64::MAX);
    while left > 0 {
        let next = tokio::select! {
            next = captured.next() => next,
            () = interruptions.next() => return Ok(End::Interrupted),
            () = sink.failed() => return Ok(End::Reached),
        };
        match next {
            None => return Ok(End::Reached),
            Some(Ok(frame)) => {
                left -= 1;
                let goes_on = tokio::select! {
                    goes_on = sink.take(frame) => goes_on?,
                    () = interruptions.next() => return Ok(End::Interrupted),
                };
                if !goes_on {
                    return Ok(End::Reached);
                }
            }
            Some(Err(HandlerError::Lost(trouble))) => {
                sink.note(&json!({"lost": {"reason": trouble.reason, "message": trouble.message}}))?;
            }
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(End::Reached)
}

/// Where pictures and notes go.
struct Sink<'a> {
    output: Output<'a>,
    json: bool,
    count: u64,
}

enum Output<'a> {
    /// Nothing is kept.
    Nothing,
    /// One picture after another.
    Stdout(StdoutThread),
    /// A file each.
    Directory(&'a Path),
    /// All in one file.
    Video(RecorderThread),
}

#[derive(Serialize)]
struct FrameLine<'a> {
    frame_number: u32,
    timestamp_ms: u64,
    width: u32,
    height: u32,
    format: &'static str,
    bytes: usize,
    sha256: String,
    metadata: &'a BTreeMap<String, String>,
}

/// Is it named like a video that is not written?
fn is_other_video(path: &Path) -> bool {
    let known = ["avi", "flv", "gif", "m4v", "mov", "mpeg", "mpg", "ogv", "ts", "webm", "wmv", "y4m"];
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    known.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

impl<'a> Sink<'a> {
    fn new(arguments: &'a CaptureArguments, ffmpeg: Option<PathBuf>) -> anyhow::Result<Self> {
        let output = match arguments.output.as_deref() {
            None => Output::Nothing,
            Some(path) if path == Path::new("-") => {
                Output::Stdout(StdoutThread::start().context("cannot start a thread for standard output")?)
            }
            Some(path) if record::is_recording(path) && !path.is_dir() => {
                let CaptureArguments { force, lossy, .. } = *arguments;
                let options = RecordOptions { path: path.to_owned(), force, lossy, ffmpeg };
                Output::Video(RecorderThread::start(options)?)
            }
            // Somebody means a video by it.
            Some(path) if is_other_video(path) && !path.exists() => {
                bail!("{}: recordings end in .mkv or .mp4, and anything else is a folder for pictures", path.display())
            }
            Some(directory) => {
                fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
                Output::Directory(directory)
            }
        };
        Ok(Self { output, json: arguments.json, count: 0 })
    }

    fn granted(&self, granted: &Granted) -> anyhow::Result<()> {
        let Granted { device, backend, width, height, fps, format, metadata } = granted;
        self.note(&json!({"granted": {
            "device": device, "backend": backend, "width": width, "height": height, "fps": fps,
            "format": format.as_str(), "metadata": metadata,
        }}))
    }

    /// Takes a picture; `false` if it takes no more, and [`Self::finish`] says why.
    async fn take(&mut self, frame: VideoFrame) -> anyhow::Result<bool> {
        match &self.output {
            Output::Nothing => {}
            Output::Video(recorder) => {
                if !recorder.write(frame.clone()).await {
                    return Ok(false);
                }
            }
            Output::Stdout(stdout) => {
                if !stdout.write(frame.clone()).await {
                    return Ok(false);
                }
            }
            Output::Directory(directory) => {
                let (name, bytes) = picture_file(&frame, self.count)?;
                let path = directory.join(name);
                fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        self.count += 1;
        if self.json {
            let digest = Sha256::digest(frame.frame_data());
            self.note(&FrameLine {
                frame_number: frame.frame_number(),
                timestamp_ms: frame.timestamp_ms(),
                width: frame.width(),
                height: frame.height(),
                format: frame.format().as_str(),
                bytes: frame.frame_data().len(),
                sha256: hex::lower(&digest),
                metadata: frame.metadata(),
            })?;
        }
        Ok(true)
    }

    /// Waits until it takes no more, and [`Self::finish`] says why.
    async fn failed(&self) {
        match &self.output {
            Output::Video(recorder) => recorder.failed().await,
            Output::Stdout(stdout) => stdout.failed().await,
            Output::Nothing | Output::Directory(_) => pending().await,
        }
    }

    /// Completes what is not complete. `dropped`: pictures that came too fast. `is_interrupted`: somebody wants the end,
    /// whether what has been written is read or not.
    async fn finish(&mut self, dropped: u64, is_interrupted: bool) -> anyhow::Result<()> {
        match &mut self.output {
            Output::Video(recorder) => {
                let (recorded, written) = recorder.finish().await;
                super::record::report(&recorded, dropped, self.json)?;
                Ok(written?)
            }
            Output::Stdout(stdout) if is_interrupted => {
                let written = timeout(PATIENCE, stdout.finish()).await;
                Ok(written.context("interrupted before all pictures were read: the last one may be cut short")??)
            }
            Output::Stdout(stdout) => Ok(stdout.finish().await?),
            Output::Nothing | Output::Directory(_) => Ok(()),
        }
    }

    /// A line for programs, beside the pictures.
    fn note(&self, line: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            let line = serde_json::to_string(line)?;
            match self.output {
                Output::Stdout(_) => writeln!(io::stderr(), "{line}")?,
                Output::Nothing | Output::Directory(_) | Output::Video(_) => say(line)?,
            }
        }
        Ok(())
    }
}

/// A picture as a file that everything opens.
fn picture_file(frame: &VideoFrame, number: u64) -> anyhow::Result<(PathBuf, bytes::Bytes)> {
    let (extension, bytes) = match frame.format() {
        Format::Pixels(_) => ("png", still::encode(frame, Codec::Png, 100)?.frame_data().clone()),
        Format::Encoded(Codec::Jpeg) => ("jpg", frame.frame_data().clone()),
        Format::Encoded(_) => (frame.format().as_str(), frame.frame_data().clone()),
    };
    Ok((format!("frame-{number:06}.{extension}").into(), bytes))
}

fn spec(source: &CaptureSource) -> anyhow::Result<SourceSpec> {
    Ok(match source {
        CaptureSource::Camera { camera, width, height, fps, format, backend } => SourceSpec::Camera(CameraOptions {
            camera: camera.parse().map_or_else(|_| CameraId::Name(camera.clone()), CameraId::Index),
            width: *width,
            height: *height,
            fps: *fps,
            format: Format::parse(format)?,
            backend: backend.map(|backend| match backend {
                CameraBackendArgument::V4l => CameraBackend::V4l,
                CameraBackendArgument::Nokhwa => CameraBackend::Nokhwa,
            }),
        }),
        CaptureSource::Screen { screen, window, region, fps, format, cursor } => SourceSpec::Screen(ScreenOptions {
            target: match (screen, window) {
                (Some(screen), _) => ScreenTarget::Screen(screen.clone()),
                (None, Some(window)) => ScreenTarget::Window(window.clone()),
                (None, None) => ScreenTarget::Primary,
            },
            region: region.as_deref().map(parse_region).transpose()?,
            fps: *fps,
            format: pixels(format)?,
            cursor: *cursor,
        }),
        CaptureSource::File { path, start_frame, end_frame, format, realtime } => SourceSpec::File(FileOptions {
            start_frame: *start_frame,
            end_frame: *end_frame,
            format: pixels(format)?,
            realtime: *realtime,
            ..FileOptions::new(std::path::absolute(path)?)
        }),
    })
}

fn parse_region(text: &str) -> anyhow::Result<Region> {
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let [x, y, width, height] = parts.as_slice() else {
        bail!("a region is X,Y,WIDTH,HEIGHT, not {text:?}");
    };
    let parsed = || -> Result<Region, std::num::ParseIntError> {
        Ok(Region { x: x.parse()?, y: y.parse()?, width: width.parse()?, height: height.parse()? })
    };
    parsed().with_context(|| format!("a region is X,Y,WIDTH,HEIGHT in pixels, not {text:?}"))
}

fn pixels(name: &str) -> anyhow::Result<PixelFormat> {
    match Format::parse(name)? {
        Format::Pixels(format) => Ok(format),
        Format::Encoded(_) => bail!("this source gives raw pixels, not {name}"),
    }
}
