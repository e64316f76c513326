//! Default privileges of no schema: what roles give others on whatever they make in the database.

use model::{blast::SchemaProperty, fault::Fault, finding::Finding};
use sqlx::PgConnection;

use crate::postgres::sql::{
    error::work_fault,
    ident::Ident,
    version::{self, assume, may_act},
};

/// The default privileges of one role for one kind of objects: all of them, those that PostgreSQL gives by itself too.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::postgres) struct DefaultPrivileges {
    pub(in crate::postgres) role: String,
    /// As `ALTER DEFAULT PRIVILEGES` calls it.
    pub(in crate::postgres) kind: String,
    /// Grantee (`None`: PUBLIC), privilege, grantable.
    pub(in crate::postgres) rights: Vec<(Option<String>, String, bool)>,
}

#[derive(sqlx::FromRow)]
struct Row {
    role: String,
    kind: String,
    grantee: Option<String>,
    /// `None`: nothing is granted.
    privilege: Option<String>,
    grantable: Option<bool>,
}

/// Reads them.
///
/// # Errors
/// The session was lost.
pub(in crate::postgres) async fn capture(
    connection: &mut PgConnection,
) -> Result<Vec<DefaultPrivileges>, Fault> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT pg_catalog.pg_get_userbyid(d.defaclrole)::pg_catalog.text AS role,
                CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                    WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END AS kind,
                CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text END AS grantee,
                a.privilege_type AS privilege, a.is_grantable AS grantable
           FROM pg_catalog.pg_default_acl d LEFT JOIN LATERAL pg_catalog.aclexplode(d.defaclacl)
                WITH ORDINALITY a(grantor, grantee, privilege_type, is_grantable, place) ON true
          WHERE d.defaclnamespace = 0 ORDER BY 1, 2, a.place",
    )
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("reading default privileges", &e))?;
    let mut all: Vec<DefaultPrivileges> = Vec::new();
    for Row { role, kind, grantee, privilege, grantable } in rows {
        let right = privilege.map(|privilege| (grantee, privilege, grantable.unwrap_or_default()));
        match all.last_mut() {
            Some(last) if last.role == role && last.kind == kind => last.rights.extend(right),
            _ => all.push(DefaultPrivileges { role, kind, rights: right.into_iter().collect() }),
        }
    }
    Ok(all)
}

impl DefaultPrivileges {
    /// In words, one right after the other. They are of no schema.
    pub(in crate::postgres) fn pieces(&self) -> Vec<SchemaProperty> {
        let kind = self.kind.to_lowercase();
        let phrase = |(grantee, privilege, grantable): &(Option<String>, String, bool)| {
            let option = if *grantable { " with grant option" } else { "" };
            let to = grantee.as_deref().unwrap_or("PUBLIC");
            format!("{privilege} on {kind} to {to}{option} by {}", self.role)
        };
        let mut texts: Vec<String> = self.rights.iter().map(phrase).collect();
        if texts.is_empty() {
            texts.push(format!("nothing on {kind} to anybody by {}", self.role));
        }
        let piece = |text: String| SchemaProperty {
            schema: String::new(),
            kind: "default privilege".to_owned(),
            text,
        };
        texts.into_iter().map(piece).collect()
    }
}

/// Roles that the daemon must be able to act as to put these back.
///
/// # Errors
/// The session was lost.
pub(in crate::postgres) async fn memberships(
    connection: &mut PgConnection,
    defaults: &[DefaultPrivileges],
) -> Result<Vec<Finding>, Fault> {
    let version = version::of(connection).await?;
    let roles: Vec<&str> = defaults.iter().map(|d| d.role.as_str()).collect();
    let rows: Vec<(String, bool, String, String)> = sqlx::query_as(
        "SELECT r.rolname::pg_catalog.text, r.rolsuper, current_user::pg_catalog.text,
                pg_catalog.current_database()::pg_catalog.text
           FROM pg_catalog.pg_roles r
          WHERE r.rolname = ANY($1) AND NOT pg_catalog.pg_has_role(current_user, r.oid, $2) ORDER BY 1",
    )
    .bind(roles)
    .bind(assume(version))
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at memberships", &e))?;
    let finding = |(role, superuser, own, database): (String, bool, String, String)| {
        Finding::error(
            "MEMBERSHIP_MISSING",
            format!("database {database}"),
            format!("role {role} has default privileges in it, and the daemon's role cannot act as it"),
            match superuser {
                true => format!(
                    "{role} is a superuser: let it declare them for another role, or take them back \
                     (ALTER DEFAULT PRIVILEGES … REVOKE)"
                ),
                false => format!("GRANT {} TO {}{};", Ident(&role), Ident(&own), may_act(version)),
            },
        )
    };
    Ok(rows.into_iter().map(finding).collect())
}
