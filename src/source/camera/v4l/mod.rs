//! Cameras of Linux, by Video4Linux itself.
//!
//! Belongs here: finding a camera, agreeing on a mode, taking pictures out of its buffers.
//! Does not belong here: the kernel's structures (`sys`), pixels (`picture`), which mode is best (`modes`).
//!
//! Invariants:
//! - Exactly the size asked for is delivered, or nothing; the rate is whatever the camera grants nearest to the wish.
//! - Only the bytes that the driver says it has filled are looked at.
//! - A buffer goes back to the driver as soon as its picture is made. When all are full the driver has nowhere to put
//!   what it sees now, and what they show is old: all go back, and the reader goes on with what comes next.
//! - Dropping a [`Camera`] stops and closes the device.
//!
//! Data path: driver -> `sys::Device::dequeue` -> `picture::Developer` -> `Capture::next`.

mod colour;
mod nodes;
#[expect(unsafe_code, reason = "the kernel's requests take pointers, and its buffers are mapped")]
mod sys;

use std::{
    collections::VecDeque,
    io,
    path::Path,
    time::{Duration, Instant},
};

use ::v4l::v4l_sys::{
    v4l2_field_V4L2_FIELD_ANY as ANY, v4l2_field_V4L2_FIELD_INTERLACED as INTERLACED,
    v4l2_field_V4L2_FIELD_INTERLACED_BT as INTERLACED_BT, v4l2_field_V4L2_FIELD_INTERLACED_TB as INTERLACED_TB,
    v4l2_field_V4L2_FIELD_NONE as PROGRESSIVE,
};
use rustix::io::Errno;

use self::{
    nodes::Found,
    sys::{Device, Filled, Mapping, PictureFormat, Readiness},
};
use super::{
    CameraBackend, CameraId, CameraOptions,
    modes::{self, Choice, Offer, Prepared},
    picture::{Developer, Stamp},
    stall_limit,
};
use crate::source::{Capture, Granted, Number, SourceError, Step, Stop, TICK, devices::CameraInfo};

/// How cameras are read here unless it is said.
pub(super) const DEFAULT_BACKEND: CameraBackend = CameraBackend::V4l;

/// Buffers that are asked for: at 30 pictures a second a reader may be 100 ms late without losing any.
const BUFFERS: u32 = 5;

/// Buffers that are taken from a driver that insists on more.
const MAX_BUFFERS: u32 = 32;

/// The cameras of this machine.
///
/// # Errors
///
/// None: what cannot be asked is not listed.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(super) fn list() -> Result<Vec<CameraInfo>, SourceError> {
    Ok(nodes::list())
}

/// The camera of that name.
///
/// # Errors
///
/// [`SourceError::NoSuchDevice`].
pub(super) fn find(camera: &CameraId) -> Result<CameraInfo, SourceError> {
    nodes::find_info(camera)
}

/// Opens a camera and starts it.
///
/// # Errors
///
/// [`SourceError`].
pub(super) fn open(options: &CameraOptions) -> Result<Box<dyn Capture>, SourceError> {
    let (found, device) = nodes::find(&options.camera)?;
    let device = device.map_err(|error| failed(error, &found, "cannot open the camera"))?;
    let Agreed { format, choice, fps } = agree(&device, &found, options, |_| true)?;
    let stream = Stream::start(device).map_err(|error| failed(error, &found, "cannot start the camera"))?;
    let stride = usize::try_from(format.stride).unwrap_or(0);
    let size = (format.width, format.height);
    let developer = Developer::new(size, choice.format, stride, colour::of(&format), options.format);
    let mut metadata = developer.metadata(format.fourcc.to_string());
    if format.field != PROGRESSIVE && format.field != ANY {
        metadata.insert("field".to_owned(), "interlaced".to_owned());
    }
    let granted = Granted {
        device: found.id,
        backend: "v4l",
        width: format.width,
        height: format.height,
        fps,
        format: options.format,
        metadata,
    };
    let (last_picture, stall) = (Instant::now(), stall_limit(fps));
    Ok(Box::new(Camera { stream, granted, developer, ready: VecDeque::new(), last_picture, stall }))
}

