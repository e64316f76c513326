//! The ledger of schemas that were set aside and can come back for a while. A row is written before the target's commit and
//! settled by what became of it; the target is known by cluster and oid, a schema by oid and generated name.

mod expiry;

use std::time::Duration;

use jiff::Timestamp;
use model::fault::{Fault, Reason};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::postgres::{
    catalog::{
        aside::Known,
        database,
        publications::PublishedTable,
        schema_properties::SchemaProperties,
        structure::{self, Structure},
    },
    sql::{
        error::ControlError,
        signs::marker,
        timestamp::{Timestamptz, ToSqlx as _},
    },
};

pub(crate) use expiry::{
    begin_drop, forget, forget_gone, found, give_up, is_worked_on, leave, next_expired, next_in, release,
    unsettled,
};

/// One schema that was set aside.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct KeptSchema {
    /// The name that it had.
    pub(crate) schema: String,
    /// What it is now; `None`: there was no such schema, and an undo leaves none.
    pub(crate) aside: Option<Aside>,
}

/// A schema as it is set aside.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Aside {
    /// Its generated name.
    pub(crate) name: String,
    pub(crate) oid: u32,
    /// What was taken from it: rights, comment, publications.
    pub(crate) properties: SchemaProperties,
}

/// What is kept of one operation, beside its row.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Body {
    pub(crate) schemas: Vec<KeptSchema>,
    /// Their structure when they were set aside.
    pub(crate) structure: Structure,
    /// While it is dropped: the structures of which one is there, with and without what was dropped last. Empty: all of it
    /// is there.
    #[serde(default)]
    pub(crate) left: Vec<Structure>,
    /// Tables that were taken out of publications.
    pub(crate) published: Vec<PublishedTable>,
}

impl KeptSchemas {
    /// Those that are there, by every sign.
    pub(crate) fn known(&self) -> Vec<Known<'_>> {
        let asides = self.body.schemas.iter().filter_map(|s| s.aside.as_ref());
        let known = asides.map(|aside| Known {
            system_identifier: &self.system_identifier,
            oid: aside.oid,
            name: &aside.name,
            owner: aside.properties.owner(),
            marker: &self.marker,
        });
        known.collect()
    }
}

impl Body {
    /// What is not as the ledger knows it, in what is there now.
    pub(crate) fn difference(&self, now: &Structure) -> Option<String> {
        if self.left.contains(now) {
            return None;
        }
        structure::difference(self.left.last().unwrap_or(&self.structure), now)
    }

    /// Publications and roles that an undo needs.
    pub(crate) fn needs(&self) -> (Vec<String>, Vec<String>) {
        let properties =
            || self.schemas.iter().filter_map(|s| s.aside.as_ref()).map(|aside| &aside.properties);
        let publications = properties().flat_map(SchemaProperties::restored_publications).cloned();
        let publications = publications.chain(self.published.iter().map(|it| it.publication.clone()));
        (publications.collect(), properties().flat_map(SchemaProperties::roles).collect())
    }

    /// The generated names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.schemas.iter().filter_map(|s| s.aside.as_ref()).map(|aside| aside.name.clone()).collect()
    }
}

/// What one operation set aside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeptSchemas {
    pub(crate) operation: Uuid,
    pub(crate) database_oid: u32,
    pub(crate) system_identifier: String,
    /// The comment on each of them.
    pub(crate) marker: String,
    pub(crate) state: String,
    pub(crate) body: Body,
    pub(crate) kept_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// Why they are left, though they have had their time.
    pub(crate) left_because: Option<String>,
}

/// What is about to be set aside, when the target's transaction commits.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) database: String,
    pub(crate) database_oid: u32,
    pub(crate) by_undo: bool,
    pub(crate) body: Body,
    pub(crate) expires_at: Timestamp,
    /// Operations of which the profile's limits do not keep the schemas beside these.
    pub(crate) ends_early: Vec<Uuid>,
}

/// What became of the target's transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::postgres) enum Truth {
    Committed,
    RolledBack,
    /// Nobody can say: whoever cleans looks into the target.
    Unknown,
}

