//! What is particular about screens on macOS.

use objc2_core_graphics::{CGPreflightScreenCaptureAccess, CGRequestScreenCaptureAccess};
use xcap::{Monitor, XCapError};

use crate::source::SourceError;

/// Without permission the pictures would show the desktop's background alone, and no error. The first time, the system
/// asks the user; the answer counts for the next start of the program.
pub(super) fn check_permission() -> Result<(), SourceError> {
    if CGPreflightScreenCaptureAccess() || CGRequestScreenCaptureAccess() {
        return Ok(());
    }
    let hint = "allow it in the system's settings, Privacy & Security, Screen Recording, and start the program again";
    Err(SourceError::PermissionDenied { device: "the screen".to_owned(), hint: hint.to_owned() })
}

/// The library counts in points.
pub(super) fn pixels_per_unit(monitor: &Monitor) -> Result<f64, XCapError> {
    monitor.scale_factor().map(f64::from)
}

/// The display's number; its name is that of the model, of which there may be two.
pub(super) fn screen_id(monitor: &Monitor) -> Result<String, XCapError> {
    monitor.id().map(|id| id.to_string())
}
