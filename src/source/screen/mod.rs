//! Screens and windows.
//!
//! Belongs here: which of the ways to read a screen is taken, and what is common to them.
//! Does not belong here: pacing and clocks (`clock`), pixels (`frame::convert`).
//!
//! On Linux everything is read and listed over the display's own protocol: the library that does it elsewhere, xcap,
//! links five C libraries there, opens a connection for each picture, and divides sizes by the fonts' resolution.

#[cfg(all(feature = "screen", any(windows, target_os = "macos")))]
mod elsewhere;
#[cfg(feature = "screen")]
mod pixels;
#[cfg(all(feature = "screen", target_os = "linux"))]
pub mod portal;
#[cfg(all(feature = "screen", target_os = "linux"))]
mod shared_memory;
#[cfg(all(feature = "screen", target_os = "linux"))]
mod socket;
#[cfg(all(feature = "screen", any(test, windows, target_os = "macos")))]
mod units;
#[cfg(all(feature = "screen", target_os = "linux"))]
mod way;
#[cfg(all(feature = "screen", target_os = "linux"))]
mod wayland;
#[cfg(all(feature = "screen", target_os = "linux"))]
mod x11;

use std::fmt;

use super::{
    Capture, Granted, SourceError, SourceOptions, Stop,
    devices::{ScreenInfo, WindowInfo},
};
use crate::frame::{Format, PixelFormat};

/// What reads screens by wlroots' screencopy, as it is called in what is granted.
const SCREENCOPY: &str = "screencopy";

/// Lowest and highest rate, in pictures a second.
const FPS: std::ops::RangeInclusive<f64> = 0.01..=240.0;

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
    /// A window by its id: the part of the screen that it covers, with whatever lies over it.
    Window(String),
}

/// What to capture.
#[derive(Debug, Clone, PartialEq)]
pub struct ScreenOptions {
    /// The primary screen unless set.
    pub target: ScreenTarget,
    /// The whole unless set.
    pub region: Option<Region>,
    /// Pictures a second, 0.01 to 240; 30 unless set.
    pub fps: f64,
    /// `rgb` unless set; any raw format.
    pub format: PixelFormat,
    /// With the pointer; without unless set.
    pub cursor: bool,
}

impl Default for ScreenOptions {
    fn default() -> Self {
        Self { target: ScreenTarget::Primary, region: None, fps: 30.0, format: PixelFormat::Rgb, cursor: false }
    }
}

impl ScreenOptions {
    /// Refuses what no screen could grant.
    ///
    /// # Errors
    ///
    /// [`SourceError::Parameter`].
    pub fn check(&self) -> Result<(), SourceError> {
        if !FPS.contains(&self.fps) {
            let problem = format!("{} is outside {} to {}", self.fps, FPS.start(), FPS.end());
            return Err(SourceError::Parameter { field: "fps", problem });
        }
        if self.region.is_some_and(|region| region.width == 0 || region.height == 0) {
            return Err(SourceError::Parameter { field: "region", problem: "it is empty".to_owned() });
        }
        Ok(())
    }
}

/// For people.
impl fmt::Display for ScreenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            ScreenTarget::Primary => f.write_str("the primary screen")?,
            ScreenTarget::Screen(id) => write!(f, "screen {id}")?,
            ScreenTarget::Window(id) => write!(f, "window {id}")?,
        }
        if let Some(Region { x, y, width, height }) = self.region {
            write!(f, ", region {x},{y} {width} x {height}")?;
        }
        write!(f, " at {} fps, {}", self.fps, Format::Pixels(self.format))?;
        f.write_str(if self.cursor { ", with the pointer" } else { "" })
    }
}

/// How to open the same screen again after it was lost. Wayland has no primary screen: the one that was meant is looked
/// for by its name.
pub(super) fn pin(options: &ScreenOptions, granted: &Granted) -> ScreenOptions {
    let mut pinned = options.clone();
    if granted.backend == SCREENCOPY {
        pinned.target = ScreenTarget::Screen(granted.device.clone());
    }
    pinned
}

