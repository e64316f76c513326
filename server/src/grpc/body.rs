//! The bodies of a call: what is received is measured and has its time, and while an answer is told the call counts as open.
//! Must not know what is in them.

use std::{
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Frame, SizeHint};
use model::fault::{Fault, Reason};
use tokio::time::Sleep;
use tonic::{Status, body::Body};

use super::{
    connection::OpenCall,
    limits::{Counted, Held, REQUEST},
    status,
};

type Bytes = <Body as http_body::Body>::Data;
type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

/// A request as it arrives.
pub(super) struct Received {
    body: Body,
    held: Option<Arc<Held>>,
    until: Option<Pin<Box<Sleep>>>,
}

impl Received {
    /// A body with a limit of time, unless it may go on for ever.
    pub(super) fn wrap(body: Body, held: Option<Arc<Held>>, ends: bool) -> Body {
        let until = ends.then(|| Box::pin(tokio::time::sleep(REQUEST)));
        Body::new(Self { body, held, until })
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(context).is_ready()
        {
            let text = format!("the request did not arrive within {} s", REQUEST.as_secs());
            let fault =
                Fault::new(Reason::LimitExceeded, text).hint("send it again over a faster connection");
            return Poll::Ready(Some(Err(status(fault))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Some(held) = &self.held
            && let Err(fault) = held.more(data.len())
        {
            return Poll::Ready(Some(Err(status(fault))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer as it is told; a call is open until the last of it was taken, or nobody listens any more.
pub(super) struct Told {
    body: Body,
    _open: OpenCall,
    _counted: Option<Counted>,
}

impl Told {
    pub(super) fn wrap(response: Response<Body>, open: OpenCall, counted: Option<Counted>) -> Response<Body> {
        response.map(|body| Body::new(Self { body, _open: open, _counted: counted }))
    }
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
