//! Video4Linux: one device, read by mapped buffers.
//!
//! Only as many bytes of a buffer are used as the driver says it has filled; every wait ends after a tick.

mod list;
mod mode;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use v4l::{
    Device,
    buffer::{Flags, Metadata as BufferMetadata, Type},
    io::{
        mmap,
        traits::{CaptureStream, Stream as _},
    },
    video::Capture as _,
};

pub(super) use self::list::list;
use self::mode::{DeviceFormat, Mode};
use super::{CameraOptions, find};
use crate::{
    frame::{
        Codec, Colour, Format, Metadata, PixelFormat, Pool, VideoFrame,
        convert::{self, RawView},
        still,
    },
    source::{
        Capture, Granted, Number, Picture, SourceError, Step, Stop, TICK,
        clock::{Clock, monotonic_us},
        devices::CameraInfo,
    },
};

/// Buffers in flight: one is read from, the others are the driver's.
const BUFFERS: u32 = 5;

/// A camera that has sent nothing for so long is gone, whatever it says.
const SILENCE: Duration = Duration::from_secs(5);

/// A kernel timestamp older than this is none.
const MAX_AGE_US: u64 = 5_000_000;

/// `POLLIN`. Source: `poll(2)`, Linux.
const POLLIN: i16 = 1;

/// An open camera.
pub(super) struct Camera {
    stream: Option<mmap::Stream<'static>>,
    device: Device,
    granted: Granted,
    mode: Mode,
    stride: usize,
    colour: Colour,
    to: Format,
    pool: Pool,
    clock: Clock,
    last_picture: Instant,
    broken: u64,
}

impl Camera {
    pub(super) fn open(options: &CameraOptions) -> Result<Self, SourceError> {
        let info = find(&options.camera)?;
        let failed = |error| opening_failed(error, &info);
        let device = Device::with_path(&info.path).map_err(failed)?;
        let mode = mode::choose(&info.modes, options).ok_or_else(|| unsupported(options, &info))?;
        let wanted = v4l::Format::new(options.width, options.height, v4l::FourCC::new(&mode.fourcc));
        let format = device.set_format(&wanted).map_err(failed)?;
        if (format.width, format.height, format.fourcc.repr) != (options.width, options.height, mode.fourcc) {
            return Err(unsupported(options, &info));
        }
        let fps = set_rate(&device, mode.fps).map_err(failed)?;
        let stream = start(&device).map_err(failed)?;
        let colour = mode::colour(&mode, &format);
        let mut metadata = Metadata::from([("device_format".to_owned(), format.fourcc.to_string())]);
        if mode.format != DeviceFormat::Jpeg || options.format != Format::Encoded(Codec::Jpeg) {
            colour.write(&mut metadata);
        }
        let granted = Granted {
            device: info.id,
            backend: "v4l",
            width: format.width,
            height: format.height,
            fps,
            format: options.format,
            metadata,
        };
        Ok(Self {
            stream: Some(stream),
            device,
            granted,
            mode,
            stride: usize::try_from(format.stride).unwrap_or(0),
            colour,
            to: options.format,
            pool: Pool::default(),
            clock: Clock::start(),
            last_picture: Instant::now(),
            broken: 0,
        })
    }

    fn lost(&self, problem: impl std::fmt::Display) -> SourceError {
        SourceError::DeviceLost { device: self.granted.device.clone(), problem: problem.to_string() }
    }

    /// A buffer as a picture; `None` for one that the camera has broken.
    fn picture(&mut self, data: &[u8], meta: &BufferMetadata) -> Result<Option<Picture>, SourceError> {
        let (captured_at, clock) = self.captured_at(meta);
        let timestamp_ms = self.clock.wall_ms(captured_at);
        let size = (self.granted.width, self.granted.height);
        let frame = match self.frame(data, size, timestamp_ms) {
            Ok(frame) => frame,
            Err(error) => {
                // A transfer that was cut short; the next picture may be whole.
                self.broken += 1;
                tracing::debug!(%error, broken = self.broken, "the camera sent a broken picture");
                return Ok(None);
            }
        };
        let mut metadata = frame.metadata().clone();
        self.clock.stamp(captured_at, clock, &mut metadata);
        if self.broken > 0 {
            metadata.insert("broken".to_owned(), self.broken.to_string());
        }
        let number = Number::Sequence(meta.sequence);
        Ok(Some(Picture { frame: frame.with_metadata(metadata), number, captured_at }))
    }