impl Truth {
    /// What an end with this reason says of it. Who only read has set nothing aside.
    pub(in crate::postgres) fn of(ended_with: Option<Reason>) -> Self {
        match ended_with {
            // Committed, and then not, or not surely, what it was validated as.
            Some(Reason::ValidThenChanged | Reason::ValidityUnknown) => Self::Committed,
            Some(Reason::OutcomeUnknown) => Self::Unknown,
            _ => Self::RolledBack,
        }
    }
}

#[derive(sqlx::FromRow)]
struct KeptRow {
    operation: Uuid,
    #[sqlx(try_from = "i64")]
    database_oid: u32,
    system_identifier: String,
    marker: String,
    state: String,
    body: String,
    kept_at: Timestamptz,
    expires_at: Timestamptz,
    left_because: Option<String>,
}

/// The columns of a row.
const COLUMNS: &str =
    "k.operation, k.database_oid::int8, k.system_identifier, k.marker, k.state, k.body::text, k.kept_at, k.expires_at,
     k.left_because";

/// A row of this cluster.
macro_rules! here {
    () => {
        "k.system_identifier = (SELECT s.system_identifier::text FROM pg_control_system() s)"
    };
}
const HERE: &str = here!();

/// A row that an undo may use.
const RETURNABLE: &str = concat!("k.state = 'kept' AND k.expires_at > clock_timestamp() AND ", here!());

fn decode(row: KeptRow) -> Result<KeptSchemas, ControlError> {
    let body = serde_json::from_str(&row.body).map_err(|e| {
        let operation = row.operation;
        Fault::new(Reason::Internal, format!("what is kept of operation {operation} cannot be read: {e}"))
            .hint("it was written by a newer daemon; undo it there")
    })?;
    Ok(KeptSchemas {
        operation: row.operation,
        database_oid: row.database_oid,
        system_identifier: row.system_identifier,
        marker: row.marker,
        state: row.state,
        body,
        kept_at: row.kept_at.to_jiff(),
        expires_at: row.expires_at.to_jiff(),
        left_because: row.left_because,
    })
}

/// What an undo would bring back now in a database: what an operation set aside, or the newest.
pub(crate) async fn next(
    pool: &PgPool,
    database_oid: u32,
    operation: Option<Uuid>,
) -> Result<Option<KeptSchemas>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.kept_schemas k WHERE k.database_oid = $1::oid AND {RETURNABLE}
            AND ($2::uuid IS NULL OR k.operation = $2) ORDER BY k.kept_at DESC LIMIT 1"
    );
    let row: Option<KeptRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(i64::from(database_oid))
        .bind(operation)
        .fetch_optional(pool)
        .await?;
    row.map(decode).transpose()
}

/// The newest reset of a database that came after an operation and can be undone itself: it is undone first.
pub(crate) async fn later(pool: &PgPool, of: &KeptSchemas) -> Result<Option<Uuid>, ControlError> {
    let sql = format!(
        "SELECT k.operation FROM resetd.kept_schemas k
          WHERE k.database_oid = $1::oid AND {RETURNABLE} AND NOT k.by_undo
            AND k.kept_at > (SELECT this.kept_at FROM resetd.kept_schemas this WHERE this.operation = $2)
          ORDER BY k.kept_at DESC LIMIT 1"
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(i64::from(of.database_oid))
        .bind(of.operation)
        .fetch_optional(pool)
        .await
        .map_err(ControlError::from)
}

/// What an undo can bring back in a database, and what has had its time and is not dropped yet; newest first.
pub(crate) async fn of(pool: &PgPool, database_oid: u32) -> Result<Vec<KeptSchemas>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.kept_schemas k WHERE k.database_oid = $1::oid AND {HERE}
            AND k.state IN ('kept', 'undoing', 'dropping') ORDER BY k.kept_at DESC"
    );
    let rows: Vec<KeptRow> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(i64::from(database_oid)).fetch_all(pool).await?;
    rows.into_iter().map(decode).collect()
}

/// What an undo could bring back now in a database, newest first.
pub(crate) async fn returnable(pool: &PgPool, database_oid: u32) -> Result<Vec<KeptSchemas>, ControlError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM resetd.kept_schemas k WHERE k.database_oid = $1::oid AND {RETURNABLE}
          ORDER BY k.kept_at DESC"
    );
    let rows: Vec<KeptRow> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(i64::from(database_oid)).fetch_all(pool).await?;
    rows.into_iter().map(decode).collect()
}

