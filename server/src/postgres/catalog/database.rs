//! What belongs to a database's row in the catalog and must come along when the database is replaced; and what is lost.
//!
//! Names change; databases are known by oid.

use model::{blast::OutsideObject, fault::Fault, finding::Finding};
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};

use super::{observe, schema_properties::grant};
use crate::postgres::sql::{
    error::{ControlError, work_fault},
    ident::{Ident, Literal},
};

/// What belongs to a database's row and must come along.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DatabaseRow {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(in crate::postgres) tablespace: Option<String>,
    pub(in crate::postgres) creation: String,
    pub(in crate::postgres) connection_limit: i32,
    pub(in crate::postgres) is_template: bool,
    pub(in crate::postgres) comment: Option<String>,
    pub(in crate::postgres) rights: Vec<DatabaseGrant>,
    /// role (`None`: all), `name=value`.
    pub(in crate::postgres) settings: Vec<(Option<String>, String)>,
    pub(in crate::postgres) labels: Vec<(String, String)>,
}

/// A right on a database.
#[derive(Clone, Debug, Eq, PartialEq, sqlx::FromRow)]
pub(in crate::postgres) struct DatabaseGrant {
    pub(in crate::postgres) grantor: String,
    /// `None`: PUBLIC.
    pub(in crate::postgres) grantee: Option<String>,
    pub(in crate::postgres) privilege: String,
    pub(in crate::postgres) grantable: bool,
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    #[sqlx(try_from = "i64")]
    oid: u32,
    owner: String,
    connection_limit: i32,
    is_template: bool,
    comment: Option<String>,
    /// Every column.
    all: serde_json::Value,
    tablespace: Option<String>,
}

/// Reads the row of a database; `None` when there is none of that name.
pub(crate) async fn row(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Option<DatabaseRow>, ControlError> {
    let head: Option<HeadRow> = sqlx::query_as(
        "SELECT d.oid::int8, pg_get_userbyid(d.datdba)::text AS owner, d.datconnlimit AS connection_limit,
                d.datistemplate AS is_template, shobj_description(d.oid, 'pg_database') AS comment,
                to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(d.encoding)) AS all,
                (SELECT t.spcname::text FROM pg_tablespace t, pg_database b WHERE t.oid = d.dattablespace
                    AND b.datname = 'template0' AND b.dattablespace <> t.oid) AS tablespace
           FROM pg_database d WHERE d.datname = $1",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(HeadRow { oid, owner, connection_limit, is_template, comment, all, tablespace }) = head else {
        return Ok(None);
    };
    let by_oid = i64::from(oid);
    let rights = sqlx::query_as(
        "SELECT pg_get_userbyid(a.grantor)::text AS grantor,
                CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END AS grantee,
                a.privilege_type AS privilege, a.is_grantable AS grantable
           FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
          WHERE d.oid = $1::oid ORDER BY 1, 2 NULLS FIRST, 3",
    )
    .bind(by_oid)
    .fetch_all(&mut *connection)
    .await?;
    let settings = sqlx::query_as(
        "SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole)::text END, c.config
           FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) WITH ORDINALITY c(config, place)
          WHERE s.setdatabase = $1::oid ORDER BY 1 NULLS FIRST, c.place",
    )
    .bind(by_oid)
    .fetch_all(&mut *connection)
    .await?;
    let labels = sqlx::query_as(
        "SELECT provider::text, label::text FROM pg_shseclabel
          WHERE objoid = $1::oid AND classoid = 'pg_database'::regclass ORDER BY 1",
    )
    .bind(by_oid)
    .fetch_all(connection)
    .await?;
    Ok(Some(DatabaseRow {
        oid,
        name: name.to_owned(),
        creation: creation_options(&all, tablespace.as_deref()),
        tablespace,
        owner,
        connection_limit,
        is_template,
        comment,
        rights,
        settings,
        labels,
    }))
}

/// Encoding, locale, provider and tablespace, as `CREATE DATABASE` takes them. The catalog's columns differ from
/// version to version, so the row is read as JSON.
fn creation_options(row: &serde_json::Value, tablespace: Option<&str>) -> String {
    let text = |key: &str| row.get(key).and_then(|v| v.as_str()).filter(|v| !v.is_empty());
    let mut options = String::new();
    let mut add = |word: &str, value: Option<&str>| {
        if let Some(value) = value {
            options.push_str(&format!(" {word} {}", Literal(value)));
        }
    };
    add("ENCODING", text("encoding_name"));
    add("LC_COLLATE", text("datcollate"));
    add("LC_CTYPE", text("datctype"));
    let locale = text("datlocale").or_else(|| text("daticulocale"));
    match text("datlocprovider") {
        Some("i") => {
            options.push_str(" LOCALE_PROVIDER icu");
            let mut add = |word: &str, value: Option<&str>| {
                if let Some(value) = value {
                    options.push_str(&format!(" {word} {}", Literal(value)));
                }
            };
            add("ICU_LOCALE", locale);
            add("ICU_RULES", text("daticurules"));
        }
        Some("b") => {
            options.push_str(" LOCALE_PROVIDER builtin");
            if let Some(locale) = locale {
                options.push_str(&format!(" BUILTIN_LOCALE {}", Literal(locale)));
            }
        }
        // The template's may be another one.
        Some("c") => options.push_str(" LOCALE_PROVIDER libc"),
        _ => {}
    }
    // Naming the template's own tablespace would need rights on it.
    if let Some(tablespace) = tablespace {
        options.push_str(&format!(" TABLESPACE {}", Ident(tablespace)));
    }
    options
}

