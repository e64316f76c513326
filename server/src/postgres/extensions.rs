//! Extensions: those that live in managed schemas and must leave them, and those that chains require.

use model::{
    blast::ExtensionMove,
    chain::ChainSet,
    fault::{Fault, Reason},
    finding::Finding,
    matrix::Matrix,
};
use sqlx::PgConnection;

use super::{error::work_fault, ident::Ident, patient, work::Work};

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

type MisplacedRow = (i64, String, String, String, bool, bool, i64, i64, bool);

impl From<MisplacedRow> for Misplaced {
    fn from(row: MisplacedRow) -> Self {
        let (oid, name, schema, owner, relocatable, owned, foreign_members, strays, may_create) = row;
        Self { oid, name, schema, owner, relocatable, owned, foreign_members, strays, may_create }
    }
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
       (SELECT pg_catalog.count(*) FROM members m WHERE m.extension = e.oid AND m.schema <> n.nspname) AS strays,
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
///
/// # Errors
/// The session was lost.
pub(crate) async fn look(
    connection: &mut PgConnection,
    matrix: &Matrix,
    reset: &[String],
    chains: Option<&ChainSet>,
) -> Result<Extensions, Fault> {
    let managed: Vec<String> = matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let to = &matrix.extensions_schema;
    let misplaced: Vec<MisplacedRow> = sqlx::query_as(concat_query())
        .bind(&managed)
        .bind(to)
        .fetch_all(&mut *connection)
        .await
        .map_err(|e| work_fault("looking for extensions in managed schemas", &e))?;
    let mut all = Extensions::default();
    let mut lost: Vec<String> = Vec::new();
    for extension in misplaced.into_iter().map(Misplaced::from) {
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
        let required = Required::read(connection, chains).await?;
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

/// An extension that a chain requires, or that such a one requires.
struct RequiredRow {
    name: String,
    available: bool,
    installed_in: Option<String>,
    fixed_schema: Option<String>,
    may_install: bool,
}

type RequiredTuple = (String, bool, Option<String>, Option<String>, bool);

/// What the chains require.
#[derive(Default)]
struct Required {
    rows: Vec<RequiredRow>,
    by: Vec<(String, String)>,
}

impl Required {
    async fn read(connection: &mut PgConnection, chains: &ChainSet) -> Result<Self, Fault> {
        let mut by: Vec<(String, String)> = Vec::new();
        for chain in &chains.chains {
            by.extend(chain.extensions().into_iter().map(|e| (e.to_owned(), chain.name.clone())));
        }
        if by.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<&str> = by.iter().map(|(name, _)| name.as_str()).collect();
        let rows: Vec<RequiredTuple> = sqlx::query_as(
            "WITH RECURSIVE offered AS MATERIALIZED (
                SELECT v.name, v.superuser, v.trusted, v.schema, v.requires
                  FROM pg_catalog.pg_available_extension_versions v JOIN pg_catalog.pg_available_extensions a
                    ON a.name = v.name AND a.default_version = v.version),
             wanted(name) AS (
                SELECT pg_catalog.unnest($1::pg_catalog.name[])
                UNION SELECT pg_catalog.unnest(o.requires) FROM wanted w JOIN offered o ON o.name = w.name)
             SELECT w.name::pg_catalog.text AS name, o.name IS NOT NULL AS available,
                    (SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_extension e
                       JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
                      WHERE e.extname = w.name) AS installed_in,
                    o.schema::pg_catalog.text AS fixed_schema,
                    coalesce(NOT o.superuser OR r.rolsuper OR (o.trusted AND pg_catalog.has_database_privilege(
                        pg_catalog.current_database(), 'CREATE')), false) AS may_install
               FROM wanted w LEFT JOIN offered o ON o.name = w.name, pg_catalog.pg_roles r
              WHERE r.rolname = current_user ORDER BY 1",
        )
        .bind(names)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("looking at available extensions", &e))?;
        let row = |(name, available, installed_in, fixed_schema, may_install)| RequiredRow {
            name,
            available,
            installed_in,
            fixed_schema,
            may_install,
        };
        Ok(Self { rows: rows.into_iter().map(row).collect(), by })
    }

    fn missing(&self, lost: &[String]) -> Vec<String> {
        let missing = |row: &&RequiredRow| row.installed_in.is_none() || lost.contains(&row.name);
        self.rows.iter().filter(missing).map(|row| row.name.clone()).collect()
    }

    fn wanted_by(&self, name: &str) -> String {
        match self.by.iter().find(|(extension, _)| extension == name) {
            Some((_, chain)) => format!("chain {chain} requires it"),
            None => "an extension that a chain requires needs it".to_owned(),
        }
    }

    async fn findings(
        &self,
        connection: &mut PgConnection,
        matrix: &Matrix,
        lost: &[String],
        moves: &[ExtensionMove],
    ) -> Result<Vec<Finding>, Fault> {
        let managed = matrix.managed_schemas();
        let mut findings = Vec::new();
        for row in &self.rows {
            let object = format!("extension {}", row.name);
            let by = self.wanted_by(&row.name);
            let missing = row.installed_in.is_none() || lost.contains(&row.name);
            if missing && !row.available {
                findings.push(Finding::error(
                    "EXTENSION_UNAVAILABLE",
                    object,
                    format!("{by}, and the server does not have it"),
                    format!(
                        "install the server package that brings {}, or take the chain out of the matrix",
                        row.name
                    ),
                ));
            } else if missing && !row.may_install {
                findings.push(Finding::error(
                    "EXTENSION_DENIED",
                    object,
                    format!("{by}; it is not trusted, and the daemon's role is no superuser"),
                    format!(
                        "let a superuser run: CREATE EXTENSION {} SCHEMA {};",
                        Ident(&row.name),
                        Ident(&matrix.extensions_schema)
                    ),
                ));
            } else if let Some(fixed) =
                row.fixed_schema.as_deref().filter(|fixed| missing && managed.contains(fixed))
            {
                findings.push(Finding::error(
                    Reason::ExtensionMisplaced.name(),
                    object,
                    format!("{by}; it can only live in schema {fixed}, which is managed"),
                    "a reset would drop it: take it out of the chain",
                ));
            } else if let Some(elsewhere) = row.installed_in.as_deref().filter(|schema| {
                let on_path = matrix.search_path_suffix.iter().chain([&matrix.extensions_schema]);
                !missing
                    && *schema != "pg_catalog"
                    && !on_path.into_iter().any(|path| path == schema)
                    && !moves.iter().any(|m| m.extension == row.name)
            }) {
                findings.push(Finding::warning(
                    "EXTENSION_ELSEWHERE",
                    object,
                    format!("{by}; it lives in schema {elsewhere}, which is on no revision's search path"),
                    format!(
                        "ALTER EXTENSION {} SET SCHEMA {};",
                        Ident(&row.name),
                        Ident(&matrix.extensions_schema)
                    ),
                ));
            }
        }
        if !self.rows.is_empty() {
            findings.extend(barred_owners(connection, matrix).await?);
        }
        Ok(findings)
    }
}

/// Revisions run as the schemas' owners: these must be able to use what lives in the extensions' schema.
async fn barred_owners(connection: &mut PgConnection, matrix: &Matrix) -> Result<Vec<Finding>, Fault> {
    let managed: Vec<String> = matrix.managed_schemas().into_iter().map(str::to_owned).collect();
    let barred: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text
           FROM pg_catalog.pg_namespace n, pg_catalog.pg_namespace e
          WHERE n.nspname = ANY($1) AND e.nspname = $2
            AND NOT pg_catalog.has_schema_privilege(n.nspowner, e.oid, 'USAGE') ORDER BY 1",
    )
    .bind(managed)
    .bind(&matrix.extensions_schema)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at the extensions' schema", &e))?;
    let schema = &matrix.extensions_schema;
    let finding = |owner: String| {
        Finding::error(
            "EXTENSIONS_SCHEMA_DENIED",
            format!("schema {schema}"),
            format!(
                "role {owner}, which owns managed schemas, may not use it, so its revisions do not find extensions"
            ),
            format!("GRANT USAGE ON SCHEMA {} TO {};", Ident(schema), Ident(&owner)),
        )
    };
    Ok(barred.into_iter().map(finding).collect())
}

