//! The furniture of a schema: owner, grants, comment and default privileges, taken down before a drop and put back.

use model::fault::{Fault, Reason};
use sqlx::PgConnection;

use super::{
    error::work_fault,
    ident::{Ident, Literal},
    work::Work,
};

/// One right on a schema, or by default on what will be made in it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Right {
    grantor: String,
    /// `None`: PUBLIC.
    grantee: Option<String>,
    privilege: String,
    grantable: bool,
    /// `None` for the schema itself, else the kind of objects a default is for: `r S f T`.
    objects: Option<String>,
}

/// The furniture of one schema.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Furniture {
    schema: String,
    owner: String,
    comment: Option<String>,
    /// `None`: the schema never had an access list.
    rights: Option<Vec<Right>>,
    defaults: Vec<Right>,
}

type HeadRow = (String, String, Option<String>, bool);
type RightRow = (String, String, Option<String>, String, bool, Option<String>);

/// Takes down the furniture of those schemas that exist.
///
/// # Errors
/// The session was lost.
pub(crate) async fn capture(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<Furniture>, Fault> {
    let lost = |e: sqlx::Error| work_fault("reading grants and defaults of the schemas", &e);
    let heads: Vec<HeadRow> = sqlx::query_as(
        "SELECT n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner)::text,
                pg_catalog.obj_description(n.oid, 'pg_namespace'), n.nspacl IS NOT NULL
           FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY($1) ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(&mut *connection)
    .await
    .map_err(lost)?;
    let rights: Vec<RightRow> = sqlx::query_as(
        "SELECT x.schema, x.grantor, x.grantee, x.privilege_type, x.is_grantable, x.objects FROM (
            SELECT n.nspname::text AS schema, pg_catalog.pg_get_userbyid(a.grantor)::text AS grantor,
                   CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END AS grantee,
                   a.privilege_type, a.is_grantable, NULL::text AS objects
              FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a
             WHERE n.nspname = ANY($1)
            UNION ALL
            SELECT n.nspname::text, pg_catalog.pg_get_userbyid(d.defaclrole)::text,
                   CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END,
                   a.privilege_type, a.is_grantable, d.defaclobjtype::text
              FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_default_acl d ON d.defaclnamespace = n.oid
             CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a WHERE n.nspname = ANY($1)
         ) x ORDER BY 1, 2, 3, 4",
    )
    .bind(schemas)
    .fetch_all(connection)
    .await
    .map_err(lost)?;
    Ok(heads.into_iter().map(|head| assemble(head, &rights)).collect())
}

fn assemble((schema, owner, comment, has_acl): HeadRow, rows: &[RightRow]) -> Furniture {
    let right = |row: &RightRow| Right {
        grantor: row.1.clone(),
        grantee: row.2.clone(),
        privilege: row.3.clone(),
        grantable: row.4,
        objects: row.5.clone(),
    };
    let here = || rows.iter().filter(|row| row.0 == schema).map(right);
    let rights = has_acl.then(|| here().filter(|r| r.objects.is_none()).collect());
    let defaults = here().filter(|r| r.objects.is_some()).collect();
    Furniture { schema, owner, comment, rights, defaults }
}

impl Furniture {
    /// The schema.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The schema's owner.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Statements that put it back onto the recreated schema; each acts as the role that granted.
    fn statements(&self) -> String {
        let schema = Ident(&self.schema);
        let mut sql = String::new();
        if let Some(comment) = &self.comment {
            sql.push_str(&format!("COMMENT ON SCHEMA {schema} IS {};\n", Literal(comment)));
        }
        if let Some(rights) = &self.rights {
            let owner = Ident(&self.owner);
            sql.push_str(&format!("SET LOCAL ROLE {owner};\n"));
            sql.push_str(&format!("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {owner};\n"));
            for right in in_dependency_order(&self.owner, rights) {
                sql.push_str(&right.grant(&self.schema));
            }
        }
        for right in &self.defaults {
            sql.push_str(&right.alter_default(&self.schema));
        }
        sql.push_str("SET LOCAL ROLE NONE;\n");
        sql
    }

    /// What is not as it was, in words.
    pub(crate) fn difference(&self, now: &Self) -> Option<String> {
        let mut parts = Vec::new();
        if self.owner != now.owner {
            parts.push(format!("owner {} instead of {}", now.owner, self.owner));
        }
        if self.comment != now.comment {
            parts.push("the comment".to_owned());
        }
        if sorted(self.rights.as_deref().unwrap_or_default())
            != sorted(now.rights.as_deref().unwrap_or_default())
        {
            parts.push("the grants".to_owned());
        }
        if sorted(&self.defaults) != sorted(&now.defaults) {
            parts.push("the default privileges".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

fn sorted(rights: &[Right]) -> Vec<&Right> {
    let mut sorted: Vec<&Right> = rights.iter().collect();
    sorted.sort();
    sorted
}

/// A right can only be granted by who holds it with the option to grant: the owner's come first, then theirs.
fn in_dependency_order<'a>(owner: &str, rights: &'a [Right]) -> Vec<&'a Right> {
    let mut waiting: Vec<&Right> = rights.iter().collect();
    let mut ordered: Vec<&Right> = Vec::new();
    loop {
        let may = |right: &&Right| {
            right.grantor == owner
                || ordered.iter().any(|o| {
                    o.grantable
                        && o.privilege == right.privilege
                        && o.grantee.as_deref() == Some(right.grantor.as_str())
                })
        };
        let (now, later): (Vec<&Right>, Vec<&Right>) = waiting.into_iter().partition(may);
        if now.is_empty() {
            // What is left has no grantor that could have granted it; PostgreSQL says so when it is tried.
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(now);
        waiting = later;
    }
}

impl Right {
    fn to(&self) -> String {
        self.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string())
    }

    fn option(&self) -> &'static str {
        if self.grantable { " WITH GRANT OPTION" } else { "" }
    }

    fn grant(&self, schema: &str) -> String {
        format!(
            "SET LOCAL ROLE {}; GRANT {} ON SCHEMA {} TO {}{};\n",
            Ident(&self.grantor),
            self.privilege,
            Ident(schema),
            self.to(),
            self.option()
        )
    }

    fn alter_default(&self, schema: &str) -> String {
        let objects = match self.objects.as_deref() {
            Some("S") => "SEQUENCES",
            Some("f") => "FUNCTIONS",
            Some("T") => "TYPES",
            _ => "TABLES",
        };
        format!(
            "SET LOCAL ROLE NONE; ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} ON {objects} TO {}{};\n",
            Ident(&self.grantor),
            Ident(schema),
            self.privilege,
            self.to(),
            self.option()
        )
    }
}

/// Puts furniture back.
///
/// # Errors
/// `FURNITURE_LOST` with what PostgreSQL said.
pub(crate) async fn restore(work: &mut Work, furniture: &Furniture) -> Result<(), Fault> {
    work.message(&furniture.statements()).await.map(|_| ()).map_err(|failed| {
        Fault::new(
            Reason::FurnitureLost,
            format!(
                "grants and defaults of schema {} cannot be put back: {}",
                furniture.schema,
                super::error::message(&failed.error)
            ),
        )
        .hint("everything was rolled back; give the daemon's role the memberships it needs")
        .with("schema", &furniture.schema)
    })
}
