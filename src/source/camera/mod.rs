//! Cameras.
//!
//! Belongs here: what can be asked of a camera, and which one is meant.
//! Does not belong here: a system's way to read it (`v4l`), pixels (`frame::convert`).

#[cfg(all(feature = "camera", target_os = "linux"))]
mod v4l;

use super::{Capture, SourceError, SourceOptions, Stop, devices::CameraInfo};
use crate::frame::{Codec, Format, MAX_SIDE, PixelFormat};

/// Lowest and highest rate, in pictures a second.
const FPS: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Which camera.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CameraId {
    /// By its number, as OpenCV counts: `/dev/video0` is 0.
    Index(u32),
    /// By its stable id, or its path.
    Name(String),
}

/// What to capture.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraOptions {
    /// Number 0 unless set.
    pub camera: CameraId,
    /// Pixels; 640 unless set. The camera has to have this size.
    pub width: u32,
    /// Pixels; 480 unless set.
    pub height: u32,
    /// Pictures a second; 30 unless set. The camera's nearest rate is granted.
    pub fps: f64,
    /// `rgb` unless set; any raw format, or `jpeg` to pass on what the camera has coded.
    pub format: Format,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self {
            camera: CameraId::Index(0),
            width: 640,
            height: 480,
            fps: 30.0,
            format: Format::Pixels(PixelFormat::Rgb),
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
            Format::Pixels(_) | Format::Encoded(Codec::Jpeg) => Ok(()),
            Format::Encoded(_) => refuse("format", format!("cameras give raw pixels or jpeg, not {}", self.format)),
        }
    }
}

/// The camera of that name.
///
/// # Errors
///
/// [`SourceError::NoSuchDevice`], or why there is no list.
pub fn find(camera: &CameraId) -> Result<CameraInfo, SourceError> {
    let cameras = list()?;
    let is_it = |info: &&CameraInfo| match camera {
        CameraId::Index(index) => info.index == *index,
        CameraId::Name(name) => info.id == *name || info.path == *name,
    };
    cameras.iter().find(is_it).cloned().ok_or_else(|| SourceError::NoSuchDevice {
        what: "camera",
        id: match camera {
            CameraId::Index(index) => index.to_string(),
            CameraId::Name(name) => name.clone(),
        },
        available: cameras.into_iter().map(|info| info.id).collect(),
    })
}

/// Opens a camera, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
#[cfg(all(feature = "camera", target_os = "linux"))]
pub fn open(options: &CameraOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    Ok(Box::new(v4l::Camera::open(options)?))
}

/// The cameras of this machine.
///
/// # Errors
///
/// [`SourceError`] if they cannot be listed.
#[cfg(all(feature = "camera", target_os = "linux"))]
pub fn list() -> Result<Vec<CameraInfo>, SourceError> {
    Ok(v4l::list())
}

/// Nothing can be opened.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(all(feature = "camera", target_os = "linux")))]
pub fn open(_options: &CameraOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    Err(missing())
}

/// Nothing can be listed.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(all(feature = "camera", target_os = "linux")))]
pub fn list() -> Result<Vec<CameraInfo>, SourceError> {
    Err(missing())
}

#[cfg(not(all(feature = "camera", target_os = "linux")))]
fn missing() -> SourceError {
    let hint = "this build cannot read cameras here (feature `camera`, Linux)".to_owned();
    SourceError::Missing { what: "camera".to_owned(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_camera_could_grant_is_refused() {
        let good = CameraOptions::default();
        good.check().unwrap();
        let check = |options: CameraOptions, field| assert_eq!(options.check().unwrap_err().field(), Some(field));
        check(CameraOptions { width: 0, ..good.clone() }, "width");
        check(CameraOptions { height: MAX_SIDE + 1, ..good.clone() }, "height");
        check(CameraOptions { fps: f64::NAN, ..good.clone() }, "fps");
        check(CameraOptions { format: Format::Encoded(Codec::H264), ..good }, "format");
    }
}
