//! `source` in `stream.open`: what the client asks for, checked.

use std::path::PathBuf;

use serde::Deserialize;

use super::Session;
use crate::{
    access::Scope,
    frame::{Format, PixelFormat},
    message::{Failure, MessageError},
    source::{
        OpenError, SourceError, SourceSpec,
        camera::{CameraId, CameraOptions},
        file::{self, FileOptions},
        screen::{Region, ScreenOptions, ScreenTarget},
        synthetic::SyntheticOptions,
    },
};

/// `source` in `stream.open`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum SourceRequest {
    Extension,
    Synthetic(SyntheticRequest),
    Camera(CameraRequest),
    Screen(ScreenRequest),
    File(FileRequest),
}

#[derive(Deserialize)]
pub(super) struct SyntheticRequest {
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    format: Option<String>,
    frames: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct CameraRequest {
    camera: Option<CameraName>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    format: Option<String>,
}

/// An index or an id.
#[derive(Deserialize)]
#[serde(untagged)]
enum CameraName {
    Index(u32),
    Id(String),
}

#[derive(Deserialize)]
pub(super) struct ScreenRequest {
    screen: Option<String>,
    window: Option<String>,
    region: Option<RegionRequest>,
    fps: Option<f64>,
    format: Option<String>,
    cursor: Option<bool>,
}

#[derive(Deserialize)]
struct RegionRequest {
    x: i32,
    y: i32,
    width: u32,
    height: u32,
}

#[derive(Deserialize)]
pub(super) struct FileRequest {
    path: PathBuf,
    start_frame: Option<u64>,
    end_frame: Option<u64>,
    format: Option<String>,
    realtime: Option<bool>,
}

impl SourceRequest {
    /// What has to be allowed to whoever asks for it.
    pub(super) const fn scope(&self) -> Scope {
        match self {
            Self::Camera(_) => Scope::Camera,
            Self::Screen(_) => Scope::Screen,
            Self::Extension | Self::Synthetic(_) | Self::File(_) => Scope::Frames,
        }
    }
}

impl Session {
    /// What to open; `None` for pictures that the client sends itself.
    pub(super) fn source(&self, request: SourceRequest) -> Result<Option<SourceSpec>, Failure> {
        let spec = match request {
            SourceRequest::Extension => return Ok(None),
            SourceRequest::Synthetic(wish) => SourceSpec::Synthetic(synthetic(wish)?),
            SourceRequest::Camera(wish) => SourceSpec::Camera(camera(wish)?),
            SourceRequest::Screen(wish) => SourceSpec::Screen(screen(wish)?),
            SourceRequest::File(wish) => {
                let unset = FileOptions::new(file::resolve_allowed(&wish.path, &self.hub.video_dirs())?);
                SourceSpec::File(FileOptions {
                    start_frame: wish.start_frame.unwrap_or_default(),
                    end_frame: wish.end_frame,
                    format: pixels(wish.format, unset.format)?,
                    realtime: wish.realtime.unwrap_or_default(),
                    ..unset
                })
            }
        };
        // Before anything is opened for it: what is refused must not start to linger.
        spec.check()?;
        Ok(Some(spec))
    }
}

/// A request's `source`, checked as far as that needs no session. See `fuzzing`.
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(crate) fn fuzz_source(request: &crate::message::Request<'_>) -> Result<(), Failure> {
    let spec = match request.optional::<SourceRequest>("source")? {
        Some(SourceRequest::Synthetic(wish)) => SourceSpec::Synthetic(synthetic(wish)?),
        Some(SourceRequest::Camera(wish)) => SourceSpec::Camera(camera(wish)?),
        Some(SourceRequest::Screen(wish)) => SourceSpec::Screen(screen(wish)?),
        // Nothing is allowed.
        Some(SourceRequest::File(wish)) => SourceSpec::File(FileOptions::new(file::resolve_allowed(&wish.path, &[])?)),
        Some(SourceRequest::Extension) | None => return Ok(()),
    };
    Ok(spec.check()?)
}

fn synthetic(wish: SyntheticRequest) -> Result<SyntheticOptions, Failure> {
    let unset = SyntheticOptions::default();
    Ok(SyntheticOptions {
        width: wish.width.unwrap_or(unset.width),
        height: wish.height.unwrap_or(unset.height),
        fps: wish.fps.unwrap_or(unset.fps),
        format: pixels(wish.format, unset.format)?,
        frames: wish.frames.unwrap_or(unset.frames),
    })
}

fn camera(wish: CameraRequest) -> Result<CameraOptions, Failure> {
    let unset = CameraOptions::default();
    Ok(CameraOptions {
        camera: match wish.camera {
            Some(CameraName::Index(index)) => CameraId::Index(index),
            Some(CameraName::Id(id)) => CameraId::Name(id),
            None => unset.camera,
        },
        width: wish.width.unwrap_or(unset.width),
        height: wish.height.unwrap_or(unset.height),
        fps: wish.fps.unwrap_or(unset.fps),
        format: wish.format.map_or(Ok(unset.format), |name| Format::parse(&name))?,
        backend: None,
    })
}

fn screen(wish: ScreenRequest) -> Result<ScreenOptions, Failure> {
    let unset = ScreenOptions::default();
    let target = match (wish.screen, wish.window) {
        (None, None) => unset.target,
        (Some(screen), None) => ScreenTarget::Screen(screen),
        (None, Some(window)) => ScreenTarget::Window(window),
        (Some(_), Some(_)) => return Err(MessageError::field("window", "name a screen or a window, not both").into()),
    };
    let region = wish.region.map(|RegionRequest { x, y, width, height }| Region { x, y, width, height });
    Ok(ScreenOptions {
        target,
        region,
        fps: wish.fps.unwrap_or(unset.fps),
        format: pixels(wish.format, unset.format)?,
        cursor: wish.cursor.unwrap_or(unset.cursor),
    })
}

fn pixels(name: Option<String>, unset: PixelFormat) -> Result<PixelFormat, Failure> {
    match name.map(|name| Format::parse(&name)).transpose()? {
        None => Ok(unset),
        Some(Format::Pixels(format)) => Ok(format),
        Some(Format::Encoded(_)) => Err(MessageError::field("format", "this source gives raw pixels").into()),
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let failure = Self::new(error.kind(), &error).with("reason", error.reason()).with_field(error.field());
        match error.cause() {
            SourceError::UnsupportedMode { possible, .. } => failure.with("possible", possible.as_slice()),
            SourceError::NoSuchDevice { available, .. } => failure.with("available", available.as_slice()),
            _ => failure,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Source(error) => error.into(),
            OpenError::Stream(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::message::failure_event;

    #[test]
    fn a_failure_says_the_same_to_everybody_who_is_told() {
        let error =
            || SourceError::NoSuchDevice { what: "screen", id: "a".to_owned(), available: vec!["b".to_owned()] };
        let told = |error: SourceError| String::from_utf8(failure_event(&error.into()).unwrap()).unwrap();
        let own = told(error());
        assert!(own.contains(r#""available":["b"]"#) && own.contains("no_such_device"), "{own}");
        assert_eq!(told(SourceError::Shared(Arc::new(error()))), own);
    }
}
