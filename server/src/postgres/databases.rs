//! Whole databases: what belongs to their row in the catalog, building aside, and the swap.
//!
//! Every statement on databases themselves runs on the connection that holds the lock. Names change; databases are known
//! by oid.

use model::{
    blast::OutsideObject,
    fault::{Fault, Reason},
    finding::Finding,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use super::{
    error::{control_fault, database_error, message, sqlstate, work_fault},
    ident::{Ident, Literal},
    settings,
};

/// What belongs to a database's row and must come along.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DatabaseRow {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) owner: String,
    creation: String,
    connection_limit: i32,
    is_template: bool,
    comment: Option<String>,
    /// grantor, grantee (`None`: PUBLIC), privilege, grantable.
    rights: Vec<(String, Option<String>, String, bool)>,
    /// role (`None`: all), `name=value`.
    settings: Vec<(Option<String>, String)>,
    labels: Vec<(String, String)>,
}

type HeadRow = (i64, String, i32, bool, Option<String>, serde_json::Value, Option<String>);

/// Reads the row of a database; `None` when there is none of that name.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn row(connection: &mut PgConnection, name: &str) -> Result<Option<DatabaseRow>, Fault> {
    let head: Option<HeadRow> = sqlx::query_as(
        "SELECT d.oid::int8, pg_get_userbyid(d.datdba)::text, d.datconnlimit, d.datistemplate,
                shobj_description(d.oid, 'pg_database'),
                to_jsonb(d) || jsonb_build_object('encoding_name', pg_encoding_to_char(d.encoding)),
                (SELECT t.spcname::text FROM pg_tablespace t WHERE t.oid = d.dattablespace)
           FROM pg_database d WHERE d.datname = $1",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await
    .map_err(control_fault)?;
    let Some((oid, owner, connection_limit, is_template, comment, all, tablespace)) = head else {
        return Ok(None);
    };
    let rights = sqlx::query_as(
        "SELECT pg_get_userbyid(a.grantor)::text, CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee)::text END,
                a.privilege_type, a.is_grantable
           FROM pg_database d CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
          WHERE d.oid = $1::oid ORDER BY 1, 2 NULLS FIRST, 3",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await
    .map_err(control_fault)?;
    let settings = sqlx::query_as(
        "SELECT CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole)::text END, c.config
           FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c(config)
          WHERE s.setdatabase = $1::oid ORDER BY 1 NULLS FIRST, 2",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await
    .map_err(control_fault)?;
    let labels = sqlx::query_as(
        "SELECT provider::text, label::text FROM pg_shseclabel
          WHERE objoid = $1::oid AND classoid = 'pg_database'::regclass ORDER BY 1",
    )
    .bind(oid)
    .fetch_all(connection)
    .await
    .map_err(control_fault)?;
    Ok(Some(DatabaseRow {
        oid: u32::try_from(oid).unwrap_or_default(),
        name: name.to_owned(),
        creation: creation_options(&all, tablespace.as_deref()),
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
        _ => {}
    }
    if let Some(tablespace) = tablespace {
        options.push_str(&format!(" TABLESPACE {}", Ident(tablespace)));
    }
    options
}

/// Makes a database of the same kind as `like` (of the cluster's default kind where there is none), closed to others.
///
/// # Errors
/// What PostgreSQL said, with the statement that mends it.
pub(crate) async fn create_aside(
    connection: &mut PgConnection,
    name: &str,
    like: Option<&DatabaseRow>,
) -> Result<u32, Fault> {
    let owner = like.map(|l| format!(" OWNER {}", Ident(&l.owner))).unwrap_or_default();
    let kind = like.map(|l| l.creation.as_str()).unwrap_or_default();
    run(
        connection,
        "building the new database",
        &format!("CREATE DATABASE {}{owner} TEMPLATE template0{kind}", Ident(name)),
    )
    .await?;
    run(
        connection,
        "closing the new database",
        &format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", Ident(name)),
    )
    .await?;
    let oid: i64 = sqlx::query_scalar("SELECT oid::int8 FROM pg_database WHERE datname = $1")
        .bind(name)
        .fetch_one(connection)
        .await
        .map_err(control_fault)?;
    Ok(u32::try_from(oid).unwrap_or_default())
}

/// Puts what belongs to the row of `from` onto the database `onto`.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn carry_over(
    connection: &mut PgConnection,
    from: &DatabaseRow,
    onto: &str,
) -> Result<(), Fault> {
    let database = Ident(onto);
    let mut sql = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {};", Ident(&from.owner));
    for (grantor, grantee, privilege, grantable) in in_dependency_order(from) {
        let to = grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string());
        let option = if *grantable { " WITH GRANT OPTION" } else { "" };
        sql.push_str(&format!(
            "SET LOCAL ROLE {}; GRANT {privilege} ON DATABASE {database} TO {to}{option}; SET LOCAL ROLE NONE;",
            Ident(grantor)
        ));
    }
    for (role, setting) in &from.settings {
        sql.push_str(&settings::statement(role.as_deref(), onto, setting));
    }
    sql.push_str(&format!(
        "ALTER DATABASE {database} CONNECTION LIMIT {}; ALTER DATABASE {database} IS_TEMPLATE {};",
        from.connection_limit, from.is_template
    ));
    if let Some(comment) = &from.comment {
        sql.push_str(&format!("COMMENT ON DATABASE {database} IS {};", Literal(comment)));
    }
    for (provider, label) in &from.labels {
        sql.push_str(&format!(
            "SECURITY LABEL FOR {} ON DATABASE {database} IS {};",
            Ident(provider),
            Literal(label)
        ));
    }
    run(connection, "carrying over what belongs to the database's row", &sql).await
}

type Right = (String, Option<String>, String, bool);

/// The owner's grants first, then those of who was granted the option.
fn in_dependency_order(row: &DatabaseRow) -> Vec<&Right> {
    let mut ordered: Vec<&Right> = row.rights.iter().filter(|r| r.0 == row.owner).collect();
    let mut waiting: Vec<&Right> = row.rights.iter().filter(|r| r.0 != row.owner).collect();
    while !waiting.is_empty() {
        let may =
            |r: &&Right| ordered.iter().any(|o| o.3 && o.2 == r.2 && o.1.as_deref() == Some(r.0.as_str()));
        let (now, later): (Vec<&Right>, Vec<&Right>) = waiting.into_iter().partition(may);
        if now.is_empty() {
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(now);
        waiting = later;
    }
    ordered
}

/// What of a row did not come along, in words.
pub(crate) fn difference(before: &DatabaseRow, after: &DatabaseRow) -> Option<String> {
    let mut parts = Vec::new();
    let mut differs = |different: bool, what: &'static str| {
        if different {
            parts.push(what);
        }
    };
    differs(before.owner != after.owner, "the owner");
    differs(before.creation != after.creation, "encoding, locale or tablespace");
    differs(before.connection_limit != after.connection_limit, "the connection limit");
    differs(before.is_template != after.is_template, "the template mark");
    differs(before.comment != after.comment, "the comment");
    differs(before.rights != after.rights, "the grants");
    differs(before.settings != after.settings, "the settings");
    differs(before.labels != after.labels, "the security labels");
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Drops a database of a generated name, sessions and all. One that is gone already is no fault.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn drop_generated(connection: &mut PgConnection, name: &str) -> Result<(), Fault> {
    run(
        connection,
        "dropping a generated database",
        &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", Ident(name)),
    )
    .await
}

/// Runs a statement on databases on the connection that holds the lock.
pub(crate) async fn run(connection: &mut PgConnection, doing: &str, sql: &str) -> Result<(), Fault> {
    let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await else { return Ok(()) };
    Err(match sqlstate(&error) {
        Some("55006") => Fault::new(Reason::Blocked, format!("{doing}: {}", message(&error)))
            .hint("sessions are in the way: end them, or use --terminate-sessions; nothing was changed"),
        Some("53100") => Fault::new(Reason::PreflightFailed, format!("{doing}: the disk is full"))
            .hint("make room; nothing was changed"),
        _ => work_fault(doing, &error),
    })
    .map_err(|fault: Fault| match database_error(&error).and_then(|e| e.hint()) {
        Some(hint) => fault.with("postgres_hint", hint),
        None => fault,
    })
}

/// What a role lacks to swap a database, and what would make the swap fail, all at once.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn preflight(
    connection: &mut PgConnection,
    row: Option<&DatabaseRow>,
) -> Result<Vec<Finding>, Fault> {
    let (role, superuser, createdb): (String, bool, bool) = sqlx::query_as(
        "SELECT current_user::text, rolsuper, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(control_fault)?;
    let mut findings = Vec::new();
    let me = Ident(&role);
    if !createdb {
        findings.push(Finding::error(
            "CREATEDB_MISSING",
            format!("role {role}"),
            "may not create or rename databases",
            format!("ALTER ROLE {me} CREATEDB"),
        ));
    }
    let Some(row) = row else { return Ok(findings) };
    let (owns, settings_ok): (bool, bool) = sqlx::query_as(
        "SELECT pg_has_role(current_user, $1::name, 'MEMBER'),
                $2 OR NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = $3::oid AND setrole <> 0
                    AND setrole <> (SELECT oid FROM pg_roles WHERE rolname = current_user))
                   OR (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user)",
    )
    .bind(&row.owner)
    .bind(superuser)
    .bind(i64::from(row.oid))
    .fetch_one(&mut *connection)
    .await
    .map_err(control_fault)?;
    if !owns {
        findings.push(Finding::error(
            "OWNERSHIP_MISSING",
            format!("database {}", row.name),
            format!("is owned by {}, and role {role} is no member of it", row.owner),
            format!("GRANT {} TO {me}", Ident(&row.owner)),
        ));
    }
    if !settings_ok {
        findings.push(Finding::error(
            "ROLE_SETTINGS",
            format!("database {}", row.name),
            format!("has settings for other roles (ALTER ROLE … IN DATABASE), which role {role} may not carry over"),
            format!("ALTER ROLE {me} CREATEROLE, or take those settings away"),
        ));
    }
    findings.extend(blockers(connection, row).await?);
    if !superuser {
        findings.extend(sessions_out_of_reach(connection, row.oid).await?);
    }
    Ok(findings)
}

/// Prepared transactions, replication slots and subscriptions: each stops or silently breaks with a swap.
async fn blockers(connection: &mut PgConnection, row: &DatabaseRow) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT 'PREPARED_TRANSACTION', 'prepared transaction ' || gid, 'of ' || owner || ' is open in the database',
                'COMMIT PREPARED or ROLLBACK PREPARED ' || quote_literal(gid)
           FROM pg_prepared_xacts WHERE database = $1
         UNION ALL
         SELECT 'REPLICATION_SLOT', 'replication slot ' || slot_name,
                CASE WHEN active THEN 'is in use' ELSE 'would stay with the old database' END,
                'tell its consumer, then: SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')'
           FROM pg_replication_slots WHERE database = $1
         UNION ALL
         SELECT 'SUBSCRIPTION', 'subscription ' || subname, 'belongs to the database and would stay with the old one',
                'ALTER SUBSCRIPTION … DISABLE; ALTER SUBSCRIPTION … SET (slot_name = NONE); DROP SUBSCRIPTION'
           FROM pg_subscription WHERE subdbid = $2::oid
         ORDER BY 1, 2",
    )
    .bind(&row.name)
    .bind(i64::from(row.oid))
    .fetch_all(connection)
    .await
    .map_err(control_fault)?;
    Ok(rows.into_iter().map(|(code, object, text, hint)| Finding::error(&code, object, text, hint)).collect())
}