/// A rectangle on the desktop, in physical pixels.
#[cfg(feature = "screen")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rect {
    x: i32,
    y: i32,
    width: u32,
    height: u32,
}

#[cfg(feature = "screen")]
impl Rect {
    /// The part that `region` names.
    fn part(self, region: Option<Region>, screen: &str) -> Result<Self, SourceError> {
        let Some(Region { x, y, width, height }) = region else {
            return Ok(self);
        };
        let ends_inside = |begin: i32, len: u32, whole: u32| {
            u32::try_from(begin).ok().and_then(|begin| begin.checked_add(len)).is_some_and(|end| end <= whole)
        };
        if ends_inside(x, width, self.width) && ends_inside(y, height, self.height) {
            return Ok(Self { x: self.x + x, y: self.y + y, width, height });
        }
        Err(SourceError::RegionOutside {
            region: format!("{x},{y} {width} x {height}"),
            screen: screen.to_owned(),
            width: self.width,
            height: self.height,
        })
    }

    /// What lies on both.
    fn clipped(self, whole: Self) -> Option<Self> {
        let side = |begin: i32, len: u32, whole_begin: i32, whole_len: u32| {
            let end = i64::from(begin) + i64::from(len);
            let whole_end = i64::from(whole_begin) + i64::from(whole_len);
            let first = begin.max(whole_begin);
            let len = u32::try_from(end.min(whole_end) - i64::from(first)).ok().filter(|len| *len > 0)?;
            Some((first, len))
        };
        let (x, width) = side(self.x, self.width, whole.x, whole.width)?;
        let (y, height) = side(self.y, self.height, whole.y, whole.height)?;
        Some(Self { x, y, width, height })
    }
}

/// What can be read of this session, and the connection to its compositor.
#[cfg(all(feature = "screen", target_os = "linux"))]
fn look(stop: &Stop) -> (way::Offer, Option<wayland::Link>) {
    let has_x11 = std::env::var_os("DISPLAY").is_some_and(|display| !display.is_empty());
    let portal = portal::find();
    match wayland::connect(stop) {
        Ok(link) => (way::Offer { compositor: link.compositor(), portal, has_x11 }, Some(link)),
        Err(compositor) => (way::Offer { compositor, portal, has_x11 }, None),
    }
}

/// Opens a screen, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
#[cfg(all(feature = "screen", target_os = "linux"))]
pub fn open(options: &ScreenOptions, env: &SourceOptions, stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    let (offer, link) = look(stop);
    match (way::choose(&offer, &options.target)?, link) {
        (way::Way::Screencopy, Some(link)) => Ok(Box::new(wayland::Screencopy::open(link, options, stop)?)),
        (way::Way::Portal, _) => portal::open(options, env, stop),
        (way::Way::Screencopy, None) | (way::Way::X11, _) => Ok(Box::new(x11::X11::open(options, stop)?)),
    }
}

/// The screens of this session, the primary one first, and its windows, the topmost first.
///
/// # Errors
///
/// [`SourceError`] if they cannot be listed.
#[cfg(all(feature = "screen", target_os = "linux"))]
pub fn list() -> Result<(Vec<ScreenInfo>, Vec<WindowInfo>), SourceError> {
    let (offer, link) = look(&Stop::default());
    match (way::choose(&offer, &ScreenTarget::Primary)?, link) {
        (way::Way::Screencopy, Some(link)) => Ok((wayland::list(&link), Vec::new())),
        // The user chooses what the portal shows: nothing has a name before.
        (way::Way::Portal, _) => Ok((Vec::new(), Vec::new())),
        (way::Way::Screencopy, None) | (way::Way::X11, _) => x11::list(),
    }
}

/// What keeps the desktop portal from showing screens that nothing else shows here.
#[cfg(all(feature = "screen", target_os = "linux"))]
pub fn missing_portal() -> Option<SourceError> {
    match look(&Stop::default()).0 {
        way::Offer { compositor: way::Compositor::WithoutScreencopy, portal: Err(hint), .. } => {
            Some(SourceError::Missing { what: "the desktop portal".to_owned(), hint })
        }
        _ => None,
    }
}

