//! The audit record in the control database: appended to by every daemon in turn, listed, and read whole to be verified.
//!
//! It decides nothing: what is written, and whether what is there is what was written, comes from the model.

use model::{
    audit::{AuditVerdict, Chained, Decision, Head, SealKey, Verifier},
    fault::{Fault, Reason},
};
use sqlx::{PgConnection, PgPool};

use super::audit_guard;
use crate::postgres::sql::{
    error::{ControlError, condition::Condition, message, site},
    timestamp::Timestamptz,
};

/// How many records are read at once.
const PAGE: i64 = 1_000;

fn unavailable(error: sqlx::Error) -> Fault {
    let hint = match Condition::of_error(&error) {
        Some(Condition::InsufficientPrivilege) => {
            "give the daemon's role back what was taken from it on the tables of the audit record"
        }
        Some(Condition::LockNotAvailable | Condition::QueryCanceled) => {
            "another session holds the audit record: end it, or try again"
        }
        _ => "see that the control database accepts writes: `resetd check` on the daemon's machine",
    };
    Fault::new(Reason::AuditUnavailable, format!("the audit record cannot be written: {}", message(&error)))
        .hint(hint)
        .at(site(&error))
}

/// Appends decisions as one, each with how many it stands for. Daemons take turns on the note of the end.
///
/// # Errors
/// `AUDIT_UNAVAILABLE`; then none is written.
pub(crate) async fn append(
    pool: &PgPool,
    decisions: &[(Decision, u64)],
    key: Option<&SealKey>,
) -> Result<Vec<Chained>, ControlError> {
    // Dropped half-way, it is rolled back: nothing stays open on a shared session.
    let mut within = pool.begin().await.map_err(unavailable)?;
    let records = append_within(&mut within, decisions, key).await?;
    within.commit().await.map_err(unavailable)?;
    Ok(records)
}

async fn append_within(
    connection: &mut PgConnection,
    decisions: &[(Decision, u64)],
    key: Option<&SealKey>,
) -> Result<Vec<Chained>, ControlError> {
    // Nobody waits for the record longer than this.
    sqlx::raw_sql("SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '8s'")
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    let (sequence, hash, now): (i64, String, Timestamptz) = sqlx::query_as(
        "WITH head AS MATERIALIZED (SELECT sequence, hash FROM resetd.audit_head FOR UPDATE)
         SELECT sequence, hash, clock_timestamp() FROM head",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(unavailable)?
    .ok_or_else(no_head)?;
    let mut head = Head { sequence: sequence.unsigned_abs(), hash };
    let at = now.to_jiff();
    let sealed = |it: Chained| Chained { seal: key.map(|key| key.seal(&it.hash)), ..it };
    let records: Vec<Chained> =
        decisions.iter().map(|(it, count)| sealed(head.chain(it, *count, at))).collect();
    let (mut sequences, mut bodies, mut hashes, mut seals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for it in &records {
        sequences.push(i64::try_from(it.sequence).unwrap_or(i64::MAX));
        bodies.push(it.body.clone());
        hashes.push(it.hash.clone());
        seals.push(it.seal.clone());
    }
    sqlx::query(
        "WITH record AS (
            INSERT INTO resetd.audit_record (sequence, at, body, hash, seal)
            SELECT r.sequence, $4::timestamptz, r.body, r.hash, r.seal
              FROM unnest($1::int8[], $2::text[], $3::text[], $7::text[]) AS r (sequence, body, hash, seal))
         UPDATE resetd.audit_head SET sequence = $5, hash = $6",
    )
    .bind(sequences)
    .bind(bodies)
    .bind(hashes)
    .bind(now)
    .bind(i64::try_from(head.sequence).unwrap_or(i64::MAX))
    .bind(head.hash)
    .bind(seals)
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(records)
}

fn no_head() -> Fault {
    Fault::new(Reason::AuditUnavailable, "the note of the audit record's end is gone")
        .hint("somebody changed the control database by hand: `resetctl audit verify` tells what is left")
}

/// Records, newest first.
pub(crate) async fn list(
    pool: &PgPool,
    before: Option<u64>,
    most: i64,
) -> Result<Vec<Chained>, ControlError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT sequence, at, body, hash, seal FROM resetd.audit_record WHERE $1::int8 IS NULL OR sequence < $1 ORDER BY sequence DESC LIMIT $2",
    )
    .bind(before.map(|b| i64::try_from(b).unwrap_or(i64::MAX)))
    .bind(most)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(chained).collect())
}

/// Reads the whole record as it is at one moment and verifies it. `expected` is an end that somebody remembers.
pub(crate) async fn verify(
    pool: &PgPool,
    expected: Option<Head>,
    key: Option<SealKey>,
) -> Result<AuditVerdict, ControlError> {
    let mut within = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut verifier = Verifier::new(expected).sealed_with(key);
    // Whatever its number: a record that was put before the first one is found as well.
    let mut after: Option<i64> = None;
    loop {
        let page: Vec<Row> = sqlx::query_as(
            "SELECT sequence, at, body, hash, seal FROM resetd.audit_record WHERE $1::int8 IS NULL OR sequence > $1 ORDER BY sequence LIMIT $2",
        )
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut *within)
        .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.0);
        // Hashing is work: others get their turn.
        tokio::task::yield_now().await;
        page.into_iter().for_each(|row| verifier.absorb(&chained(row)));
        if verifier.is_decided() {
            break;
        }
    }
    let anchor: Option<(i64, String)> =
        sqlx::query_as("SELECT sequence, hash FROM resetd.audit_head").fetch_optional(&mut *within).await?;
    let guard = audit_guard::look(&mut *within).await?;
    within.rollback().await?;
    let anchor = anchor.map(|(sequence, hash)| Head { sequence: sequence.unsigned_abs(), hash });
    Ok(AuditVerdict { guard, ..verifier.finish(anchor.as_ref()) })
}

type Row = (i64, Timestamptz, String, String, Option<String>);

fn chained((sequence, at, body, hash, seal): Row) -> Chained {
    // A place below one is nobody's: it does not fit, whatever number it gets.
    Chained { sequence: u64::try_from(sequence).unwrap_or(0), at: at.to_jiff(), body, hash, seal }
}
