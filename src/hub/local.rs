//! The local socket: relays connect here, each connection one session.

use std::{io, path::Path, sync::Arc, time::Duration};

use semver::Version;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use super::{Hub, own_files::Identity};
use crate::{
    link::{self, HubPreamble, LINK_VERSION, LinkError, PREAMBLE_HEADER_BYTES, RelayPreamble},
    local::{self, Connection, Listener, Writer},
    session::{self, Caller, OUTBOUND_MESSAGES},
};

/// How long a relay may take to say who it is.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what waits for a client may take to leave after its session has ended.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Binds the socket, in place of one that a dead hub left. To be called under the lock.
///
/// # Errors
///
/// What the system says; a path over 107 bytes is `InvalidInput`.
pub(super) fn bind(socket: &Path) -> io::Result<(Listener, Identity)> {
    let listener = local::bind(socket)?;
    Ok((listener, Identity::of(socket)?))
}

/// Serves one connection to its end.
pub(super) async fn serve(hub: Arc<Hub>, stream: Connection) {
    if let Err(error) = converse(hub, stream).await {
        // Clients look who is there, too, and say nothing.
        tracing::debug!(%error, "a relay's connection ended early");
    }
}

async fn converse(hub: Arc<Hub>, mut stream: Connection) -> Result<(), LinkError> {
    if !local::is_own_user(&stream)? {
        tracing::warn!("another user tried the local socket");
        return Ok(());
    }
    let stop = hub.shutdown().clone();
    let relay = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        relay = exchange_preambles(&mut stream) => relay.inspect_err(|error| {
            if let LinkError::Version { theirs } = error && *theirs > LINK_VERSION {
                hub.give_way("of a newer link version");
            }
        })?,
    };
    if is_newer(&relay.version) {
        hub.give_way(&relay.version);
    }
    tracing::debug!(version = relay.version, pid = relay.pid, "a relay connected");

    let (reader, writer) = stream.into_split();
    let (bodies, outbound) = mpsc::channel(OUTBOUND_MESSAGES);
    let mut writing = tokio::spawn(write_bodies(writer, outbound));
    let caller = Caller::from_argv(&relay.argv, Some(relay.pid));
    let ended = session::serve(hub, caller, reader, bodies).await;
    let Some(exit_code) = ended.exit_code() else {
        // The relay is to look for another hub, now: no farewell, and no waiting for a client that does not read.
        writing.abort();
        return Ok(());
    };
    // The session's end of the queue is gone, so the writer comes to its end unless the client does not read.
    let Ok(Ok(written)) = timeout(FAREWELL_TIMEOUT, &mut writing).await else {
        writing.abort();
        return Ok(());
    };
    timeout(FAREWELL_TIMEOUT, written?.write_all(&link::encode_close(exit_code)))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the relay did not read its farewell"))??;
    Ok(())
}

/// Is this version of framehost newer than the one that runs? What is no version is not.
fn is_newer(version: &str) -> bool {
    let own = Version::parse(env!("CARGO_PKG_VERSION"));
    matches!((Version::parse(version), own), (Ok(theirs), Ok(own)) if theirs > own)
}

async fn exchange_preambles(stream: &mut Connection) -> Result<RelayPreamble, LinkError> {
    let welcome = HubPreamble { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() };
    stream.write_all(&link::encode_preamble(&welcome)?).await?;
    timeout(PREAMBLE_TIMEOUT, read_preamble(stream))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the relay did not say who it is"))?
}

async fn read_preamble(stream: &mut Connection) -> Result<RelayPreamble, LinkError> {
    let mut header = [0; PREAMBLE_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let mut json = vec![0; link::preamble_len(header)?];
    stream.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

async fn write_bodies(mut writer: Writer, mut bodies: mpsc::Receiver<Vec<u8>>) -> Result<Writer, LinkError> {
    while let Some(body) = bodies.recv().await {
        writer.write_all(&link::encode_message(&body)?).await?;
    }
    Ok(writer)
}
