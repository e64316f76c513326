//! How a work session waits for a lock, so that in a deadlock it gives way and nobody else does.
//!
//! PostgreSQL throws away the work of whoever looks first after the circle is closed, and everybody looks once, after their
//! own `deadlock_timeout`. So the session looks at once, where its role may set that; and it never waits for as long as
//! others do before they look, so that what closes behind it opens again.

use sqlx::PgConnection;

/// The longest wait for one lock before the statement is taken back and tried again, in milliseconds.
const LONGEST: i64 = 500;
/// The shortest, however soon others look for deadlocks.
const SHORTEST: i64 = 10;
/// Since then a role may be granted single settings.
pub(super) const GRANTED_SETTINGS: i32 = 150_000;

/// How a session waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::postgres) struct LockWaits {
    lock_timeout: i64,
    looks_first: bool,
}

impl Default for LockWaits {
    fn default() -> Self {
        Self { lock_timeout: LONGEST, looks_first: false }
    }
}

impl LockWaits {
    /// Asks what the session's role may set, and when others look for deadlocks at the soonest: by the server's setting, or by
    /// that of a role or a database.
    pub(super) async fn of(connection: &mut PgConnection) -> sqlx::Result<Self> {
        let (superuser, version, others): (bool, i32, i64) = sqlx::query_as(
            "SELECT r.rolsuper, pg_catalog.current_setting('server_version_num')::pg_catalog.int4, least(
                (SELECT s.setting::pg_catalog.int8 FROM pg_catalog.pg_settings s WHERE s.name = 'deadlock_timeout'),
                (SELECT pg_catalog.min(CASE WHEN v.value ~ '^[0-9]+$' THEN v.value::pg_catalog.int8
                            ELSE (extract(epoch FROM v.value::pg_catalog.interval) * 1000)::pg_catalog.int8 END)
                   FROM pg_catalog.pg_db_role_setting d CROSS JOIN LATERAL pg_catalog.unnest(d.setconfig) c(setting)
                  CROSS JOIN LATERAL pg_catalog.split_part(c.setting, '=', 2) v(value)
                  WHERE c.setting LIKE 'deadlock\\_timeout=%'
                    AND d.setdatabase IN (0, (SELECT b.oid FROM pg_catalog.pg_database b
                                               WHERE b.datname = pg_catalog.current_database()))))
               FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
        )
        .fetch_one(&mut *connection)
        .await?;
        let looks_first = superuser
            || version >= GRANTED_SETTINGS
                && sqlx::query_scalar("SELECT pg_catalog.has_parameter_privilege('deadlock_timeout', 'SET')")
                    .fetch_one(connection)
                    .await?;
        Ok(Self::before(others, looks_first))
    }

    /// Whoever looks first is only in danger while a circle closes behind it: half of the others' time is soon enough. Whoever
    /// may not look first is in danger of being looked at by others for as long as it waits.
    fn before(others: i64, looks_first: bool) -> Self {
        let share = if looks_first { 2 } else { 5 };
        Self { lock_timeout: (others / share).clamp(SHORTEST, LONGEST), looks_first }
    }

    /// The look for deadlocks, for the whole session: as its own role, which may set it.
    pub(super) fn look(self) -> &'static str {
        if self.looks_first { "SET deadlock_timeout = '1ms'" } else { "" }
    }

    /// The limit of one wait, for the rest of the transaction.
    pub(super) fn limit(self) -> String {
        format!("SET LOCAL lock_timeout = '{}ms'", self.lock_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_as_long_as_others_do_before_they_look() {
        for (others, looks_first, limit) in
            [(1_000, true, 500), (1_000, false, 200), (60_000, false, 500), (100, true, 50), (1, false, 10)]
        {
            assert_eq!(LockWaits::before(others, looks_first).lock_timeout, limit, "{others} {looks_first}");
        }
    }
}
