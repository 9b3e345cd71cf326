//! Who may talk to the hub over TCP.
//!
//! Belongs here: tokens, the rules for `Host`, `Origin` and the peer's user, looking up that user, what the user has allowed
//! which extension ([`Grants`]).
//! Does not belong here: sockets and responses (`http`), asking for a grant where one is needed (`session`, `http`).
//!
//! The rules, for gRPC and HTTP alike; one that fails denies the request and tells nothing but that:
//! 1. `Host` or `:authority` is 127.0.0.1, `[::1]` or localhost, with our port (against rebound names).
//! 2. An `Origin`, where there is one, is a connected extension's. A Firefox extension's (`moz-extension://UUID`) is another
//!    one in every profile, and nobody tells it to hosts: it is that of the first request with its session's token.
//! 3. The request bears a valid token; or the peer is a process of our own user and no browser: it has neither `Origin` nor
//!    `Sec-Fetch-*`, which an extension can take out, and is not a browser's program ([`Peer::or_browser`]). A foreign
//!    bearer from such a peer is ignored: Python clients send their hub token everywhere.
//!
//! A session's token makes its bearer that session, and no more: with another origin than its own it is denied.
//!
//! A token comes in `Authorization`, or, as browsers let nobody set that for a WebSocket, in a subprotocol that is
//! offered beside [`SUBPROTOCOL`]: `framehost.token.` and the token.

mod grants;
mod peer;
mod token;
#[cfg_attr(unix, path = "version/unix.rs")]
#[cfg_attr(windows, path = "version/windows.rs")]
mod version;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{HeaderMap, Uri, header, request::Parts};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::{
    grants::{Allowed, Grants, LOOK_AGAIN, Scope, Unread, scopes_of},
    peer::Peer,
    token::Token,
};

/// The subprotocol of this hub's WebSockets.
pub const SUBPROTOCOL: &str = "framehost";

/// What a Firefox extension's origin begins with.
const FIREFOX_SCHEME: &str = "moz-extension://";

/// Before the token in a subprotocol that carries one.
const TOKEN_SUBPROTOCOL: &[u8] = b"framehost.token.";

/// WebSockets that one session may have open: as many as it may have subscriptions, and as many streams beside them.
const MAX_SOCKETS: usize = 32;

/// The rules and the tokens of one hub. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Readable by the user alone, in the runtime file.
    user_token: Token,
    grants: Grants,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    /// Never used twice: a late socket of a session that is over must not meet another's streams.
    last_id: u64,
    entries: Vec<SessionEntry>,
}

#[derive(Debug)]
struct SessionEntry {
    id: u64,
    token: Token,
    origin: Option<String>,
    /// The extension's id; `None`: a program of the user's own.
    extension: Option<String>,
    /// A Firefox extension's, whose origin is known from its first request on.
    is_firefox: bool,
    sockets: Arc<Semaphore>,
    /// Cancelled when the session ends or begins anew.
    over: CancellationToken,
}

/// The session whose token a request bears.
#[derive(Debug, Clone)]
pub struct BearerSession {
    /// Its number, as [`SessionToken::id`] tells.
    pub id: u64,
    /// The extension's id; `None`: a program of the user's own.
    pub extension: Option<String>,
    /// Places for its WebSockets.
    pub sockets: Arc<Semaphore>,
    /// Cancelled when the session ends or begins anew.
    pub over: CancellationToken,
}

/// Who asks, once the rules have let him pass.
#[derive(Debug, Clone)]
pub enum Asker {
    /// A program of this user's.
    User,
    /// Whoever a session gave its token.
    Session(BearerSession),
}

impl Asker {
    /// The id of the extension that asks; `None`: a program of the user's own.
    pub fn extension(&self) -> Option<&str> {
        match self {
            Self::User => None,
            Self::Session(session) => session.extension.as_deref(),
        }
    }
}

/// A session's token, valid until this is dropped.
#[derive(Debug)]
pub struct SessionToken {
    id: u64,
    token: Token,
    shared: Arc<Shared>,
}

