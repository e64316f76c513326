//! Setting schemas aside inside the work transaction, and bringing them back: renames, never drops.

use model::fault::{Fault, Reason};
use uuid::Uuid;

use super::{restore_properties, transaction::Work};
use crate::postgres::{
    catalog::{
        aside::oids,
        publications::{self, PublishedTable},
        schema_properties::{SchemaProperties, capture},
        structure::{self, Structure},
    },
    control::kept_schemas::{Aside, Body, KeptSchema},
    sql::{
        error::condition::Condition,
        ident::{Ident, Literal},
        signs::marker,
    },
};

/// The longest name, in bytes.
const LONGEST: usize = 63;

/// The name that a schema is set aside under: the operation's own, and as much of the schema's as there is room for.
/// `place` tells two apart whose names begin alike.
fn generated(operation: Uuid, place: usize, schema: &str) -> String {
    let id = operation.simple().to_string();
    let prefix = format!("resetd_kept_{}_", &id[id.len() - 16..]);
    if prefix.len() + schema.len() <= LONGEST {
        return format!("{prefix}{schema}");
    }
    let suffix = format!("_{place}");
    let mut room = LONGEST - prefix.len() - suffix.len();
    while !schema.is_char_boundary(room) {
        room -= 1;
    }
    format!("{prefix}{}{suffix}", &schema[..room])
}

/// Sets the schemas aside, those that are there: taken out of publications, closed, marked and renamed. `before` are their
/// properties. What is returned is what the ledger has to know.
///
/// # Errors
/// `BLOCKED`, or what PostgreSQL said.
pub(in crate::postgres) async fn schemas(
    work: &mut Work,
    operation: Uuid,
    names: &[String],
    before: &[SchemaProperties],
) -> Result<Body, Fault> {
    let oids = oids(work.own().await?, names).await?;
    let all: Vec<u32> = oids.iter().map(|(_, oid)| *oid).collect();
    let mut body = Body {
        structure: structure::of(work.own().await?, &all).await?,
        published: publications::tables(work.own().await?, names).await?,
        ..Body::default()
    };
    let mut sql = String::new();
    for it in &body.published {
        sql.push_str(&format!(
            "ALTER PUBLICATION {} DROP TABLE ONLY {}.{};\n",
            Ident(&it.publication),
            Ident(&it.schema),
            Ident(&it.table)
        ));
    }
    for (place, schema) in names.iter().enumerate() {
        let there =
            oids.iter().find(|(name, _)| name == schema).zip(before.iter().find(|b| b.schema() == schema));
        let aside = there.map(|((_, oid), properties)| {
            let name = generated(operation, place, schema);
            sql.push_str(&restore_properties::close(properties));
            sql.push_str(&format!(
                "COMMENT ON SCHEMA {0} IS {1};\nALTER SCHEMA {0} RENAME TO {2};\n",
                Ident(schema),
                Literal(&marker(operation)),
                Ident(&name)
            ));
            Aside { name, oid: *oid, properties: properties.clone() }
        });
        body.schemas.push(KeptSchema { schema: schema.clone(), aside });
    }
    if !sql.is_empty() {
        work.patient("setting the schemas aside", &sql).await?;
    }
    Ok(body)
}

/// Brings schemas back under their names, which are free, with what was taken from them.
///
/// # Errors
/// `BLOCKED`, `SCHEMA_PROPERTIES_LOST`, or what PostgreSQL said.
pub(in crate::postgres) async fn bring_back(work: &mut Work, body: &Body) -> Result<(), Fault> {
    for (schema, aside) in body.schemas.iter().filter_map(|s| s.aside.as_ref().map(|a| (&s.schema, a))) {
        let rename = format!("ALTER SCHEMA {} RENAME TO {}", Ident(&aside.name), Ident(schema));
        work.patient(&format!("bringing schema {schema} back"), &rename).await?;
        restore_properties::reopen(work, &aside.properties).await?;
    }
    publish(work, &body.published).await?;
    compare(work, body).await
}

/// What came back is what was set aside: to the last catalog row, and with the same properties.
async fn compare(work: &mut Work, body: &Body) -> Result<(), Fault> {
    let asides = || body.schemas.iter().filter_map(|s| s.aside.as_ref());
    let oids: Vec<u32> = asides().map(|aside| aside.oid).collect();
    let now: Structure = structure::of(work.own().await?, &oids).await?;
    let names: Vec<String> =
        body.schemas.iter().filter(|s| s.aside.is_some()).map(|s| s.schema.clone()).collect();
    let properties = capture(work.own().await?, &names).await?;
    let mut moved: Vec<String> = structure::difference(&body.structure, &now).into_iter().collect();
    for aside in asides() {
        let there = properties.iter().find(|p| p.schema() == aside.properties.schema());
        moved.extend(match there {
            Some(there) => aside.properties.difference(there),
            None => Some(format!("schema {} is not there", aside.properties.schema())),
        });
    }
    if moved.is_empty() {
        return Ok(());
    }
    Err(Fault::new(
        Reason::SchemaPropertiesLost,
        format!("what came back is not what was set aside: {}", moved.join(", ")),
    )
    .hint("everything was rolled back; look at `resetctl kept list`"))
}

/// Puts tables into publications, with their columns and filters; those that are in already stay as they are.
///
/// # Errors
/// `SCHEMA_PROPERTIES_LOST`: a table is not there; or what PostgreSQL said.
pub(crate) async fn publish(work: &mut Work, tables: &[PublishedTable]) -> Result<(), Fault> {
    let mut schemas: Vec<String> = tables.iter().map(|it| it.schema.clone()).collect();
    schemas.dedup();
    let there = publications::tables(work.own().await?, &schemas).await?;
    let is_in = |it: &&PublishedTable| {
        there
            .iter()
            .any(|t| (&t.publication, &t.schema, &t.table) == (&it.publication, &it.schema, &it.table))
    };
    for it in tables.iter().filter(|it| !is_in(it)) {
        let columns: Vec<String> = it.columns.iter().map(|c| Ident(c).to_string()).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let filter = it.filter.as_ref().map(|f| format!(" WHERE ({f})")).unwrap_or_default();
        let add = format!(
            "ALTER PUBLICATION {} ADD TABLE ONLY {}.{}{columns}{filter}",
            Ident(&it.publication),
            Ident(&it.schema),
            Ident(&it.table)
        );
        let label = format!("putting {}.{} into publication {}", it.schema, it.table, it.publication);
        work.patient(&label, &add).await.map_err(|fault| match Condition::of_fault(&fault) {
            Some(Condition::UndefinedTable | Condition::UndefinedColumn) => Fault::new(
                Reason::SchemaPropertiesLost,
                format!("publication {} would lose {}.{}: {}", it.publication, it.schema, it.table, fault.message),
            )
            .hint(format!(
                "everything was rolled back; take the table out of the publication first: ALTER PUBLICATION {} DROP TABLE {}.{}",
                Ident(&it.publication),
                Ident(&it.schema),
                Ident(&it.table)
            )),
            _ => fault,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit_and_differ() {
        let operation = Uuid::from_u128(0xabcd);
        assert_eq!(generated(operation, 0, "general"), "resetd_kept_000000000000abcd_general");
        let long = "ä".repeat(31);
        let names = [generated(operation, 1, &long), generated(operation, 2, &long)];
        assert!(names.iter().all(|name| name.len() <= LONGEST && name.len() > 55), "{names:?}");
        assert_ne!(names[0], names[1]);
        assert_eq!(generated(operation, 0, &"a".repeat(34)).len(), LONGEST);
    }
}
