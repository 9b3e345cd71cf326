//! Cameras.
//!
//! Belongs here: what can be asked of a camera, which camera is meant, and how each system reads it.
//! Does not belong here: the thread that reads it (`source::thread`), conversions of pixels (`frame::convert`).
//!
//! Invariants:
//! - Exactly the size asked for is delivered; what else was granted is told, with what is known about colour.
//! - No wait is longer than a tick; a camera that is silent for 5 s is lost.
//! - A broken picture is left out and counted, and ends nothing.
//!
//! Data path: device -> `v4l` or `nokhwa` -> `picture::Developer` -> [`Capture::next`].

#[cfg(all(feature = "camera", windows))]
mod media_foundation;
#[cfg(feature = "camera")]
mod mjpeg;
#[cfg(feature = "camera")]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Video4Linux tells of steps and ranges"))]
mod modes;
#[cfg(feature = "camera")]
mod nokhwa;
#[cfg(feature = "camera")]
mod picture;
#[cfg(feature = "camera")]
#[cfg_attr(target_os = "linux", path = "v4l/mod.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod system;

use std::fmt;
#[cfg(feature = "camera")]
use std::time::Duration;

use super::{Capture, Granted, SourceError, SourceOptions, Stop, devices::CameraInfo};
use crate::frame::{Codec, Format, MAX_FRAME_BYTES, MAX_SIDE, PixelFormat};

/// Lowest and highest rate that can be asked for, in pictures a second.
const FPS: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Longest name of a camera, in bytes: that of a path.
const MAX_NAME: usize = 4096;

/// A camera that has sent no whole picture for so long is lost, whatever it says.
#[cfg(feature = "camera")]
const STALL: Duration = Duration::from_secs(5);

/// Pictures that a slow camera may leave out before it counts as silent.
#[cfg(feature = "camera")]
const STALL_PICTURES: f64 = 3.0;

/// Which camera.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CameraId {
    /// By its number, as OpenCV counts: on Linux N is `/dev/videoN`, whether there are others before it or not;
    /// elsewhere its place in the system's list, from 0.
    Index(u32),
    /// By its stable id. On Linux also by its path, or by any name in `/dev/v4l/by-id` and `by-path`.
    Name(String),
}

impl fmt::Display for CameraId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// How cameras are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CameraBackend {
    /// Video4Linux directly; Linux.
    V4l,
    /// The nokhwa library; every system.
    Nokhwa,
}

/// What to capture.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraOptions {
    /// Number 0 unless set.
    pub camera: CameraId,
    /// Pixels; 640 unless set. The camera must have this size.
    pub width: u32,
    /// Pixels; 480 unless set.
    pub height: u32,
    /// Pictures a second; 30 unless set. The nearest rate that the camera has is granted.
    pub fps: f64,
    /// `rgb` unless set; any raw format, or `jpeg` to pass on what the camera has coded.
    pub format: Format,
    /// The system's best unless set.
    pub backend: Option<CameraBackend>,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self {
            camera: CameraId::Index(0),
            width: 640,
            height: 480,
            fps: 30.0,
            format: Format::Pixels(PixelFormat::Rgb),
            backend: None,
        }
    }
}

impl CameraOptions {
    /// Refuses what no camera could grant.
    ///
    /// # Errors
    ///
    /// [`SourceError::Parameter`].
    pub fn check(&self) -> Result<(), SourceError> {
        let refuse = |field, problem| Err(SourceError::Parameter { field, problem });
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if !(1..=MAX_SIDE).contains(&side) {
                return refuse(field, format!("{side} is outside 1 to {MAX_SIDE}"));
            }
        }
        if !FPS.contains(&self.fps) {
            return refuse("fps", format!("{} is outside {} to {}", self.fps, FPS.start(), FPS.end()));
        }
        match self.format {
            Format::Pixels(pixels) => {
                let len = pixels.packed_len(self.width, self.height)?;
                if len > MAX_FRAME_BYTES {
                    return refuse("width", format!("a picture would have {len} bytes, more than {MAX_FRAME_BYTES}"));
                }
            }
            Format::Encoded(Codec::Jpeg) => {}
            Format::Encoded(_) => {
                return refuse("format", format!("cameras give raw pixels or jpeg, not {}", self.format));
            }
        }
        match &self.camera {
            CameraId::Name(name) if name.is_empty() || name.len() > MAX_NAME => {
                refuse("camera", format!("a camera's name has 1 to {MAX_NAME} bytes"))
            }
            CameraId::Name(_) | CameraId::Index(_) => Ok(()),
        }
    }

    /// The mode that is asked for, for people.
    #[cfg(feature = "camera")]
    fn mode(&self) -> String {
        format!("{}x{} at {} fps as {}", self.width, self.height, self.fps, self.format)
    }
}

