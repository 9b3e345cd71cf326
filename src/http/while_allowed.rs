//! A body that ends when the session that it is for does, or when the user takes back what it needs.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use crate::access::{BearerSession, Grants, Scope};

struct WhileAllowed {
    inner: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// The same body for a session that may read models. It ends too short, so that nobody takes it for whole.
pub(super) fn body(inner: Body, session: BearerSession, grants: Grants) -> Body {
    let over = Box::pin(async move {
        tokio::select! {
            () = session.over.cancelled() => {}
            () = grants.revoked(session.extension.as_deref(), Scope::Models) => {}
        }
    });
    Body::new(WhileAllowed { inner, over })
}

impl HttpBody for WhileAllowed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(Status::permission_denied("permission_denied"))));
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