/// Findings about the extensions that chains require, in a database that is to be built anew.
///
/// # Errors
/// The session was lost.
pub(crate) async fn required(
    connection: &mut PgConnection,
    matrix: &Matrix,
    chains: &ChainSet,
) -> Result<Vec<Finding>, Fault> {
    let required = Required::read(connection, chains).await?;
    let all: Vec<String> = required.rows.iter().map(|row| row.name.clone()).collect();
    required.findings(connection, matrix, &all, &[]).await
}

/// Extensions that live in one of the schemas.
///
/// # Errors
/// The session was lost.
async fn extensions_in(
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

/// No extension may end up in a managed schema: the next reset would take it, and everything that uses it.
///
/// # Errors
/// `EXTENSION_MISPLACED`.
pub(crate) async fn refuse_in(work: &mut Work, schemas: &[&str]) -> Result<(), Fault> {
    let found = extensions_in(&mut work.connection, schemas).await?;
    let Some((extension, schema)) = found.first() else { return Ok(()) };
    Err(Fault::new(Reason::ExtensionMisplaced, format!("extension {extension} ended up in managed schema {schema}"))
        .hint("name it in the revision's header: `-- requires-extension: NAME`; it is then created where it belongs")
        .with("extension", extension)
        .with("schema", schema))
}

/// The oids of extensions that are to be moved.
///
/// # Errors
/// The session was lost.
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

/// Moves extensions out of managed schemas.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn move_out(work: &mut Work, moves: &[ExtensionMove]) -> Result<(), Fault> {
    for it in moves {
        make_schema(work, &it.to).await?;
        let sql = format!("ALTER EXTENSION {} SET SCHEMA {}", Ident(&it.extension), Ident(&it.to));
        patient(work, &format!("the move of {it}"), &sql).await?;
    }
    Ok(())
}

