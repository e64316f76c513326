//! What PostgreSQL and the driver say, as faults. No URL and no password is ever in one.

pub(crate) mod condition;

use std::{fmt, io};

use model::{
    fault::{Fault, Reason, SqlSite},
    text_limit,
};
use sqlx::postgres::PgDatabaseError;

use condition::Condition;

/// The five-character code of an error that came from the server.
pub(crate) fn sqlstate(error: &sqlx::Error) -> Option<&str> {
    database_error(error).map(PgDatabaseError::code)
}

/// The error as the server sent it.
pub(crate) fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    match error {
        sqlx::Error::Database(error) => error.try_downcast_ref::<PgDatabaseError>(),
        _ => None,
    }
}

/// The connection is gone (or never was); the server may have said why.
pub(crate) fn is_disconnect(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => {
            sqlstate(error).is_some_and(|c| c.starts_with("57P") || c.starts_with("08"))
        }
        sqlx::Error::Io(_) => !is_too_large(error),
        sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => true,
        _ => false,
    }
}

/// Two sessions wrote the same row of a catalog at once, or their order could not be kept: nothing that the statement is to be
/// blamed for.
pub(crate) fn is_collision(error: &sqlx::Error) -> bool {
    let Some(error) = database_error(error) else { return false };
    match Condition::of(error.code()) {
        Some(Condition::SerializationFailure) => true,
        // `simple_heap_update` and `simple_heap_delete`, which catalogs are written with.
        Some(Condition::Internal) => error.message().starts_with("tuple concurrently "),
        // A catalog's own index: a statement looks first, and says something better.
        Some(Condition::UniqueViolation) => error.schema() == Some("pg_catalog"),
        _ => false,
    }
}

/// One line for a person: the server's message with its detail, or the driver's. Each is cut where it is long: whoever
/// wrote a function decides what it says.
pub(crate) fn message(error: &sqlx::Error) -> String {
    match database_error(error) {
        Some(it) => match it.detail() {
            Some(detail) => {
                format!("{} ({})", text_limit::cut(it.message()), text_limit::cut(detail).replace('\n', "; "))
            }
            None => text_limit::cut(it.message()).into_owned(),
        },
        None => match error {
            sqlx::Error::Io(cut_off) if is_too_large(error) => cut_off.to_string(),
            _ => error.to_string(),
        },
    }
}

/// What went wrong in the control database: PostgreSQL or the driver said so, or the daemon refuses.
#[derive(Debug)]
pub(crate) enum ControlError {
    /// PostgreSQL or the driver said so.
    Sql(sqlx::Error),
    /// The daemon refuses.
    Refused(Fault),
}

impl From<sqlx::Error> for ControlError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Fault> for ControlError {
    fn from(fault: Fault) -> Self {
        Self::Refused(fault)
    }
}

impl From<ControlError> for Fault {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Sql(error) => control_fault(error),
            ControlError::Refused(fault) => fault,
        }
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => f.write_str(&message(error)),
            Self::Refused(fault) => fault.fmt(f),
        }
    }
}

impl ControlError {
    /// The control database did not answer, or not as it should.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Self::Sql(_) => true,
            Self::Refused(fault) => fault.reason == Reason::ControlUnavailable,
        }
    }

    /// What PostgreSQL's code says, where it gave one.
    pub(crate) fn condition(&self) -> Option<Condition> {
        match self {
            Self::Sql(error) => Condition::of_error(error),
            Self::Refused(fault) => Condition::of_fault(fault),
        }
    }
}

/// The error of a session that was cut off because an answer was larger than so many MiB.
pub(crate) fn too_large(mib: u64) -> sqlx::Error {
    let text = format!(
        "PostgreSQL sent more than {mib} MiB at once: a row, a notice or an error message of that size"
    );
    sqlx::Error::Io(io::Error::new(io::ErrorKind::FileTooLarge, text))
}

/// Whether it is [`too_large`].
pub(crate) fn is_too_large(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::FileTooLarge)
}

/// The server's own advice, cut as well.
pub(crate) fn hint(error: &sqlx::Error) -> Option<String> {
    database_error(error).and_then(PgDatabaseError::hint).map(|hint| text_limit::cut(hint).into_owned())
}

/// Whether a statement failed by what it says or does: not because its session was ended or interrupted.
pub(crate) fn is_of_statement(error: &sqlx::Error) -> bool {
    sqlstate(error).map_or_else(|| is_too_large(error), |code| !code.starts_with("57"))
}

/// Where PostgreSQL's code goes in a fault.
pub(crate) fn site(error: &sqlx::Error) -> SqlSite {
    SqlSite { sqlstate: sqlstate(error).map(str::to_owned), ..SqlSite::default() }
}

/// An error on one of the daemon's own connections to the control database.
pub(crate) fn control_fault(error: sqlx::Error) -> Fault {
    let condition = Condition::of_error(&error);
    let hint = match condition {
        Some(Condition::DiskFull) => "make room for the control database",
        Some(Condition::InsufficientPrivilege) => {
            "give the control database to the daemon's role (ALTER DATABASE … OWNER TO …), or grant the role what is missing"
        }
        Some(Condition::TooManyConnections) => {
            "PostgreSQL has no connection left: end some, or raise max_connections"
        }
        Some(Condition::InvalidAuthorization) => "the role or its password is wrong",
        _ => "check that PostgreSQL runs and accepts connections; `resetd check` tells more",
    };
    let what = match condition {
        Some(Condition::DiskFull) => "the control database has no room left",
        Some(Condition::InsufficientPrivilege) => "the daemon's role may not do this in the control database",
        _ => "the control database does not answer",
    };
    Fault::new(Reason::ControlUnavailable, format!("{what}: {}", message(&error))).hint(hint).at(site(&error))
}

/// An error of a daemon's own statement in the target.
pub(crate) fn work_fault(doing: &str, error: &sqlx::Error) -> Fault {
    let site = site(error);
    let told = message(error);
    if is_disconnect(error) {
        return Fault::new(
            Reason::TargetUnreachable,
            format!("the connection to the target was lost while {doing}: {told}"),
        )
        .hint("nothing was changed; check PostgreSQL's log and try again")
        .at(site);
    }
    match Condition::of_error(error) {
        Some(Condition::LockNotAvailable) => {
            Fault::new(Reason::Blocked, format!("{doing}: other sessions hold what is needed: {told}"))
                .hint("end those sessions, or raise `lock_wait_limit` in the profile; nothing was changed")
                .at(site)
        }
        Some(Condition::OutOfMemory) => Fault::new(
            Reason::PreflightFailed,
            format!("PostgreSQL has no room for more locks while {doing}"),
        )
        .hint("raise max_locks_per_transaction and restart PostgreSQL, or use --scope database")
        .at(site),
        Some(Condition::InsufficientPrivilege) => Fault::new(
            Reason::PreflightFailed,
            format!("the daemon's role may not do this while {doing}: {told}"),
        )
        .hint("grant the role what is missing; `resetd check` names it")
        .at(site),
        _ => Fault::new(Reason::Internal, format!("{doing}: {told}"))
            .hint("nothing was changed; PostgreSQL's log tells more")
            .at(site),
    }
}