    fn frame(&self, data: &[u8], size: (u32, u32), timestamp_ms: u64) -> Result<VideoFrame, FrameProblem> {
        let from = match self.mode.format {
            DeviceFormat::Pixels(from) => from,
            DeviceFormat::Jpeg => {
                let coded = bytes::Bytes::copy_from_slice(data);
                let coded = VideoFrame::try_new(Format::Encoded(Codec::Jpeg), Some(size), timestamp_ms, coded)?;
                return match self.to {
                    Format::Pixels(to) => Ok(still::decode(&coded, to, &self.pool)?),
                    Format::Encoded(_) => Ok(coded),
                };
            }
        };
        let to = match self.to {
            Format::Pixels(to) => to,
            // Chosen so by `mode::choose`.
            Format::Encoded(_) => PixelFormat::Rgb,
        };
        let view = RawView::new(from, size.0, size.1, self.stride, data)?;
        let made = convert::convert(&view, self.colour, to, &self.pool)?;
        Ok(VideoFrame::try_new(Format::Pixels(to), Some(size), timestamp_ms, made)?)
    }

    /// By the kernel's clock where its word is sane, else now.
    fn captured_at(&self, meta: &BufferMetadata) -> (Instant, &'static str) {
        let is_monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
        let (seconds, micros) = (u64::try_from(meta.timestamp.sec), u64::try_from(meta.timestamp.usec));
        let kernel_us = match (seconds, micros) {
            (Ok(seconds), Ok(micros)) if is_monotonic => seconds * 1_000_000 + micros,
            _ => 0,
        };
        match sane_timestamp(kernel_us, monotonic_us()).and_then(|at| self.clock.at_mono_us(at)) {
            Some(at) => (at, "kernel"),
            None => (Instant::now(), "host"),
        }
    }
}

