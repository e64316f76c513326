//! What an error code of the server means, where the daemon acts on it. Nobody else reads SQLSTATEs.

use model::fault::Fault;

/// A condition, as PostgreSQL's table of error codes names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Condition {
    /// The role is unknown, may not log in here, or its password is wrong.
    InvalidAuthorization,
    UndefinedDatabase,
    DuplicateDatabase,
    UndefinedTable,
    UndefinedColumn,
    /// A prepared statement of another backend: not there, or there already.
    ForeignPreparedStatement,
    InsufficientPrivilege,
    UniqueViolation,
    ExclusionViolation,
    /// A lock was not to be had: waited for too long, or in a circle.
    LockNotAvailable,
    SerializationFailure,
    ObjectInUse,
    /// A value of an enum that the same transaction added.
    UnsafeNewEnumValue,
    QueryCanceled,
    /// The server starts or stops, or the database takes no connections.
    CannotConnectNow,
    TooManyConnections,
    DiskFull,
    OutOfMemory,
    /// An error inside the server, also the collision of two writers of a catalog's row.
    Internal,
}

impl Condition {
    /// Of a code; `None`: one that the daemon does not tell from others.
    pub(crate) fn of(sqlstate: &str) -> Option<Self> {
        Some(match sqlstate {
            "28000" | "28P01" => Self::InvalidAuthorization,
            "3D000" => Self::UndefinedDatabase,
            "42P04" => Self::DuplicateDatabase,
            "42P01" => Self::UndefinedTable,
            "42703" => Self::UndefinedColumn,
            "26000" | "42P05" => Self::ForeignPreparedStatement,
            "42501" => Self::InsufficientPrivilege,
            "23505" => Self::UniqueViolation,
            "23P01" => Self::ExclusionViolation,
            "55P03" | "40P01" => Self::LockNotAvailable,
            "40001" => Self::SerializationFailure,
            "55006" => Self::ObjectInUse,
            "55P04" => Self::UnsafeNewEnumValue,
            "57014" => Self::QueryCanceled,
            "57P03" | "55000" => Self::CannotConnectNow,
            "53300" => Self::TooManyConnections,
            "53100" => Self::DiskFull,
            "53200" => Self::OutOfMemory,
            "XX000" => Self::Internal,
            _ => return None,
        })
    }

    /// Of an error of the driver.
    pub(crate) fn of_error(error: &sqlx::Error) -> Option<Self> {
        Self::of(super::sqlstate(error)?)
    }

    /// Of a fault that an error became.
    pub(crate) fn of_fault(fault: &Fault) -> Option<Self> {
        Self::of(fault.sql.sqlstate.as_deref()?)
    }
}

/// PostgreSQL answered, and will say the same for a while: it is not away, busy, or in the middle of a restart.
pub(crate) fn is_lasting(fault: &Fault) -> bool {
    let passing = ["08", "40", "55", "57"];
    fault.sql.sqlstate.as_deref().is_some_and(|state| !passing.iter().any(|class| state.starts_with(class)))
}

#[cfg(test)]
mod tests {
    use model::fault::{Reason, SqlSite};

    use super::*;

    #[test]
    fn only_an_answer_that_stays_is_told() {
        let answered = Fault::new(Reason::ControlUnavailable, "no room");
        for (state, told) in [
            ("53100", true),
            ("25006", true),
            ("57P01", false),
            ("08006", false),
            ("40001", false),
            ("55P03", false),
        ] {
            let site = SqlSite { sqlstate: Some(state.to_owned()), ..SqlSite::default() };
            assert_eq!(is_lasting(&answered.clone().at(site)), told, "{state}");
        }
        assert!(!is_lasting(&Fault::new(Reason::ControlUnavailable, "no answer")));
    }
}
