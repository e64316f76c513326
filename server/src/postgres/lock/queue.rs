//! The queue of a target: who may begin on a target, decided as one from its windows, from who came before, and from its lock.
//!
//! Tickets are given in the order of coming, across daemons. A waiter is passed over only while a window keeps it out,
//! or when the session that waits is gone.

use std::time::Duration;

use model::{
    event::{EventKind, Queued},
    fault::{Fault, Reason},
    lock::Holder,
    operation::Wait,
    window::Verdict,
};
use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use super::lease::LockSession;
use crate::postgres::{
    control::{
        journal,
        keys::{self, Bound},
        operations::{self, NewOperation},
        pool::Control,
        ticket::Ticket,
    },
    session::{advisory::pg_locks_row, failpoint, interrupt::Interrupt},
    sql::error::ControlError,
};

/// How often who is next looks without news, and how often the others do.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How often a place that stays the same is told again, for watchers that came later.
const TELL: Duration = Duration::from_secs(5);

/// How an operation that may begin is written down.
pub(crate) enum Entry<'a> {
    /// It is recorded for the first time, with these events.
    New(NewOperation<'a>, Vec<EventKind>),
    /// It waited.
    Waiting,
}

/// What came of trying to begin.
pub(crate) enum QueueOutcome {
    /// It holds the lock and runs.
    Granted,
    /// The same request was recorded by somebody else meanwhile.
    Joined,
    /// Not now.
    Not(Box<QueuePosition>),
}

/// Where a ticket stands in the queue.
#[derive(Clone, Debug)]
pub(crate) struct QueuePosition {
    /// Those that came before.
    pub(crate) before: u32,
    /// Those of them that stand in its way: windows let them begin now.
    pub(crate) next: u32,
    /// The lock is not to be had.
    held: bool,
    /// Nothing can be decided: somebody has the queue lock and keeps it.
    pub(crate) queue_held_by: Option<Holder>,
    pub(crate) verdict: Verdict,
}

impl QueuePosition {
    /// Nothing but the lock stands in the way.
    pub(crate) fn is_next(&self) -> bool {
        self.next == 0 && matches!(self.verdict, Verdict::Free(_))
    }
}

/// Tries to begin: looks, and takes the lock where nothing stands in the way, as one decision.
///
/// # Errors
/// The control database does not answer; the operation was cancelled meanwhile.
pub(crate) async fn take(
    lock: &LockSession,
    ticket: &Ticket,
    entry: Entry<'_>,
    bound: Bound<'_>,
) -> Result<QueueOutcome, ControlError> {
    let mut connection = lock.connection().await;
    // Most looks end here, without the queue lock.
    let place = look(&mut connection, lock, ticket).await?;
    if !place.is_next() || place.held {
        return Ok(QueueOutcome::Not(Box::new(place)));
    }
    let mut within = connection.begin().await?;
    let taken = match keys::lock_queue(&mut within, &ticket.database, bound).await? {
        Some(holder) => QueueOutcome::Not(Box::new(QueuePosition { queue_held_by: Some(holder), ..place })),
        None => take_within(&mut within, lock, ticket, entry).await?,
    };
    match taken {
        // Given back at once: the queue lock is another's, and a rollback that waits for the next statement would keep it.
        QueueOutcome::Not(_) | QueueOutcome::Joined => within.rollback().await?,
        QueueOutcome::Granted => {
            within.commit().await?;
            failpoint::point(ticket.owner.operation, "recorded").await;
        }
    }
    Ok(taken)
}

async fn take_within(
    within: &mut PgConnection,
    lock: &LockSession,
    ticket: &Ticket,
    entry: Entry<'_>,
) -> Result<QueueOutcome, ControlError> {
    let place = look(within, lock, ticket).await?;
    if !place.is_next() || !lock.try_lock_on(within).await? {
        return Ok(QueueOutcome::Not(Box::new(place)));
    }
    match entry {
        Entry::New(new, events) => {
            let new = NewOperation { lock_pid: Some(lock.pid), ..new };
            if !operations::insert(within, &new).await? {
                return Ok(QueueOutcome::Joined);
            }
            for event in events {
                journal::append(within, ticket.owner, event).await?;
            }
        }
        Entry::Waiting => operations::start(within, ticket.owner, lock.pid).await?,
    }
    Ok(QueueOutcome::Granted)
}

