//! Windows' Media Foundation, kept up for as long as the program runs. The only place here with `unsafe`.
//!
//! The nokhwa library takes it down with its last camera, before that camera is released and whoever else lists cameras
//! at that moment; and it enters COM on the first thread that uses it alone.

#![expect(unsafe_code, reason = "the system's functions are declared unsafe")]

use std::{io, sync::OnceLock};

use windows::{
    Win32::{
        Media::MediaFoundation::{MF_VERSION, MFSTARTUP_NOSOCKET, MFStartup},
        System::Com::CoIncrementMTAUsage,
    },
    core,
};

use crate::source::SourceError;

/// Makes sure that every thread may use cameras from now on.
///
/// # Errors
///
/// [`SourceError::Missing`]: some editions of Windows are without it.
pub(super) fn keep_up() -> Result<(), SourceError> {
    static UP: OnceLock<core::Result<()>> = OnceLock::new();
    UP.get_or_init(start).clone().map_err(|error| {
        let hint = format!("Windows' Media Foundation does not start: {}", io::Error::from(error));
        SourceError::Missing { what: "camera".to_owned(), hint }
    })
}

fn start() -> core::Result<()> {
    // SAFETY: it takes no arguments of ours. What it counts is never given back, so the threads that rely on it may.
    unsafe { CoIncrementMTAUsage() }?;
    // SAFETY: the same; the version is that of the declarations.
    unsafe { MFStartup(MF_VERSION, MFSTARTUP_NOSOCKET) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_started_once_however_often_it_is_asked_for() {
        keep_up().unwrap();
        keep_up().unwrap();
    }
}
