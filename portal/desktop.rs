//! The desktop portal: a session of its ScreenCast, from the question to the user to its end.

use std::os::fd::OwnedFd;

use ashpd::{
    Error,
    desktop::{
        PersistMode, ResponseError, Session,
        screencast::{CursorMode, Screencast, SelectSourcesOptions, SourceType, StartCastOptions},
    },
    zbus::{self, MatchRule, MessageStream, message},
};
use framehost::source::screen::portal::wire::{Order, Source, Word};
use tokio_stream::{Stream, StreamExt};

/// Restore tokens exist since this version of the interface.
const PERSIST_VERSION: u32 = 4;

/// Signals that may wait to be heard: one is sent.
const MAX_SIGNALS: usize = 4;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Denied(&'static str),
    #[error("{0}")]
    Missing(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Response(ResponseError::Cancelled) => Self::Denied("the user has refused"),
            Error::Response(ResponseError::Other) => {
                Self::Missing("the desktop's own part of the portal has failed".to_owned())
            }
            Error::Portal(ashpd::PortalError::NotAllowed(_) | ashpd::PortalError::Cancelled(_)) => {
                Self::Denied("the desktop does not allow it")
            }
            other => {
                Self::Missing(format!("{other} (is xdg-desktop-portal installed, with the desktop's own part of it?)"))
            }
        }
    }
}

impl From<zbus::Error> for Refusal {
    fn from(error: zbus::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<Refusal> for Word {
    fn from(refusal: Refusal) -> Self {
        let problem = refusal.to_string();
        match refusal {
            Refusal::Denied(_) => Self::Denied { problem },
            Refusal::Missing(_) => Self::Missing { problem },
        }
    }
}

/// The signal that a session of ours has ended: this program has one.
fn closed_rule() -> Result<MatchRule<'static>, zbus::Error> {
    Ok(MatchRule::builder()
        .msg_type(message::Type::Signal)
        .interface("org.freedesktop.portal.Session")?
        .member("Closed")?
        .build())
}

/// A screen or window that the user lets us see.
pub(crate) struct Cast {
    portal: Screencast,
    session: Session<Screencast>,
    node: u32,
    restore_token: Option<String>,
    /// Comes when the desktop ends it.
    ends: std::pin::Pin<Box<dyn Stream<Item = Word> + Send>>,
}

impl Cast {
    /// Asks the user, unless the order's token stands for an answer.
    pub(crate) async fn negotiate(order: &Order) -> Result<Self, Refusal> {
        let portal = Screencast::new().await?;
        let source = match order.source {
            Source::Screen => SourceType::Monitor,
            Source::Window => SourceType::Window,
        };
        let sources = portal.available_source_types().await? & source;
        if sources.is_empty() {
            return Err(Refusal::Missing(format!("this desktop's portal does not show a {:?}", order.source)));
        }
        let cursor = if order.cursor { CursorMode::Embedded } else { CursorMode::Hidden };
        if !portal.available_cursor_modes().await?.contains(cursor) {
            return Err(Refusal::Missing(format!("this desktop's portal has no cursor mode {cursor:?}")));
        }
        let session = portal.create_session(Default::default()).await?;
        // Before anything can end it.
        let closed = MessageStream::for_match_rule(closed_rule()?, portal.connection(), Some(MAX_SIGNALS)).await?;
        let closed = closed.map(|_| Word::Stopped { problem: "the desktop, or the user, has ended it".to_owned() });
        let owner = portal.receive_owner_changed().await?;
        let owner = owner.map(|_| Word::Lost { problem: "the desktop portal has gone".to_owned() });
        let ends = Box::pin(closed.merge(owner));
        let mut options = SelectSourcesOptions::default().set_cursor_mode(cursor).set_sources(sources);
        if portal.version() >= PERSIST_VERSION {
            options = options
                .set_persist_mode(PersistMode::ExplicitlyRevoked)
                .set_restore_token(order.restore_token.as_deref());
        }
        portal.select_sources(&session, options).await?.response()?;
        let started = portal.start(&session, None, StartCastOptions::default()).await?.response()?;
        let Some(stream) = started.streams().first() else {
            return Err(Refusal::Denied("nothing was chosen"));
        };
        let node = stream.pipe_wire_node_id();
        let restore_token = started.restore_token().map(str::to_owned);
        Ok(Self { portal, session, node, restore_token, ends })
    }

    /// What stands for the user's choice the next time, once.
    pub(crate) const fn take_restore_token(&mut self) -> Option<String> {
        self.restore_token.take()
    }

    /// The connection to PipeWire on which the choice is visible, and its node there.
    pub(crate) async fn open_remote(&self) -> Result<(OwnedFd, u32), Refusal> {
        let remote = self.portal.open_pipe_wire_remote(&self.session, Default::default()).await?;
        Ok((remote, self.node))
    }

    /// Returns when somebody else has ended it.
    pub(crate) async fn lost(&mut self) -> Word {
        let bus_has_gone = || Word::Lost { problem: "the session bus has gone".to_owned() };
        self.ends.next().await.unwrap_or_else(bus_has_gone)
    }

    /// Gives the screen back.
    pub(crate) async fn close(self) {
        // It may have been closed already.
        let _ = self.session.close().await;
    }
}
