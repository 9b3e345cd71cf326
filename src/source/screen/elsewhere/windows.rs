//! What is particular about screens on Windows.

use xcap::{Monitor, XCapError};

use crate::source::SourceError;

/// Everybody may read the screen; what the system hides from all is black, or an error of its own.
#[expect(clippy::unnecessary_wraps, reason = "macOS asks")]
pub(super) const fn check_permission() -> Result<(), SourceError> {
    Ok(())
}

/// The library counts in pixels.
#[expect(clippy::unnecessary_wraps, reason = "macOS can fail")]
pub(super) const fn pixels_per_unit(_monitor: &Monitor) -> Result<f64, XCapError> {
    Ok(1.0)
}

/// The device's name without `\\.\`: its number changes whenever the desktop does.
pub(super) fn screen_id(monitor: &Monitor) -> Result<String, XCapError> {
    monitor.name().map(|name| name.trim_start_matches(r"\\.\").to_owned())
}
