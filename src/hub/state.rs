//! What every session and every call shares.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, Grants, Scope, SessionToken, Token},
    activity::{Activity, ActivityGuard},
    error::ErrorKind,
    http::Places,
    message::Failure,
    models::SharedModels,
    session::Caller,
    source::{SourceOptions, Sources},
    streams::{LINGER, Streams},
    transcode::TranscodeOptions,
};

/// Sessions of all extensions: browsers have some tens of ports at most.
const MAX_SESSIONS: usize = 64;

/// Sessions of one extension, which leaves places for others; and of the user's own programs, which have places of their
/// own: whose all others are, `framehost status` says.
pub const MAX_SESSIONS_OF_ONE: usize = 32;

/// What a hub is to serve.
#[derive(Debug, Default)]
pub struct HubSettings {
    /// It lives in a relay's process.
    pub embedded: bool,
    /// What sources and conversions may use.
    pub sources: SourceOptions,
    /// Directories whose video files extensions may open.
    pub video_dirs: VideoDirs,
    /// What else extensions may do.
    pub grants: Grants,
}

/// Tells which directories they are, whenever it is asked.
pub struct VideoDirs(Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>);

impl VideoDirs {
    /// `read`: what the user has it now.
    pub fn new(read: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }
}

impl Default for VideoDirs {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for VideoDirs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries((self.0)()).finish()
    }
}

/// The state of one hub.
#[derive(Debug)]
pub struct Hub {
    streams: Streams,
    sources: Sources,
    video_dirs: VideoDirs,
    models: SharedModels,
    access: Access,
    activity: Activity,
    places: Places,
    address: watch::Sender<Option<SocketAddr>>,
    sessions: Mutex<Sessions>,
    embedded: bool,
    started: Instant,
    superseded: CancellationToken,
    shutdown: CancellationToken,
}

#[derive(Debug, Default)]
struct Sessions {
    last_number: u64,
    by_number: BTreeMap<u64, SessionSnapshot>,
}

impl Sessions {
    /// `extension`: whose session it is to be; `None`: the user's own.
    fn has_place_for(&self, extension: Option<&str>) -> Result<(), Failure> {
        let whose = || self.by_number.values().map(|session| session.extension.as_deref());
        let of_one = whose().filter(|one| *one == extension).count();
        let of_extensions = whose().flatten().count();
        let problem = if extension.is_some() && of_extensions >= MAX_SESSIONS {
            format!("extensions have {MAX_SESSIONS} sessions already")
        } else if of_one < MAX_SESSIONS_OF_ONE {
            return Ok(());
        } else if extension.is_some() {
            format!("this extension has {MAX_SESSIONS_OF_ONE} sessions already")
        } else {
            format!("programs of the user's have {MAX_SESSIONS_OF_ONE} sessions already")
        };
        Err(Failure::new(ErrorKind::ResourceExhausted, problem))
    }
}

/// A session as `status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct SessionSnapshot {
    /// Its name, unique among hubs of one boot.
    pub session: String,
    /// The extension's origin, where the browser told one.
    pub origin: Option<String>,
    /// The extension's id, where the browser told one.
    pub extension: Option<String>,
    /// What the client calls itself.
    pub client: Option<String>,
    /// The relay's process.
    pub pid: Option<u32>,
    /// Streams that it holds.
    pub streams: usize,
    /// What the user has allowed the extension, as it is now; `None`: no extension, which may everything.
    pub allowed: Option<Vec<&'static str>>,
}

/// A session's place in the hub, until it is dropped.
#[derive(Debug)]
pub struct Registration {
    hub: Arc<Hub>,
    number: u64,
    session_id: String,
    token: SessionToken,
    _activity: ActivityGuard,
}