/// Creates extensions that are not there, in the schema meant for them; one that can only live elsewhere, there.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn create(work: &mut Work, names: &[&str], schema: &str) -> Result<(), Fault> {
    if names.is_empty() {
        return Ok(());
    }
    make_schema(work, schema).await?;
    let fixed: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT name::text FROM pg_catalog.pg_available_extension_versions
          WHERE name = ANY($1) AND schema IS NOT NULL",
    )
    .bind(names)
    .fetch_all(&mut work.connection)
    .await
    .map_err(|e| work_fault("looking at available extensions", &e))?;
    for name in names {
        let place = match fixed.iter().any(|fixed| fixed == name) {
            true => String::new(),
            false => format!(" SCHEMA {}", Ident(schema)),
        };
        let create = format!("CREATE EXTENSION IF NOT EXISTS {}{place} CASCADE", Ident(name));
        patient(work, &format!("the creation of extension {name}"), &create).await?;
    }
    Ok(())
}

/// The extensions' schema, open to everybody like `public` was: types in it are of use only to who may look into it.
async fn make_schema(work: &mut Work, schema: &str) -> Result<(), Fault> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)")
            .bind(schema)
            .fetch_one(&mut work.connection)
            .await
            .map_err(|e| work_fault("looking for the extensions' schema", &e))?;
    if exists {
        return Ok(());
    }
    let name = Ident(schema);
    let make = format!("CREATE SCHEMA IF NOT EXISTS {name}; GRANT USAGE ON SCHEMA {name} TO PUBLIC");
    patient(work, "the creation of the extensions' schema", &make).await
}
