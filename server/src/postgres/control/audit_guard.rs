//! The trigger that keeps the audit record from being changed: whether it still stands and does what it should.

use sqlx::PgExecutor;

use crate::postgres::sql::error::ControlError;

/// The chain that makes it.
const REVISION: &str = include_str!("../../../../migrations/control/control_004.sql");

/// What its function does.
fn body() -> &'static str {
    REVISION.split("$$").nth(1).unwrap_or_default()
}

/// What is wrong with it; `None`: nothing. A trigger's type has bits: BEFORE 2, DELETE 8, UPDATE 16, TRUNCATE 32.
///
/// # Errors
/// The control database does not answer.
pub(in crate::postgres) async fn look(executor: impl PgExecutor<'_>) -> Result<Option<String>, ControlError> {
    sqlx::query_scalar(
        "SELECT CASE
            WHEN t.oid IS NULL THEN 'the trigger audit_record_keep, which refuses changes of the audit record, is gone'
            WHEN t.tgenabled NOT IN ('O', 'A') THEN 'the trigger audit_record_keep is off'
            WHEN t.tgtype <> 58 OR t.tgqual IS NOT NULL OR pg_catalog.array_length(t.tgattr::pg_catalog.int2[], 1) > 0
                THEN 'the trigger audit_record_keep refuses not every change'
            WHEN p.prosrc <> $1 OR p.pronamespace <> pg_catalog.to_regnamespace('resetd')
                THEN 'the function of the trigger audit_record_keep was changed'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite w
                          WHERE w.ev_class IN (pg_catalog.to_regclass('resetd.audit_record'),
                                               pg_catalog.to_regclass('resetd.audit_head')))
                THEN 'a rule stands on the tables of the audit record'
            WHEN EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
                          WHERE c LIKE 'session_replication_role=%'
                            AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                                                       WHERE d.datname = pg_catalog.current_database())))
                THEN 'session_replication_role is set for the control database or a role: the trigger audit_record_keep is passed over'
            END
           FROM (VALUES (1)) one
           LEFT JOIN pg_catalog.pg_trigger t
             ON t.tgrelid = pg_catalog.to_regclass('resetd.audit_record') AND t.tgname = 'audit_record_keep'
            AND NOT t.tgisinternal
           LEFT JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid",
    )
    .bind(body())
    .fetch_one(executor)
    .await
    .map_err(ControlError::from)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_body_is_that_of_the_chain() {
        assert!(super::body().contains("RAISE EXCEPTION 'the audit record is only appended to'"));
    }
}
