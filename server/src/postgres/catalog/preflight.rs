//! What would stop a swap, found before anything starts: rights that are missing, each with the statement that grants it, and
//! what cannot follow a database to another one.

pub(crate) mod change;
mod obstacles;
pub(crate) mod replay_as;
mod roles;
pub(crate) mod room;

use model::finding::Finding;
use sqlx::PgConnection;

use super::database::DatabaseRow;
use crate::postgres::sql::{error::ControlError, ident::Ident, version};

/// What a role lacks to swap a database, and what would make the swap fail, all at once. `None`: there is no old one.
/// `worker` is the role that fills the new one.
pub(crate) async fn of_swap(
    connection: &mut PgConnection,
    row: Option<&DatabaseRow>,
    worker: &str,
) -> Result<Vec<Finding>, ControlError> {
    let (role, superuser, createdb): (String, bool, bool) = sqlx::query_as(
        "SELECT current_user::text, rolsuper, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut findings = Vec::new();
    if !createdb {
        findings.push(Finding::error(
            "CREATEDB_MISSING",
            format!("role {role}"),
            "may not create or rename databases",
            format!("ALTER ROLE {} CREATEDB", Ident(&role)),
        ));
    }
    let Some(row) = row else { return Ok(findings) };
    let version = version::of(connection).await?;
    if worker != role {
        findings.extend(worker_is_let_in(connection, worker, version, row).await?);
    }
    if !superuser {
        findings.extend(memberships(connection, &role, version, row).await?);
        findings.extend(settings_of_others(connection, (&role, worker), version, row).await?);
        findings.extend(guarded_settings(connection, &role, row).await?);
        findings.extend(tablespace(connection, &role, row).await?);
        findings.extend(sessions_out_of_reach(connection, &role, row.oid).await?);
    }
    findings.extend(cannot_follow(connection, row.oid).await?);
    Ok(findings)
}

/// The owner and every grantor: only they, or their members, can put their grants on the new row.
async fn memberships(
    connection: &mut PgConnection,
    role: &str,
    version: i32,
    row: &DatabaseRow,
) -> Result<Vec<Finding>, ControlError> {
    let mut wanted = vec![row.owner.clone()];
    wanted.extend(row.rights.iter().map(|right| right.grantor.clone()));
    wanted.sort();
    wanted.dedup();
    let missing: Vec<String> = sqlx::query_scalar(
        "SELECT w.name FROM unnest($1::text[]) w(name) WHERE NOT pg_has_role(current_user, w.name::name, $2) ORDER BY 1",
    )
    .bind(wanted)
    .bind(version::assume(version))
    .fetch_all(connection)
    .await?;
    let finding = |name: String| {
        let (code, what) = match name == row.owner {
            true => ("OWNERSHIP_MISSING", "is owned by"),
            false => ("GRANTOR_MISSING", "has grants made by"),
        };
        Finding::error(
            code,
            format!("database {}", row.name),
            format!("{what} {name}, and role {role} cannot act as it"),
            format!("GRANT {} TO {}{}", Ident(&name), Ident(role), version::may_act(version)),
        )
    };
    Ok(missing.into_iter().map(finding).collect())
}

/// The role that fills the new database owns it, or can act as who does: nobody else is let in.
async fn worker_is_let_in(
    connection: &mut PgConnection,
    worker: &str,
    version: i32,
    row: &DatabaseRow,
) -> Result<Option<Finding>, ControlError> {
    let may: Option<bool> = sqlx::query_scalar(
        "SELECT pg_has_role(r.oid, $2::name, 'USAGE') FROM pg_roles r WHERE r.rolname = $1",
    )
    .bind(worker)
    .bind(&row.owner)
    .fetch_optional(connection)
    .await?;
    Ok((may != Some(true)).then(|| {
        Finding::error(
            "OWNERSHIP_MISSING",
            format!("database {}", row.name),
            format!(
                "is owned by {}, and the target's role {worker}, which fills the new one, is no member of it",
                row.owner
            ),
            format!("GRANT {} TO {}{}", Ident(&row.owner), Ident(worker), version::may_act(version)),
        )
    }))
}

/// `ALTER ROLE … IN DATABASE` of somebody else as whom the daemon may not act: from version 16 on it takes the role's ADMIN
/// option as well. The role that fills the new database, whose revisions made it, may have the right for it.
async fn settings_of_others(
    connection: &mut PgConnection,
    (role, worker): (&str, &str),
    version: i32,
    row: &DatabaseRow,
) -> Result<Vec<Finding>, ControlError> {
    let rows: Vec<(String, bool)> = sqlx::query_as(
        "SELECT r.rolname::text, r.rolsuper FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
          WHERE s.setdatabase = $1::oid AND r.rolname <> current_user
            AND (r.rolsuper OR NOT pg_has_role(current_user, r.oid, $3)
                 AND NOT EXISTS (SELECT FROM pg_roles m WHERE m.rolname IN (current_user, $4) AND m.rolcreaterole
                                    AND pg_has_role(current_user, m.oid, $3)
                                    AND (NOT $2 OR pg_has_role(m.oid, r.oid, 'MEMBER WITH ADMIN OPTION')))) ORDER BY 1",
    )
    .bind(i64::from(row.oid))
    .bind(version >= version::SET_OPTION)
    .bind(version::assume(version))
    .bind(worker)
    .fetch_all(connection)
    .await?;
    let finding = |(name, superuser): (String, bool)| {
        let take = format!("ALTER ROLE {} IN DATABASE {} RESET ALL", Ident(&name), Ident(&row.name));
        Finding::error(
            "ROLE_SETTINGS",
            format!("database {}", row.name),
            format!(
                "has settings for role {name} (ALTER ROLE … IN DATABASE), which role {role} may not carry over"
            ),
            match superuser {
                true => format!("{take}; only a superuser may set what is a superuser's"),
                false if version >= version::SET_OPTION => format!(
                    "ALTER ROLE {0} CREATEROLE; GRANT {1} TO {0} WITH ADMIN OPTION, or {take}",
                    Ident(role),
                    Ident(&name)
                ),
                false => format!("ALTER ROLE {} CREATEROLE, or {take}", Ident(role)),
            },
        )
    };
    Ok(rows.into_iter().map(finding).collect())
}

/// Settings of the database that only a superuser may make: guarded ones, and those of whoever is not there to be asked, as
/// `my.thing`.
async fn guarded_settings(
    connection: &mut PgConnection,
    role: &str,
    row: &DatabaseRow,
) -> Result<Vec<Finding>, ControlError> {
    let names: Vec<&str> = row
        .settings
        .iter()
        .filter_map(|(_, setting)| setting.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let guarded: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT w.name FROM unnest($1::text[]) w(name) LEFT JOIN pg_settings s ON lower(s.name) = lower(w.name)
          WHERE s.name IS NULL OR s.context IN ('superuser', 'superuser-backend') ORDER BY 1",
    )
    .bind(names)
    .fetch_all(&mut *connection)
    .await?;
    let version = version::of(connection).await?;
    let mut findings = Vec::new();
    for name in guarded {
        let granted = version >= 150_000
            && sqlx::query_scalar("SELECT has_parameter_privilege($1, 'SET')")
                .bind(&name)
                .fetch_one(&mut *connection)
                .await?;
        if !granted {
            findings.push(Finding::error(
                "GUARDED_SETTING",
                format!("database {}", row.name),
                format!("sets {name}, which role {role} may not carry over"),
                match version >= 150_000 {
                    true => format!("GRANT SET ON PARAMETER {name} TO {}", Ident(role)),
                    // There is nothing to grant before version 15.
                    false => format!(
                        "ALTER DATABASE {} RESET {name}; only a superuser may set it",
                        Ident(&row.name)
                    ),
                },
            ));
        }
    }
    Ok(findings)
}

async fn tablespace(
    connection: &mut PgConnection,
    role: &str,
    row: &DatabaseRow,
) -> Result<Option<Finding>, ControlError> {
    let Some(tablespace) = &row.tablespace else { return Ok(None) };
    let may: bool = sqlx::query_scalar("SELECT has_tablespace_privilege($1::name, 'CREATE')")
        .bind(tablespace)
        .fetch_one(connection)
        .await?;
    Ok((!may).then(|| {
        Finding::error(
            "TABLESPACE_RIGHT_MISSING",
            format!("tablespace {tablespace}"),
            format!("holds the database, and role {role} may not create one there"),
            format!("GRANT CREATE ON TABLESPACE {} TO {}", Ident(tablespace), Ident(role)),
        )
    }))
}

/// Prepared transactions, replication slots and subscriptions: each stops or silently breaks with a swap. The database is
/// known by its oid, whatever it is called in this transaction.
///
/// # Errors
/// The control database does not answer.
pub(crate) async fn cannot_follow(
    connection: &mut PgConnection,
    oid: u32,
) -> Result<Vec<Finding>, ControlError> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT 'PREPARED_TRANSACTION', 'prepared transaction ' || x.gid, 'of ' || x.owner || ' is open in the database',
                'COMMIT PREPARED or ROLLBACK PREPARED ' || quote_literal(x.gid)
           FROM pg_prepared_xacts x JOIN pg_database d ON d.datname = x.database WHERE d.oid = $1::oid
         UNION ALL
         SELECT 'REPLICATION_SLOT', 'replication slot ' || slot_name,
                CASE WHEN active THEN 'is in use' ELSE 'would stay with the old database' END,
                'tell its consumer, then: SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')'
           FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database WHERE d.oid = $1::oid
         UNION ALL
         SELECT 'SUBSCRIPTION', 'subscription ' || subname, 'belongs to the database and would stay with the old one',
                'ALTER SUBSCRIPTION … DISABLE; ALTER SUBSCRIPTION … SET (slot_name = NONE); DROP SUBSCRIPTION'
           FROM pg_subscription WHERE subdbid = $1::oid
         ORDER BY 1, 2",
    )
    .bind(i64::from(oid))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(code, object, text, hint)| Finding::error(&code, object, text, hint)).collect())
}

