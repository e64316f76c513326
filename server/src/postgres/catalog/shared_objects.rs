//! What all databases of a cluster share and a dropped database does not take along: roles with their memberships and
//! settings, and tablespaces. Compared before and after, so that what stays can be told.

use std::collections::BTreeMap;

use model::finding::Finding;
use sqlx::PgPool;

use crate::postgres::sql::error::ControlError;

/// The shared objects as they were at one moment: by name their state in words, and the statement that takes them away.
pub(crate) struct SharedObjects(BTreeMap<String, (String, String)>);

const LOOK: &str = "
SELECT pg_catalog.format('role %I', r.rolname),
       pg_catalog.concat_ws(' ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
           CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
           CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
           CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, pg_catalog.format('CONNECTION LIMIT %s', r.rolconnlimit),
           pg_catalog.format('VALID UNTIL %L', r.rolvaliduntil),
           pg_catalog.format('comment %L', pg_catalog.shobj_description(r.oid, 'pg_authid'))),
       pg_catalog.format('DROP ROLE %I', r.rolname)
  FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' AND r.rolname <> $1
UNION ALL
SELECT pg_catalog.format('membership of %I in %I', m.rolname, r.rolname),
       pg_catalog.string_agg(CASE WHEN a.admin_option THEN 'WITH ADMIN OPTION' ELSE 'plain' END, ', '
           ORDER BY a.admin_option),
       pg_catalog.format('REVOKE %I FROM %I', r.rolname, m.rolname)
  FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
  JOIN pg_catalog.pg_roles m ON m.oid = a.member WHERE $1 NOT IN (r.rolname, m.rolname) GROUP BY r.rolname, m.rolname
UNION ALL
SELECT pg_catalog.format('setting %s of role %I', pg_catalog.split_part(c.setting, '=', 1), r.rolname),
       pg_catalog.substr(c.setting, pg_catalog.strpos(c.setting, '=') + 1),
       pg_catalog.format('ALTER ROLE %I RESET %s', r.rolname, pg_catalog.split_part(c.setting, '=', 1))
  FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
 CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(setting) WHERE s.setdatabase = 0
UNION ALL
SELECT pg_catalog.format('tablespace %I', t.spcname),
       pg_catalog.concat_ws(' ', pg_catalog.format('OWNER %I', pg_catalog.pg_get_userbyid(t.spcowner)),
           t.spcacl::pg_catalog.text, t.spcoptions::pg_catalog.text),
       pg_catalog.format('DROP TABLESPACE %I', t.spcname)
  FROM pg_catalog.pg_tablespace t";

/// Looks at them, but not at the daemon's own role `without`, which goes by itself. A password's change is not seen: nobody but
/// a superuser may look at it.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn look(pool: &PgPool, without: &str) -> Result<SharedObjects, ControlError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(LOOK).bind(without).fetch_all(pool).await?;
    Ok(SharedObjects(rows.into_iter().map(|(name, state, removal)| (name, (state, removal))).collect()))
}

impl SharedObjects {
    /// What came, changed or went since, each with the way back.
    pub(crate) fn changes_until(&self, now: &Self) -> Vec<Finding> {
        // By whom is not known: whoever works in the cluster meanwhile is seen as well.
        const WHEN: &str = "while the new database was built, by a revision or by somebody else";
        let finding = |object: &str, what: String, hint: String| {
            Finding::warning("CLUSTER_CHANGED", object, what, hint)
        };
        let mut changes = Vec::new();
        for (object, (state, removal)) in &now.0 {
            match self.0.get(object) {
                None => {
                    changes.push(finding(
                        object,
                        format!("was made {WHEN}, and stays"),
                        format!("if a revision made it: {removal}"),
                    ));
                }
                Some((before, _)) if before != state => changes.push(finding(
                    object,
                    format!("was changed {WHEN}, and stays so: {state}"),
                    format!("it was: {before}"),
                )),
                Some(_) => {}
            }
        }
        let gone = self.0.iter().filter(|(object, _)| !now.0.contains_key(*object));
        changes.extend(gone.map(|(object, (before, _))| {
            finding(object, format!("went {WHEN}"), format!("make it again; it was: {before}"))
        }));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_changed_and_went_is_told_with_the_way_back() {
        let of = |all: &[(&str, &str)]| {
            let entry = |(name, state): &(&str, &str)| {
                ((*name).to_owned(), ((*state).to_owned(), format!("DROP {name}")))
            };
            SharedObjects(all.iter().map(entry).collect())
        };
        let before = of(&[("role a", "LOGIN"), ("role b", "LOGIN"), ("role c", "")]);
        let now = of(&[("role a", "LOGIN"), ("role b", "NOLOGIN"), ("role d", "")]);
        let told: Vec<String> = before
            .changes_until(&now)
            .iter()
            .map(|f| format!("{} {}: {}", f.object, f.message, f.hint))
            .collect();
        assert_eq!(
            told,
            [
                "role b was changed while the new database was built, by a revision or by somebody else, and stays so: \
                 NOLOGIN: it was: LOGIN",
                "role d was made while the new database was built, by a revision or by somebody else, and stays: \
                 if a revision made it: DROP role d",
                "role c went while the new database was built, by a revision or by somebody else: make it again; it was: ",
            ]
        );
        assert_eq!(before.changes_until(&before), []);
    }
}
