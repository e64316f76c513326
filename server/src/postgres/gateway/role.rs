//! The login role of a tool: made for one operation, or named by an admin and looked at. It owns the database that is built
//! aside and may do nothing else; what the tool made goes to the database's owner, and a role that was made goes.

use std::time::Duration;

use model::{
    fault::{Fault, Reason},
    scram,
    secret::Secret,
};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::postgres::{
    change::transaction::Work,
    sql::{
        error::{control_fault, work_fault},
        ident::{Ident, Literal},
        version::{self, may_act},
    },
};

/// How a role that was made is known: its comment, with the operation's id behind it.
const MARK: &str = "resetd: migration tool of operation ";

/// How long the sessions of a tool that has ended may take to end.
const ENDING: Duration = Duration::from_secs(10);
/// How long the drop of a role waits for a lock.
const PATIENCE: &str = "2s";
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The role of one operation.
#[derive(Clone, Debug)]
pub(crate) struct ToolRole {
    pub(crate) name: String,
    /// It was made for the operation, with this password.
    pub(crate) password: Option<Secret<String>>,
}

/// What is to be known before anything is built.
pub(crate) struct Wanted<'a> {
    /// The role that an admin named.
    pub(crate) named: Option<&'a str>,
    /// Who will own what the tool made.
    pub(crate) owner: &'a str,
    /// The daemon's role in the target.
    pub(crate) role: &'a str,
}

/// Whether there can be a safe role.
///
/// # Errors
/// `GATEWAY_ROLE`, with what to do.
pub(crate) async fn check(connection: &mut PgConnection, wanted: &Wanted<'_>) -> Result<(), Fault> {
    let found: Option<bool> =
        sqlx::query_scalar("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = $1")
            .bind(wanted.owner)
            .fetch_optional(&mut *connection)
            .await
            .map_err(control_fault)?;
    if found.unwrap_or(false) {
        let owner = wanted.owner;
        return Err(refused(
            format!(
                "the database belongs to {owner}, a superuser: what a migration tool makes would be a superuser's"
            ),
            "let a plain role own it: ALTER DATABASE … OWNER TO …".to_owned(),
        ));
    }
    match wanted.named {
        Some(named) => check_named(connection, named, wanted).await,
        None => may_make(connection).await,
    }
}

fn refused(what: String, hint: String) -> Fault {
    Fault::new(Reason::GatewayRole, what).hint(hint)
}

async fn may_make(connection: &mut PgConnection) -> Result<(), Fault> {
    let (role, may): (String, bool) = sqlx::query_as(
        "SELECT rolname::pg_catalog.text, rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user",
    )
    .fetch_one(connection)
    .await
    .map_err(control_fault)?;
    if may {
        return Ok(());
    }
    Err(refused(
        format!("the daemon's role {role} may not make a login role for the migration tool"),
        format!(
            "ALTER ROLE {} CREATEROLE; or name a role with `tool_url_env` in the target's section",
            Ident(&role)
        ),
    ))
}

type NamedRow = (bool, bool, Vec<String>, Vec<String>, Vec<String>, bool);

async fn check_named(connection: &mut PgConnection, named: &str, wanted: &Wanted<'_>) -> Result<(), Fault> {
    let version = version::of(connection).await?;
    let found: Option<NamedRow> = sqlx::query_as(
        "SELECT r.rolcanlogin,
                pg_catalog.pg_has_role(current_user, r.oid, $3) AND pg_catalog.pg_has_role($2, r.oid, $3),
                pg_catalog.array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
                    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                    CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
                ARRAY(SELECT m.rolname::pg_catalog.text FROM pg_catalog.pg_auth_members a
                        JOIN pg_catalog.pg_roles m ON m.oid = a.roleid WHERE a.member = r.oid ORDER BY 1),
                ARRAY(SELECT d.datname::pg_catalog.text FROM pg_catalog.pg_database d WHERE d.datdba = r.oid ORDER BY 1),
                r.rolinherit
           FROM pg_catalog.pg_roles r WHERE r.rolname = $1",
    )
    .bind(named)
    .bind(wanted.role)
    .bind(version::assume(version))
    .fetch_optional(connection)
    .await
    .map_err(control_fault)?;
    let role = Ident(named);
    let (what, hint) = match found {
        None => (format!("role {named} is not there"), format!("CREATE ROLE {role} LOGIN PASSWORD …")),
        Some((false, ..)) => (format!("role {named} may not log in"), format!("ALTER ROLE {role} LOGIN")),
        Some((_, _, attributes, ..)) if !attributes.is_empty() => {
            let no: Vec<String> = attributes.iter().map(|attribute| format!("NO{attribute}")).collect();
            (
                format!("role {named} may do more than fill one database: {}", attributes.join(", ")),
                format!("ALTER ROLE {role} {}", no.join(" ")),
            )
        }
        Some((_, _, _, member_of, ..)) if !member_of.is_empty() => {
            let all = member_of.join(", ");
            (
                format!("role {named} may do more than fill one database: it is a member of {all}"),
                format!("REVOKE {all} FROM {role}"),
            )
        }
        Some((.., owns, _)) if !owns.is_empty() => (
            format!("role {named} owns a database already: {}", owns.join(", ")),
            "let another role own it, or wait until the other operation has ended".to_owned(),
        ),
        Some((.., false)) => (
            format!("role {named} does not inherit what the owner of a database may do in its schema public"),
            format!("ALTER ROLE {role} INHERIT"),
        ),
        Some((_, false, ..)) => (
            format!("the daemon's roles cannot act as role {named}"),
            format!("GRANT {role} TO the daemon's roles{}", may_act(version)),
        ),
        Some(_) => return Ok(()),
    };
    Err(refused(what, hint))
}