/// Puts a camera into a mode that another library is about to read it in, and tells what it knows about it.
///
/// # Errors
///
/// [`SourceError`].
pub(super) fn prepare(
    options: &CameraOptions,
    is_usable: impl Fn(&Choice) -> bool,
) -> Result<Option<Prepared>, SourceError> {
    let (found, device) = nodes::find(&options.camera)?;
    let device = device.map_err(|error| failed(error, &found, "cannot open the camera"))?;
    let Agreed { format, choice, fps: _ } = agree(&device, &found, options, is_usable)?;
    let stride = usize::try_from(format.stride).unwrap_or(0);
    Ok(Some(Prepared { choice, colour: colour::of(&format), stride }))
}

/// What camera and wish have agreed on.
struct Agreed {
    format: PictureFormat,
    choice: Choice,
    fps: f64,
}

/// Asks for what suits the wish best, and for the next best where the driver adjusts it.
fn agree(
    device: &Device,
    found: &Found,
    options: &CameraOptions,
    is_usable: impl Fn(&Choice) -> bool,
) -> Result<Agreed, SourceError> {
    let size = (options.width, options.height);
    let offers: Vec<Offer> = nodes::offers(device, size);
    for choice in modes::rank(&offers, options).into_iter().filter(|choice| is_usable(choice)) {
        let format = match device.set_format(choice.fourcc, size) {
            Ok(format) => format,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => continue,
            Err(error) => return Err(failed(error, found, "cannot set the camera's format")),
        };
        let whole_pictures = [ANY, PROGRESSIVE, INTERLACED, INTERLACED_TB, INTERLACED_BT].contains(&format.field);
        if (format.fourcc, format.width, format.height) != (choice.fourcc, size.0, size.1) || !whole_pictures {
            tracing::debug!(?choice, ?format, "the camera does something else");
            continue;
        }
        let granted = match choice.interval {
            Some(interval) => device.set_interval(interval),
            None => device.interval(),
        };
        let granted = granted.map_err(|error| failed(error, found, "cannot set the camera's rate"))?;
        // A camera that does not tell its rate is taken at the wish's word; the stream's counters measure the truth.
        let fps = granted.or(choice.interval).map_or(options.fps, modes::Interval::fps);
        return Ok(Agreed { format, choice, fps });
    }
    Err(SourceError::UnsupportedMode {
        device: found.id.clone(),
        wanted: options.mode(),
        possible: modes::describe(&nodes::modes(device), options),
    })
}

/// A device whose buffers are mapped and filled. Dropping it stops and closes it.
#[derive(Debug)]
struct Stream {
    buffers: Vec<Mapping>,
    device: Device,
}

impl Stream {
    fn start(device: Device) -> io::Result<Self> {
        let count = device.request_buffers(BUFFERS)?;
        if count == 0 {
            return Err(Errno::NOMEM.into());
        }
        let mut stream = Self { buffers: Vec::new(), device };
        for index in 0..count.min(MAX_BUFFERS) {
            stream.buffers.push(stream.device.map(index)?);
            stream.device.queue(index)?;
        }
        stream.device.start()?;
        Ok(stream)
    }

    /// What the driver has filled of a buffer.
    fn bytes(&self, filled: &Filled) -> &[u8] {
        let mapping = usize::try_from(filled.index).ok().and_then(|index| self.buffers.get(index));
        let bytes = mapping.map(Mapping::bytes).unwrap_or_default();
        let used = usize::try_from(filled.bytes_used).unwrap_or(usize::MAX);
        bytes.get(..used).unwrap_or(bytes)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A device that is gone refuses all this, and has nothing left to stop.
        let stopped = self.device.stop();
        self.buffers.clear();
        if let Err(error) = stopped.and_then(|()| self.device.request_buffers(0)) {
            tracing::debug!(%error, "a camera did not stop in good order");
        }
    }
}

/// An open camera.
struct Camera {
    stream: Stream,
    granted: Granted,
    developer: Developer,
    /// Filled buffers that were not shown yet, the oldest first.
    ready: VecDeque<Filled>,
    last_picture: Instant,
    stall: Duration,
}

