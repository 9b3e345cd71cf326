//! `/v1/streams/{id}?role=publish|subscribe`: a stream's pictures over a WebSocket.
//!
//! Belongs here: the handshake, what a socket may be opened for, messages in and out.
//! Does not belong here: credits and validation (`streams::Intake`), queues and wishes (`streams`), tokens (`access`).
//!
//! Invariants:
//! - A socket belongs to the session whose token opened it, and ends with it.
//! - Nobody who does not read or write keeps a place: every wait for the peer has its limit.
//! - A message over its limit is refused before memory is taken for it.
//!
//! Data path: upgrade -> `Intake::publish`, or `Subscription::next_event` -> `packet::encode` -> the browser.

mod handshake;
mod publish;
mod socket;
mod subscribe;

use http::{Response, StatusCode, request::Parts};
use hyper::upgrade::OnUpgrade;
use tonic::body::Body;

use self::{handshake::Refused, socket::Socket, subscribe::SubscribeQuery};
use super::{Connection, Service};
use crate::{
    access::{Asker, Scope},
    streams::{Queue, StreamId, SubscribeOptions},
};

/// Where streams are.
const PATH: &str = "/v1/streams/";

/// Longest message of a subscriber, in bytes: it has nothing to say.
const MAX_SUBSCRIBER_BYTES: usize = 4096;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Publish,
    Subscribe,
}

/// Answers a request; `None` if it is for something else. What the socket does is left with the connection, which goes
/// on with it.
pub(super) fn answer(
    service: &Service,
    connection: &Connection,
    asker: &Asker,
    parts: &mut Parts,
) -> Option<Response<Body>> {
    let id = parts.uri.path().strip_prefix(PATH)?.to_owned();
    Some(open(service, connection, asker, parts, &id).unwrap_or_else(Refused::into_response))
}

fn open(
    service: &Service,
    connection: &Connection,
    asker: &Asker,
    parts: &mut Parts,
    id: &str,
) -> Result<Response<Body>, Refused> {
    let accepted = handshake::accept(parts)?;
    let id = StreamId::parse(id)?;
    let query = parts.uri.query().unwrap_or_default();
    let (role, subscribe) = read_query(query)?;
    let Asker::Session(session) = asker.clone() else {
        return Err(Refused::no_session());
    };
    let extension = session.extension.as_deref();
    if !service.access.grants().allow(extension, Scope::Frames) {
        return Err(Refused::not_allowed(extension, Scope::Frames));
    }
    let place = session.sockets.clone().try_acquire_owned().map_err(|_| Refused::too_many())?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or_else(Refused::no_upgrade)?;
    match role {
        Role::Publish => {
            let intake = service.streams.intake(&id, session.id);
            let intake =
                intake.ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "this session has no such stream"))?;
            let grants = service.access.grants().clone();
            connection.go_on_with(async move {
                let Some(socket) = Socket::of(upgrade, publish::MAX_MESSAGE_BYTES).await else { return };
                publish::serve(socket, &intake, &session, &grants).await;
                drop(place);
            });
        }
        Role::Subscribe => {
            let (wish, sight) = (subscribe.wish()?, service.access.grants().sight(extension));
            let options = SubscribeOptions { wait: subscribe.wait, queue: Queue::Latest, wish, sight };
            let subscription = service.streams.subscribe(&id, options)?;
            let is_described = subscribe.describe;
            connection.go_on_with(async move {
                let Some(socket) = Socket::of(upgrade, MAX_SUBSCRIBER_BYTES).await else { return };
                subscribe::serve(socket, &subscription, is_described, &session.over).await;
                drop(place);
            });
        }
    }
    Ok(accepted)
}

/// Reads the query: a role, and how to subscribe.
fn read_query(query: &str) -> Result<(Role, SubscribeQuery), Refused> {
    let mut role = None;
    let mut subscribe = SubscribeQuery::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (name.as_ref(), value.as_ref()) {
            ("role", "publish") => role = Some(Role::Publish),
            ("role", "subscribe") => role = Some(Role::Subscribe),
            ("role", _) => role = None,
            (name, value) => subscribe.set(name, value)?,
        }
    }
    let role = role.ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "role is publish or subscribe"))?;
    Ok((role, subscribe))
}

#[cfg(test)]
mod tests;
