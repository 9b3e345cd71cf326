//! Screens and windows.

use super::{
    Capture, SourceError, SourceOptions, Stop,
    devices::{ScreenInfo, WindowInfo},
};
use crate::frame::PixelFormat;

/// A part of a screen, in physical pixels from its top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// Pixels from the left.
    pub x: i32,
    /// Pixels from the top.
    pub y: i32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ScreenTarget {
    /// The primary screen.
    Primary,
    /// A screen by its id.
    Screen(String),
    /// A window by its id.
    Window(String),
}

/// How screens are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScreenBackend {
    /// X11 with shared memory.
    X11,
    /// wlroots' screencopy.
    Screencopy,
    /// The desktop portal, by PipeWire.
    Portal,
    /// The xcap library; Windows and macOS.
    Xcap,
}

/// What to capture.
#[derive(Debug, Clone, PartialEq)]
pub struct ScreenOptions {
    /// The primary screen unless set.
    pub target: ScreenTarget,
    /// The whole unless set.
    pub region: Option<Region>,
    /// Pictures a second; 30 unless set.
    pub fps: f64,
    /// `rgb` unless set; any raw format.
    pub format: PixelFormat,
    /// With the pointer; without unless set.
    pub cursor: bool,
    /// What the session offers unless set.
    pub backend: Option<ScreenBackend>,
}

impl Default for ScreenOptions {
    fn default() -> Self {
        Self {
            target: ScreenTarget::Primary,
            region: None,
            fps: 30.0,
            format: PixelFormat::Rgb,
            cursor: false,
            backend: None,
        }
    }
}

impl ScreenOptions {
    /// Refuses what no screen could grant.
    ///
    /// # Errors
    ///
    /// [`SourceError::Parameter`].
    pub fn check(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Opens a screen, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
pub fn open(options: &ScreenOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    let _ = options;
    Err(SourceError::Missing { what: "screen".to_owned(), hint: "built without the feature `screen`".to_owned() })
}

/// The screens of this session.
///
/// # Errors
///
/// [`SourceError`] if they cannot be listed.
pub fn list() -> Result<(Vec<ScreenInfo>, Vec<WindowInfo>), SourceError> {
    Err(SourceError::Missing { what: "screen".to_owned(), hint: "built without the feature `screen`".to_owned() })
}