/// Everything that is kept in the database that has a name now.
pub(crate) async fn named(pool: &PgPool, database: &str) -> Result<Vec<KeptSchemas>, ControlError> {
    match database::oid(pool, database).await? {
        Some(oid) => of(pool, oid).await,
        None => Ok(Vec::new()),
    }
}

/// Until when something that is kept from now on is kept.
pub(crate) async fn deadline(
    connection: &mut PgConnection,
    keep: Duration,
) -> Result<Timestamp, ControlError> {
    let until: Timestamptz = sqlx::query_scalar("SELECT clock_timestamp() + make_interval(secs => $1)")
        .bind(keep.as_secs_f64())
        .fetch_one(connection)
        .await?;
    Ok(until.to_jiff())
}

/// Enters what will be set aside, inside the transaction that prepares the commit.
pub(in crate::postgres) async fn enter(
    connection: &mut PgConnection,
    operation: Uuid,
    it: &Intent,
) -> Result<(), ControlError> {
    let body = serde_json::to_string(&it.body)
        .map_err(|e| Fault::new(Reason::Internal, format!("what is kept cannot be stored: {e}")))?;
    sqlx::query(
        "INSERT INTO resetd.kept_schemas (operation, database, database_oid, system_identifier, marker, by_undo, body, expires_at,
                                           ends_early)
         SELECT $1, $2, $3::oid, s.system_identifier::text, $7, $4, $5::json,
$6, $8 FROM pg_control_system() s",
    )
    .bind(operation)
    .bind(&it.database)
    .bind(i64::from(it.database_oid))
    .bind(it.by_undo)
    .bind(body)
    .bind(it.expires_at.to_sqlx())
    .bind(marker(operation))
    .bind(&it.ends_early)
    .execute(connection)
    .await?;
    Ok(())
}

/// Claims what an undo brings back: while it is claimed, nobody drops it. On the connection that holds the lock: who lost
/// it claims nothing.
///
/// # Errors
/// `NOTHING_TO_UNDO`: it has had its time meanwhile.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    operation: Uuid,
    by: Uuid,
) -> Result<(), ControlError> {
    let sql = format!(
        "UPDATE resetd.kept_schemas k SET state = 'undoing', used_by = $2 WHERE k.operation = $1 AND {RETURNABLE}"
    );
    let claimed = sqlx::query(AssertSqlSafe(sql)).bind(operation).bind(by).execute(connection).await?;
    match claimed.rows_affected() {
        1 => Ok(()),
        _ => Err(Fault::new(
            Reason::NothingToUndo,
            format!("what operation {operation} set aside has had its time, or is used by another operation"),
        )
        .hint("`keep_previous` in the profile says how long it is kept; `resetctl kept list` shows what there is")
        .into()),
    }
}

/// Gives what the limits do not keep beside the schemas of operation $1 no more time; what an undo uses is left alone.
const END_EARLY: &str = "UPDATE resetd.kept_schemas e SET expires_at = least(e.expires_at, clock_timestamp())
      FROM resetd.kept_schemas k WHERE k.operation = $1 AND e.operation = ANY(k.ends_early) AND e.state = 'kept'";

/// Settles what an operation was about to set aside and to bring back, inside the transaction that writes its end.
pub(in crate::postgres) async fn settle(
    connection: &mut PgConnection,
    operation: Uuid,
    truth: Truth,
) -> Result<(), ControlError> {
    let statements: &[&str] = match truth {
        Truth::Unknown => return Ok(()),
        Truth::Committed => &[
            "DELETE FROM resetd.kept_schemas WHERE used_by = $1 AND state = 'undoing'",
            "UPDATE resetd.kept_schemas SET state = 'kept' WHERE operation = $1 AND state = 'entering'",
            END_EARLY,
        ],
        Truth::RolledBack => &[
            "UPDATE resetd.kept_schemas SET state = 'kept', used_by = NULL WHERE used_by = $1 AND state = 'undoing'",
            "DELETE FROM resetd.kept_schemas WHERE operation = $1 AND state = 'entering'",
        ],
    };
    for statement in statements {
        sqlx::query(*statement).bind(operation).execute(&mut *connection).await?;
    }
    Ok(())
}