impl Capture for Camera {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError> {
        self.take_filled()?;
        if self.ready.is_empty() {
            let readiness = self.stream.device.wait(TICK).map_err(|error| self.lost(&error))?;
            if readiness != Readiness::Nothing {
                self.take_filled()?;
            }
            match readiness {
                // Its queue is broken, and would be ready for ever.
                Readiness::Broken if self.ready.is_empty() => return Err(self.lost(&"its stream has broken off")),
                // A driver that calls nothing a buffer shall not keep us busy.
                Readiness::Filled if self.ready.is_empty() => drop(stop.wait(TICK)),
                Readiness::Broken | Readiness::Filled | Readiness::Nothing => {}
            }
        }
        let Some(filled) = self.ready.pop_front() else {
            return self.idle();
        };
        let picture = if filled.is_broken {
            self.developer.skip(&"the driver says so");
            None
        } else {
            let stamp = filled.mono_us.map_or(Stamp::Unknown, Stamp::MonoUs);
            self.developer.develop(self.stream.bytes(&filled), stamp, Number::Sequence(filled.sequence))
        };
        self.stream.device.queue(filled.index).map_err(|error| self.lost(&error))?;
        match picture {
            Some(picture) => {
                self.last_picture = Instant::now();
                Ok(Step::Picture(picture))
            }
            None => self.idle(),
        }
    }
}

impl Camera {
    /// Takes what the driver has filled, unless that is all it has.
    fn take_filled(&mut self) -> Result<(), SourceError> {
        while self.ready.len() < self.stream.buffers.len() {
            match self.stream.device.dequeue() {
                Ok(Some(filled)) => self.ready.push_back(filled),
                Ok(None) => break,
                Err(error) => return Err(self.lost(&error)),
            }
        }
        if self.ready.len() == self.stream.buffers.len() {
            for old in std::mem::take(&mut self.ready) {
                self.stream.device.queue(old.index).map_err(|error| self.lost(&error))?;
            }
        }
        Ok(())
    }

    fn idle(&self) -> Result<Step, SourceError> {
        if self.last_picture.elapsed() < self.stall {
            return Ok(Step::Idle);
        }
        Err(self.lost(&format_args!("no picture for {} s", self.stall.as_secs())))
    }

    fn lost(&self, problem: &dyn std::fmt::Display) -> SourceError {
        SourceError::DeviceLost { device: self.granted.device.clone(), problem: problem.to_string() }
    }
}

/// Why a camera that was found cannot be opened.
fn failed(error: io::Error, found: &Found, action: &'static str) -> SourceError {
    let Found { id: device, path, .. } = found;
    let device = device.clone();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::BUSY) => SourceError::DeviceBusy { device, by: held_by(&nodes::holders(path)) },
        Some(Errno::NOSPC) => {
            let by = "its USB bus has no room beside other devices".to_owned();
            SourceError::DeviceBusy { device, by }
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            let path = path.display();
            let hint = format!("{path} is for others; usually the group `video` may use it (usermod -aG video USER)");
            SourceError::PermissionDenied { device, hint }
        }
        Some(Errno::NODEV | Errno::NXIO | Errno::NOENT) => gone(device, &error),
        Some(Errno::IO) if !is_there(path) => gone(device, &error),
        _ => SourceError::Io { action, source: error },
    }
}

fn gone(device: String, error: &io::Error) -> SourceError {
    SourceError::DeviceLost { device, problem: error.to_string() }
}

fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(false)
}

fn held_by(holders: &[String]) -> String {
    if holders.is_empty() { "another program has it".to_owned() } else { format!("{} has it", holders.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_refusals_have_names() {
        let found = |path: &str| Found { id: "cam".to_owned(), number: 0, name: String::new(), path: path.into() };
        let reason = |errno: Errno, path| {
            failed(io::Error::from_raw_os_error(errno.raw_os_error()), &found(path), "cannot").reason()
        };
        assert_eq!(reason(Errno::BUSY, "/dev/null/x"), "device_busy");
        assert_eq!(reason(Errno::NOSPC, "/dev/null"), "device_busy");
        assert_eq!(reason(Errno::ACCESS, "/dev/null"), "permission_denied");
        assert_eq!(reason(Errno::PERM, "/dev/null"), "permission_denied");
        assert_eq!(reason(Errno::NODEV, "/dev/null"), "device_lost");
        assert_eq!(reason(Errno::NXIO, "/dev/null"), "device_lost");
        assert_eq!(reason(Errno::IO, "/dev/no such node"), "device_lost");
        assert_eq!(reason(Errno::IO, "/dev/null"), "io");
        assert_eq!(held_by(&["cheese (pid 7)".to_owned()]), "cheese (pid 7) has it");
        assert_eq!(held_by(&[]), "another program has it");
    }
}
