//! Sessions that hold what decides about a target and are no operation: found, and ended.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    lock::{Holder, LockKey},
};
use tokio::time::Instant;

use crate::postgres::{
    control::pool::Control,
    session::advisory::this_database,
    sql::error::{ControlError, message},
};

/// How long an ended session may take to give back what it holds.
const GONE_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Who holds the lock of a database, or a key under which its queue is kept, and is no operation that has not ended.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn find(control: &Control, database: &str) -> Result<Vec<Holder>, ControlError> {
    // Every daemon has the keys of the queue for moments.
    let keys = [
        (LockKey::target(database), false),
        (LockKey::queue(database), true),
        (LockKey::waiters(), true),
        (LockKey::janitor(), true),
    ];
    let (high, low): (Vec<i64>, Vec<i64>) = keys.iter().map(|(key, _)| key.halves()).unzip();
    let rows: Vec<(i32, String, String)> = sqlx::query_as(concat!(
        "SELECT DISTINCT coalesce(l.pid, 0), coalesce(a.usename::pg_catalog.text, ''), coalesce(a.application_name, '')
           FROM unnest($1::pg_catalog.int8[], $2::pg_catalog.int8[], $3::pg_catalog.bool[]) k(high, low, momentary)
           JOIN pg_catalog.pg_locks l ON l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
            AND l.classid::pg_catalog.int8 = k.high AND l.objid::pg_catalog.int8 = k.low
            AND l.database::pg_catalog.int8 = ",
        this_database!(),
        " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
          WHERE NOT EXISTS (SELECT FROM resetd.operation o
                             WHERE o.state <> 'finished' AND l.pid IN (o.lock_pid, o.waiter_pid))
            AND NOT (k.momentary AND a.usename = current_user AND a.application_name LIKE 'resetd%')
          ORDER BY 1"
    ))
    .bind(high)
    .bind(low)
    .bind(keys.map(|(_, momentary)| momentary).to_vec())
    .fetch_all(&control.pool)
    .await?;
    let backend = |(pid, user, name): (i32, String, String)| Holder::backend(pid, user, name);
    Ok(rows.into_iter().map(backend).collect())
}

/// Ends them, and waits until none of them holds anything any more.
///
/// # Errors
/// `ZOMBIE_BACKEND`: one may not be ended, or does not end; the control database does not answer.
pub(crate) async fn end(control: &Control, database: &str, strangers: &[Holder]) -> Result<(), Fault> {
    for stranger in strangers {
        let ended = sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)")
            .bind(stranger.pid)
            .execute(&control.pool)
            .await;
        match ended {
            _ if stranger.pid == 0 => return Err(stays(stranger, "only ROLLBACK PREPARED ends it")),
            Err(error) => return Err(stays(stranger, &message(&error))),
            Ok(_) => {}
        }
    }
    let began = Instant::now();
    loop {
        let left = find(control, database).await?;
        let Some(stays_on) = left.iter().find(|left| strangers.contains(left)) else { return Ok(()) };
        if began.elapsed() >= GONE_LIMIT {
            return Err(stays(stays_on, "it was told to end, and has not"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn stays(stranger: &Holder, why: &str) -> Fault {
    let pid = stranger.pid;
    Fault::new(Reason::ZombieBackend, format!("{} is not ended: {why}", stranger.phrase()))
        .hint(format!(
            "as a superuser: SELECT pg_terminate_backend({pid}); or GRANT pg_signal_backend to the daemon's role"
        ))
        .with("pid", pid)
}
