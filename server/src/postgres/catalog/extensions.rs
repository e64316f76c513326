//! Extensions: those that live in managed schemas and must leave them, and those that chains require.

mod required;

use model::{
    blast::ExtensionMove,
    chain::ChainSet,
    fault::{Fault, Reason},
    finding::Finding,
    matrix::Matrix,
};
use sqlx::PgConnection;

use crate::postgres::sql::error::work_fault;
use required::Required;

pub(crate) use required::required;

/// What is to become of extensions.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    /// Those that leave a managed schema.
    pub(crate) moves: Vec<ExtensionMove>,
    /// Their oids: the walk leaves them out.
    pub(crate) moved: Vec<i64>,
    /// Those that are created because a chain requires them.
    pub(crate) created: Vec<String>,
    /// What is in the way.
    pub(crate) findings: Vec<Finding>,
}

/// An extension that lives in a managed schema.
#[derive(sqlx::FromRow)]
struct Misplaced {
    oid: i64,
    name: String,
    schema: String,
    owner: String,
    relocatable: bool,
    owned: bool,
    foreign_members: i64,
    strays: i64,
    may_create: bool,
}

impl Misplaced {
    /// Why it cannot be moved.
    fn stuck(&self, to: &str) -> Option<String> {
        if !self.relocatable {
            return Some("it is not relocatable".to_owned());
        }
        if !self.owned || self.foreign_members > 0 {
            return Some(format!("it, or what it made, belongs to other roles ({} owns it)", self.owner));
        }
        if self.strays > 0 {
            return Some("not all of it lives in one schema".to_owned());
        }
        (!self.may_create).then(|| format!("the daemon's role may not create in schema {to}"))
    }
}

const MISPLACED: &str = "
SELECT e.oid::pg_catalog.int8 AS oid, e.extname::pg_catalog.text AS name, n.nspname::pg_catalog.text AS schema,
       pg_catalog.pg_get_userbyid(e.extowner)::pg_catalog.text AS owner, e.extrelocatable AS relocatable,
       pg_catalog.pg_has_role(e.extowner, 'USAGE') AS owned,
       (SELECT pg_catalog.count(*) FROM members m WHERE m.extension = e.oid
           AND NOT coalesce(pg_catalog.pg_has_role(m.owner, 'USAGE'), true)) AS foreign_members,
       (SELECT pg_catalog.count(*) FROM members m WHERE m.extension = e.oid AND m.schema <> pg_catalog.quote_ident(n.nspname)) AS strays,
       coalesce((SELECT pg_catalog.has_schema_privilege(t.oid, 'CREATE') FROM pg_catalog.pg_namespace t
                  WHERE t.nspname = $2), true) AS may_create
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE n.nspname = ANY($1) ORDER BY 2";

const MEMBERS: &str = "
WITH members AS (
    SELECT d.refobjid AS extension, i.schema, coalesce(
             (SELECT f.proowner FROM pg_catalog.pg_proc f
               WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND f.oid = d.objid),
             (SELECT t.typowner FROM pg_catalog.pg_type t
               WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND t.oid = d.objid),
             (SELECT c.relowner FROM pg_catalog.pg_class c
               WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid),
             (SELECT o.oprowner FROM pg_catalog.pg_operator o
               WHERE d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.objid),
             (SELECT o.opcowner FROM pg_catalog.pg_opclass o
               WHERE d.classid = 'pg_catalog.pg_opclass'::pg_catalog.regclass AND o.oid = d.objid),
             (SELECT o.opfowner FROM pg_catalog.pg_opfamily o
               WHERE d.classid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass AND o.oid = d.objid)) AS owner
      FROM pg_catalog.pg_depend d
     CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
     WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
       AND d.refobjid IN (SELECT x.oid FROM pg_catalog.pg_extension x JOIN pg_catalog.pg_namespace y
                             ON y.oid = x.extnamespace WHERE y.nspname = ANY($1))
)";

/// Looks at the extensions of a target that is to be changed. `reset`: schemas that are dropped.
pub(crate) async fn look(
    connection: &mut PgConnection,
    matrix: &Matrix,
    reset: &[String],
    chains: Option<&ChainSet>,
) -> Result<Extensions, Fault> {
    let managed: Vec<String> = matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let to = &matrix.extensions_schema;
    let misplaced: Vec<Misplaced> = sqlx::query_as(concat_query())
        .bind(&managed)
        .bind(to)
        .fetch_all(&mut *connection)
        .await
        .map_err(|e| work_fault("looking for extensions in managed schemas", &e))?;
    let mut all = Extensions::default();
    let mut lost: Vec<String> = Vec::new();
    for extension in misplaced {
        match extension.stuck(to) {
            None => {
                all.moved.push(extension.oid);
                all.moves.push(ExtensionMove {
                    extension: extension.name,
                    from: extension.schema,
                    to: to.clone(),
                });
            }
            Some(why) => {
                let goes = reset.contains(&extension.schema);
                all.findings.push(stuck(&extension, &why, goes));
                lost.extend(goes.then_some(extension.name));
            }
        }
    }
    if let Some(chains) = chains {
        let required = Required::read(connection, matrix, chains).await?;
        all.findings.extend(required.findings(connection, matrix, &lost, &all.moves).await?);
        all.created = required.missing(&lost);
    }
    Ok(all)
}

fn concat_query() -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{MEMBERS}{MISPLACED}"))
}

fn stuck(extension: &Misplaced, why: &str, goes: bool) -> Finding {
    let (object, schema) = (format!("extension {}", extension.name), &extension.schema);
    match goes {
        true => Finding::warning(
            "EXTENSION_STUCK",
            object,
            format!(
                "cannot be moved out of schema {schema}: {why}; it would go with the schema, and everything that uses it \
                 with it (see the list of what is outside)"
            ),
            "let its owner, or a superuser, move it or install it again elsewhere first; or approve the plan by its digest",
        ),
        false => Finding::error(
            Reason::ExtensionMisplaced.name(),
            object,
            format!("lives in managed schema {schema} and cannot be moved: {why}"),
            "let its owner, or a superuser, move it: no extension may live in a managed schema",
        ),
    }
}

/// Extensions that live in one of the schemas.
pub(in crate::postgres) async fn extensions_in(
    connection: &mut PgConnection,
    schemas: &[&str],
) -> Result<Vec<(String, String)>, Fault> {
    sqlx::query_as(
        "SELECT e.extname::text, n.nspname::text FROM pg_catalog.pg_extension e
           JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname = ANY($1) ORDER BY 1",
    )
    .bind(schemas.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking for extensions in managed schemas", &e))
}

/// The oids of extensions that are to be moved.
pub(crate) async fn oids(connection: &mut PgConnection, moves: &[ExtensionMove]) -> Result<Vec<i64>, Fault> {
    let names: Vec<&str> = moves.iter().map(|m| m.extension.as_str()).collect();
    sqlx::query_scalar(
        "SELECT e.oid::pg_catalog.int8 FROM pg_catalog.pg_extension e WHERE e.extname = ANY($1)",
    )
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking for extensions", &e))
}
