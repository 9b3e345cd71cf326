//! The process that a browser starts for each port: it carries bytes between stdio and the hub, and nothing else.
//!
//! Belongs here: finding or starting a hub, carrying messages, living through a hub's death.
//! Does not belong here: what messages mean (`session`); async runtimes, which would cost its start and its size.
//!
//! Invariants:
//! - A body is never looked at, only its length.
//! - What goes to stdout is whole messages.
//! - After a hub's death the rest of a half-sent message is discarded, and whole messages are dropped until another
//!   hub has accepted; the client is told by `hub_restarted`.
//!
//! Data path: stdin -> `inbound` (`transfer`) -> hub's socket -> [`run`] -> stdout.

mod connect;
mod inbound;
#[cfg_attr(unix, path = "process/unix.rs")]
#[cfg_attr(windows, path = "process/windows.rs")]
mod process;
mod transfer;

use std::{io, process::ExitCode, sync::Arc, time::Duration};

use self::inbound::HubEnd;
pub use self::{
    connect::{ConnectError, Connector, Fallback, StartEmbedded, StartedHub, dial},
    process::{replace, start_detached},
};
use crate::{
    link::{self, Frame, LinkError},
    local::Stream,
    message::{Failure, event, failure_event},
    stdio::{MessageWriter, SetAside},
};

/// How long the first hub may take to be there.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// How long another hub may take to be there after one has died.
const RESTART_TIMEOUT: Duration = Duration::from_secs(5);

/// Carries messages until the browser or the hub says good-bye.
pub fn run(mut connector: Connector, stdio: SetAside) -> ExitCode {
    let SetAside { input, mut output } = stdio;
    let first = match connector.connect(START_TIMEOUT) {
        Ok(hub) => hub,
        Err(error) => return unavailable(&mut output, &error),
    };
    let hub_end = Arc::new(HubEnd::default());
    let mut incoming = match hub_end.replace(first) {
        Ok(incoming) => incoming,
        Err(error) => return unavailable(&mut output, &error.into()),
    };
    if let Err(error) = inbound::spawn(input, Arc::clone(&hub_end), output.closed_watch()) {
        return unavailable(&mut output, &error.into());
    }
    loop {
        match carry_outbound(&mut incoming, &mut output) {
            OutboundEnd::Farewell(code) => return ExitCode::from(code),
            OutboundEnd::BrowserGone => return ExitCode::SUCCESS,
            OutboundEnd::HubDied(error) => {
                tracing::warn!(%error, "the hub is gone");
                hub_end.lose();
                if hub_end.input_ended() {
                    return ExitCode::SUCCESS;
                }
            }
        }
        let hub = match connector.connect(RESTART_TIMEOUT) {
            Ok(hub) => hub,
            Err(error) => return unavailable(&mut output, &error),
        };
        // The link first, so that what the client sends when it has read the event finds the new hub. What it had sent
        // before may find it, too, and is refused there: its streams and handles are void.
        incoming = match hub_end.replace(hub) {
            Ok(incoming) => incoming,
            Err(error) => return unavailable(&mut output, &error.into()),
        };
        if let Err(error) = tell(&mut output, event("hub_restarted", serde_json::Map::new())) {
            tracing::info!(%error, "the browser is gone");
            return ExitCode::SUCCESS;
        }
    }
}

/// Why nothing comes out of the hub any more.
enum OutboundEnd {
    Farewell(u8),
    HubDied(LinkError),
    BrowserGone,
}

fn carry_outbound(incoming: &mut io::BufReader<Stream>, output: &mut MessageWriter) -> OutboundEnd {
    loop {
        match link::read_frame(incoming) {
            Ok(Frame::Message(body)) => {
                if let Err(error) = output.write(&body) {
                    tracing::info!(%error, "the browser is gone");
                    return OutboundEnd::BrowserGone;
                }
            }
            Ok(Frame::Close(code)) => return OutboundEnd::Farewell(code),
            Err(error) => return OutboundEnd::HubDied(error),
        }
    }
}

/// Tells the client why there will be no conversation.
pub fn refuse(output: &mut MessageWriter, failure: &Failure) {
    // If the browser is gone, too, nobody is left to be told.
    let _ = tell(output, failure_event(failure));
}

/// Tells the client that there is no hub to be had, and gives up.
fn unavailable(output: &mut MessageWriter, error: &ConnectError) -> ExitCode {
    tracing::error!(%error, "no hub");
    refuse(output, &Failure::new(error.kind(), error));
    ExitCode::FAILURE
}

fn tell(output: &mut MessageWriter, body: serde_json::Result<Vec<u8>>) -> io::Result<()> {
    output.write(&body?)
}
