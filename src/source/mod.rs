//! Where pictures come from when the hub makes them itself.
//!
//! Belongs here: sources that feed a [`crate::streams::Publisher`] from a thread of their own; devices and their modes.
//! Does not belong here: pictures that an extension sends (`session`), fan-out (`streams`), pixels (`frame::convert`).
//!
//! Invariants:
//! - A source owns one named OS thread that opens, reads and drops its device; dropping the last [`Running`] of a
//!   device ends the thread after the picture at hand, and waits for it.
//! - A device is open once, however many streams show it.
//! - A device that is being opened is let go of when nobody waits for it any more.
//! - A live source that falls behind makes fewer pictures; it never sends a burst. A file waits for its readers.
//! - A device that goes is a [`SourceError::DeviceLost`], looked for again by its stable id until its streams close.
//!
//! Data path: device -> [`Capture::next`] on the thread -> `Publisher::publish` -> `streams`.

pub mod camera;
mod capture;
mod clock;
pub mod devices;
mod error;
pub mod file;
#[cfg(unix)]
#[cfg(test)]
pub(crate) mod hanging;
mod running;
pub mod screen;
mod spec;
pub mod synthetic;
mod thread;

pub use self::{
    capture::{Capture, Granted, Number, Picture, Step, Stop, StopOnDrop, TICK},
    error::SourceError,
    running::{OpenError, Running, Sources},
    spec::{SourceOptions, SourceSpec},
    thread::SourceState,
};
