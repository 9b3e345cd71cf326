//! The life of a hub: lock, socket, port, service, idle exit.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{
    Hub, HubSettings, RUNTIME_FILE, RuntimeFile, local,
    lock::HubLock,
    own_files::Identity,
    ports::{Listeners, RETRY_INTERVAL},
};
use crate::{
    grpc, http,
    link::SOCKET_FILE,
    local::{Connection, Listener},
    models::SharedModels,
};

/// How long connections may take to end when the hub does.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How often the hub makes sure that it can still be found: directories for temporary files are cleaned by others.
const FILES_INTERVAL: Duration = Duration::from_secs(2);

/// A pause after a failed accept: out of descriptors, most likely, and trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a hub runs.
#[derive(Debug)]
pub struct HubOptions {
    /// Holds `hub.sock`, `hub.lock` and `hub.json`; exists, and is the user's alone.
    pub runtime_dir: PathBuf,
    /// Port for gRPC and HTTP; 0 is any free one.
    pub port: u16,
    /// Leave after this long without sessions, authenticated connections and streams that calls have opened; `None` stays.
    pub idle_exit: Option<Duration>,
    /// What it is to serve.
    pub settings: HubSettings,
}

/// Why a hub could not run.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum HubError {
    /// The local socket cannot be made.
    #[error("cannot listen on the local socket: {source}: {}", path.display())]
    Socket { source: io::Error, path: PathBuf },

    /// No port can be had.
    #[error("cannot listen on a loopback port: {0}")]
    Port(#[source] io::Error),

    /// The runtime file cannot be written.
    #[error("cannot write hub.json: {0}")]
    RuntimeFile(#[source] io::Error),

    /// The operating system has no random numbers for tokens.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Runs a hub until `stop` comes or it has been idle for long enough.
///
/// `lock`: held until the end. `models`: the cache to serve.
///
/// # Errors
///
/// [`HubError`], before anything is served or when the local socket cannot be made again.
pub async fn run(
    mut options: HubOptions,
    lock: HubLock,
    models: SharedModels,
    stop: impl Future<Output = ()>,
) -> Result<(), HubError> {
    let hub = Hub::new(models, std::mem::take(&mut options.settings))?;
    let socket = options.runtime_dir.join(SOCKET_FILE);
    if let Some(RuntimeFile { pid, version, .. }) = RuntimeFile::read(&options.runtime_dir) {
        // Whoever leaves takes its file along, and the lock is ours.
        tracing::warn!(pid, version, "the hub before this one did not leave by itself: it was killed, or it crashed");
    }
    let bind = || local::bind(&socket).map_err(|source| HubError::Socket { source, path: socket.clone() });
    let tasks = TaskTracker::new();

    // Relays wait for the socket, so it comes last: who finds it finds a hub that is ready.
    let listeners = Listeners::bind_or_free(options.port).await.map_err(HubError::Port)?;
    let (mut listener, mut socket_identity) = match serve_port(&hub, &tasks, &options, listeners).and_then(|()| bind())
    {
        Ok(bound) => bound,
        Err(error) => {
            leave(&hub, &tasks, &options).await;
            return Err(error);
        }
    };
    tracing::info!(address = ?hub.address(), embedded = hub.is_embedded(), "hub is ready");
    let models = hub.models().clone();
    tasks.spawn(async move {
        if let Err(error) = models.clear_abandoned().await {
            tracing::debug!(%error, "what killed downloads left stays");
        }
    });

    tokio::pin!(stop);
    let ended = loop {
        let idle = async {
            match options.idle_exit {
                Some(quiet) => tokio::select! {
                    () = hub.activity().idle_for(quiet) => {}
                    () = superseded(&hub) => {}
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut stop => break Ok(()),
            () = accept_relays(&hub, &tasks, &mut listener) => {}
            () = retry_port(&hub, &tasks, &options) => {}
            () = keep_told(&hub, &options) => {}
            lost = lost_files(&lock, &socket_identity, &socket) => match lost {
                Lost::Lock => {
                    tracing::warn!("the lock's file is gone: leaving to the hub that takes the next one");
                    break Ok(());
                }
                Lost::Socket => {
                    tracing::warn!("the local socket is gone: making it again");
                    match bind() {
                        Ok(again) => (listener, socket_identity) = again,
                        Err(error) => break Err(error),
                    }
                }
            },
            () = idle => {
                // From here on nobody finds the socket; who had found it before is served, and the hub stays for them.
                socket_identity.remove(&socket);
                if !serve_latecomers(&hub, &tasks, &mut listener).await && hub.activity().is_idle() {
                    tracing::info!("idle: leaving");
                    break Ok(());
                }
                match bind() {
                    Ok(again) => (listener, socket_identity) = again,
                    Err(error) => break Err(error),
                }
            }
        }
    };
    socket_identity.remove(&socket);
    drop(listener);
    leave(&hub, &tasks, &options).await;
    drop(lock);
    ended
}

/// Waits until a newer framehost has come and this hub has nothing to do: at once, as its relays try again and again.
async fn superseded(hub: &Hub) {
    hub.superseded().cancelled().await;
    hub.activity().idle_for(Duration::ZERO).await;
}

/// Puts the runtime file away and ends what is served.
async fn leave(hub: &Hub, tasks: &TaskTracker, options: &HubOptions) {
    if let Err(error) = RuntimeFile::remove_own(&options.runtime_dir) {
        tracing::warn!(%error, "hub.json stays behind");
    }
    hub.shutdown().cancel();
    tasks.close();
    if timeout(STOP_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!(open = tasks.len(), "connections were still open at the end");
    }
}

/// Serves gRPC and HTTP on a port, and says so.
fn serve_port(hub: &Arc<Hub>, tasks: &TaskTracker, options: &HubOptions, listeners: Listeners) -> Result<(), HubError> {
    let address = listeners.address().map_err(HubError::Port)?;
    let service = http::Service {
        access: hub.access().clone(),
        activity: hub.activity().clone(),
        routes: grpc::routes(&grpc::Served {
            streams: hub.streams().clone(),
            sources: hub.sources().clone(),
            models: hub.models().clone(),
            activity: hub.activity().clone(),
        }),
        models: hub.models().clone(),
        streams: hub.streams().clone(),
        shutdown: hub.shutdown().clone(),
        places: hub.places().clone(),
    };
    for listener in [Some(listeners.v4), listeners.v6].into_iter().flatten() {
        tasks.spawn(http::serve(listener, service.clone()));
    }
    hub.set_address(address);
    tell(hub, address, &options.runtime_dir).map_err(HubError::RuntimeFile)
}

/// Tells workers where the hub is.
fn tell(hub: &Hub, address: SocketAddr, runtime_dir: &Path) -> io::Result<()> {
    let file = RuntimeFile {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        grpc: address.to_string(),
        token: hub.access().user_token().as_str().to_owned(),
    };
    file.write(runtime_dir)
}

/// Takes relays for ever.
async fn accept_relays(hub: &Arc<Hub>, tasks: &TaskTracker, listener: &mut Listener) {
    let mut fails = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                fails = false;
                serve_relay(hub, tasks, stream);
            }
            Err(error) => {
                // Once: it is tried ten times a second, for as long as it takes.
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!(%error, "cannot take a relay, and tries again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one relay, which keeps the hub from here on, and not only when its session has begun.
fn serve_relay(hub: &Arc<Hub>, tasks: &TaskTracker, stream: Connection) {
    let (hub, activity) = (Arc::clone(hub), hub.activity().enter());
    tasks.spawn(async move {
        local::serve(hub, stream).await;
        drop(activity);
    });
}

/// Takes the relays that had connected before the socket was removed; `false` if there were none.
async fn serve_latecomers(hub: &Arc<Hub>, tasks: &TaskTracker, listener: &mut Listener) -> bool {
    let mut any = false;
    while let Ok(Ok((stream, _))) = timeout(Duration::from_millis(1), listener.accept()).await {
        serve_relay(hub, tasks, stream);
        any = true;
    }
    any
}

/// Tries now and then to get the wanted port until it is served. Never returns.
async fn retry_port(hub: &Arc<Hub>, tasks: &TaskTracker, options: &HubOptions) {
    let has_it = |port: u16| port == 0 || hub.address().is_some_and(|address| address.port() == port);
    while !has_it(options.port) {
        tokio::time::sleep(RETRY_INTERVAL).await;
        if let Ok(listeners) = Listeners::bind(options.port).await {
            match serve_port(hub, tasks, options, listeners) {
                Ok(()) => tracing::info!(port = options.port, "got the port at last"),
                Err(error) => tracing::warn!(%error, "cannot use the port"),
            }
        }
    }
    std::future::pending().await
}

/// Writes the runtime file again when somebody has removed it. Never returns.
async fn keep_told(hub: &Hub, options: &HubOptions) {
    let file = options.runtime_dir.join(RUNTIME_FILE);
    let mut fails = false;
    loop {
        tokio::time::sleep(FILES_INTERVAL).await;
        let is_gone = file.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let Some(address) = hub.address().filter(|_| is_gone) else { continue };
        match tell(hub, address, &options.runtime_dir) {
            Ok(()) => {
                fails = false;
                tracing::warn!("hub.json was gone: workers find the hub again");
            }
            Err(error) => {
                // Once: the disk may be full for long.
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!(%error, "hub.json is gone, and cannot be written");
                }
            }
        }
    }
}

/// What a hub cannot be found without.
enum Lost {
    Lock,
    Socket,
}

/// Looks now and then whether the hub's files are still its own; returns when one is not.
async fn lost_files(lock: &HubLock, identity: &Identity, socket: &Path) -> Lost {
    loop {
        tokio::time::sleep(FILES_INTERVAL).await;
        if !lock.is_in_force() {
            return Lost::Lock;
        }
        if !identity.is_at(socket) {
            return Lost::Socket;
        }
    }
}