/// The same wish for the camera that was granted, by its stable id: for opening it again when it has come back, perhaps
/// with another number. Of two cameras of one model without serial numbers, plugged in at other places than before,
/// either may be found.
pub fn pin(options: &CameraOptions, granted: &Granted) -> CameraOptions {
    CameraOptions { camera: CameraId::Name(granted.device.clone()), ..options.clone() }
}

/// Opens a camera, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
#[cfg(feature = "camera")]
pub fn open(options: &CameraOptions, _env: &SourceOptions, stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    options.check()?;
    match options.backend.unwrap_or(system::DEFAULT_BACKEND) {
        CameraBackend::V4l => system::open(options),
        CameraBackend::Nokhwa => nokhwa::open(options, stop),
    }
}

/// The cameras of this machine. A camera that somebody else uses, or that may not be opened, is listed without what
/// only an open one tells.
///
/// # Errors
///
/// [`SourceError`] if they cannot be listed.
#[cfg(feature = "camera")]
pub fn list() -> Result<Vec<CameraInfo>, SourceError> {
    system::list()
}

/// The camera of that name.
///
/// # Errors
///
/// [`SourceError::NoSuchDevice`], or why there is no list.
#[cfg(feature = "camera")]
pub fn find(camera: &CameraId) -> Result<CameraInfo, SourceError> {
    system::find(camera)
}

/// Opens nothing.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(feature = "camera"))]
pub fn open(_options: &CameraOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    Err(missing())
}

/// Lists nothing.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(feature = "camera"))]
pub fn list() -> Result<Vec<CameraInfo>, SourceError> {
    Err(missing())
}

/// Finds nothing.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(feature = "camera"))]
pub fn find(_camera: &CameraId) -> Result<CameraInfo, SourceError> {
    Err(missing())
}

#[cfg(not(feature = "camera"))]
fn missing() -> SourceError {
    SourceError::Missing { what: "camera".to_owned(), hint: "built without the feature `camera`".to_owned() }
}

/// How long a camera of that rate may be silent.
#[cfg(feature = "camera")]
fn stall_limit(fps: f64) -> Duration {
    Duration::try_from_secs_f64(STALL_PICTURES / fps).unwrap_or(STALL).max(STALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Metadata;

    #[test]
    fn what_no_camera_could_grant_is_refused() {
        let good = CameraOptions::default();
        good.check().unwrap();
        let check = |options: CameraOptions, field| assert_eq!(options.check().unwrap_err().field(), Some(field));
        for side in [0, MAX_SIDE + 1, u32::MAX] {
            check(CameraOptions { width: side, ..good.clone() }, "width");
            check(CameraOptions { height: side, ..good.clone() }, "height");
        }
        check(CameraOptions { width: MAX_SIDE, height: MAX_SIDE, ..good.clone() }, "width");
        for fps in [0.0, -1.0, 1e-300, 1000.1, f64::NAN, f64::INFINITY] {
            check(CameraOptions { fps, ..good.clone() }, "fps");
        }
        check(CameraOptions { format: Format::Encoded(Codec::H264), ..good.clone() }, "format");
        check(CameraOptions { camera: CameraId::Name(String::new()), ..good.clone() }, "camera");
        check(CameraOptions { camera: CameraId::Name("x".repeat(MAX_NAME + 1)), ..good.clone() }, "camera");
        CameraOptions { format: Format::Encoded(Codec::Jpeg), fps: 0.01, ..good }.check().unwrap();
    }

    #[test]
    fn a_wish_is_pinned_to_the_camera_that_was_granted() {
        let options = CameraOptions { width: 320, ..CameraOptions::default() };
        let granted = Granted {
            device: "usb-cam-video-index0".to_owned(),
            backend: "v4l",
            width: 320,
            height: 480,
            fps: 15.0,
            format: options.format,
            metadata: Metadata::new(),
        };
        let pinned = pin(&options, &granted);
        assert_eq!(pinned.camera, CameraId::Name("usb-cam-video-index0".to_owned()));
        assert_eq!(CameraOptions { camera: CameraId::Index(0), ..pinned }, options, "all else as it was wished");
    }

    #[cfg(feature = "camera")]
    #[test]
    fn a_slow_camera_may_be_silent_for_longer() {
        assert_eq!(stall_limit(30.0), STALL);
        assert_eq!(stall_limit(0.1), Duration::from_secs(30));
        assert_eq!(stall_limit(0.0), STALL);
    }

    #[cfg(not(feature = "camera"))]
    #[test]
    fn a_build_without_cameras_says_so() {
        assert_eq!(list().unwrap_err().reason(), "missing");
        assert_eq!(find(&CameraId::Index(0)).unwrap_err().reason(), "missing");
        let opened = open(&CameraOptions::default(), &SourceOptions::default(), &Stop::default());
        assert_eq!(opened.err().unwrap().reason(), "missing");
    }
}