/// Whether a tool may do what the daemon's role in the target may do: it does its work as that one.
///
/// # Errors
/// `GATEWAY_ROLE`, with what to do.
pub(crate) async fn check_inside(connection: &mut PgConnection, role: &str) -> Result<(), Fault> {
    let found: Option<(String, String)> = sqlx::query_as(
        "SELECT r.rolname::pg_catalog.text,
                CASE WHEN r.rolsuper THEN 'is a superuser' WHEN r.rolcreaterole THEN 'may create roles'
                     WHEN r.rolreplication THEN 'may replicate' WHEN r.rolbypassrls THEN 'passes row security'
                     ELSE 'leads out of the database' END
           FROM pg_catalog.pg_roles r
          WHERE pg_catalog.pg_has_role($1, r.oid, 'MEMBER')
            AND (r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls
                 OR r.rolname ~ '^pg_' AND r.rolname NOT IN ('pg_database_owner', 'pg_monitor', 'pg_read_all_settings',
                    'pg_read_all_stats', 'pg_stat_scan_tables'))
          ORDER BY r.rolname <> $1, 1 LIMIT 1",
    )
    .bind(role)
    .fetch_optional(connection)
    .await
    .map_err(control_fault)?;
    let Some((found, what)) = found else { return Ok(()) };
    let which = if found == role { String::new() } else { format!(" can become {found}, which") };
    Err(refused(
        format!(
            "within the target the migration tool works as the daemon's role {role}, and that{which} {what}"
        ),
        "give the target a database URL of a plain role that owns its schemas; or use --scope database"
            .to_owned(),
    ))
}

/// Makes the role of an operation. Its password is in no statement.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn make(
    connection: &mut PgConnection,
    operation: Uuid,
    name: &str,
    work_role: &str,
) -> Result<ToolRole, Fault> {
    let random = |e: getrandom::Error| Fault::new(Reason::Internal, format!("no random numbers: {e}"));
    let (mut password, mut salt) = ([0; 32], [0; 16]);
    getrandom::fill(&mut password).map_err(random)?;
    getrandom::fill(&mut salt).map_err(random)?;
    let password = model::hex(&password);
    let (role, version) = (Ident(name), version::of(connection).await?);
    let (verifier, mark) = (scram::verifier(&password, &salt), format!("{MARK}{operation}"));
    let acting = may_act(version);
    // It is a member of nothing, and inherits what the owner of a database has: the rights on `public`.
    let sql = format!(
        "CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT
            PASSWORD {};
         COMMENT ON ROLE {role} IS {};
         DO $do$ BEGIN
           IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
             EXECUTE pg_catalog.format('GRANT %I TO %I{acting}', {name}, current_user);
           END IF;
           IF {work} <> current_user AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = {work}) THEN
             EXECUTE pg_catalog.format('GRANT %I TO %I{acting}', {name}, {work});
           END IF;
         END $do$",
        Literal(&verifier),
        Literal(&mark),
        name = Literal(name),
        work = Literal(work_role),
    );
    run(connection, "making the role of the migration tool", &sql).await?;
    Ok(ToolRole { name: name.to_owned(), password: Some(Secret::new(password)) })
}

pub(super) async fn run(connection: &mut PgConnection, doing: &str, sql: &str) -> Result<(), Fault> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.map(|_| ()).map_err(|e| work_fault(doing, &e))
}

/// Gives the new database to the tool's role.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn hand_over(
    connection: &mut PgConnection,
    database: &str,
    role: &str,
) -> Result<(), Fault> {
    let sql = format!("ALTER DATABASE {} OWNER TO {}", Ident(database), Ident(role));
    run(connection, "giving the new database to the migration tool", &sql).await
}

/// A schema that the tool's role owns while the tool runs, and who owned it.
pub(crate) struct Lent {
    schema: String,
    owner: String,
}

