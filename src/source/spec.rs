//! What a stream can be opened from.

use std::{path::PathBuf, time::Duration};

use super::{
    Capture, Granted, SourceError, Stop,
    camera::{self, CameraOptions},
    file::{self, FileOptions},
    screen::{self, ScreenOptions},
    synthetic::{Synthetic, SyntheticOptions},
};

/// How long a device may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for a file, whose index of all pictures may have to be read; ffprobe's silence ends that sooner.
const FILE_TIMEOUT: Duration = Duration::from_secs(180);

/// The same where the desktop may have to ask the user.
pub(super) const DIALOG_TIMEOUT: Duration = Duration::from_secs(90);

/// What a stream is opened from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSpec {
    /// A test pattern.
    Synthetic(SyntheticOptions),
    /// A camera of this machine.
    Camera(CameraOptions),
    /// A screen, a window, or a part of one.
    Screen(ScreenOptions),
    /// A video file.
    File(FileOptions),
}

/// What every source may need.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// The ffmpeg program; from `PATH` unless set. `ffprobe` is expected beside it, or in `PATH`.
    pub ffmpeg: Option<PathBuf>,
    /// Where what a source remembers is kept (the portal's permission); nowhere unless set.
    pub state_dir: Option<PathBuf>,
}

impl SourceSpec {
    /// The word for it: `synthetic`, `camera`, `screen`, `file`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Synthetic(_) => "synthetic",
            Self::Camera(_) => "camera",
            Self::Screen(_) => "screen",
            Self::File(_) => "file",
        }
    }

    /// Does it wait for its readers, so that no picture is lost?
    pub const fn is_lossless(&self) -> bool {
        match self {
            Self::File(options) => !options.realtime,
            Self::Synthetic(_) | Self::Camera(_) | Self::Screen(_) => false,
        }
    }

    /// Refuses what no device could grant, before anything is opened.
    ///
    /// # Errors
    ///
    /// [`SourceError::Parameter`] and the like.
    pub fn check(&self) -> Result<(), SourceError> {
        match self {
            Self::Synthetic(options) => Ok(options.check()?),
            Self::Camera(options) => options.check(),
            Self::Screen(options) => options.check(),
            Self::File(options) => options.check(),
        }
    }

    /// Opens it, on the thread that will read it.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    pub(super) fn open(&self, env: &SourceOptions, stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
        match self {
            Self::Synthetic(options) => Ok(Box::new(Synthetic::new(*options)?)),
            Self::Camera(options) => camera::open(options, env, stop),
            Self::Screen(options) => screen::open(options, env, stop),
            Self::File(options) => file::open(options, env, stop),
        }
    }

    /// How to open it again after it was lost: by its stable name. `None`: it does not come back.
    pub(super) fn pinned(&self, granted: &Granted) -> Option<Self> {
        match self {
            Self::Camera(options) => Some(Self::Camera(camera::pin(options, granted))),
            Self::Screen(options) => Some(Self::Screen(screen::pin(options, granted))),
            Self::Synthetic(_) | Self::File(_) => None,
        }
    }

    /// Is this a refusal that must not be asked for again? A camera's may be the system's that is not ready yet.
    pub(super) fn is_final(&self, error: &SourceError) -> bool {
        matches!((self, error.cause()), (Self::Screen(_), SourceError::PermissionDenied { .. }))
    }

    /// The stable name of a device that can be open only once; `None` for what everybody may open for himself.
    ///
    /// # Errors
    ///
    /// [`SourceError::NoSuchDevice`].
    pub(super) fn shared_name(&self) -> Result<Option<String>, SourceError> {
        match self {
            Self::Camera(options) => camera::find(&options.camera).map(|camera| Some(camera.id)),
            // The same picture of a screen is taken once; screens can be read in several ways at the same time.
            Self::Screen(options) => Ok(Some(format!("{options:?}"))),
            Self::Synthetic(_) | Self::File(_) => Ok(None),
        }
    }

    /// Would both have the same pictures of one device, by whatever names they know it?
    pub(super) fn is_same_mode(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Camera(own), Self::Camera(others)) => {
                *own == CameraOptions { camera: own.camera.clone(), ..others.clone() }
            }
            _ => self == other,
        }
    }

    /// How long opening may take.
    pub(super) const fn open_timeout(&self) -> Duration {
        match self {
            // The desktop may have to ask the user.
            Self::Screen(_) => DIALOG_TIMEOUT,
            Self::File(_) => FILE_TIMEOUT,
            Self::Synthetic(_) | Self::Camera(_) => OPEN_TIMEOUT,
        }
    }

    /// What is asked for, for people.
    pub(super) fn mode(&self) -> String {
        match self {
            Self::Synthetic(o) => format!("synthetic, {} x {} at {} fps", o.width, o.height, o.fps),
            Self::Camera(o) => format!("{} x {} at {} fps, {}", o.width, o.height, o.fps, o.format),
            Self::Screen(o) => o.to_string(),
            Self::File(o) => o.path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::camera::CameraId;

    #[test]
    fn a_camera_in_one_mode_is_the_same_by_its_number_and_by_its_name() {
        let by_number = CameraOptions { camera: CameraId::Index(0), ..CameraOptions::default() };
        let by_name = CameraOptions { camera: CameraId::Name("usb-cam".to_owned()), ..by_number.clone() };
        let larger = CameraOptions { width: 1280, height: 720, ..by_name.clone() };
        let is_same = |a: &CameraOptions, b: &CameraOptions| {
            SourceSpec::Camera(a.clone()).is_same_mode(&SourceSpec::Camera(b.clone()))
        };
        assert!(is_same(&by_number, &by_name) && is_same(&by_name, &by_number));
        assert!(!is_same(&by_number, &larger));
        let screen = SourceSpec::Screen(ScreenOptions::default());
        assert!(screen.is_same_mode(&screen.clone()) && !screen.is_same_mode(&SourceSpec::Camera(by_name)));
    }
}
