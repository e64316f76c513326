//! Tokens in the control database: made, listed, revoked, looked up. Never a secret, only its hash.
//!
//! It must not know who may do that.

use jiff::Timestamp;
use model::{
    fault::{Fault, Reason},
    token::{self, Entry, New, Token},
};
use sqlx::{PgConnection, PgPool, postgres::PgRow};

use crate::postgres::sql::{error::ControlError, timestamp::Timestamptz};

const COLUMNS: &str = "id, name, created_by, revoked_by, created_at, expires_at, last_used_at, revoked_at,
    expires_at <= clock_timestamp() AS expired";

/// What became of an attempt to make a token.
pub(crate) enum Made {
    /// It is new.
    New(Entry),
    /// The same request made it before.
    Before(Entry),
}

/// Makes a token. A name has at most two valid ones: the one in use, and the one that takes its place.
///
/// # Errors
/// `LIMIT_EXCEEDED`, `REQUEST_ID_CONFLICT`, or the control database does not answer.
pub(crate) async fn create(pool: &PgPool, new: &New, by: &str, token: &Token) -> Result<Made, ControlError> {
    let mut within = pool.begin().await?;
    // Seldom, and short: who counts the valid ones must be alone.
    sqlx::raw_sql("SET LOCAL lock_timeout = '5s'; LOCK TABLE resetd.token IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *within)
        .await?;
    if let Some(before) = by_request(&mut within, new, by).await? {
        return Ok(Made::Before(before));
    }
    let valid: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM resetd.token
          WHERE name = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp() ORDER BY created_at",
    )
    .bind(&new.name)
    .fetch_all(&mut *within)
    .await?;
    if let [oldest, _, ..] = valid.as_slice() {
        return Err(Fault::new(
            Reason::LimitExceeded,
            format!("{} has {} valid tokens already", new.name, token::VALID_AT_ONCE),
        )
        .hint(format!("revoke the older one first: resetctl token revoke {oldest}"))
        .with("name", &new.name)
        .into());
    }
    let sql = format!(
        "INSERT INTO resetd.token (id, name, secret_sha256, expires_at, request_id, created_by)
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $5, $6) RETURNING {COLUMNS}"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(token.id())
        .bind(&new.name)
        .bind(token.digest().as_slice())
        .bind(new.lifetime.as_secs_f64())
        .bind(new.request_id)
        .bind(by)
        .fetch_one(&mut *within)
        .await?;
    let kept = decode(&row)?;
    within.commit().await?;
    Ok(Made::New(kept))
}

/// The token that this request made before, if it did.
///
/// # Errors
/// `REQUEST_ID_CONFLICT`, or the control database does not answer.
pub(crate) async fn made_before(pool: &PgPool, new: &New, by: &str) -> Result<Option<Entry>, ControlError> {
    let mut connection = pool.acquire().await?;
    by_request(&mut connection, new, by).await
}

async fn by_request(
    connection: &mut PgConnection,
    new: &New,
    by: &str,
) -> Result<Option<Entry>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS}, abs(extract(epoch FROM expires_at - created_at) - $2) < 1 AS same_lifetime
           FROM resetd.token WHERE request_id = $1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(new.request_id)
        .bind(new.lifetime.as_secs_f64())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let kept = decode(&row)?;
    let same_lifetime = sqlx::Row::try_get::<bool, _>(&row, "same_lifetime")?;
    if kept.name == new.name && kept.created_by == by && same_lifetime {
        return Ok(Some(kept));
    }
    Err(Fault::new(
        Reason::RequestIdConflict,
        format!("request id {} was used before for another token", new.request_id),
    )
    .hint("make a new UUID for each request")
    .with("request_id", new.request_id)
    .into())
}

/// Every token, by creation.
pub(crate) async fn list(pool: &PgPool) -> Result<Vec<Entry>, ControlError> {
    let sql = format!("SELECT {COLUMNS} FROM resetd.token ORDER BY created_at, id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await?;
    rows.iter().map(|row| decode(row).map_err(ControlError::from)).collect()
}

/// One token.
///
/// # Errors
/// `TOKEN_NOT_FOUND`, or the control database does not answer.
pub(crate) async fn get(pool: &PgPool, id: &str) -> Result<Entry, ControlError> {
    let sql = format!("SELECT {COLUMNS} FROM resetd.token WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(pool).await?;
    Ok(row.map(|row| decode(&row).map_err(ControlError::from)).transpose()?.ok_or_else(|| {
        Fault::new(Reason::TokenNotFound, "there is no token of this id")
            .hint("`resetctl token list` shows the ids")
    })?)
}

/// Revokes a token; one that was revoked before stays as it is.
///
/// # Errors
/// `TOKEN_NOT_FOUND`, or the control database does not answer.
pub(crate) async fn revoke(pool: &PgPool, id: &str, by: &str) -> Result<Entry, ControlError> {
    sqlx::query(
        "UPDATE resetd.token SET revoked_at = clock_timestamp(), revoked_by = $2
          WHERE id = $1 AND revoked_at IS NULL",
    )
    .bind(id)
    .bind(by)
    .execute(pool)
    .await?;
    get(pool, id).await
}

/// What is known of a token when somebody shows one.
#[derive(sqlx::FromRow)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) expired: bool,
    pub(crate) revoked: bool,
    #[sqlx(try_from = "Timestamptz")]
    pub(crate) expires_at: Timestamp,
}

/// Looks a token up, at each call: what was revoked by another daemon is revoked here.
pub(crate) async fn known(pool: &PgPool, id: &str) -> Result<Option<Known>, ControlError> {
    Ok(sqlx::query_as(
        "SELECT name, secret_sha256 AS digest, expires_at <= clock_timestamp() AS expired, revoked_at IS NOT NULL AS revoked,
                expires_at
           FROM resetd.token WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(pool)
    .await?)
}

/// Notes that a token was used, at most once a minute.
pub(crate) async fn used(pool: &PgPool, id: &str) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE resetd.token SET last_used_at = clock_timestamp()
          WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')",
    )
    .bind(id)
    .execute(pool)
    .await?;
    Ok(())
}

fn decode(row: &PgRow) -> sqlx::Result<Entry> {
    use sqlx::Row as _;
    let time = |name: &'static str| {
        row.try_get::<Option<Timestamptz>, _>(name).map(|at| at.map(Timestamptz::to_jiff))
    };
    let text = |name: &'static str| row.try_get::<Option<String>, _>(name).map(Option::unwrap_or_default);
    Ok(Entry {
        id: text("id")?,
        name: text("name")?,
        created_by: text("created_by")?,
        created_at: time("created_at")?.unwrap_or_default(),
        expires_at: time("expires_at")?.unwrap_or_default(),
        expired: row.try_get("expired")?,
        last_used_at: time("last_used_at")?,
        revoked_at: time("revoked_at")?,
        revoked_by: text("revoked_by")?,
    })
}
