//! Restoring the properties of a schema that was just created.

use model::fault::{Fault, Reason};

use super::transaction::Work;
use crate::postgres::{
    catalog::schema_properties::{SchemaProperties, capture, grant::in_dependency_order},
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
    let fresh = capture(&mut work.connection, std::slice::from_ref(&schema_properties.schema)).await?;
    let sql = statements(schema_properties, fresh.first().unwrap_or(schema_properties));
    work.message(&sql).await.map(|_| ()).map_err(|failed| {
        Fault::new(
            Reason::SchemaPropertiesLost,
            format!(
                "grants and defaults of schema {} cannot be put back: {}",
                schema_properties.schema,
                error::message(&failed.error)
            ),
        )
        .hint("everything was rolled back; give the daemon's role the memberships it needs")
        .with("schema", &schema_properties.schema)
    })
}

/// Statements that put it back; each acts as the role that granted.
fn statements(it: &SchemaProperties, fresh: &SchemaProperties) -> String {
    let (schema, owner) = (Ident(&it.schema), Ident(&it.owner));
    let mut sql = String::new();
    if let Some(comment) = &it.comment {
        sql.push_str(&format!("COMMENT ON SCHEMA {schema} IS {};\n", Literal(comment)));
    }
    for (provider, label) in &it.labels {
        let (provider, label) = (Ident(provider), Literal(label));
        sql.push_str(&format!("SECURITY LABEL FOR {provider} ON SCHEMA {schema} IS {label};\n"));
    }
    for publication in it.publications.iter().filter(|_| it.restores_publications) {
        sql.push_str(&format!("ALTER PUBLICATION {} ADD TABLES IN SCHEMA {schema};\n", Ident(publication)));
    }
    sql.push_str(&defaults(it));
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
    sql.push_str("SET LOCAL ROLE NONE;\n");
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