/// A request that broke a rule. Which one is for the log, never for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Rule 1.
    #[error("the host name is not ours")]
    Host,
    /// Rule 2.
    #[error("the origin is no connected extension's")]
    Origin,
    /// Rule 3.
    #[error("neither a valid token nor a process of this user")]
    Caller,
}

impl Access {
    /// No sessions yet. `grants`: what extensions may do.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn new(grants: Grants) -> Result<Self, getrandom::Error> {
        Ok(Self { shared: Arc::new(Shared { user_token: Token::random()?, grants, sessions: Mutex::default() }) })
    }

    /// What extensions may do.
    pub fn grants(&self) -> &Grants {
        &self.shared.grants
    }

    /// The token for the runtime file.
    pub fn user_token(&self) -> &Token {
        &self.shared.user_token
    }

    /// A token for one session, and its extension's origin as an allowed one, while the session lasts.
    ///
    /// `origin`: as browsers send it, without a trailing slash: `chrome-extension://…`. `extension`: its id.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn admit(&self, origin: Option<String>, extension: Option<String>) -> Result<SessionToken, getrandom::Error> {
        self.admit_entry(origin, extension, false)
    }

    /// A token for a session of a Firefox extension, whose origin is not known yet.
    ///
    /// # Errors
    ///
    /// If the operating system has no random numbers.
    pub fn admit_firefox(&self, extension: Option<String>) -> Result<SessionToken, getrandom::Error> {
        self.admit_entry(None, extension, true)
    }

    fn admit_entry(
        &self,
        origin: Option<String>,
        extension: Option<String>,
        is_firefox: bool,
    ) -> Result<SessionToken, getrandom::Error> {
        let token = Token::random()?;
        let mut sessions = self.sessions();
        sessions.last_id += 1;
        let id = sessions.last_id;
        let (sockets, over) = (Arc::new(Semaphore::new(MAX_SOCKETS)), CancellationToken::new());
        sessions.entries.push(SessionEntry { id, token: token.clone(), origin, extension, is_firefox, sockets, over });
        Ok(SessionToken { id, token, shared: Arc::clone(&self.shared) })
    }

    /// Applies the rules to one request, and says who asks: with a session's token nobody is more than that session.
    ///
    /// `local`: the address that the connection came in on. `caller`: whose process sent it, which is asked for only where
    /// no token says enough.
    ///
    /// # Errors
    ///
    /// [`Denied`] with the first rule that failed.
    pub async fn check(
        &self,
        local: SocketAddr,
        caller: impl Future<Output = Peer>,
        request: &Parts,
    ) -> Result<Asker, Denied> {
        if !host_is_ours(&request.uri, &request.headers, local.port()) {
            return Err(Denied::Host);
        }
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let origin = origins.next();
        if origins.next().is_some() {
            return Err(Denied::Origin);
        }
        if let Some(origin) = origin {
            let known = |entry: &SessionEntry| entry.origin.as_ref().is_some_and(|own| own.as_bytes() == origin);
            let is_known = self.sessions().entries.iter().any(known);
            if !is_known && !self.bind_firefox(origin.as_bytes(), &request.headers) {
                return Err(Denied::Origin);
            }
        }
        if let Some(session) = self.session(&request.headers)? {
            return Ok(Asker::Session(session));
        }
        // Compared in full, so that time tells nothing.
        if presented(&request.headers).any(|token| self.shared.user_token.matches(token)) {
            return Ok(Asker::User);
        }
        let is_browser = origin.is_some() || request.headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"));
        if !is_browser && caller.await == Peer::SameUser { Ok(Asker::User) } else { Err(Denied::Caller) }
    }

    /// The session whose token a request bears, if it bears one.
    ///
    /// # Errors
    ///
    /// [`Denied::Origin`]: the request tells an origin, and that session has another.
    pub fn session(&self, headers: &HeaderMap) -> Result<Option<BearerSession>, Denied> {
        let origin = headers.get(header::ORIGIN).map(http::HeaderValue::as_bytes);
        let sessions = self.sessions();
        let mut found = None;
        for token in presented(headers) {
            for entry in &sessions.entries {
                if entry.token.matches(token) {
                    found = Some(entry);
                }
            }
        }
        let Some(entry) = found else { return Ok(None) };
        let is_own = match (origin, &entry.origin) {
            (Some(told), Some(own)) => told == own.as_bytes(),
            (None, _) | (_, None) => true,
        };
        if !is_own {
            return Err(Denied::Origin);
        }
        Ok(Some(BearerSession {
            id: entry.id,
            extension: entry.extension.clone(),
            sockets: Arc::clone(&entry.sockets),
            over: entry.over.clone(),
        }))
    }

    /// Takes the origin of a request for that of the Firefox extension whose token it bears, if that has none yet: only
    /// the extension was given the token.
    fn bind_firefox(&self, origin: &[u8], headers: &HeaderMap) -> bool {
        let Some(origin) = std::str::from_utf8(origin).ok().filter(|origin| origin.starts_with(FIREFOX_SCHEME)) else {
            return false;
        };
        let mut sessions = self.sessions();
        for token in presented(headers) {
            let is_own = |entry: &&mut SessionEntry| entry.is_firefox && entry.token.matches(token);
            if let Some(entry) = sessions.entries.iter_mut().find(is_own) {
                return entry.origin.get_or_insert_with(|| origin.to_owned()) == origin;
            }
        }
        false
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionToken {
    /// What `hello` answers with.
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// Another one for each session.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Ends the WebSockets that are open with this token; it can open others.
    pub fn close_sockets(&self) {
        let mut sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = sessions.entries.iter_mut().find(|entry| entry.id == self.id) {
            std::mem::take(&mut entry.over).cancel();
        }
    }
}

impl Drop for SessionToken {
    fn drop(&mut self) {
        self.close_sockets();
        let mut sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.entries.retain(|entry| entry.id != self.id);
    }
}

/// Rule 1. HTTP/2 has the authority in the URI, HTTP/1.1 in `Host`; where both are, both must be ours.
fn host_is_ours(uri: &Uri, headers: &HeaderMap, port: u16) -> bool {
    let is_ours = |authority: &[u8]| {
        ["127.0.0.1", "[::1]", "localhost"]
            .iter()
            .any(|host| authority.eq_ignore_ascii_case(format!("{host}:{port}").as_bytes()))
    };
    let mut named = false;
    let mut ours = true;
    if let Some(authority) = uri.authority() {
        named = true;
        ours &= is_ours(authority.as_str().as_bytes());
    }
    for host in headers.get_all(header::HOST) {
        named = true;
        ours &= is_ours(host.as_bytes());
    }
    named && ours
}

/// Every token that a request bears.
fn presented(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let offered = subprotocols(headers).filter_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL));
    bearer(headers).into_iter().chain(offered)
}