/// There is no portal.
#[cfg(not(all(feature = "screen", target_os = "linux")))]
pub const fn missing_portal() -> Option<SourceError> {
    None
}

/// Opens a screen, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
#[cfg(all(feature = "screen", any(windows, target_os = "macos")))]
pub fn open(options: &ScreenOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    Ok(Box::new(elsewhere::Screen::open(options)?))
}

/// The screens of this session, the primary one first, and its windows, the topmost first.
///
/// # Errors
///
/// [`SourceError`] if they cannot be listed.
#[cfg(all(feature = "screen", any(windows, target_os = "macos")))]
pub fn list() -> Result<(Vec<ScreenInfo>, Vec<WindowInfo>), SourceError> {
    elsewhere::list()
}

/// Nothing can be opened.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(all(feature = "screen", any(target_os = "linux", windows, target_os = "macos"))))]
pub fn open(_options: &ScreenOptions, _env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    Err(missing())
}

/// Nothing can be listed.
///
/// # Errors
///
/// [`SourceError::Missing`].
#[cfg(not(all(feature = "screen", any(target_os = "linux", windows, target_os = "macos"))))]
pub fn list() -> Result<(Vec<ScreenInfo>, Vec<WindowInfo>), SourceError> {
    Err(missing())
}

#[cfg(not(all(feature = "screen", any(target_os = "linux", windows, target_os = "macos"))))]
fn missing() -> SourceError {
    let hint = "this build cannot read screens here (feature `screen`; Linux, Windows, macOS)".to_owned();
    SourceError::Missing { what: "screen".to_owned(), hint }
}

#[cfg(all(test, feature = "screen"))]
mod tests {
    use super::*;

    #[test]
    fn a_region_lies_on_its_screen_or_is_refused() {
        let screen = Rect { x: 1920, y: -10, width: 800, height: 600 };
        let part = |x, y, width, height| screen.part(Some(Region { x, y, width, height }), "DP-1");
        assert_eq!(screen.part(None, "DP-1").unwrap(), screen);
        assert_eq!(part(0, 0, 800, 600).unwrap(), screen);
        assert_eq!(part(10, 20, 30, 40).unwrap(), Rect { x: 1930, y: 10, width: 30, height: 40 });
        for (x, y, width, height) in
            [(-1, 0, 10, 10), (0, -1, 10, 10), (1, 0, 800, 600), (0, 1, 800, 600), (i32::MAX, 0, u32::MAX, 1)]
        {
            assert!(matches!(part(x, y, width, height), Err(SourceError::RegionOutside { .. })));
        }
    }

    #[test]
    fn a_window_is_clipped_to_the_screen() {
        let screen = Rect { x: 0, y: 0, width: 100, height: 100 };
        let clip = |x, y, width, height| Rect { x, y, width, height }.clipped(screen);
        assert_eq!(clip(-10, 90, 30, 30), Some(Rect { x: 0, y: 90, width: 20, height: 10 }));
        assert_eq!(clip(100, 0, 10, 10), None);
        assert_eq!(clip(-10, 0, 10, 10), None);
    }

    #[test]
    fn what_is_shown_has_a_name_for_people() {
        let region = Some(Region { x: 1, y: 2, width: 30, height: 40 });
        let target = ScreenTarget::Window("0x5".to_owned());
        let part = ScreenOptions { target, region, fps: 12.5, cursor: true, ..ScreenOptions::default() };
        assert_eq!(part.to_string(), "window 0x5, region 1,2 30 x 40 at 12.5 fps, rgb, with the pointer");
        assert_eq!(ScreenOptions::default().to_string(), "the primary screen at 30 fps, rgb");
    }

    #[test]
    fn rates_and_empty_regions_are_refused_before_anything_is_opened() {
        let good = ScreenOptions::default();
        good.check().unwrap();
        for fps in [0.0, -1.0, 241.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ScreenOptions { fps, ..good.clone() }.check().unwrap_err().field(), Some("fps"));
        }
        let region = Some(Region { x: 0, y: 0, width: 0, height: 5 });
        assert_eq!(ScreenOptions { region, ..good }.check().unwrap_err().field(), Some("region"));
    }
}
