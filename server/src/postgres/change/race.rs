//! Races between a stalled owner and who takes its lock, with the real lock, fence and work session. For tests.

use std::time::Duration;

use model::fault::{Fault, Reason};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use super::{
    context::WorkContext,
    control_schema::{self, Site},
    transaction::Work,
};
use crate::{
    config::DatabaseUrl,
    postgres::{
        control::{journal::Owner, pool::Control, ticket::Ticket},
        lock::{
            fence,
            lease::{LeaseAttempt, LockSession},
        },
        session::{backend, connect, failpoint, interrupt::Interrupt},
        sql::error::work_fault,
    },
};

/// Takes the look at `pg_locks` away from every work session of this process, or gives it back: to see that the race is
/// found.
pub fn leave_locks_unchecked(unchecked: bool) {
    failpoint::leave_unchecked(unchecked);
}

/// A target with one counter, and the control database of its cluster.
#[derive(Clone)]
pub struct Race {
    control: Control,
    target: PgConnectOptions,
    database: String,
}

/// What came of one race.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ran {
    /// The stalled owner got through to its commit.
    pub committed: bool,
    /// It did so after the new owner had passed the fence: what must never be.
    pub late: bool,
}

impl Race {
    /// Makes the counter in the target and the control database beside it.
    ///
    /// # Errors
    /// One of them cannot be reached.
    pub async fn open(target: &DatabaseUrl, control: &str) -> Result<Self, Fault> {
        let options = target.connect_options();
        let site = Site {
            options: target.with_database(control).connect_options(),
            others: vec![target.database().to_owned()],
        };
        let control = control_schema::open(&site).await?;
        let it = Self { control, target: options, database: target.database().to_owned() };
        let mut connection = it.look().await?;
        sqlx::raw_sql("CREATE TABLE public.counter AS SELECT 0 AS n")
            .execute(&mut connection)
            .await
            .map_err(|e| work_fault("making the counter", &e))?;
        Ok(it)
    }

    /// One race: the owner stalls, its lock goes to another, and it wakes up at some moment of that.
    ///
    /// # Errors
    /// Something other than the race failed.
    pub async fn run(&self) -> Result<Ran, Fault> {
        let old = self.lock().await?;
        let (late, committed) = tokio::join!(self.take_over(old.pid), self.wake_up(&old));
        Ok(Ran { late: late?, committed })
    }

    async fn lock(&self) -> Result<LockSession, Fault> {
        let operation = Uuid::new_v4();
        let owner = Owner { operation, instance: Uuid::nil() };
        let name = model::lock::application_name(&self.database, operation, "race");
        let ticket = Ticket::exclusive(owner, &self.database, name);
        loop {
            if let LeaseAttempt::Granted(lock) = LockSession::attempt(&self.control, &ticket).await? {
                return Ok(lock);
            }
        }
    }

    async fn take_over(&self, pid: i32) -> Result<bool, Fault> {
        pause(30_000).await;
        backend::terminate(&self.control.pool, pid).await;
        let lock = self.lock().await?;
        fence::pass(&self.target, &lock).await?;
        let mut connection = self.look().await?;
        let before = count(&mut connection).await?;
        pause(30_000).await;
        let after = count(&mut connection).await?;
        lock.release().await;
        Ok(before != after)
    }

    /// Nobody tells it that its lock is gone: it was stalled, and goes on where it was.
    async fn wake_up(&self, old: &LockSession) -> bool {
        pause(40_000).await;
        let context = WorkContext {
            control: self.control.pool.clone(),
            interrupt: Interrupt::default(),
            patience: Duration::from_secs(5),
            tell: std::sync::Arc::new(|_| {}),
            backends: std::sync::Arc::default(),
            noticed: std::sync::Arc::default(),
        };
        let Ok(mut work) = Work::begin(&self.target, old, context).await else { return false };
        pause(4_000).await;
        let written = work.message("UPDATE public.counter SET n = n + 1").await.is_ok();
        // Long enough for a successor to come by, were there no fence.
        pause(40_000).await;
        written && work.commit().await.is_ok()
    }

    async fn look(&self) -> Result<PgConnection, Fault> {
        connect::open(&connect::options(&self.target, "resetd race", &[])).await
    }

    /// Ends what the races left open.
    ///
    /// # Errors
    /// The target cannot be reached.
    pub async fn close(self) -> Result<i64, Fault> {
        let mut connection = self.look().await?;
        let all = count(&mut connection).await?;
        connection.close().await.map_err(|e| work_fault("closing", &e))?;
        self.control.pool.close().await;
        Ok(all)
    }
}

async fn pause(most_us: u64) {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(0..most_us))).await;
}

async fn count(connection: &mut PgConnection) -> Result<i64, Fault> {
    let count: i32 = sqlx::query_scalar("SELECT n FROM public.counter")
        .fetch_one(connection)
        .await
        .map_err(|e| Fault::new(Reason::Internal, format!("the counter: {e}")))?;
    Ok(i64::from(count))
}