/// Why a buffer is no picture.
#[derive(Debug, thiserror::Error)]
enum FrameProblem {
    #[error(transparent)]
    Frame(#[from] crate::frame::FrameError),
    #[error(transparent)]
    Still(#[from] still::StillError),
}

impl Capture for Camera {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, _stop: &Stop) -> Result<Step, SourceError> {
        let tick = i32::try_from(TICK.as_millis()).unwrap_or(i32::MAX);
        match self.device.handle().poll(POLLIN, tick) {
            Ok(0) if self.last_picture.elapsed() < SILENCE => return Ok(Step::Idle),
            Ok(0) => return Err(self.lost(format!("no picture for {} s", SILENCE.as_secs()))),
            // Ready, or broken: taking the buffer says which.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Step::Idle),
            Err(error) => return Err(self.lost(error)),
        }
        // Taken out while it is borrowed from, so that the rest of the camera can be used.
        let Some(mut stream) = self.stream.take() else {
            return Err(self.lost("it is closed"));
        };
        let step = match CaptureStream::next(&mut stream) {
            Ok((buffer, meta)) => {
                let used = usize::try_from(meta.bytesused).unwrap_or(0).min(buffer.len());
                let (filled, _) = buffer.split_at(used);
                let meta = *meta;
                self.last_picture = Instant::now();
                if meta.flags.contains(Flags::ERROR) {
                    self.broken += 1;
                    Ok(Step::Idle)
                } else {
                    self.picture(filled, &meta).map(|picture| picture.map_or(Step::Idle, Step::Picture))
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Idle),
            Err(error) => Err(self.lost(error)),
        };
        self.stream = Some(stream);
        step
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let stream = self.stream.take();
        // The library panics when a device that is half gone refuses to stop. The descriptor is closed all the same.
        if catch_unwind(AssertUnwindSafe(|| drop(stream))).is_err() {
            tracing::warn!(device = self.granted.device, "the camera refused to stop");
        }
    }
}

/// A kernel timestamp in microseconds, if it can be true: neither 0 nor in the future nor too old.
const fn sane_timestamp(kernel_us: u64, now_us: u64) -> Option<u64> {
    if kernel_us != 0 && kernel_us <= now_us && now_us - kernel_us <= MAX_AGE_US { Some(kernel_us) } else { None }
}

/// Asks for a rate and tells the one that was granted.
fn set_rate(device: &Device, interval: Option<mode::Interval>) -> io::Result<f64> {
    if let Some(interval) = interval {
        let fraction = v4l::Fraction::new(interval.numerator, interval.denominator);
        match device.set_params(&v4l::video::capture::Parameters::new(fraction)) {
            Ok(_) => {}
            // Some cameras have one rate, and no way to ask for it.
            Err(error) if is_not_supported(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let granted = match device.params() {
        Ok(parameters) => parameters.interval,
        Err(error) if is_not_supported(&error) => v4l::Fraction::new(0, 0),
        Err(error) => return Err(error),
    };
    let interval = mode::Interval { numerator: granted.numerator, denominator: granted.denominator };
    Ok(interval.fps())
}

fn is_not_supported(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL))
}

fn start(device: &Device) -> io::Result<mmap::Stream<'static>> {
    let mut stream = mmap::Stream::with_buffers(device, Type::VideoCapture, BUFFERS)?;
    // All but the first: `next` hands over the buffer that was read last before it takes another.
    for index in 1..usize::try_from(BUFFERS).unwrap_or(usize::MAX) {
        CaptureStream::queue(&mut stream, index)?;
    }
    stream.start()?;
    Ok(stream)
}

fn opening_failed(error: io::Error, info: &CameraInfo) -> SourceError {
    use rustix::io::Errno;
    let device = info.id.clone();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => SourceError::DeviceBusy { device, by: "another program has it".to_owned() },
        Some(Errno::ACCESS | Errno::PERM) => {
            let hint = format!("{} belongs to others; usually the group `video` may use it", info.path);
            SourceError::PermissionDenied { device, hint }
        }
        Some(Errno::NODEV | Errno::NXIO | Errno::NOENT | Errno::IO) => {
            SourceError::DeviceLost { device, problem: error.to_string() }
        }
        _ => SourceError::Io { action: "cannot open the camera", source: error },
    }
}

fn unsupported(options: &CameraOptions, info: &CameraInfo) -> SourceError {
    let CameraOptions { width, height, fps, format, .. } = options;
    SourceError::UnsupportedMode {
        device: info.id.clone(),
        wanted: format!("{width} x {height} at {fps} fps as {format}"),
        possible: mode::described(&info.modes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_taken_only_where_it_can_be_true() {
        let now = 100_000_000;
        for (kernel_us, is_sane) in
            [(0, false), (now, true), (now + 1, false), (now - MAX_AGE_US, true), (now - MAX_AGE_US - 1, false)]
        {
            assert_eq!(sane_timestamp(kernel_us, now).is_some(), is_sane, "{kernel_us}");
        }
    }

    #[test]
    fn what_the_kernel_says_has_a_name() {
        let info =
            CameraInfo { id: "cam".to_owned(), index: 0, name: String::new(), path: String::new(), modes: Vec::new() };
        let reason = |errno: rustix::io::Errno| {
            opening_failed(io::Error::from_raw_os_error(errno.raw_os_error()), &info).reason()
        };
        use rustix::io::Errno;
        assert_eq!(reason(Errno::BUSY), "device_busy");
        assert_eq!(reason(Errno::ACCESS), "permission_denied");
        assert_eq!(reason(Errno::NODEV), "device_lost");
        assert_eq!(reason(Errno::NOMEM), "io");
    }
}
