//! What this machine has to capture from.

use serde::Serialize;

use super::{SourceError, SourceOptions, camera, screen};
use crate::ffmpeg::Tools;

/// Cameras, screens, windows, and what is missing to use more.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Devices {
    /// In the system's order.
    pub cameras: Vec<CameraInfo>,
    /// The primary one first.
    pub screens: Vec<ScreenInfo>,
    /// The topmost first.
    pub windows: Vec<WindowInfo>,
    /// What cannot be used here, and what to do about it.
    pub missing: Vec<MissingPart>,
}

/// A camera.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraInfo {
    /// Stays the same when it is unplugged and comes back.
    pub id: String,
    /// On Linux N of `/dev/videoN`; elsewhere its place in the system's list.
    pub index: u32,
    /// For people.
    pub name: String,
    /// `/dev/video0`; empty where there is none.
    pub path: String,
    /// What it can do.
    pub modes: Vec<CameraMode>,
}

/// What a camera can do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CameraMode {
    /// The device's own word, a fourcc: `YUYV`, `MJPG`.
    pub device_format: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pictures a second, the fastest first.
    pub fps: Vec<f64>,
}

/// A screen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScreenInfo {
    /// The output's name: `HDMI-1`.
    pub id: String,
    /// For people.
    pub name: String,
    /// Physical pixels in the desktop; may be negative.
    pub x: i32,
    /// Physical pixels in the desktop; may be negative.
    pub y: i32,
    /// Physical pixels.
    pub width: u32,
    /// Physical pixels.
    pub height: u32,
    /// Physical pixels for each logical one.
    pub scale: f64,
    /// Captured when none is named.
    pub is_primary: bool,
}

/// A window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowInfo {
    /// The system's number for it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Physical pixels in the desktop.
    pub x: i32,
    /// Physical pixels in the desktop.
    pub y: i32,
    /// Physical pixels.
    pub width: u32,
    /// Physical pixels.
    pub height: u32,
}

/// What cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingPart {
    /// `camera`, `screen`, `portal`, `ffmpeg`.
    pub what: &'static str,
    /// What is wrong.
    pub problem: String,
}

/// Looks at what there is. Blocks for as long as the devices take to answer.
pub fn list(options: &SourceOptions) -> Devices {
    let mut devices = Devices::default();
    let mut missing = |what, error: SourceError| devices.missing.push(MissingPart { what, problem: error.to_string() });
    match camera::list() {
        Ok(cameras) => devices.cameras = cameras,
        Err(error) => missing("camera", error),
    }
    match screen::list() {
        Ok((screens, windows)) => (devices.screens, devices.windows) = (screens, windows),
        Err(error) => missing("screen", error),
    }
    if let Some(error) = screen::missing_portal() {
        missing("portal", error);
    }
    if let Err(error) = Tools::find(options.ffmpeg.as_deref()) {
        missing("ffmpeg", error.into());
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffmpeg_that_is_not_there_is_missing() {
        let options = SourceOptions { ffmpeg: Some("/no such/ffmpeg".into()), ..SourceOptions::default() };
        let missing = list(&options).missing;
        let ffmpeg = missing.iter().find(|part| part.what == "ffmpeg");
        assert!(ffmpeg.is_some_and(|part| part.problem.contains("/no such/ffmpeg")), "{missing:?}");
    }
}
