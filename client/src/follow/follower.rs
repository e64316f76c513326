//! Follows an operation across broken connections: the same request is sent again until the first event is seen, after
//! that the client re-attaches where it was. From the moment on at which there may be an operation, only its last event ends
//! it; everything else ends no more than the following.
//!
//! It runs as its own task, so that a signal never interrupts it half-way; it must not print.

use std::time::{Duration, Instant};

use model::fault::{Fault, Reason};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use uuid::Uuid;
use wire::{Received, v1};

use super::sequence::{Arrival, Sequence};
use crate::api::{Api, Backoff, Events, Origin, RpcError};

/// What happens to an operation, or to the way to it.
#[derive(Debug)]
pub(crate) enum Step {
    /// An event, in order and once.
    Event(Box<Received>),
    /// Contact is lost; it tries to re-attach. Said once per loss.
    Lost(Fault),
    /// Attached again.
    Attached,
    /// The last step: the call was refused, or there was never contact. Nothing was started.
    Failed(Fault),
    /// The last step: contact was not found again in time, or the operation is not shown any more. What became of it is not
    /// known.
    GivenUp(Fault),
}

/// How the following begins.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// By a request that creates an operation or joins it.
    Request(Box<wire::Request>),
    /// At an operation's event.
    Watch {
        /// The operation.
        operation: Uuid,
        /// The first event wanted.
        from: u64,
    },
}

/// Begins to follow. The steps end after the last event, or with `Failed` or `GivenUp`.
pub(crate) fn follow(api: Api, start: Start, reconnect_timeout: Duration) -> mpsc::Receiver<Step> {
    let (steps, receiver) = mpsc::channel(1_024);
    let (operation, sequence) = match &start {
        Start::Request(_) => (None, Sequence::default()),
        Start::Watch { operation, from } => (Some(*operation), Sequence::starting_at(*from)),
    };
    let follower =
        Follower { api, start, reconnect_timeout, steps, operation, sequence, sent: false, lost_since: None };
    tokio::spawn(follower.run());
    receiver
}

struct Follower {
    api: Api,
    start: Start,
    reconnect_timeout: Duration,
    steps: mpsc::Sender<Step>,
    operation: Option<Uuid>,
    sequence: Sequence,
    /// A request was sent, and may have arrived.
    sent: bool,
    lost_since: Option<Instant>,
}

/// How one attempt ended.
enum Attempt {
    /// Nothing more is to be done.
    Over,
    /// The connection broke.
    Broken(Fault),
}

impl Follower {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let before = self.sequence.wanted();
            let fault = match self.attempt().await {
                Attempt::Over => return,
                Attempt::Broken(fault) => fault,
            };
            if self.sequence.wanted() > before {
                backoff = Backoff::default();
            }
            let said = self.lost_since.is_some();
            let since = *self.lost_since.get_or_insert_with(Instant::now);
            let left = self.reconnect_timeout.saturating_sub(since.elapsed());
            if left.is_zero() {
                return self.send(Step::GivenUp(self.given_up(&fault))).await;
            }
            if !said {
                self.send(Step::Lost(fault)).await;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause().min(left)) => {}
                () = self.steps.closed() => return,
            }
        }
    }

    fn given_up(&self, fault: &Fault) -> Fault {
        let tried = model::duration::format_duration(self.reconnect_timeout);
        Fault::new(
            Reason::ContactLost,
            format!("contact with the daemon was lost and not found again in {tried}: {}", fault.message),
        )
    }

    async fn send(&self, step: Step) {
        // Nobody listens any more: the client detached, and this task ends at its next pause.
        let _ = self.steps.send(step).await;
    }

    async fn attempt(&mut self) -> Attempt {
        // Something that was sent before may have become an operation: then no refusal of this attempt is its end.
        let may_exist = self.sent || self.operation.is_some();
        let called = self.call().await;
        self.sent |= !matches!(&called, Err(error) if error.origin == Origin::Connect);
        let mut events = match called {
            Ok(events) => events,
            Err(error) if !may_exist && refuses(&error) => return self.failed(error.fault).await,
            Err(error) => return self.interrupted(error).await,
        };
        while let Some(item) = events.next().await {
            let event = match item {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                // The stream was open: whatever closes it, the request was taken.
                Err(error) => return self.interrupted(error).await,
            };
            match self.take(event).await {
                Ok(false) => {}
                Ok(true) => return Attempt::Over,
                Err(attempt) => return attempt,
            }
            if self.steps.is_closed() {
                return Attempt::Over;
            }
        }
        Attempt::Broken(RpcError::lost("the stream ended before the operation did").fault)
    }

    /// Nothing was started.
    async fn failed(&self, fault: Fault) -> Attempt {
        self.send(Step::Failed(fault)).await;
        Attempt::Over
    }

    /// The operation may go on and is not seen any more: for now, or for good.
    async fn interrupted(&self, error: RpcError) -> Attempt {
        if error.retryable {
            return Attempt::Broken(error.fault);
        }
        let cause = error.fault;
        let what = match self.operation {
            Some(_) => "the operation cannot be watched any further, and its outcome is not known here",
            None => "the request may have become an operation, and its outcome is not known here",
        };
        let text = format!("{what}: {}: {}", cause.reason, cause.message);
        let fault = Fault::new(Reason::ContactLost, text).with("cause", cause.reason);
        self.send(Step::GivenUp(fault)).await;
        Attempt::Over
    }

    /// Passes an event on; true after the last one.
    async fn take(&mut self, event: v1::OperationEvent) -> Result<bool, Attempt> {
        let event = match wire::decode_event(event) {
            Ok(event) => event,
            Err(error) => {
                let fault =
                    Fault::new(Reason::Internal, format!("the daemon sent an unreadable event: {error}"));
                let error = RpcError { fault, origin: Origin::Daemon, retryable: false };
                return Err(self.interrupted(error).await);
            }
        };
        match self.sequence.accept(event.sequence) {
            Arrival::Repeated => return Ok(false),
            Arrival::Gap => {
                let (wanted, got) = (self.sequence.wanted(), event.sequence);
                return Err(Attempt::Broken(
                    RpcError::lost(format!("event {wanted} is missing before {got}")).fault,
                ));
            }
            Arrival::Next => {}
        }
        self.operation = Some(event.operation);
        if self.lost_since.take().is_some() {
            self.send(Step::Attached).await;
        }
        let last = event.exit_code.is_some();
        self.send(Step::Event(Box::new(event))).await;
        Ok(last)
    }

    async fn call(&self) -> Result<Events, RpcError> {
        match (self.operation, &self.start) {
            (Some(operation), _) | (None, &Start::Watch { operation, .. }) => {
                self.api.watch_operation(operation, self.sequence.wanted()).await
            }
            (None, Start::Request(request)) => self.api.start((**request).clone()).await,
        }
    }
}

/// Whether the answer to the first thing that was sent says that nothing was started: a daemon that refuses, also one that
/// cannot serve now, is taken at its word; there is no channel; or something on the way lets no such call through.
fn refuses(error: &RpcError) -> bool {
    match error.origin {
        Origin::Connect | Origin::Daemon => true,
        Origin::Transport => !error.retryable && error.fault.reason != Reason::Internal,
    }
}
