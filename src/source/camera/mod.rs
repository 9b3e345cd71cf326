//! Cameras.

use super::{Capture, SourceError, SourceOptions, Stop, devices::CameraInfo};
use crate::frame::{Format, PixelFormat};

/// Which camera.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CameraId {
    /// By its place in the system's list, as OpenCV counts: `/dev/video0` is 0.
    Index(u32),
    /// By its stable id, or its path.
    Name(String),
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
    /// The first one unless set.
    pub camera: CameraId,
    /// Pixels; 640 unless set.
    pub width: u32,
    /// Pixels; 480 unless set.
    pub height: u32,
    /// Pictures a second; 30 unless set.
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
        Ok(())
    }
}

/// Opens a camera, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
pub fn open(options: &CameraOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    let _ = options;
    Err(SourceError::Missing { what: "camera".to_owned(), hint: "built without the feature `camera`".to_owned() })
}

/// The cameras of this machine.
///
/// # Errors
///
/// [`SourceError`] if they cannot be listed.
pub fn list() -> Result<Vec<CameraInfo>, SourceError> {
    Err(SourceError::Missing { what: "camera".to_owned(), hint: "built without the feature `camera`".to_owned() })
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
        id: format!("{camera:?}"),
        available: cameras.into_iter().map(|info| info.id).collect(),
    })
}