/// Sessions that a role without superuser rights may not end. What kind of session it is, is hidden from such a role.
async fn sessions_out_of_reach(
    connection: &mut PgConnection,
    role: &str,
    oid: u32,
) -> Result<Vec<Finding>, ControlError> {
    let rows: Vec<(i32, String, bool)> = sqlx::query_as(
        "SELECT a.pid, coalesce(a.usename::text, a.backend_type, 'the server'), coalesce(r.rolsuper, true)
           FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
          WHERE a.datid = $1::oid AND coalesce(a.backend_type, 'client backend') NOT IN ('autovacuum worker', 'parallel worker')
            AND (a.usesysid IS NOT NULL OR a.backend_type IS NOT NULL)
            AND (coalesce(r.rolsuper, true)
                OR NOT (pg_has_role(current_user, a.usesysid, 'USAGE')
                        OR pg_has_role(current_user, 'pg_signal_backend', 'USAGE')))
          ORDER BY a.pid",
    )
    .bind(i64::from(oid))
    .fetch_all(connection)
    .await?;
    let finding = |(pid, user, superuser): (i32, String, bool)| {
        let (what, hint) = match superuser {
            true => {
                ("is a superuser's, which only a superuser may end", "end that session yourself".to_owned())
            }
            false => (
                "is of a role that the daemon may not end",
                format!("GRANT pg_signal_backend TO {}", Ident(role)),
            ),
        };
        Finding::error("SESSION_OUT_OF_REACH", format!("session {pid} of {user}"), what, hint)
    };
    Ok(rows.into_iter().map(finding).collect())
}
