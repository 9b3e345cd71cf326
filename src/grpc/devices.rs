//! Devices and sources between the crate's types and the wire's.

use tonic::Status;

use super::{convert::side, pb};
use crate::{
    frame::{Format, PixelFormat},
    source::{
        SourceSpec,
        camera::{CameraId, CameraOptions},
        devices::{CameraInfo, CameraMode, Devices, MissingPart, ScreenInfo, WindowInfo},
        file::FileOptions,
        screen::{Region, ScreenOptions, ScreenTarget},
        synthetic::SyntheticOptions,
    },
};

impl From<Devices> for pb::Devices {
    fn from(devices: Devices) -> Self {
        Self {
            cameras: devices.cameras.into_iter().map(pb::Camera::from).collect(),
            screens: devices.screens.into_iter().map(pb::Screen::from).collect(),
            windows: devices.windows.into_iter().map(pb::Window::from).collect(),
            missing: devices.missing.into_iter().map(pb::MissingPart::from).collect(),
        }
    }
}

impl From<CameraInfo> for pb::Camera {
    fn from(camera: CameraInfo) -> Self {
        let CameraInfo { id, index, name, path, modes } = camera;
        let modes = modes.into_iter().map(pb::CameraMode::from).collect();
        Self { id, index: side(index), name, path, modes }
    }
}

impl From<CameraMode> for pb::CameraMode {
    fn from(mode: CameraMode) -> Self {
        let CameraMode { device_format, width, height, fps } = mode;
        Self { device_format, width: side(width), height: side(height), fps }
    }
}

impl From<ScreenInfo> for pb::Screen {
    fn from(screen: ScreenInfo) -> Self {
        let ScreenInfo { id, name, x, y, width, height, scale, is_primary } = screen;
        Self { id, name, x, y, width: side(width), height: side(height), scale, is_primary }
    }
}

impl From<WindowInfo> for pb::Window {
    fn from(window: WindowInfo) -> Self {
        let WindowInfo { id, title, x, y, width, height } = window;
        Self { id, title, x, y, width: side(width), height: side(height) }
    }
}

impl From<MissingPart> for pb::MissingPart {
    fn from(part: MissingPart) -> Self {
        Self { what: part.what.to_owned(), problem: part.problem }
    }
}

/// What a call asks for. Zero and empty are the usual values.
pub(super) fn source(wire: pb::open_stream_request::Source) -> Result<SourceSpec, Status> {
    use pb::open_stream_request::Source;
    match wire {
        Source::Camera(wish) => camera(wish).map(SourceSpec::Camera),
        Source::Screen(wish) => screen(wish).map(SourceSpec::Screen),
        Source::File(wish) => file(wish).map(SourceSpec::File),
        Source::Synthetic(wish) => synthetic(&wish).map(SourceSpec::Synthetic),
    }
}

fn camera(wish: pb::CameraSource) -> Result<CameraOptions, Status> {
    use pb::camera_source::Camera;
    let unset = CameraOptions::default();
    Ok(CameraOptions {
        camera: match wish.camera {
            None => unset.camera,
            Some(Camera::Index(index)) => CameraId::Index(number("index", index)?),
            Some(Camera::Id(id)) => CameraId::Name(id),
        },
        width: or(number("width", wish.width)?, unset.width),
        height: or(number("height", wish.height)?, unset.height),
        fps: rate(wish.fps, unset.fps),
        format: if wish.format.is_empty() { unset.format } else { Format::parse(&wish.format)? },
        backend: None,
    })
}

fn screen(wish: pb::ScreenSource) -> Result<ScreenOptions, Status> {
    use pb::screen_source::Target;
    let unset = ScreenOptions::default();
    let region = |region: pb::Region| -> Result<Region, Status> {
        let (width, height) = (number("region.width", region.width)?, number("region.height", region.height)?);
        Ok(Region { x: region.x, y: region.y, width, height })
    };
    Ok(ScreenOptions {
        target: match wish.target {
            None => unset.target,
            Some(Target::Screen(screen)) => ScreenTarget::Screen(screen),
            Some(Target::Window(window)) => ScreenTarget::Window(window),
        },
        region: wish.region.map(region).transpose()?,
        fps: rate(wish.fps, unset.fps),
        format: pixels(&wish.format, unset.format)?,
        cursor: wish.cursor,
    })
}

fn file(wish: pb::FileSource) -> Result<FileOptions, Status> {
    let index = |field: &'static str, index: i64| {
        u64::try_from(index).map_err(|_| Status::invalid_argument(format!("parameter: {field}: {index} is negative")))
    };
    let unset = FileOptions::new(wish.path);
    if !unset.path.is_absolute() {
        // Whose directory would it be?
        return Err(Status::invalid_argument("parameter: path: it has to be absolute"));
    }
    Ok(FileOptions {
        start_frame: index("start_frame", wish.start_frame)?,
        end_frame: wish.end_frame.map(|end| index("end_frame", end)).transpose()?,
        format: pixels(&wish.format, unset.format)?,
        realtime: wish.realtime,
        ..unset
    })
}

fn synthetic(wish: &pb::SyntheticSource) -> Result<SyntheticOptions, Status> {
    let unset = SyntheticOptions::default();
    Ok(SyntheticOptions {
        width: or(number("width", wish.width)?, unset.width),
        height: or(number("height", wish.height)?, unset.height),
        fps: rate(wish.fps, unset.fps),
        format: pixels(&wish.format, unset.format)?,
        frames: number("frames", wish.frames)?,
    })
}

fn number(field: &'static str, value: i32) -> Result<u32, Status> {
    u32::try_from(value).map_err(|_| Status::invalid_argument(format!("parameter: {field}: {value} is negative")))
}

const fn or(value: u32, unset: u32) -> u32 {
    if value == 0 { unset } else { value }
}

fn rate(fps: f64, unset: f64) -> f64 {
    if fps == 0.0 { unset } else { fps }
}

fn pixels(name: &str, unset: PixelFormat) -> Result<PixelFormat, Status> {
    if name.is_empty() {
        return Ok(unset);
    }
    match Format::parse(name)? {
        Format::Pixels(format) => Ok(format),
        Format::Encoded(_) => Err(Status::invalid_argument("parameter: format: this source gives raw pixels")),
    }
}
