//! Opening sessions: every one gets the settings that make its statements end soon after its daemon does, and that keep
//! others' functions out of them.

use std::time::Duration;

use model::fault::{Fault, Reason};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{liveness, relay::Relay};
use crate::postgres::sql::error::{self, condition::Condition};

/// How long opening a session may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Settings of every session. They travel in the startup packet, so that `RESET ALL` returns to them, and so that what an
/// owner sets for a database or a role is not in force.
const SETTINGS: [(&str, &str); 18] = [
    // What the daemon's statements name is PostgreSQL's own, whoever made something of that name elsewhere.
    ("search_path", "pg_catalog, pg_temp"),
    ("role", "none"),
    // Reading what others guard with policies fails, and never calls their functions.
    ("row_security", "off"),
    ("transform_null_equals", "off"),
    ("quote_all_identifiers", "off"),
    ("client_connection_check_interval", "500ms"),
    ("idle_session_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("statement_timeout", "0"),
    ("tcp_keepalives_idle", "3"),
    ("tcp_keepalives_interval", "1"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "5000"),
    ("standard_conforming_strings", "on"),
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    // Recursive looks at the catalog are estimated dear and are quick: compiling them takes twenty times as long.
    ("jit", "off"),
];

/// Takes back whatever others' code did to a session: it is as it was opened, with its login role.
pub(in crate::postgres) const RESTORE: [&str; 3] =
    ["RESET ALL", "RESET SESSION AUTHORIZATION", "SET ROLE NONE"];

/// How a target is connected to.
pub(crate) type TargetOptions = PgConnectOptions;

/// The options of a session with the daemon's settings.
pub(crate) fn options(
    base: &PgConnectOptions,
    application_name: &str,
    more: &[(&str, &str)],
) -> PgConnectOptions {
    use sqlx::ConnectOptions as _;
    base.clone()
        .application_name(application_name)
        .disable_statement_logging()
        .options(SETTINGS.iter().copied().chain(more.iter().copied()))
}

/// Opens one session to a target.
///
/// # Errors
/// `TARGET_UNREACHABLE` with what the server said, never with the URL.
pub(crate) async fn open(options: &PgConnectOptions) -> Result<PgConnection, Fault> {
    let database = options.get_database().unwrap_or_default().to_owned();
    match tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(options)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(unreachable(&database, &error)),
        Err(_) => Err(Fault::new(
            Reason::TargetUnreachable,
            format!("database {database} does not answer within {} s", CONNECT_LIMIT.as_secs()),
        )
        .hint("check that PostgreSQL runs and that the daemon reaches it")
        .with("database", database)),
    }
}

/// The same through a relay, which counts what the server answers.
///
/// # Errors
/// As [`open`].
pub(crate) async fn open_counted(options: &PgConnectOptions) -> Result<(PgConnection, Relay), Fault> {
    let database = options.get_database().unwrap_or_default();
    let lost = |error: std::io::Error| unreachable(database, &sqlx::Error::Io(error));
    let opened = tokio::time::timeout(CONNECT_LIMIT, Relay::open(options)).await;
    let (relay, through) = match opened {
        Ok(opened) => opened.map_err(lost)?,
        Err(_) => return Err(lost(std::io::ErrorKind::TimedOut.into())),
    };
    Ok((open(&through).await?, relay))
}

fn unreachable(database: &str, error: &sqlx::Error) -> Fault {
    // Only poolers refuse settings that every PostgreSQL knows.
    if error::message(error).contains("unsupported startup parameter") {
        return pooler(&format!("database {database}"));
    }
    let hint = match Condition::of_error(error) {
        Some(Condition::InvalidAuthorization) => {
            "the role or its password is wrong: fix the target's database URL"
        }
        Some(Condition::UndefinedDatabase) => {
            "the database is not there: create it, or fix the target's database URL"
        }
        Some(Condition::InsufficientPrivilege) => "grant the daemon's role CONNECT on the database",
        Some(Condition::TooManyConnections) => {
            "PostgreSQL has no connection left: end some, or raise max_connections"
        }
        Some(Condition::CannotConnectNow) => {
            "PostgreSQL is starting or stopping, or the database takes no connections: try again"
        }
        _ => "check that PostgreSQL runs and that the daemon reaches it",
    };
    Fault::new(
        Reason::TargetUnreachable,
        format!("database {database} cannot be reached: {}", error::message(error)),
    )
    .hint(hint)
    .with("database", database)
    .at(error::site(error))
}

/// Makes sure that no transaction pooler stands in between: two statements must meet the same backend, and that
/// backend must know the session's startup settings.
///
/// # Errors
/// `POOLER_DETECTED`, or that the session was lost.
pub(crate) async fn refuse_pooler(connection: &mut PgConnection, what: &str) -> Result<i32, Fault> {
    const PROBE: &str =
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('client_connection_check_interval')";
    let twice = async {
        let first = sqlx::query_as::<_, (i32, String)>(PROBE).fetch_one(&mut *connection).await?;
        let second = sqlx::query_as::<_, (i32, String)>(PROBE).fetch_one(&mut *connection).await?;
        Ok((first, second))
    };
    let probed = match tokio::time::timeout(CONNECT_LIMIT, twice).await {
        Ok(probed) => probed,
        Err(_) => Err(liveness::lost_error()),
    };
    match probed {
        Ok((first, second)) if first == second && first.1 == "500ms" => Ok(first.0),
        Ok(_) => Err(pooler(what)),
        // A statement that was prepared on one backend and met another.
        Err(e) if Condition::of_error(&e) == Some(Condition::ForeignPreparedStatement) => Err(pooler(what)),
        Err(e) => Err(error::work_fault("looking at the session", &e)),
    }
}

fn pooler(what: &str) -> Fault {
    Fault::new(Reason::PoolerDetected, format!("a connection pooler stands in front of {what}")).hint(
        "locks and settings belong to a session, which a pooler shares out: give the daemon a URL that leads to \
         PostgreSQL itself",
    )
}
