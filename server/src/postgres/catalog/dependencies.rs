//! The walk over the catalog's dependencies: everything that dropping schemas takes along, and where each thing belongs.
//!
//! It reads one query (`dependencies.sql`) and decides purely what is inside the schemas, outside of them, or only a part of
//! something else that goes.

use std::collections::{BTreeMap, HashMap};

use model::{blast::OutsideObject, fault::Fault};
use sqlx::PgConnection;

use crate::postgres::sql::error::work_fault;

/// The query; its parameters are the schemas and the extensions (oids) that stay.
const WALK: &str = include_str!("dependencies.sql");

/// Kinds that hold data or a query of their own: each is named, also as part of another.
const NEVER_A_PART: [&str; 4] = ["table", "foreign table", "materialized view", "view"];

/// An object of the catalog: class, object, column.
type Address = (i64, i64, i32);

#[derive(sqlx::FromRow)]
struct WalkRow {
    class: i64,
    object: i64,
    column: i32,
    kind: String,
    identity: String,
    home: Option<String>,
    owner: Option<String>,
    estimated_rows: Option<i64>,
    belongs_to: Option<String>,
}

/// Everything that goes with the schemas.
#[derive(Debug, Default)]
pub(crate) struct Radius {
    /// By schema: how many of each kind.
    pub(crate) kinds: BTreeMap<String, BTreeMap<String, u64>>,
    /// By schema: kind and identity of each object.
    pub(crate) identities: BTreeMap<String, Vec<String>>,
    /// What lies outside.
    pub(crate) outside: Vec<OutsideObject>,
    /// Objects inside by owner, without those of the schema's own.
    pub(crate) owners: BTreeMap<String, Vec<String>>,
    /// Everything that is locked to be dropped, parts included.
    pub(crate) entries: i64,
}

struct Object {
    address: Address,
    kind: String,
    identity: String,
    home: Option<String>,
    owner: Option<String>,
    estimated_rows: Option<i64>,
    belongs_to: Vec<(char, Address)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Locality {
    Inside,
    Outside,
    Part,
}

/// Walks the dependencies of `schemas`, as if the extensions `staying` had been moved out of them.
pub(crate) async fn radius(
    connection: &mut PgConnection,
    schemas: &[String],
    staying: &[i64],
) -> Result<Radius, Fault> {
    radius_beside(connection, schemas, staying, &[]).await
}

/// The same where `aside` are schemas that are set aside: what is in them is nobody's loss while nothing is dropped.
///
/// # Errors
/// The session was lost.
pub(crate) async fn radius_beside(
    connection: &mut PgConnection,
    schemas: &[String],
    staying: &[i64],
    aside: &[String],
) -> Result<Radius, Fault> {
    let staying: Vec<sqlx::postgres::types::Oid> =
        staying.iter().filter_map(|oid| u32::try_from(*oid).ok()).map(sqlx::postgres::types::Oid).collect();
    let rows: Vec<WalkRow> = sqlx::query_as(WALK)
        .bind(schemas)
        .bind(staying)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("walking the dependencies", &e))?;
    Ok(sort(rows.into_iter().map(Object::from).collect(), schemas, aside))
}

impl From<WalkRow> for Object {
    fn from(row: WalkRow) -> Self {
        Self {
            address: (row.class, row.object, row.column),
            kind: row.kind,
            identity: row.identity,
            home: row.home,
            owner: row.owner,
            estimated_rows: row.estimated_rows,
            belongs_to: row.belongs_to.unwrap_or_default().split(' ').filter_map(link).collect(),
        }
    }
}

/// `TYPE/CLASS/OBJECT/COLUMN`.
fn link(text: &str) -> Option<(char, Address)> {
    let mut parts = text.split('/');
    let kind = parts.next()?.chars().next()?;
    let (class, object) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((kind, (class, object, parts.next()?.parse().ok()?)))
}

