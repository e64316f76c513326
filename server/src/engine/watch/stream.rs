//! Following an operation: every watcher reads the journal with its own cursor; NOTIFY only wakes it up.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use model::{
    event::{Event, EventKind},
    fault::{Fault, Reason},
};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::{
    engine::{
        Engine,
        operation::registry::{Ear, Ephemeral},
    },
    postgres::control::{journal, operations},
};

/// How often the journal is looked at without news.
const LOOK: Duration = Duration::from_secs(2);
/// How often a quiet stream says that the operation goes on.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a watcher may take for what is left when the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Events read at a time.
const BATCH: i64 = 200;
/// How long the journal may take to answer.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// How long a watcher may take no event before its stream is closed; it can attach again where it was.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// Events that wait for a slow watcher; the rest waits in the journal.
const BUFFER: usize = 64;

/// The events of one operation, from some sequence to its end.
pub(crate) type EventStream = ReceiverStream<Result<Event, Fault>>;

impl Engine {
    /// Follows an operation from `start` (0 and 1 are the beginning) to its end, and ends after the terminal event. Who
    /// starts beyond the end gets the terminal event again.
    pub(crate) fn watch(self: &Arc<Self>, operation: Uuid, start: u64) -> EventStream {
        let (sender, receiver) = mpsc::channel(BUFFER);
        let watcher = Watcher {
            news: self.wakeups.subscribe(operation),
            ear: self.live.watch(operation),
            engine: Arc::clone(self),
            operation,
            early: None,
            cursor: start.max(1),
            sender,
        };
        self.background.spawn(watcher.follow());
        ReceiverStream::new(receiver)
    }
}

struct Watcher {
    engine: Arc<Engine>,
    operation: Uuid,
    cursor: u64,
    news: tokio::sync::watch::Receiver<()>,
    ear: Option<Ear>,
    /// An ephemeral event whose turn comes after stored ones that were not read yet.
    early: Option<Ephemeral>,
    sender: mpsc::Sender<Result<Event, Fault>>,
}

impl Watcher {
    async fn follow(mut self) {
        let end = self.engine.ended().clone();
        let failed = tokio::select! {
            () = end.cancelled() => None,
            failed = self.send_all() => Some(failed),
        };
        match failed {
            Some(Some(fault)) => {
                // Sending fails only when the watcher is gone.
                let _gone = self.sender.send(Err(fault)).await;
            }
            Some(None) => {}
            // The daemon ends; an operation that ended with it is still told, if the watcher keeps up.
            None => {
                let _late = tokio::time::timeout(LAST_WORDS, self.catch_up()).await;
            }
        }
    }

    /// `None` after the terminal event, or when the watcher went away.
    async fn send_all(&mut self) -> Option<Fault> {
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        loop {
            match self.catch_up().await {
                Ok(true) => return None,
                Ok(false) => {}
                Err(fault) => return Some(fault),
            }
            // What is stored was sent; nothing more comes for a while.
            if let Some(fault) = self.ear.as_ref().and_then(|ear| ear.unrecorded.borrow().clone()) {
                return Some(fault);
            }
            if !self.wait(&mut beat).await {
                return None;
            }
        }
    }

    /// Sends everything stored since the cursor; `true` when the stream is over.
    async fn catch_up(&mut self) -> Result<bool, Fault> {
        loop {
            let events = self.read().await?;
            if events.is_empty() {
                return self.over().await;
            }
            for event in events {
                let terminal = event.kind.is_terminal();
                self.cursor = event.sequence + 1;
                let sent = self.sender.send_timeout(Ok(event), STALL_LIMIT).await;
                if let Err(mpsc::error::SendTimeoutError::Timeout(_)) = sent {
                    tracing::info!(operation = %self.operation, "a watcher that takes nothing is closed");
                }
                if sent.is_err() || terminal {
                    return Ok(true);
                }
            }
        }
    }

    /// A control database that says nothing ends the stream; its watcher can attach again where it was.
    async fn read(&self) -> Result<Vec<Event>, Fault> {
        let read = journal::read(&self.engine.control.pool, self.operation, self.cursor, BATCH);
        Ok(tokio::time::timeout(READ_LIMIT, read).await.unwrap_or_else(|_| {
            Err(Fault::new(Reason::ControlUnavailable, "the control database says nothing").into())
        })?)
    }

    /// Nothing is stored from the cursor on: either it comes yet, or the cursor is beyond the end.
    async fn over(&mut self) -> Result<bool, Fault> {
        let operation = operations::get(&self.engine.control.pool, self.operation).await?;
        let Some(operation) = operation else {
            return Err(Fault::new(
                Reason::OperationNotFound,
                format!("there is no operation {}", self.operation),
            )
            .hint("`resetctl operations list` shows them")
            .with("operation", self.operation));
        };
        if operation.end.is_some() && self.cursor > operation.last_sequence {
            self.cursor = operation.last_sequence;
            return Box::pin(self.catch_up()).await;
        }
        Ok(false)
    }

    /// Waits for news, passing ephemeral events on; `false` when the watcher went away.
    async fn wait(&mut self, beat: &mut tokio::time::Interval) -> bool {
        if let Some((_, event)) = self.early.take() {
            let _full = self.sender.try_send(Ok(event));
        }
        let look = tokio::time::sleep(LOOK);
        tokio::pin!(look);
        loop {
            let heard = async {
                match &mut self.ear {
                    Some(ear) => tokio::select! {
                        told = ear.ephemeral.recv() => Some(told),
                        Ok(()) = ear.unrecorded.changed() => None,
                    },
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                () = self.sender.closed() => return false,
                () = &mut look => return true,
                changed = self.news.changed() => {
                    if changed.is_err() {
                        self.news = self.engine.wakeups.subscribe(self.operation);
                    }
                    return true;
                }
                told = heard => match told {
                    None => return true,
                    Some(Ok((after, event))) if after < self.cursor => event,
                    Some(Ok(early)) => {
                        self.early = Some(early);
                        return true;
                    }
                    Some(Err(broadcast::error::RecvError::Lagged(_))) => continue,
                    Some(Err(broadcast::error::RecvError::Closed)) => {
                        self.ear = None;
                        continue;
                    }
                },
                _ = beat.tick() => Event {
                    sequence: 0,
                    operation: self.operation,
                    at: Timestamp::now(),
                    kind: EventKind::Heartbeat,
                },
            };
            // An ephemeral event may be dropped: a watcher that does not keep up does not get it.
            let _full = self.sender.try_send(Ok(event));
        }
    }
}
