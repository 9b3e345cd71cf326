//! `framehost-portal`: shows the hub what the desktop portal's ScreenCast gives.
//!
//! The hub starts it, tells it what is wanted, and asks for pictures, as `framehost::source::screen::portal::wire`
//! says. It is a program of its own so that the hub needs no libpipewire, and outlives whatever happens to it.
//!
//! Belongs here: D-Bus, PipeWire, pixels as they lie in a compositor's memory.
//! Does not belong here: when a picture is due, what is remembered, conversions (the hub).
//!
//! Invariants:
//! - It ends when its standard input does, whatever it is doing, and closes its session.
//! - Nothing but records reaches its standard output: libraries write to standard error.
//! - It holds one picture, the newest; a slow hub costs the compositor nothing.

#[cfg(target_os = "linux")]
mod conversation;
#[cfg(target_os = "linux")]
mod desktop;
#[cfg(target_os = "linux")]
mod params;
#[cfg(target_os = "linux")]
mod picture;
#[cfg(target_os = "linux")]
mod stream;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use std::io::Write;

    match conversation::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be reading that either.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
