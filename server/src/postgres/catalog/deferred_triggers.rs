//! Triggers that can be put off to the commit, where nobody looks any more.

use model::{fault::Fault, finding::Finding};
use sqlx::PgConnection;

use crate::postgres::sql::error::work_fault;

/// A finding for each constraint trigger of somebody's own that can be deferred.
///
/// # Errors
/// The session was lost.
pub(crate) async fn of(connection: &mut PgConnection, schemas: &[&str]) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT pg_catalog.pg_describe_object('pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, 0),
                pg_catalog.format('%I.%I', f.nspname, p.proname)
           FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
          WHERE n.nspname = ANY($1) AND NOT t.tgisinternal AND t.tgdeferrable AND t.tgenabled <> 'D'
            -- NULL where it was dropped since the snapshot.
            AND pg_catalog.pg_describe_object('pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, 0) IS NOT NULL ORDER BY 1",
    )
    .bind(schemas.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at deferred triggers", &e))?;
    let finding = |(trigger, function): (String, String)| {
        Finding::warning(
            "DEFERRED_TRIGGER",
            trigger,
            format!("calls {function}, and can be put off to the commit, after the target was validated"),
            "the target is looked at again after the commit; where it need not be late, make it NOT DEFERRABLE",
        )
    };
    Ok(rows.into_iter().map(finding).collect())
}
