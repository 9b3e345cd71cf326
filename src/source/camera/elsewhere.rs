//! Cameras of systems other than Linux: by nokhwa alone.

use super::{
    CameraBackend, CameraId, CameraOptions,
    modes::{Choice, Prepared},
};
use crate::source::{Capture, SourceError, devices::CameraInfo};

/// How cameras are read here unless it is said.
pub(super) const DEFAULT_BACKEND: CameraBackend = CameraBackend::Nokhwa;

/// The cameras of this machine, without their modes: they would have to be opened for that.
///
/// # Errors
///
/// [`SourceError::Io`].
pub(super) fn list() -> Result<Vec<CameraInfo>, SourceError> {
    #[cfg(windows)]
    super::media_foundation::keep_up()?;
    let cameras = ::nokhwa::query(::nokhwa::utils::ApiBackend::Auto)
        .map_err(|error| SourceError::Io { action: "cannot list the cameras", source: std::io::Error::other(error) })?;
    let info = |(place, camera): (u32, &::nokhwa::utils::CameraInfo)| CameraInfo {
        // The system's unique name.
        id: camera.misc(),
        index: camera.index().as_index().unwrap_or(place),
        name: camera.human_name(),
        path: String::new(),
        modes: Vec::new(),
    };
    Ok((0..).zip(&cameras).map(info).collect())
}

/// The camera of that name.
///
/// # Errors
///
/// [`SourceError::NoSuchDevice`], or why there is no list.
pub(super) fn find(camera: &CameraId) -> Result<CameraInfo, SourceError> {
    let cameras = list()?;
    let is_it = |info: &&CameraInfo| match camera {
        CameraId::Index(index) => info.index == *index,
        CameraId::Name(name) => info.id == *name,
    };
    cameras.iter().find(is_it).cloned().ok_or_else(|| SourceError::NoSuchDevice {
        what: "camera",
        id: camera.to_string(),
        available: cameras.iter().map(|info| format!("{} ({}: {})", info.id, info.index, info.name)).collect(),
    })
}

/// There is no Video4Linux.
///
/// # Errors
///
/// [`SourceError::Missing`].
pub(super) fn open(_options: &CameraOptions) -> Result<Box<dyn Capture>, SourceError> {
    Err(SourceError::Missing { what: "v4l".to_owned(), hint: "Video4Linux is a part of Linux".to_owned() })
}

/// Nothing to prepare.
///
/// # Errors
///
/// None here.
#[expect(clippy::unnecessary_wraps, reason = "Linux can fail")]
pub(super) fn prepare(
    _options: &CameraOptions,
    _is_usable: impl Fn(&Choice) -> bool,
) -> Result<Option<Prepared>, SourceError> {
    Ok(None)
}
