//! The hub: what one process per user holds, and its life from the lock to the idle exit.
//!
//! Belongs here: the shared state, the session table, the lock, the local socket, the port, the runtime file.
//! Does not belong here: conversations (`session`), what is served on the port (`grpc`, `http`).
//!
//! Invariants:
//! - The lock is held from before the socket is bound until nothing is served any more.
//! - A connection on the local socket is served or closed before the hub's preamble, never left waiting.

#[cfg_attr(unix, path = "identity/unix.rs")]
#[cfg_attr(windows, path = "identity/windows.rs")]
mod identity;
mod local;
pub mod lock;
pub mod memory;
mod own_files;
mod ports;
mod run;
mod runtime_file;
mod state;

pub use self::{
    run::{HubError, HubOptions, run},
    runtime_file::{RUNTIME_FILE, RuntimeFile},
    state::{Hub, HubSettings, MAX_SESSIONS_OF_ONE, Registration, SessionSnapshot, VideoDirs},
};
