//! Which screens and windows there are, and where.

use xcap::{Monitor, Window, XCapError};

use super::{super::ScreenTarget, Rect, system};
use crate::source::{
    SourceError,
    devices::{ScreenInfo, WindowInfo},
    screen::units::Place,
};

/// Windows that are listed.
const MAX_WINDOWS: usize = 128;

/// Scales that can be; what is told beyond them is a system's mistake.
const SCALES: std::ops::RangeInclusive<f64> = 0.1..=16.0;

/// Longest title that is told, in characters.
const MAX_TITLE: usize = 256;

/// A screen or window.
pub(super) struct Found {
    pub(super) id: String,
    /// The screen, or the one that shows most of the window.
    pub(super) monitor: Monitor,
    pub(super) place: Place,
    /// In pixels from the corner of the screen.
    pub(super) rect: Rect,
}

/// A screen.
struct Known {
    id: String,
    monitor: Monitor,
    place: Place,
    is_primary: bool,
}

/// The screens of this session, the primary one first, and its windows, the topmost first.
///
/// # Errors
///
/// [`SourceError::NoDisplay`].
pub(in crate::source::screen) fn list() -> Result<(Vec<ScreenInfo>, Vec<WindowInfo>), SourceError> {
    let screens = known()?;
    let windows = Window::all().map_err(no_display)?;
    let windows = windows.iter().filter_map(|window| window_info(window, &screens)).take(MAX_WINDOWS).collect();
    Ok((screens.iter().map(screen_info).collect(), windows))
}

/// Where the target is now.
pub(super) fn find(target: &ScreenTarget) -> Result<Found, SourceError> {
    let screens = known()?;
    let missing = |what, id: &str, available| SourceError::NoSuchDevice { what, id: id.to_owned(), available };
    let window = match target {
        ScreenTarget::Window(id) => id,
        ScreenTarget::Primary | ScreenTarget::Screen(_) => {
            let wanted = if let ScreenTarget::Screen(id) = target { Some(id.as_str()) } else { None };
            let available = screens.iter().map(|screen| screen.id.clone()).collect();
            // The primary one is the first.
            let found = screens.into_iter().find(|screen| wanted.is_none_or(|id| screen.id == id));
            let Known { id, monitor, place, .. } =
                found.ok_or_else(|| missing("screen", wanted.unwrap_or("primary"), available))?;
            let rect = Rect { x: 0, y: 0, ..place.pixels() };
            return Ok(Found { id, monitor, place, rect });
        }
    };
    let windows = Window::all().map_err(no_display)?;
    let number = window.strip_prefix("0x").map_or_else(|| window.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
    let found = windows.iter().find(|found| number.is_some() && found.id().ok() == number);
    let Some((screen, rect)) = found.and_then(|window| shown(window, &screens)) else {
        let available = windows.iter().filter_map(|window| window_info(window, &screens)).take(16).map(|info| info.id);
        return Err(missing("window that is shown", window, available.collect()));
    };
    Ok(Found { id: window.clone(), monitor: screen.monitor.clone(), place: screen.place, rect })
}

/// The screens, the primary one first.
fn known() -> Result<Vec<Known>, SourceError> {
    let monitors = Monitor::all().map_err(no_display)?;
    // One that goes between one question and the next is left out.
    let mut screens: Vec<Known> = monitors.into_iter().filter_map(|monitor| look_at(monitor).ok()).collect();
    if screens.is_empty() {
        return Err(SourceError::NoDisplay { problem: "the system shows no screen to this session".to_owned() });
    }
    screens.sort_by_key(|screen| !screen.is_primary);
    if let Some(first) = screens.first_mut() {
        first.is_primary = true;
    }
    Ok(screens)
}

fn look_at(monitor: Monitor) -> Result<Known, XCapError> {
    let units = Rect { x: monitor.x()?, y: monitor.y()?, width: monitor.width()?, height: monitor.height()? };
    let scale = Some(system::pixels_per_unit(&monitor)?).filter(|scale| SCALES.contains(scale)).unwrap_or(1.0);
    let (id, is_primary) = (system::screen_id(&monitor)?, monitor.is_primary()?);
    Ok(Known { id, monitor, place: Place { units, scale }, is_primary })
}

fn screen_info(screen: &Known) -> ScreenInfo {
    let Known { id, monitor, place, is_primary } = screen;
    let Rect { x, y, width, height } = place.pixels();
    let name = monitor.friendly_name().unwrap_or_else(|_| id.clone());
    let scale = monitor.scale_factor().map(f64::from).ok().filter(|scale| SCALES.contains(scale)).unwrap_or(1.0);
    ScreenInfo { id: id.clone(), name, x, y, width, height, scale, is_primary: *is_primary }
}

/// The screen that shows most of a window, and where it shows it; `None` if none does.
fn shown<'a>(window: &Window, screens: &'a [Known]) -> Option<(&'a Known, Rect)> {
    let units =
        Rect { x: window.x().ok()?, y: window.y().ok()?, width: window.width().ok()?, height: window.height().ok()? };
    // One that is minimized lies far away on Windows, and is not listed on macOS.
    let parts = screens.iter().filter_map(|screen| Some((screen, screen.place.covered_by(units)?)));
    parts.max_by_key(|(_, Rect { width, height, .. })| u64::from(*width) * u64::from(*height))
}

fn window_info(window: &Window, screens: &[Known]) -> Option<WindowInfo> {
    let (screen, Rect { x, y, width, height }) = shown(window, screens)?;
    let corner = screen.place.pixels();
    let title = window.title().unwrap_or_default().chars().take(MAX_TITLE).collect();
    let id = format!("{:#x}", window.id().ok()?);
    Some(WindowInfo { id, title, x: corner.x.saturating_add(x), y: corner.y.saturating_add(y), width, height })
}

fn no_display(error: XCapError) -> SourceError {
    SourceError::NoDisplay { problem: error.to_string() }
}
