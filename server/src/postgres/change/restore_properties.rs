//! Putting schema_properties back onto a schema that was just created, and default privileges back into a database.

use model::fault::{Fault, Reason};

use super::{message::MessageError, transaction::Work};
use crate::postgres::{
    catalog::{
        default_privileges::DefaultPrivileges,
        schema_properties::{SchemaProperties, capture, grant::in_dependency_order},
    },
    sql::{
        error,
        ident::{Ident, Literal},
    },
};

/// Restores the properties of a schema.
///
/// # Errors
/// `SCHEMA_PROPERTIES_LOST` with what PostgreSQL said.
pub(crate) async fn restore(work: &mut Work, schema_properties: &SchemaProperties) -> Result<(), Fault> {
    // The cluster's own default privileges may have given the new schema rights that the old one had not.
    let fresh = capture(work.own().await?, std::slice::from_ref(&schema_properties.schema)).await?;
    let sql = statements(schema_properties, fresh.first().unwrap_or(schema_properties));
    work.message(&sql).await.map(|_| ()).map_err(|failed| lost_with(&schema_properties.schema, &failed))
}

fn lost_with(schema: &str, failed: &MessageError) -> Fault {
    lost(&format!("grants and defaults of schema {schema}"), &failed.error).with("schema", schema)
}

/// What could not be put back.
pub(in crate::postgres) fn lost(what: &str, error: &sqlx::Error) -> Fault {
    Fault::new(Reason::SchemaPropertiesLost, format!("{what} cannot be put back: {}", error::message(error)))
        .hint("everything was rolled back; give the daemon's role the memberships it needs")
}

/// What was put back and is not as it was.
pub(in crate::postgres) fn differs(what: &str) -> Fault {
    Fault::new(Reason::SchemaPropertiesLost, format!("{what} are not as they were after they were put back"))
        .hint("everything was rolled back; compare pg_default_acl with what PostgreSQL's log shows")
}

/// The statements that declare default privileges of no schema: what PostgreSQL gives by itself is taken back first.
pub(in crate::postgres) fn declaration(it: &DefaultPrivileges) -> String {
    let (role, kind) = (Ident(&it.role), &it.kind);
    let declare = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role}");
    let mut sql = format!("{declare} REVOKE ALL ON {kind} FROM PUBLIC, {role};\n");
    for (grantee, privilege, grantable) in &it.rights {
        let to = grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string());
        let option = if *grantable { " WITH GRANT OPTION" } else { "" };
        sql.push_str(&format!("{declare} GRANT {privilege} ON {kind} TO {to}{option};\n"));
    }
    sql
}

/// Statements that put it back; each acts as the role that granted.
fn statements(it: &SchemaProperties, fresh: &SchemaProperties) -> String {
    let (schema, owner) = (Ident(&it.schema), Ident(&it.owner));
    let mut sql = String::new();
    // Only a schema that every database is born with has an owner and a comment before its properties are put back.
    if fresh.owner != it.owner {
        sql.push_str(&format!("ALTER SCHEMA {schema} OWNER TO {owner};\n"));
    }
    if fresh.comment != it.comment {
        let comment =
            it.comment.as_deref().map_or_else(|| "NULL".to_owned(), |text| Literal(text).to_string());
        sql.push_str(&format!("COMMENT ON SCHEMA {schema} IS {comment};\n"));
    }
    for (provider, label) in &it.labels {
        let (provider, label) = (Ident(provider), Literal(label));
        sql.push_str(&format!("SECURITY LABEL FOR {provider} ON SCHEMA {schema} IS {label};\n"));
    }
    for publication in it.publications.iter().filter(|_| it.restores_publications) {
        sql.push_str(&format!("ALTER PUBLICATION {} ADD TABLES IN SCHEMA {schema};\n", Ident(publication)));
    }
    sql.push_str(&defaults(it));
    sql.push_str(&rights(it, fresh));
    sql.push_str("SET LOCAL ROLE NONE;\n");
    sql
}

