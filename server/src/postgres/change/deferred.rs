//! What revisions put off: deferred constraints and triggers fire at the end of the revision that queued them, while it can
//! still be blamed.

use model::fault::{Fault, Reason};

use super::{
    message::MessageError,
    replay::{ReplayTarget, prologue},
    step::Step,
    transaction::Work,
};
use crate::postgres::sql::ident::{Ident, Literal};

/// Constraints that can be deferred, on tables that the transaction wrote to, or all of them where `{all}` says so: schema,
/// name, whether they are deferred by themselves, and how many rows were written so far. Only those that the role may name.
/// Where PostgreSQL does not count, each may have been written to.
pub(in crate::postgres) const DEFERRABLE: &str = "
SELECT * FROM (
    SELECT n.nspname::pg_catalog.text AS schema, c.conname::pg_catalog.text AS name,
           pg_catalog.bool_or(c.condeferred) AS deferred, CASE WHEN pg_catalog.current_setting('track_counts') = 'on' THEN
             pg_catalog.sum(coalesce(pg_catalog.pg_stat_get_xact_tuples_inserted(c.conrelid), 0)
               + coalesce(pg_catalog.pg_stat_get_xact_tuples_updated(c.conrelid), 0)
               + coalesce(pg_catalog.pg_stat_get_xact_tuples_deleted(c.conrelid), 0)
               + CASE WHEN c.confrelid IN (0, c.conrelid) THEN 0 ELSE
                   coalesce(pg_catalog.pg_stat_get_xact_tuples_inserted(c.confrelid), 0)
                   + coalesce(pg_catalog.pg_stat_get_xact_tuples_updated(c.confrelid), 0)
                   + coalesce(pg_catalog.pg_stat_get_xact_tuples_deleted(c.confrelid), 0) END)::pg_catalog.int8
           ELSE -1 END AS written
      FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
     WHERE c.condeferrable
       AND pg_catalog.has_schema_privilege(coalesce({role}::pg_catalog.name, current_user), n.oid, 'USAGE')
     GROUP BY 1, 2) x
 WHERE {all} OR x.written <> 0";

/// A deferrable constraint: schema, name, whether it is deferred by itself, rows written.
type Deferrable = (String, String, bool, i64);

/// The look, one value of text, at what is to be fired after a revision that may have set constraints.
pub(super) fn look(place: &ReplayTarget<'_>, sets_constraints: bool) -> String {
    let role = place.role.map_or_else(|| "NULL".to_owned(), |role| Literal(role).to_string());
    let all = if sets_constraints { "true" } else { "false" };
    let deferrable = DEFERRABLE.replace("{role}", &role).replace("{all}", all);
    format!(
        "(SELECT pg_catalog.json_agg(pg_catalog.json_build_array(y.schema, y.name, y.deferred, y.written)
                     ORDER BY y.schema, y.name) FROM ({deferrable}) y)::pg_catalog.text"
    )
}

/// Fires what was deferred, and takes back what was set about it. Constraints are named one by one: `ALL` would also hold for
/// those that later revisions make, and would defer what is not initially deferred. Only those are named whose tables were
/// written to since the last time, so that many constraints cost nothing; all of them where the revision may have set some.
///
/// # Errors
/// What `explain` makes of what fired and failed; `BLOCKED`; the session was lost.
pub(super) async fn settle(
    work: &mut Work,
    place: &ReplayTarget<'_>,
    label: &str,
    looked: Option<&str>,
    sets_constraints: bool,
    explain: &(dyn Fn(&MessageError) -> Fault + Sync),
) -> Result<(), Fault> {
    let Some(looked) = looked else { return Ok(()) };
    let looked: Vec<Deferrable> = serde_json::from_str(looked)
        .map_err(|e| Fault::new(Reason::Internal, format!("deferrable constraints cannot be read: {e}")))?;
    let (mut immediate, mut deferred) = (Vec::new(), Vec::new());
    for (schema, name, by_itself, written) in looked {
        let constraint = format!("{}.{}", Ident(&schema), Ident(&name));
        let before = work.written.insert(constraint.clone(), written);
        if sets_constraints || written < 0 || before != Some(written) {
            deferred.extend(by_itself.then(|| constraint.clone()));
            immediate.push(constraint);
        }
    }
    let set = |names: &[String], word: &str| match names.is_empty() {
        true => String::new(),
        false => format!("SET CONSTRAINTS {} {word}; ", names.join(", ")),
    };
    if immediate.is_empty() {
        return Ok(());
    }
    let text = format!("{}{}", set(&immediate, "IMMEDIATE"), set(&deferred, "DEFERRED"));
    let step = Step { before: prologue(place), text: &text, statements: 2, after: Vec::new() };
    work.patiently(label, &step, &|_, failed| explain(failed)).await?;
    work.keep_step();
    Ok(())
}