/// The grants on a database, each after those that it depends on.
pub(in crate::postgres) fn in_dependency_order(row: &DatabaseRow) -> Vec<&DatabaseGrant> {
    grant::ordered(
        &row.rights,
        |right| right.grantor == row.owner,
        |given, right| {
            given.grantable
                && given.privilege == right.privilege
                && given.grantee.as_deref() == Some(right.grantor.as_str())
        },
    )
}

/// What a database holds outside the daemon's own schemas and loses when it is replaced; and about how much that is, which is told
/// beside it: sizes are no identities.
pub(crate) async fn lost_with_it(
    connection: &mut PgConnection,
    own: &[String],
    preserved: &[String],
) -> Result<(Vec<OutsideObject>, Vec<Finding>), Fault> {
    let bytes = observe::bytes(connection).await?;
    let sql = format!(
        "SELECT 'extension', format('%I %s in schema %I', e.extname, e.extversion, n.nspname), NULL
           FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
          WHERE e.extname <> 'plpgsql' AND e.extname <> ALL($2)
         UNION ALL SELECT 'event trigger', format('%I', evtname), NULL FROM pg_catalog.pg_event_trigger
         UNION ALL SELECT 'publication', format('%I', pubname), NULL FROM pg_catalog.pg_publication
         UNION ALL SELECT 'foreign server', format('%I', srvname), NULL FROM pg_catalog.pg_foreign_server
         UNION ALL SELECT 'large objects', 'of the database', pg_catalog.count(*) || ' of them' FROM pg_catalog.pg_largeobject_metadata
          HAVING pg_catalog.count(*) > 0
         UNION ALL SELECT 'schema', format('%I', n.nspname), format('%s, %s',
                pg_catalog.count(c.oid) FILTER (WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v', 'S')) || ' tables, views and sequences',
                pg_catalog.pg_size_pretty(coalesce(pg_catalog.sum({bytes}), 0)::int8))
           FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
          WHERE n.nspname <> ALL($1) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          GROUP BY n.oid, n.nspname HAVING n.nspname <> 'public' OR pg_catalog.count(c.oid) > 0
                OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                            WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
                              AND d.deptype = 'n' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                                   WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e'))
         ORDER BY 1, 2",
    );
    let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(own)
        .bind(preserved)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("listing what the database holds", &e))?;
    let told = rows.iter().filter_map(|(kind, identity, size)| {
        let size = size.as_ref()?;
        Some(Finding::warning(
            "LOST_WITH_THE_DATABASE",
            format!("{kind} {identity}"),
            format!("stays with the old database: {size}"),
            "keep what you need before: dump it, or bring the old database back with `undo`",
        ))
    });
    let told = told.collect();
    Ok((rows.into_iter().map(|(kind, identity, _)| OutsideObject::new(&kind, &identity)).collect(), told))
}

/// The oid of a database, by name.
pub(crate) async fn oid(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<u32>, ControlError> {
    let oid: Option<i64> = sqlx::query_scalar("SELECT oid::int8 FROM pg_database WHERE datname = $1")
        .bind(name)
        .fetch_optional(executor)
        .await?;
    Ok(oid.and_then(|oid| u32::try_from(oid).ok()))
}

/// The name of a database that takes connections, by oid.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn name(executor: impl PgExecutor<'_>, oid: u32) -> Result<Option<String>, ControlError> {
    Ok(sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE oid = $1::oid AND datallowconn")
        .bind(i64::from(oid))
        .fetch_optional(executor)
        .await?)
}

/// The oid of the database that a session is in.
///
/// # Errors
/// The session was lost.
pub(crate) async fn current_oid(connection: &mut PgConnection) -> Result<u32, Fault> {
    let oid: i64 = sqlx::query_scalar(
        "SELECT d.oid::pg_catalog.int8 FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("asking for the database's oid", &e))?;
    Ok(u32::try_from(oid).unwrap_or_default())
}