/// Statements that close a schema to everybody but its owner, and take it out of publications.
pub(in crate::postgres) fn close(it: &SchemaProperties) -> String {
    let (schema, owner) = (Ident(&it.schema), Ident(&it.owner));
    let mut sql = String::new();
    for publication in it.publications.iter().filter(|_| it.restores_publications) {
        sql.push_str(&format!("ALTER PUBLICATION {} DROP TABLES IN SCHEMA {schema};\n", Ident(publication)));
    }
    let others = it.rights.iter().flatten().filter(|right| right.grantee.as_ref() != Some(&it.owner));
    let mut others: Vec<String> = others
        .map(|right| right.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string()))
        .collect();
    others.sort();
    others.dedup();
    if !others.is_empty() {
        sql.push_str(&format!(
            "SET LOCAL ROLE {owner};\nREVOKE ALL ON SCHEMA {schema} FROM {} CASCADE;\nSET LOCAL ROLE NONE;\n",
            others.join(", ")
        ));
    }
    sql
}

/// Gives a schema that came back what was taken from it.
///
/// # Errors
/// `SCHEMA_PROPERTIES_LOST` with what PostgreSQL said.
pub(in crate::postgres) async fn reopen(work: &mut Work, it: &SchemaProperties) -> Result<(), Fault> {
    let fresh = capture(work.own().await?, std::slice::from_ref(&it.schema)).await?;
    let schema = Ident(&it.schema);
    let comment = it.comment.as_ref().map_or_else(|| "NULL".to_owned(), |text| Literal(text).to_string());
    let mut sql = format!("COMMENT ON SCHEMA {schema} IS {comment};\n");
    for publication in it.publications.iter().filter(|_| it.restores_publications) {
        sql.push_str(&format!("ALTER PUBLICATION {} ADD TABLES IN SCHEMA {schema};\n", Ident(publication)));
    }
    sql.push_str(&rights(it, fresh.first().unwrap_or(it)));
    sql.push_str("SET LOCAL ROLE NONE;\n");
    work.message(&sql).await.map(|_| ()).map_err(|failed| lost_with(&it.schema, &failed))
}

/// The access list, anew: each right as the role that granted it.
fn rights(it: &SchemaProperties, fresh: &SchemaProperties) -> String {
    let (schema, owner) = (Ident(&it.schema), Ident(&it.owner));
    let mut sql = String::new();
    let surplus = fresh.rights.iter().flatten().filter_map(|r| match &r.grantee {
        Some(grantee) if *grantee == it.owner => None,
        Some(grantee) => Some(Ident(grantee).to_string()),
        None => Some("PUBLIC".to_owned()),
    });
    let surplus: Vec<String> = surplus.collect();
    if it.rights.is_some() || !surplus.is_empty() {
        let mut everybody: Vec<String> = vec![owner.to_string(), "PUBLIC".to_owned()];
        everybody.extend(surplus);
        everybody.dedup();
        sql.push_str(&format!(
            "SET LOCAL ROLE {owner};\nREVOKE ALL ON SCHEMA {schema} FROM {};\n",
            everybody.join(", ")
        ));
        for right in in_dependency_order(&it.owner, &it.effective()) {
            sql.push_str(&right.grant(&it.schema));
        }
    }
    sql
}

/// Default privileges. PostgreSQL wants their role to have the right to create in the schema at that moment, though it may
/// have lost it since: it is given for the moment.
fn defaults(it: &SchemaProperties) -> String {
    let (schema, owner) = (Ident(&it.schema), Ident(&it.owner));
    let mut roles: Vec<&str> = it.defaults.iter().map(|right| right.grantor.as_str()).collect();
    roles.sort_unstable();
    roles.dedup();
    roles.retain(|role| *role != it.owner);
    let names: Vec<String> = roles.iter().map(|role| Ident(role).to_string()).collect();
    let mut sql = String::new();
    if !names.is_empty() {
        let names = names.join(", ");
        sql.push_str(&format!(
            "SET LOCAL ROLE {owner};\nGRANT CREATE ON SCHEMA {schema} TO {names};\nSET LOCAL ROLE NONE;\n"
        ));
    }
    for right in &it.defaults {
        sql.push_str(&right.alter_default(&it.schema));
    }
    if !names.is_empty() {
        let names = names.join(", ");
        sql.push_str(&format!(
            "SET LOCAL ROLE {owner};\nREVOKE CREATE ON SCHEMA {schema} FROM {names};\nSET LOCAL ROLE NONE;\n"
        ));
    }
    sql
}
