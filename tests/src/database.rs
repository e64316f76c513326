//! Scope database: its commands, and what serves, is built and is kept.

use crate::{TestTarget, eventually};

/// Builds aside, replays, validates and swaps in.
pub const RUN: &str = "run --scope database --confirm-destructive-reset RESET";

/// Swaps in an empty database.
pub const RESET: &str = "reset --scope database --confirm-destructive-reset RESET";

/// What identifies the database that serves.
pub async fn oid(target: &TestTarget) -> String {
    let name = target.database.replace('\'', "''");
    let rows =
        target.control_rows(&format!("SELECT oid::text FROM pg_database WHERE datname = '{name}'")).await;
    rows.first().map_or_else(String::new, |row| row[0].clone())
}

/// Databases with a generated name that operations of this target's daemons made, of one kind: `new` or `kept`.
pub async fn generated(target: &TestTarget, kind: &str) -> Vec<String> {
    let rows = target
        .control_rows(&format!(
            "SELECT d.datname::text FROM resetd.operation o
               JOIN pg_database d ON d.datname = 'resetd_{kind}_' || right(replace(o.id::text, '-', ''), 16) ORDER BY o.id"
        ))
        .await;
    rows.into_iter().map(|row| row[0].clone()).collect()
}

/// Waits until a daemon stands before a gate: asked in the control database, since the target may be locked by the swap, and a
/// session in it may be in the way.
pub async fn reached(target: &TestTarget) {
    let waits = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = 4711 AND NOT l.granted)";
    eventually("a daemon stands before the gate", || async { target.control_rows(waits).await == [["t"]] })
        .await;
}

/// Everything about the database's row, as `pg_dump --create` shows it and as the catalog has it.
pub async fn schema_properties(target: &TestTarget) -> (Vec<String>, Vec<Vec<String>>) {
    let dump = target.dump().await;
    let mut lines: Vec<String> =
        dump.lines().filter(|line| line.contains(" DATABASE ")).map(str::to_owned).collect();
    lines.sort();
    let rows = "
        SELECT 'row', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
               concat_ws(' ', to_jsonb(d) ->> 'datlocprovider', to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale',
                   datistemplate, datconnlimit, datallowconn,
                   (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace), shobj_description(oid, 'pg_database'))
          FROM pg_database d WHERE datname = current_database()
        UNION ALL
        SELECT 'right', pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
               a.privilege_type, a.is_grantable::text, ''
          FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba))) a
         WHERE datname = current_database()
        UNION ALL
        SELECT 'setting', s.setrole::regrole::text, c.config, c.n::text, '', ''
          FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
         CROSS JOIN LATERAL unnest(s.setconfig) WITH ORDINALITY c(config, n) WHERE d.datname = current_database()
        ORDER BY 1, 2, 3, 4";
    (lines, target.rows(rows).await)
}