/// Lets the tool's role make things in its schemas: those that are not there are made.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn lend_schemas(
    work: &mut Work,
    schemas: &[String],
    role: &str,
) -> Result<Vec<Lent>, Fault> {
    const DOING: &str = "giving schemas to the migration tool";
    for schema in schemas {
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", Ident(schema));
        work.patient(DOING, &sql).await?;
    }
    let others: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.nspname::pg_catalog.text, pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text
           FROM pg_catalog.pg_namespace n
          WHERE n.nspname = ANY ($1) AND NOT pg_catalog.has_schema_privilege($2, n.oid, 'CREATE') ORDER BY 1",
    )
    .bind(schemas)
    .bind(role)
    .fetch_all(work.own().await?)
    .await
    .map_err(|e| work_fault(DOING, &e))?;
    let mut lent = Vec::new();
    for (schema, owner) in others {
        let sql = format!("ALTER SCHEMA {} OWNER TO {}", Ident(&schema), Ident(role));
        work.patient(DOING, &sql).await?;
        lent.push(Lent { schema, owner });
    }
    Ok(lent)
}

/// Ends the sessions of a tool that has ended: what it left running must not go on beside what comes next.
///
/// # Errors
/// `BLOCKED`: one does not end; the control database does not answer.
pub(crate) async fn end_sessions(pool: &PgPool, role: &str) -> Result<(), Fault> {
    let limit = tokio::time::Instant::now() + ENDING;
    loop {
        let told: Vec<(i32, bool)> = sqlx::query_as(
            "SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = $1",
        )
        .bind(role)
        .fetch_all(pool)
        .await
        .map_err(control_fault)?;
        let Some((pid, _)) = told.first() else { return Ok(()) };
        if tokio::time::Instant::now() >= limit {
            let text = format!("a session of the migration tool does not end: pid {pid}");
            return Err(Fault::new(Reason::Blocked, text)
                .hint("look at it in pg_stat_activity; nothing was changed")
                .with("pid", pid));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes everything back: what the tool made is `owner`'s from here on, and nothing is the tool's.
///
/// # Errors
/// What PostgreSQL said.
pub(crate) async fn take_back(work: &mut Work, lent: &[Lent], role: &str, owner: &str) -> Result<(), Fault> {
    const DOING: &str = "taking over what the migration tool made";
    let (tool, owner) = (Ident(role), Ident(owner));
    let defaults: i64 = sqlx::query_scalar(
        "SELECT pg_catalog.count(*) FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
          WHERE r.rolname = $1",
    )
    .bind(role)
    .fetch_one(work.own().await?)
    .await
    .map_err(|e| work_fault(DOING, &e))?;
    if defaults > 0 {
        return Err(Fault::new(
            Reason::ToolFailed,
            "the migration tool declared default privileges for its own role, which goes when it has ended",
        )
        .hint("write ALTER DEFAULT PRIVILEGES FOR ROLE …, in a chain of SQL; nothing was swapped"));
    }
    for Lent { schema, owner } in lent {
        // The tool may have dropped it.
        let sql = format!(
            "DO $do$ BEGIN
               IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {}) THEN
                 EXECUTE {};
               END IF;
             END $do$",
            Literal(schema),
            Literal(&format!("ALTER SCHEMA {} OWNER TO {}", Ident(schema), Ident(owner)))
        );
        work.patient(DOING, &sql).await?;
    }
    work.patient(DOING, &format!("REASSIGN OWNED BY {tool} TO {owner}")).await?;
    work.patient(DOING, &format!("DROP OWNED BY {tool}")).await
}

/// Drops a role that was made. Nobody logs in as it from here on, also where something in another database keeps it.
///
/// # Errors
/// What PostgreSQL said: something in another database depends on it.
pub(crate) async fn drop_made(connection: &mut PgConnection, name: &str) -> Result<(), Fault> {
    const DOING: &str = "dropping the role of the migration tool";
    run(connection, DOING, &format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", Ident(name))).await?;
    // Who made something as this role and has not ended holds a lock on it.
    run(connection, DOING, &format!("SET LOCAL lock_timeout = '{PATIENCE}'; DROP ROLE {}", Ident(name))).await
}

/// Drops the roles of operations that have ended, where a daemon died or a drop failed.
///
/// # Errors
/// The control database does not answer, or what PostgreSQL said of the last one.
pub(crate) async fn drop_left_over(connection: &mut PgConnection) -> Result<(), Fault> {
    let left: Vec<(String,)> = sqlx::query_as(
        "SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_shdescription s
           JOIN pg_catalog.pg_roles r ON r.oid = s.objoid
           JOIN resetd.operation o ON s.description = $1 || o.id::pg_catalog.text
          WHERE s.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND o.state = 'finished' ORDER BY 1",
    )
    .bind(MARK)
    .fetch_all(&mut *connection)
    .await
    .map_err(control_fault)?;
    let mut failed = None;
    for (name,) in left {
        if let Err(fault) = drop_made(connection, &name).await {
            failed = Some(fault);
        }
    }
    failed.map_or(Ok(()), Err)
}