fn sort(objects: Vec<Object>, schemas: &[String], aside: &[String]) -> Radius {
    let by_address: HashMap<Address, usize> =
        objects.iter().enumerate().map(|(index, o)| (o.address, index)).collect();
    let mut radius =
        Radius { entries: i64::try_from(objects.len()).unwrap_or(i64::MAX), ..Radius::default() };
    let mut schema_owner: HashMap<&str, &str> = HashMap::new();
    for object in objects.iter().filter(|o| o.kind == "schema") {
        schema_owner.insert(object.identity.as_str(), object.owner.as_deref().unwrap_or_default());
    }
    let managed = |home: &Option<String>| home.as_ref().is_some_and(|home| schemas.contains(home));
    for object in &objects {
        match place(object, &objects, &by_address, &managed) {
            Locality::Part => {}
            Locality::Outside if object.home.as_ref().is_some_and(|home| aside.contains(home)) => {}
            Locality::Outside => radius.outside.push(OutsideObject {
                kind: object.kind.clone(),
                identity: object.identity.clone(),
                owner: object.owner.clone(),
                estimated_rows: object.estimated_rows,
            }),
            Locality::Inside if object.kind == "schema" => {}
            Locality::Inside => {
                let home = object.home.clone().unwrap_or_default();
                let name = format!("{} {}", object.kind, object.identity);
                if let Some(owner) = &object.owner
                    && schema_owner.values().all(|of_schema| of_schema != owner)
                {
                    radius.owners.entry(owner.clone()).or_default().push(name.clone());
                }
                *radius.kinds.entry(home.clone()).or_default().entry(object.kind.clone()).or_default() += 1;
                radius.identities.entry(home).or_default().push(name);
            }
        }
    }
    radius.outside.sort_by(|a, b| (&a.kind, &a.identity).cmp(&(&b.kind, &b.identity)));
    radius
}

fn place(
    object: &Object,
    objects: &[Object],
    by_address: &HashMap<Address, usize>,
    managed: &dyn Fn(&Option<String>) -> bool,
) -> Locality {
    if object.home.as_ref().is_some_and(|home| home.starts_with("pg_toast")) {
        return Locality::Part;
    }
    let (mut by_inside, mut by_outside) = (false, false);
    for (kind, (class, id, column)) in &object.belongs_to {
        let whole = by_address.get(&(*class, *id, 0)).map(|index| &objects[*index]);
        let owner = whole.or_else(|| by_address.get(&(*class, *id, *column)).map(|index| &objects[*index]));
        let Some(owner) =
            owner.filter(|o| (o.address.0, o.address.1) != (object.address.0, object.address.1))
        else {
            continue;
        };
        if *kind == 'i' {
            return Locality::Part;
        }
        match managed(&owner.home) {
            true => by_inside |= *kind == 'a',
            // Of a table that stays only a column goes: what hangs on that is named, but for the column's own default.
            false => by_outside |= whole.is_some() || object.kind == "default value",
        }
    }
    if managed(&object.home) || object.home.is_none() && by_inside {
        return Locality::Inside;
    }
    match by_outside && !NEVER_A_PART.contains(&object.kind.as_str()) {
        true => Locality::Part,
        false => Locality::Outside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(id: i64, kind: &str, identity: &str, home: Option<&str>, belongs_to: &str) -> Object {
        let home = home.map(str::to_owned);
        let belongs_to = Some(belongs_to.to_owned());
        Object::from(WalkRow {
            class: 1,
            object: id,
            column: 0,
            kind: kind.to_owned(),
            identity: identity.to_owned(),
            home,
            owner: None,
            estimated_rows: None,
            belongs_to,
        })
    }

    fn outside_of(objects: Vec<Object>) -> Vec<String> {
        sort(objects, &["a".to_owned()], &["aside".to_owned()])
            .outside
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn parts_of_what_goes_are_not_named_and_partitions_are() {
        let objects = vec![
            object(1, "schema", "a", Some("a"), ""),
            object(2, "view", "b.v", Some("b"), ""),
            object(3, "rule", "\"_RETURN\" on b.v", Some("b"), "i/1/2/0 n/1/2/0"),
            object(4, "table", "b.t", Some("b"), ""),
            object(5, "index", "b.t_idx", Some("b"), "a/1/4/1"),
            object(6, "table", "b.part", Some("b"), "a/1/4/0"),
            object(7, "table constraint", "t_fkey on aside.t", Some("aside"), ""),
        ];
        assert_eq!(outside_of(objects), ["table b.part", "table b.t", "view b.v"]);
    }

    #[test]
    fn what_checks_an_inside_foreign_key_on_an_outside_table_is_no_loss() {
        let objects = vec![
            object(1, "schema", "a", Some("a"), ""),
            object(2, "table constraint", "t_fkey on a.t", Some("a"), ""),
            object(3, "trigger", "RI_ConstraintTrigger on b.t", Some("b"), "i/1/2/0"),
        ];
        assert_eq!(outside_of(objects), Vec::<String>::new());
    }

    #[test]
    fn what_has_no_schema_is_where_its_owner_is() {
        let objects = vec![
            object(1, "schema", "a", Some("a"), ""),
            object(2, "default acl", "for role app in schema a on tables", None, "a/1/1/0"),
            object(3, "operator family", "b.f USING btree", Some("b"), ""),
            object(4, "operator of access method", "operator 1 of b.f", None, "a/1/3/0"),
            object(5, "extension", "hstore", Some(""), ""),
        ];
        assert_eq!(outside_of(objects), ["extension hstore", "operator family b.f USING btree"]);
    }
}
