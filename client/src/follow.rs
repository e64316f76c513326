//! Follows an operation across broken connections: the same request is sent again until the first event is seen, after
//! that the client re-attaches where it was.
//!
//! It runs as its own task, so that a signal never interrupts it half-way; it must not print.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use model::fault::{Fault, Reason};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;
use uuid::Uuid;
use wire::{Received, v1};

use crate::{
    backoff::Backoff,
    connection::{self, Channel, Connection},
    sequence::{Sequence, Verdict},
    status::{Trouble, normalise},
};

/// What the follower tells.
#[derive(Debug)]
pub(crate) enum Step {
    /// An event, in order and once.
    Event(Box<Received>),
    /// Contact is lost; it tries to re-attach. Said once per loss.
    Lost(Fault),
    /// Attached again.
    Attached,
    /// The last step: the call was refused, or there was never contact.
    Failed(Fault),
    /// The last step: contact was not found again in time.
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
pub(crate) fn follow(connection: Connection, start: Start, patience: Duration) -> mpsc::Receiver<Step> {
    let (steps, receiver) = mpsc::channel(1_024);
    let (operation, sequence) = match &start {
        Start::Request(_) => (None, Sequence::default()),
        Start::Watch { operation, from } => (Some(*operation), Sequence::starting_at(*from)),
    };
    let follower = Follower {
        connection,
        start,
        patience,
        steps,
        operation,
        sequence,
        contacted: false,
        lost_since: None,
    };
    tokio::spawn(follower.run());
    receiver
}

type Events = Pin<Box<dyn Stream<Item = Result<Option<v1::OperationEvent>, Status>> + Send>>;

struct Follower {
    connection: Connection,
    start: Start,
    patience: Duration,
    steps: mpsc::Sender<Step>,
    operation: Option<Uuid>,
    sequence: Sequence,
    contacted: bool,
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
            let left = self.patience.saturating_sub(since.elapsed());
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
        let tried = model::duration::format_duration(self.patience);
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
        let channel = match self.connection.open().await {
            Ok(channel) => channel,
            Err(fault) if self.contacted => return Attempt::Broken(fault),
            Err(fault) => return self.over(fault).await,
        };
        let first = !std::mem::replace(&mut self.contacted, true);
        let mut events = match self.call(channel).await {
            Ok(events) => events,
            Err(status) => return self.judge(normalise(&status), first).await,
        };
        while let Some(item) = events.next().await {
            let event = match item {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(status) => {
                    let first = first && self.operation.is_none();
                    return self.judge(normalise(&status), first).await;
                }
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
        Attempt::Broken(Trouble::lost("the stream ended before the operation did").fault)
    }

    /// A daemon that says on the very first call that it cannot serve is taken at its word; later it is waited for.
    async fn judge(&self, trouble: Trouble, first: bool) -> Attempt {
        match trouble.retryable && !(first && trouble.from_daemon) {
            true => Attempt::Broken(trouble.fault),
            false => self.over(trouble.fault).await,
        }
    }

    async fn over(&self, fault: Fault) -> Attempt {
        self.send(Step::Failed(fault)).await;
        Attempt::Over
    }

    /// Passes an event on; true after the last one.
    async fn take(&mut self, event: v1::OperationEvent) -> Result<bool, Attempt> {
        let event = match wire::decode_event(event) {
            Ok(event) => event,
            Err(error) => {
                let fault =
                    Fault::new(Reason::Internal, format!("the daemon sent an unreadable event: {error}"));
                return Err(self.over(fault).await);
            }
        };
        match self.sequence.accept(event.sequence) {
            Verdict::Repeated => return Ok(false),
            Verdict::Gap => {
                let (wanted, got) = (self.sequence.wanted(), event.sequence);
                return Err(Attempt::Broken(
                    Trouble::lost(format!("event {wanted} is missing before {got}")).fault,
                ));
            }
            Verdict::Next => {}
        }
        self.operation = Some(event.operation);
        if self.lost_since.take().is_some() {
            self.send(Step::Attached).await;
        }
        let last = event.exit_code.is_some();
        self.send(Step::Event(Box::new(event))).await;
        Ok(last)
    }

    async fn call(&self, channel: Channel) -> Result<Events, Status> {
        let mut client = connection::operations(channel);
        if let Some(operation) = self.operation {
            let request = v1::WatchOperationRequest {
                operation: operation.to_string(),
                start_sequence: self.sequence.wanted(),
            };
            let stream = client.watch_operation(request).await?.into_inner();
            return Ok(Box::pin(stream.map(|item| item.map(|it| it.event))));
        }
        let Start::Request(request) = self.start.clone() else {
            return Err(Status::internal("a watch always names its operation"));
        };
        Ok(match *request {
            wire::Request::Reset(it) => {
                Box::pin(client.reset(it).await?.into_inner().map(|i| i.map(|it| it.event)))
            }
            wire::Request::Run(it) => {
                Box::pin(client.run(it).await?.into_inner().map(|i| i.map(|it| it.event)))
            }
            wire::Request::Undo(it) => {
                Box::pin(client.undo(it).await?.into_inner().map(|i| i.map(|it| it.event)))
            }
            wire::Request::Migrate(it) => {
                Box::pin(client.migrate(it).await?.into_inner().map(|i| i.map(|it| it.event)))
            }
            wire::Request::Validate(it) => {
                Box::pin(client.validate(it).await?.into_inner().map(|i| i.map(|it| it.event)))
            }
        })
    }
}