/// The subprotocols that a WebSocket's client offers.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::FutureExt as _;
    use http::Request;

    use super::*;

    const EXTENSION: &str = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";

    fn check(access: &Access, peer: Peer, headers: &[(&str, &str)]) -> Result<(), Denied> {
        let mut request = Request::get("/healthz");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:50052");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        checked(access, peer, &parts).map(drop)
    }

    fn checked(access: &Access, peer: Peer, parts: &Parts) -> Result<Asker, Denied> {
        access.check("127.0.0.1:50052".parse().unwrap(), ready(peer), parts).now_or_never().unwrap()
    }

    #[test]
    fn a_process_of_the_same_user_needs_no_token() {
        let access = Access::new(Grants::default()).unwrap();
        assert_eq!(check(&access, Peer::SameUser, &[]), Ok(()));
        for peer in [Peer::OtherUser, Peer::Unknown] {
            assert_eq!(check(&access, peer, &[]), Err(Denied::Caller));
        }
    }

    #[test]
    fn the_host_is_ours_or_nothing_is_answered() {
        let access = Access::new(Grants::default()).unwrap();
        let bearer = format!("Bearer {}", access.user_token().as_str());
        for (host, ours) in [
            ("127.0.0.1:50052", true),
            ("localhost:50052", true),
            ("LocalHost:50052", true),
            ("[::1]:50052", true),
            ("localhost", false),
            ("localhost:50053", false),
            ("evil.example:50052", false),
            ("127.0.0.1.evil.example:50052", false),
            ("", false),
        ] {
            let headers = [("host", host), ("authorization", bearer.as_str())];
            let expected = if ours { Ok(()) } else { Err(Denied::Host) };
            assert_eq!(check(&access, Peer::SameUser, &headers), expected, "{host:?}");
        }
        let mut both = [("host", "localhost:50052"), ("host", "evil.example")];
        assert_eq!(check(&access, Peer::SameUser, &both), Err(Denied::Host));
        both.reverse();
        assert_eq!(check(&access, Peer::SameUser, &both), Err(Denied::Host), "the last one does not make up for it");
        for (authority, ours) in [("localhost:50052", true), ("evil.example", false)] {
            let request = Request::get(format!("http://{authority}/healthz")).header("host", "localhost:50052");
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let answer = checked(&access, Peer::SameUser, &parts).map(drop);
            assert_eq!(answer, if ours { Ok(()) } else { Err(Denied::Host) }, ":authority {authority}");
        }
    }

    #[test]
    fn a_request_without_any_host_is_denied() {
        let (parts, ()) = Request::get("/healthz").body(()).unwrap().into_parts();
        let access = Access::new(Grants::default()).unwrap();
        assert_eq!(checked(&access, Peer::SameUser, &parts).unwrap_err(), Denied::Host);
    }

    #[test]
    fn whose_process_it_is_is_asked_where_no_token_says_enough() {
        let access = Access::new(Grants::default()).unwrap();
        let local = "127.0.0.1:50052".parse().unwrap();
        let asks = |token: Option<&str>| {
            let mut request = Request::get("/healthz").header("host", "127.0.0.1:50052");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            access.check(local, std::future::pending(), &parts).now_or_never().is_none()
        };
        let session = access.admit(Some(EXTENSION.to_owned()), None).unwrap();
        assert!(!asks(Some(session.token().as_str())));
        assert!(!asks(Some(access.user_token().as_str())));
        assert!(asks(None));
        assert!(asks(Some("hf_abcdef")));
    }

    #[test]
    fn a_browser_needs_a_token_even_on_the_same_user() {
        let access = Access::new(Grants::default()).unwrap();
        let session = access.admit(Some(EXTENSION.to_owned()), None).unwrap();
        let bearer = format!("bearer {}", session.token().as_str());
        let denied = Err(Denied::Caller);
        let case = |headers: &[(&str, &str)]| check(&access, Peer::SameUser, headers);
        assert_eq!(case(&[("sec-fetch-site", "none")]), denied);
        assert_eq!(case(&[("sec-fetch-mode", "cors")]), denied);
        assert_eq!(case(&[("origin", EXTENSION)]), denied);
        assert_eq!(case(&[("sec-fetch-site", "none"), ("authorization", &bearer)]), Ok(()));
        assert_eq!(case(&[("origin", EXTENSION), ("authorization", &bearer)]), Ok(()));
    }

    #[test]
    fn an_origin_is_a_connected_extensions_even_with_a_token() {
        let access = Access::new(Grants::default()).unwrap();
        let session = access.admit(Some(EXTENSION.to_owned()), None).unwrap();
        let bearer = format!("Bearer {}", session.token().as_str());
        let with = |origin: &str| {
            let headers = [("origin", origin), ("authorization", bearer.as_str())];
            check(&access, Peer::SameUser, &headers)
        };
        assert_eq!(with(EXTENSION), Ok(()));
        for origin in ["https://evil.example", "null", "", &format!("{EXTENSION}/"), "http://127.0.0.1:50052"] {
            assert_eq!(with(origin), Err(Denied::Origin), "{origin:?}");
        }
        let two = [("origin", EXTENSION), ("origin", "https://evil.example"), ("authorization", bearer.as_str())];
        assert_eq!(check(&access, Peer::SameUser, &two), Err(Denied::Origin), "a second one");
    }

    #[test]
    fn a_firefox_extensions_origin_is_that_of_the_first_request_with_its_token() {
        const ORIGIN: &str = "moz-extension://b9db16a4-6edc-47ec-a1f4-b86292ed211d";
        let access = Access::new(Grants::default()).unwrap();
        let chromium = access.admit(Some(EXTENSION.to_owned()), None).unwrap();
        let firefox = access.admit_firefox(None).unwrap();
        let with = |origin: &str, token: &str| {
            let bearer = format!("Bearer {token}");
            check(&access, Peer::SameUser, &[("origin", origin), ("authorization", bearer.as_str())])
        };
        let token = firefox.token().as_str().to_owned();
        let other = ORIGIN.replace("b9", "c9");
        assert_eq!(check(&access, Peer::SameUser, &[("origin", ORIGIN)]), Err(Denied::Origin), "without a token");
        assert_eq!(with(ORIGIN, chromium.token().as_str()), Err(Denied::Origin), "a Chromium session's");
        assert_eq!(with(ORIGIN, access.user_token().as_str()), Err(Denied::Origin), "the user's");
        let program = access.admit(None, None).unwrap();
        assert_eq!(with(ORIGIN, program.token().as_str()), Err(Denied::Origin), "a program's, which has no origin");
        assert_eq!(with("https://evil.example", &token), Err(Denied::Origin), "a page");
        assert_eq!(with(ORIGIN, &token), Ok(()));
        assert_eq!(with(ORIGIN, &token), Ok(()));
        assert_eq!(with(&other, &token), Err(Denied::Origin), "another profile's");
        drop(firefox);
        assert_eq!(with(ORIGIN, &token), Err(Denied::Origin), "its session is over");
    }

    #[test]
    fn tokens_end_with_their_session() {
        let access = Access::new(Grants::default()).unwrap();
        let (one, two) = (access.admit(None, None).unwrap(), access.admit(None, None).unwrap());
        let with = |token: &str| {
            let bearer = format!("Bearer {token}");
            check(&access, Peer::OtherUser, &[("authorization", &bearer)])
        };
        let old = one.token().as_str().to_owned();
        assert_eq!(with(&old), Ok(()));
        drop(one);
        assert_eq!(with(&old), Err(Denied::Caller));
        assert_eq!(with(two.token().as_str()), Ok(()));
        for wrong in ["", "x", &"0".repeat(64), &two.token().as_str()[1..]] {
            assert_eq!(with(wrong), Err(Denied::Caller), "{wrong:?}");
        }
    }

    #[test]
    fn a_sockets_token_comes_in_a_subprotocol() {
        let access = Access::new(Grants::default()).unwrap();
        let session = access.admit(Some(EXTENSION.to_owned()), None).unwrap();
        let other = access.admit(Some(EXTENSION.replace('a', "b")), None).unwrap();
        let offered = format!("framehost,framehost.token.{}", session.token().as_str());
        let headers = [("origin", EXTENSION), ("sec-websocket-protocol", offered.as_str())];
        assert_eq!(check(&access, Peer::SameUser, &headers), Ok(()));
        let found = |origin: &str, offered: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered.parse().unwrap());
            access.session(&headers)
        };
        assert_eq!(found(EXTENSION, &offered).unwrap().map(|session| session.id), Some(session.id()));
        assert!(found(&EXTENSION.replace('a', "b"), &offered).is_err(), "another extension's origin");
        assert!(found(EXTENSION, &offered.replace("framehost.token.", "")).unwrap().is_none());
        let foreign = format!("framehost, framehost.token.{}", access.user_token().as_str());
        assert!(found(EXTENSION, &foreign).unwrap().is_none(), "the user's token is no session's");

        let open = found(EXTENSION, &offered).unwrap().unwrap();
        session.close_sockets();
        assert!(open.over.is_cancelled());
        let open = found(EXTENSION, &offered).unwrap().unwrap();
        assert!(!open.over.is_cancelled());
        drop(session);
        assert!(open.over.is_cancelled());
        assert!(found(EXTENSION, &offered).unwrap().is_none());
        drop(other);
    }

    #[test]
    fn a_foreign_bearer_from_an_accepted_peer_is_ignored() {
        let access = Access::new(Grants::default()).unwrap();
        let headers = [("authorization", "Bearer hf_abcdef")];
        assert_eq!(check(&access, Peer::SameUser, &headers), Ok(()));
        assert_eq!(check(&access, Peer::Unknown, &headers), Err(Denied::Caller));
    }
}
