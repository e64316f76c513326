//! Operations in the middle of their work, and what is left of them.

use model::{event::EventKind, fault::Fault};
use tonic::Status;

use crate::{EventStream, Migrations, TestTarget, eventually};

/// The fault in a status: it carries exactly one.
#[track_caller]
pub fn fault(status: &Status) -> Fault {
    wire::decode_status(status).unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"))
}

/// A second revision of `core` that sleeps until it is cancelled.
pub fn sleeping() -> Migrations {
    let chains = Migrations::shipped();
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "CREATE TABLE late (n int);\nSELECT pg_sleep(3600);",
    );
    chains
}

/// Waits until the operation's session sleeps in that revision.
pub async fn asleep(target: &TestTarget) {
    target
        .until(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event = 'PgSleep' AND application_name LIKE 'resetd%')",
        )
        .await;
}

/// Waits until no daemon has a session in the target.
pub async fn nobody_left(target: &TestTarget) {
    target
        .until(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'resetd%')",
        )
        .await;
}

/// Waits until nobody holds or wants the target's lock.
pub async fn lock_is_free(target: &TestTarget) {
    target
        .until(&format!(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory'
              AND a.datname = '{}' AND a.application_name LIKE 'resetd%{}%')",
            target.control, target.name
        ))
        .await;
}

/// Waits until so many operations wait with a session of their own.
pub async fn queue_of(target: &TestTarget, waiting: usize) {
    let mut control = target.control_session().await;
    let cell = tokio::sync::Mutex::new(&mut control);
    eventually(&format!("{waiting} in the queue"), || async {
        let sql = "SELECT count(*) FROM resetd.operation WHERE state = 'waiting' AND waiter_pid IS NOT NULL";
        cell.lock().await.rows(sql).await[0][0] == waiting.to_string()
    })
    .await;
}

/// How an operation ends: its reason, and what it says.
///
/// # Panics
/// It does not end.
pub async fn end(stream: &mut EventStream) -> (String, String) {
    let event = stream.until("FINISHED").await;
    let Some(EventKind::Finished(end)) = event.kind else { panic!("{event:?}") };
    end.error.map_or(("OK".to_owned(), String::new()), |e| (e.reason.name().to_owned(), e.message))
}

/// One record of the audit says all of this.
pub async fn on_record(target: &TestTarget, words: &[&str]) {
    let records = target.control_rows("SELECT body FROM resetd.audit_record ORDER BY sequence").await;
    let said = |row: &Vec<String>| words.iter().all(|word| row[0].contains(word));
    assert!(records.iter().any(said), "{words:?} in {records:#?}");
}