/// A waiter that may begin by its windows: a live one, as far as its session shows.
macro_rules! may_begin {
    () => {
        "(o.reads_only OR (
            NOT EXISTS (SELECT FROM resetd.reset_window w JOIN resetd.target t ON t.id = w.target_id
                         WHERE t.database = o.database AND w.released_at IS NULL
                           AND w.period @> clock_timestamp() AND w.principal <> o.principal)
            AND (NOT o.needs_window
                 OR EXISTS (SELECT FROM resetd.reset_window w JOIN resetd.target t ON t.id = w.target_id
                             WHERE t.database = o.database AND w.released_at IS NULL
                               AND w.period @> clock_timestamp() AND w.principal = o.principal))))"
    };
}

async fn look(
    connection: &mut PgConnection,
    lock: &LockSession,
    ticket: &Ticket,
) -> Result<QueuePosition, ControlError> {
    let (high, low) = lock.key.halves();
    let (before, next, held): (i64, i64, bool) = sqlx::query_as(concat!(
        "SELECT count(*), count(*) FILTER (WHERE ($3 IS FALSE OR NOT o.reads_only) AND ",
        may_begin!(),
        "), EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE ",
        pg_locks_row!("l", "$4", "$5", "$6"),
        " AND l.granted AND ($3 IS FALSE OR l.mode = 'ExclusiveLock'))
           FROM resetd.operation o
          WHERE o.database = $1 AND o.state = 'waiting' AND o.cancel_requested_at IS NULL
            AND o.ticket < coalesce((SELECT s.ticket FROM resetd.operation s WHERE s.id = $2), 9223372036854775807)
            AND ((o.waiter_pid IS NULL AND o.created_at > clock_timestamp() - interval '10 seconds')
                 OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                             WHERE a.pid = o.waiter_pid AND a.datname = pg_catalog.current_database()))"
    ))
    .bind(&ticket.database)
    .bind(ticket.owner.operation)
    .bind(ticket.shared)
    .bind(i64::from(lock.database_oid))
    .bind(high)
    .bind(low)
    .fetch_one(&mut *connection)
    .await?;
    let verdict = match &ticket.window_guard {
        Some(window_guard) => window_guard.standing(&mut *connection).await?.verdict,
        None => Verdict::Free(None),
    };
    let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(QueuePosition { before: count(before), next: count(next), held, queue_held_by: None, verdict })
}

/// What a waiter is made of.
pub(crate) struct Waiter<'a> {
    pub(crate) control: &'a Control,
    pub(crate) lock: &'a LockSession,
    pub(crate) ticket: &'a Ticket,
    pub(crate) wait: Wait,
    pub(crate) interrupt: &'a Interrupt,
    /// Changes when something about a target did.
    pub(crate) news: tokio::sync::watch::Receiver<()>,
    /// Where its place is told.
    pub(crate) tell: &'a (dyn Fn(Queued) + Send + Sync),
    /// Whether somebody watches it.
    pub(crate) watched: &'a (dyn Fn() -> bool + Send + Sync),
    /// How long it keeps its place while nobody does; `None`: for ever.
    pub(crate) bound: Option<Duration>,
}

