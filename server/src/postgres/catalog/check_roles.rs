//! Looks for `resetd check` at the roles themselves: what they lack, each with the statement that grants it, and what they
//! have too much, with what that means for who may send chains.

use model::profile::{Profile, Scope, SessionRule};
use sqlx::PgConnection;

use crate::postgres::sql::{error::ControlError, ident::Ident, version};

/// What a look found: what keeps the daemon from its work, and what only should be otherwise.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) wrong: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// A target as far as its control role is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Served<'a> {
    pub(crate) name: &'a str,
    pub(crate) database: &'a str,
    /// The role of its URL.
    pub(crate) role: &'a str,
    pub(crate) profile: &'a Profile,
}

/// Predefined roles that lead out of a target.
const OUT: [&str; 5] = [
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_signal_backend",
    "pg_write_server_files",
    "pg_create_subscription",
];

const SETUP: &str = "`resetd setup` prints the SQL of two roles that keep it in its target";

#[derive(sqlx::FromRow)]
struct Attributes {
    role: String,
    superuser: bool,
    attributes: Vec<String>,
    /// Of the control role.
    is_member: bool,
}

/// What the role of a target has too much.
///
/// # Errors
/// The session was lost.
pub(super) async fn target(
    connection: &mut PgConnection,
    control_role: &str,
) -> Result<Vec<String>, ControlError> {
    let Attributes { role, superuser, attributes, is_member } = sqlx::query_as(
        "SELECT r.rolname::pg_catalog.text AS role, r.rolsuper AS superuser,
                pg_catalog.array_remove(ARRAY[CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END]::pg_catalog.text[], NULL) AS attributes,
                coalesce((SELECT pg_catalog.pg_has_role(r.oid, c.oid, 'MEMBER') FROM pg_catalog.pg_roles c
                           WHERE c.rolname = $1), false) AS is_member
           FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
    )
    .bind(control_role)
    .fetch_one(&mut *connection)
    .await?;
    if superuser {
        return Ok(vec![format!(
            "role {role} is a superuser: whoever may send a chain (--chains) reads the server's files, runs programs on its \
             machine and changes every database of the cluster — {SETUP}"
        )]);
    }
    if role == control_role {
        return Ok(vec![format!(
            "role {role} owns the control database as well: whoever may send a chain (--chains) can change operations, \
             tokens and the audit record — {SETUP}"
        )]);
    }
    let mut warnings = Vec::new();
    if !attributes.is_empty() {
        let takes: Vec<String> = attributes.iter().map(|attribute| format!("NO{attribute}")).collect();
        warnings.push(format!(
            "role {role} has {}, which a chain could use — ALTER ROLE {} {};",
            attributes.join(", "),
            Ident(&role),
            takes.join(" ")
        ));
    }
    let out: Vec<String> = sqlx::query_scalar(
        "SELECT p.rolname::pg_catalog.text FROM pg_catalog.pg_roles p
          WHERE p.rolname = ANY ($1) AND pg_catalog.pg_has_role(p.oid, 'MEMBER') ORDER BY 1",
    )
    .bind(OUT.map(str::to_owned).to_vec())
    .fetch_all(connection)
    .await?;
    let out = out.iter().map(String::as_str).chain(is_member.then_some(control_role));
    warnings.extend(out.map(|out| {
        format!(
            "role {role} is a member of {out}, which leads out of the target — REVOKE {} FROM {};",
            Ident(out),
            Ident(&role)
        )
    }));
    Ok(warnings)
}

/// What the control role lacks for its targets.
///
/// # Errors
/// The control database does not answer.
pub(super) async fn control(
    connection: &mut PgConnection,
    served: &[Served<'_>],
) -> Result<Checked, ControlError> {
    let (role, superuser, creates): (String, bool, bool) = sqlx::query_as(
        "SELECT rolname::pg_catalog.text, rolsuper, rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut checked = Checked::default();
    if superuser {
        checked.warnings.push(format!(
            "control role {role} is a superuser: it needs CREATEDB and membership in the targets' roles only — {SETUP}"
        ));
        return Ok(checked);
    }
    let whole = |target: &&Served<'_>| target.profile.scopes.contains(&Scope::Database);
    if !creates && served.iter().any(|target| whole(&target)) {
        let grant = format!("ALTER ROLE {} CREATEDB;", Ident(&role));
        checked
            .warnings
            .push(format!("control role {role} may not create databases, for scope database — {grant}"));
    }
    for target in served {
        let missing = memberships(connection, &role, target).await?;
        checked.wrong.extend(missing.wrong);
        checked.warnings.extend(missing.warnings);
    }
    let rule = |rules: &[SessionRule]| {
        served.iter().filter(whole).any(|target| rules.contains(&target.profile.sessions))
    };
    let ends = rule(&[SessionRule::Terminate, SessionRule::IdleOnly]);
    let looks = rule(&[SessionRule::IdleOnly]);
    for (wanted, predefined, what) in [
        (ends, "pg_signal_backend", "may not end sessions of other roles, for scope database"),
        (
            looks,
            "pg_read_all_stats",
            "does not see whether sessions of other roles are idle, for scope database",
        ),
    ] {
        if wanted && !is_member(connection, predefined).await? {
            let grant = format!("GRANT {predefined} TO {};", Ident(&role));
            checked.warnings.push(format!("control role {role} {what} — {grant}"));
        }
    }
    Ok(checked)
}

async fn is_member(connection: &mut PgConnection, role: &str) -> Result<bool, ControlError> {
    Ok(sqlx::query_scalar("SELECT pg_catalog.pg_has_role($1::pg_catalog.name, 'USAGE')")
        .bind(role)
        .fetch_one(connection)
        .await?)
}

/// The target's role, whose sessions are cancelled and ended, and the database's owner, as whom it is renamed.
async fn memberships(
    connection: &mut PgConnection,
    role: &str,
    target: &Served<'_>,
) -> Result<Checked, ControlError> {
    let version = version::of(connection).await?;
    let rows: Vec<(String, bool, bool, bool)> = sqlx::query_as(
        "SELECT r.rolname::pg_catalog.text, r.rolsuper, r.rolname = $1, pg_catalog.pg_has_role(r.oid, $3)
                AND pg_catalog.pg_has_role(r.oid, 'USAGE')
           FROM pg_catalog.pg_roles r
          WHERE r.rolname = $1 OR r.oid IN (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = $2) ORDER BY 1",
    )
    .bind(target.role)
    .bind(target.database)
    .bind(version::assume(version))
    .fetch_all(connection)
    .await?;
    let mut checked = Checked::default();
    let (name, database) = (target.name, target.database);
    for (other, superuser, is_worker, _) in rows.into_iter().filter(|row| !row.3 && row.0 != role) {
        let grant = format!("GRANT {} TO {}{};", Ident(&other), Ident(role), version::may_act(version));
        let owns = format!("database {database} is owned by {other}, as whom control role {role} cannot act");
        match (superuser, is_worker) {
            // Told of the target's role itself.
            (true, true) => {}
            (true, false) => checked.warnings.push(format!(
                "target {name}: {owns}, for scope database — ALTER DATABASE {} OWNER TO {};",
                Ident(database),
                Ident(target.role)
            )),
            (false, true) => checked.wrong.push(format!(
                "target {name}: control role {role} may not end sessions of {other} — {grant}"
            )),
            (false, false) => {
                checked.warnings.push(format!("target {name}: {owns}, for scope database — {grant}"));
            }
        }
    }
    Ok(checked)
}