impl Hub {
    /// A hub that serves nobody yet.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn new(models: SharedModels, settings: HubSettings) -> Result<Arc<Self>, getrandom::Error> {
        let transcode = TranscodeOptions { ffmpeg: settings.sources.ffmpeg.clone() };
        Ok(Arc::new(Self {
            streams: Streams::new(LINGER, transcode),
            sources: Sources::new(settings.sources),
            video_dirs: settings.video_dirs,
            models,
            access: Access::new(settings.grants)?,
            activity: Activity::default(),
            places: Places::default(),
            address: watch::Sender::new(None),
            sessions: Mutex::default(),
            embedded: settings.embedded,
            started: Instant::now(),
            superseded: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        }))
    }

    /// Every stream.
    pub const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Cameras, screens and files.
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Directories whose video files extensions may open.
    pub fn video_dirs(&self) -> Vec<PathBuf> {
        (self.video_dirs.0)()
    }

    /// The model cache.
    pub const fn models(&self) -> &SharedModels {
        &self.models
    }

    /// Who may connect.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// What keeps the hub alive.
    pub const fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Places for connections on the loopback port.
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// Cancelled when a newer framehost has come, for which this hub leaves as soon as it is idle.
    pub const fn superseded(&self) -> &CancellationToken {
        &self.superseded
    }

    /// Notes that a newer framehost has come. `version`: which, for the log.
    pub fn give_way(&self, version: &str) {
        if !self.superseded.is_cancelled() {
            tracing::info!(version, "a newer framehost is there: leaving to it when idle");
            self.superseded.cancel();
        }
    }

    /// Ends everything when it is cancelled.
    pub const fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Where gRPC and HTTP are served.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.borrow()
    }

    /// Tells where gRPC and HTTP are served from now on.
    pub fn set_address(&self, address: SocketAddr) {
        self.address.send_replace(Some(address));
    }

    /// Does the hub live in a relay's process?
    pub const fn is_embedded(&self) -> bool {
        self.embedded
    }

    /// Time since the hub began.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The sessions in the order in which they came.
    pub fn sessions(&self) -> Vec<SessionSnapshot> {
        let mut sessions: Vec<_> = self.table().by_number.values().cloned().collect();
        for session in &mut sessions {
            let scopes = session.extension.as_deref().map(|extension| self.access.grants().of(extension));
            session.allowed = scopes.map(|scopes| scopes.into_iter().map(Scope::as_str).collect());
        }
        sessions
    }

    /// Gives a client its place.
    ///
    /// # Errors
    ///
    /// `resource_exhausted` with 64 sessions of extensions, or [`MAX_SESSIONS_OF_ONE`] of this extension or of the user's own programs.
    pub fn register(self: &Arc<Self>, caller: &Caller) -> Result<Registration, Failure> {
        let admitted = match &caller.firefox_id {
            Some(_) => self.access.admit_firefox(caller.extension()),
            None => self.access.admit(caller.origin.clone(), caller.extension()),
        };
        let token = admitted.map_err(|error| Failure::new(ErrorKind::Internal, error))?;
        let mut table = self.table();
        let extension = caller.extension();
        table.has_place_for(extension.as_deref())?;
        table.last_number += 1;
        let number = table.last_number;
        let session_id = format!("s{}-{number}", std::process::id());
        let snapshot = SessionSnapshot {
            session: session_id.clone(),
            origin: caller.origin.clone(),
            extension,
            client: None,
            pid: caller.pid,
            streams: 0,
            allowed: None,
        };
        table.by_number.insert(number, snapshot);
        Ok(Registration { hub: Arc::clone(self), number, session_id, token, _activity: self.activity.enter() })
    }

    fn table(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// The session's name.
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The token that `hello` answers with.
    pub const fn token(&self) -> &Token {
        self.token.token()
    }

    /// The session's number at the loopback port.
    pub const fn access_id(&self) -> u64 {
        self.token.id()
    }

    /// Ends the session's WebSockets; it can open others.
    pub fn close_sockets(&self) {
        self.token.close_sockets();
    }

    /// Notes what the client calls itself.
    pub fn name_client(&self, client: String) {
        self.update(|snapshot| snapshot.client = Some(client));
    }

    /// Notes how many streams the session holds.
    pub fn set_streams(&self, streams: usize) {
        self.update(|snapshot| snapshot.streams = streams);
    }

    fn update(&self, change: impl FnOnce(&mut SessionSnapshot)) {
        if let Some(snapshot) = self.hub.table().by_number.get_mut(&self.number) {
            change(snapshot);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.table().by_number.remove(&self.number);
    }
}