/// Sessions that a role without superuser rights may not end.
async fn sessions_out_of_reach(connection: &mut PgConnection, oid: u32) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(i32, String, bool)> = sqlx::query_as(
        "SELECT a.pid, coalesce(a.usename::text, a.backend_type), coalesce(r.rolsuper, true)
           FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
          WHERE a.datid = $1::oid AND a.backend_type = 'client backend' AND (coalesce(r.rolsuper, true)
                OR NOT (pg_has_role(current_user, a.usesysid, 'MEMBER')
                        OR pg_has_role(current_user, 'pg_signal_backend', 'MEMBER')))
          ORDER BY a.pid",
    )
    .bind(i64::from(oid))
    .fetch_all(connection)
    .await
    .map_err(control_fault)?;
    Ok(rows
        .into_iter()
        .map(|(pid, user, superuser)| {
            let (what, hint) = match superuser {
                true => ("is a superuser's, which only a superuser may end", "end that session yourself"),
                false => (
                    "is of a role that the daemon may not end",
                    "GRANT pg_signal_backend TO the daemon's role",
                ),
            };
            Finding::error("SESSION_OUT_OF_REACH", format!("session {pid} of {user}"), what, hint)
        })
        .collect())
}

/// What a database holds outside the managed schemas and loses when it is replaced.
///
/// # Errors
/// The session was lost.
pub(crate) async fn lost_with_it(
    connection: &mut PgConnection,
    managed: &[&str],
) -> Result<Vec<OutsideObject>, Fault> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT 'extension', format('%I %s in schema %I', e.extname, e.extversion, n.nspname)
           FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
          WHERE e.extname <> 'plpgsql'
         UNION ALL SELECT 'event trigger', format('%I', evtname) FROM pg_catalog.pg_event_trigger
         UNION ALL SELECT 'publication', format('%I', pubname) FROM pg_catalog.pg_publication
         UNION ALL SELECT 'default acl', format('of role %I', pg_catalog.pg_get_userbyid(defaclrole))
           FROM pg_catalog.pg_default_acl WHERE defaclnamespace = 0
         UNION ALL SELECT 'large objects', pg_catalog.count(*)::text FROM pg_catalog.pg_largeobject_metadata
          HAVING pg_catalog.count(*) > 0
         UNION ALL SELECT 'schema', format('%I (%s relations, %s)', n.nspname, pg_catalog.count(c.oid),
                pg_catalog.pg_size_pretty(coalesce(pg_catalog.sum(c.relpages::int8), 0)::int8 * 8192))
           FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
          WHERE n.nspname <> ALL($1) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
          GROUP BY n.nspname HAVING n.nspname <> 'public' OR pg_catalog.count(c.oid) > 0
         ORDER BY 1, 2",
    )
    .bind(managed.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("listing what the database holds", &e))?;
    Ok(rows.into_iter().map(|(kind, identity)| OutsideObject::new(&kind, &identity)).collect())
}

/// The oid of a database, by name.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn oid(pool: &PgPool, name: &str) -> Result<Option<u32>, Fault> {
    let oid: Option<i64> = sqlx::query_scalar("SELECT oid::int8 FROM pg_database WHERE datname = $1")
        .bind(name)
        .fetch_optional(pool)
        .await
        .map_err(control_fault)?;
    Ok(oid.and_then(|oid| u32::try_from(oid).ok()))
}
