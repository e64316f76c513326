//! What extensions the chains require, whether the server has them, and whether the daemon's role may create them.

use std::collections::BTreeMap;

use model::{
    blast::ExtensionMove,
    chain::ChainSet,
    fault::{Fault, Reason},
    finding::Finding,
    matrix::Matrix,
    sql,
};
use sqlx::PgConnection;

use crate::postgres::sql::{error::work_fault, ident::Ident};

/// An extension that a chain requires, or that such a one requires.
#[derive(sqlx::FromRow)]
struct RequiredRow {
    name: String,
    available: bool,
    installed_in: Option<String>,
    fixed_schema: Option<String>,
    may_install: bool,
}

/// What the chains require.
#[derive(Default)]
pub(super) struct Required {
    rows: Vec<RequiredRow>,
    by: Vec<(String, String)>,
    /// The schema where each is to be created, by extension.
    homes: BTreeMap<String, String>,
    /// Schemas that a chain asks for in vain: a reset would drop them.
    managed_homes: Vec<(String, String)>,
    /// Schemas on the search path of any role in this database.
    reached: Vec<String>,
}

impl Required {
    pub(super) async fn read(
        connection: &mut PgConnection,
        matrix: &Matrix,
        chains: &ChainSet,
    ) -> Result<Self, Fault> {
        let mut by: Vec<(String, String)> = Vec::new();
        let mut managed_homes = Vec::new();
        for chain in &chains.chains {
            for (extension, schema) in chain.extensions() {
                by.push((extension.to_owned(), chain.name.clone()));
                let in_vain = schema.filter(|schema| matrix.manages(schema));
                let header = chain.revisions.iter().flat_map(|r| &r.requires_extensions);
                let says = |schema: &&str| {
                    header.clone().any(|it| it.name == extension && it.schema.as_deref() == Some(*schema))
                };
                // What `CREATE EXTENSION` says in a revision is moved on, as ever.
                managed_homes
                    .extend(in_vain.filter(says).map(|schema| (extension.to_owned(), schema.to_owned())));
            }
        }
        if by.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<&str> = by.iter().map(|(name, _)| name.as_str()).collect();
        let rows = sqlx::query_as(
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
        .fetch_all(&mut *connection)
        .await
        .map_err(|e| work_fault("looking at available extensions", &e))?;
        let homes =
            chains.extensions(matrix).into_iter().map(|(n, s)| (n.to_owned(), s.to_owned())).collect();
        let reached = reached_schemas(connection).await?;
        Ok(Self { rows, by, homes, managed_homes, reached })
    }

    pub(super) fn missing(&self, lost: &[String]) -> Vec<String> {
        let missing = |row: &&RequiredRow| row.installed_in.is_none() || lost.contains(&row.name);
        self.rows.iter().filter(missing).map(|row| row.name.clone()).collect()
    }

    fn home<'a>(&'a self, row: &'a RequiredRow, matrix: &'a Matrix) -> &'a str {
        let fixed = row.fixed_schema.as_deref();
        fixed.or_else(|| self.homes.get(&row.name).map(String::as_str)).unwrap_or(&matrix.extensions_schema)
    }

    /// Those that will be where no role's search path leads: revisions find them, the application may not.
    fn out_of_reach(&self, matrix: &Matrix, lost: &[String]) -> Vec<Finding> {
        let missing = |row: &&RequiredRow| row.installed_in.is_none() || lost.contains(&row.name);
        let finding = |row: &RequiredRow| {
            let home = self.home(row, matrix);
            if home == "pg_catalog" || self.reached.iter().any(|schema| schema == home) {
                return None;
            }
            Some(Finding::warning(
                "EXTENSION_OUT_OF_REACH",
                format!("extension {}", row.name),
                format!(
                    "will be in schema {home}, which is on no role's search path in this database: applications that do not \
                     set their own, or name the schema, will not find it"
                ),
                format!(
                    "say where it belongs in a revision's header: -- requires-extension: {} in public; or put {home} on the \
                     path: ALTER DATABASE … SET search_path",
                    row.name
                ),
            ))
        };
        self.rows.iter().filter(missing).filter_map(finding).collect()
    }

    fn wanted_by(&self, name: &str) -> String {
        match self.by.iter().find(|(extension, _)| extension == name) {
            Some((_, chain)) => format!("chain {chain} requires it"),
            None => "an extension that a chain requires needs it".to_owned(),
        }
    }

    pub(super) async fn findings(
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
                        Ident(self.home(row, matrix))
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
        findings.extend(self.managed_homes.iter().map(|(name, schema)| {
            Finding::error(
                Reason::ExtensionMisplaced.name(),
                format!("extension {name}"),
                format!("a chain wants it in schema {schema}, which is managed: a reset would drop it"),
                "name another schema in `-- requires-extension`, or none",
            )
        }));
        findings.extend(self.out_of_reach(matrix, lost));
        if !self.rows.is_empty() {
            findings.extend(barred_owners(connection, matrix).await?);
        }
        Ok(findings)
    }
}

/// Every schema that some role has on its search path in this database: by its own setting, the database's, or the server's
/// where neither is there.
async fn reached_schemas(connection: &mut PgConnection) -> Result<Vec<String>, Fault> {
    let paths: Vec<String> = sqlx::query_scalar(
        "SELECT pg_catalog.substr(c.setting, 13) FROM pg_catalog.pg_db_role_setting s
          CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) c(setting)
          WHERE c.setting LIKE 'search\\_path=%' AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                   WHERE d.datname = pg_catalog.current_database()))
         UNION SELECT s.boot_val FROM pg_catalog.pg_settings s WHERE s.name = 'search_path'
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting r JOIN pg_catalog.pg_database d ON d.oid = r.setdatabase
                            CROSS JOIN LATERAL pg_catalog.unnest(r.setconfig) c(setting)
                            WHERE d.datname = pg_catalog.current_database() AND r.setrole = 0
                              AND c.setting LIKE 'search\\_path=%')",
    )
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at search paths", &e))?;
    Ok(paths.iter().flat_map(|path| sql::split_list(path)).collect())
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
pub(crate) async fn required(
    connection: &mut PgConnection,
    matrix: &Matrix,
    chains: &ChainSet,
) -> Result<Vec<Finding>, Fault> {
    let required = Required::read(connection, matrix, chains).await?;
    let all: Vec<String> = required.rows.iter().map(|row| row.name.clone()).collect();
    required.findings(connection, matrix, &all, &[]).await
}