impl Waiter<'_> {
    /// Waits until it is granted, and then runs.
    ///
    /// # Errors
    /// `WAIT_EXPIRED`, `WINDOW_REQUIRED`, `LOCK_LOST`, the interrupt's reason, or the control database does not answer.
    pub(crate) async fn wait(mut self) -> Result<(), ControlError> {
        let interrupt = self.interrupt.clone();
        tokio::select! {
            biased;
            why = interrupt.raised() => Err(why.into()),
            waited = self.queue() => match waited {
                Err(fault) if fault.is_unavailable() => {
                    Err(self.lock.lost().await.unwrap_or(fault.into()).into())
                }
                waited => waited,
            },
        }
    }

    async fn queue(&mut self) -> Result<(), ControlError> {
        self.enter().await?;
        let (began, mut watched) = (Instant::now(), Instant::now());
        let mut told: Option<(Queued, Instant)> = None;
        loop {
            let bound = Bound { limit: LOOK.1, interrupt: Some(self.interrupt) };
            let QueueOutcome::Not(place) = take(self.lock, self.ticket, Entry::Waiting, bound).await? else {
                return Ok(());
            };
            if let (false, Some(window_guard)) = (place.verdict.passes(), &self.ticket.window_guard)
                && let Some(refusal) = window_guard.refusal(&place.verdict)
            {
                return Err(refusal.into());
            }
            if let Wait::AtMost(limit) = self.wait
                && began.elapsed() >= limit
            {
                return Err(self.expired(&place).await.into());
            }
            if (self.watched)() {
                watched = Instant::now();
            }
            if self.bound.is_some_and(|bound| watched.elapsed() >= bound) {
                return Err(self.unwatched().into());
            }
            self.tell_place(&place, &mut told).await;
            self.pause(&place, began).await;
        }
    }

    /// Whoever holds the operation's own key lives.
    async fn enter(&self) -> Result<(), ControlError> {
        let mut connection = self.lock.connection().await;
        self.lock.lock_operation(&mut connection).await?;
        sqlx::query("UPDATE resetd.operation SET waiter_pid = $3 WHERE id = $1 AND instance = $2")
            .bind(self.ticket.owner.operation)
            .bind(self.ticket.owner.instance)
            .bind(self.lock.pid)
            .execute(&mut *connection)
            .await?;
        Ok(())
    }

    async fn pause(&mut self, place: &QueuePosition, began: Instant) {
        let look = if place.is_next() { LOOK.0 } else { LOOK.1 };
        let left = match self.wait {
            Wait::AtMost(limit) => limit.saturating_sub(began.elapsed()),
            _ => look,
        };
        tokio::select! {
            () = tokio::time::sleep(look.min(left)) => {}
            changed = self.news.changed() => {
                if changed.is_err() {
                    tokio::time::sleep(look).await;
                }
            }
        }
    }

    async fn tell_place(&self, place: &QueuePosition, told: &mut Option<(Queued, Instant)>) {
        let holder = self.holder(place).await;
        let window = place.verdict.in_the_way().cloned();
        let queued = Queued { position: place.before, holder, window };
        let again = told.as_ref().is_none_or(|(last, at)| *last != queued || at.elapsed() >= TELL);
        if again {
            (self.tell)(queued.clone());
            *told = Some((queued, Instant::now()));
        }
    }

    async fn holder(&self, place: &QueuePosition) -> Option<Holder> {
        if place.queue_held_by.is_some() {
            return place.queue_held_by.clone();
        }
        let looked = keys::holder(&self.control.pool, self.lock.key).await;
        looked
            .inspect_err(|fault| tracing::debug!(%fault, "the holder could not be looked up"))
            .ok()
            .flatten()
    }

    async fn expired(&self, place: &QueuePosition) -> Fault {
        let held = match (place.verdict.in_the_way(), self.holder(place).await) {
            (Some(window), _) => format!(": it is reserved by {}", window.phrase()),
            (None, Some(holder)) => format!(": it is locked by {}", holder.phrase()),
            (None, None) => String::new(),
        };
        Fault::new(Reason::WaitExpired, format!("the target did not come free in the time given{held}"))
            .hint("wait longer with --wait=DURATION, or ask the holder")
    }

    fn unwatched(&self) -> Fault {
        let bound = model::duration::format_duration(self.bound.unwrap_or_default());
        Fault::new(Reason::WaitExpired, format!("nobody watched the operation for {bound} while it waited"))
            .hint("it lost its place; run it again, with --detach where nobody means to watch")
            .with("unwatched_wait_limit", bound)
    }
}
