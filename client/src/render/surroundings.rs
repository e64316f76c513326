//! What surrounds the schemas of a plan: objects by kind, schema properties that are restored, rights that go, what hangs on them,
//! extensions that move, and what was written lately. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use model::{
    blast::{SchemaProperty, TableGrant},
    plan::Plan,
};

use super::text::{Paint, clean, count, number, wrap};
use crate::time_spec::format_time;

/// How many objects of each kind go, in one line.
pub(super) fn kinds(plan: &Plan) -> Option<String> {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, count) in plan.schemas.iter().flat_map(|s| &s.kinds) {
        *all.entry(kind).or_default() += count;
    }
    let mut all: Vec<(&str, u64)> = all.into_iter().collect();
    all.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let parts: Vec<String> = all.iter().map(|(kind, n)| format!("{} {}", number(*n), clean(kind))).collect();
    (!parts.is_empty()).then(|| format!("in them: {}", parts.join(", ")))
}

/// Extensions, and how much was written lately: lines of the totals.
pub(super) fn totals(plan: &Plan, zone: &TimeZone) -> Vec<String> {
    let mut all: Vec<String> = plan.extension_moves.iter().map(|it| format!("moves {it}")).collect();
    if !plan.created_extensions.is_empty() {
        all.push(format!("creates extensions {}", plan.created_extensions.join(", ")));
    }
    let it = &plan.activity;
    if let Some(since) = it.since.filter(|_| !plan.schemas.is_empty()) {
        all.push(format!(
            "since {}: {} committed; rows: {} inserted, {} updated, {} deleted",
            format_time(since, zone),
            count(i128::from(it.commits), "transaction"),
            number(it.inserted),
            number(it.updated),
            number(it.deleted)
        ));
    }
    all
}

/// What comes back, what goes, and what hangs on it.
pub(super) fn lines(plan: &Plan, width: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    let mut list = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            lines.push(String::new());
            lines.push(paint.dim(title));
            lines.extend(items.iter().flat_map(|item| wrap("  - ", item, width)));
        }
    };
    list("Grants on what is inside, gone with it:", grants(plan));
    let references = plan.references.iter().map(|h| format!("{} {}: {}", h.kind, h.identity, h.text));
    list("Touched, not dropped:", references.collect());
    list("Put back after the recreation:", schema_properties(plan));
    lines
}

/// More of a kind are counted: the report names each.
const NAMED: usize = 2;

/// One line for each schema, or each grant where there are few.
fn grants(plan: &Plan) -> Vec<String> {
    let mut by_schema: BTreeMap<&str, Vec<&TableGrant>> = BTreeMap::new();
    for grant in &plan.grants {
        by_schema.entry(&grant.schema).or_default().push(grant);
    }
    let lines = |(schema, grants): (&str, Vec<&TableGrant>)| -> Vec<String> {
        if grants.len() > NAMED {
            let roles: BTreeSet<&str> = grants.iter().map(|g| g.role.as_str()).collect();
            let objects: BTreeSet<&String> = grants.iter().flat_map(|g| &g.objects).collect();
            let (roles, objects) = (roles.len() as i128, objects.len() as i128);
            return vec![format!("{schema}: to {} on {}", count(roles, "role"), count(objects, "object"))];
        }
        let named = |g: &&TableGrant| {
            format!("{schema}: {} to {} on {}", g.privileges.join(", "), g.role, g.objects.join(", "))
        };
        grants.iter().map(named).collect()
    };
    by_schema.into_iter().flat_map(lines).collect()
}

/// One line for each schema and, where there are many of a kind, one number for each kind.
fn schema_properties(plan: &Plan) -> Vec<String> {
    let mut by_schema: BTreeMap<&str, Vec<(&str, Vec<&SchemaProperty>)>> = BTreeMap::new();
    for piece in &plan.schema_properties {
        let kinds = by_schema.entry(&piece.schema).or_default();
        match kinds.iter_mut().find(|(kind, _)| *kind == piece.kind) {
            Some((_, pieces)) => pieces.push(piece),
            None => kinds.push((&piece.kind, vec![piece])),
        }
    }
    let kind = |(kind, pieces): (&str, Vec<&SchemaProperty>)| match pieces.len() {
        many if many > NAMED => count(many as i128, kind),
        _ => pieces.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let line = |(schema, kinds): (&str, Vec<_>)| {
        format!("{schema}: {}", kinds.into_iter().map(kind).collect::<Vec<_>>().join("; "))
    };
    by_schema.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use model::{
        blast::{Activity, ExtensionMove, Reference},
        plan::PlannedSchema,
    };

    use super::*;

    fn plan() -> Plan {
        let text = str::to_owned;
        Plan {
            schemas: vec![PlannedSchema {
                kinds: [(text("table"), 8), (text("index"), 20)].into(),
                ..PlannedSchema::default()
            }],
            extension_moves: vec![ExtensionMove {
                extension: text("hstore"),
                from: text("general"),
                to: text("extensions"),
            }],
            grants: vec![TableGrant {
                schema: text("general"),
                role: text("reader"),
                privileges: vec![text("SELECT")],
                objects: vec![text("state")],
            }],
            references: vec![Reference {
                kind: text("replication slot"),
                identity: text("cdc"),
                text: text("read now"),
            }],
            schema_properties: vec![
                SchemaProperty { schema: text("general"), kind: text("owner"), text: text("app") },
                SchemaProperty { schema: text("general"), kind: text("comment"), text: text("theirs") },
            ],
            activity: Activity {
                since: Some(jiff::Timestamp::UNIX_EPOCH),
                commits: 1,
                inserted: 2_000,
                ..Activity::default()
            },
            ..Plan::default()
        }
    }

    #[test]
    fn everything_around_the_schemas_is_named() {
        let plan = plan();
        assert_eq!(kinds(&plan).as_deref(), Some("in them: 20 index, 8 table"));
        let totals = totals(&plan, &TimeZone::UTC).join("\n");
        assert!(totals.contains("moves extension hstore from general to extensions"), "{totals}");
        assert!(totals.contains("since 1970-01-01 00:00 UTC: 1 transaction committed"), "{totals}");
        let text = lines(&plan, 80, Paint(false)).join("\n");
        for part in [
            "  - general: SELECT to reader on state",
            "  - replication slot cdc: read now",
            "  - general: owner app; comment theirs",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    /// Two of a kind are named, three are counted.
    #[test]
    fn many_grants_and_default_privileges_are_counted() {
        let text = str::to_owned;
        for (n, told) in [
            (2, ["- general: SELECT to role_1 on state", "default privilege d0; default privilege d1"]),
            (
                3,
                [
                    "- general: to 3 roles on 1 object",
                    "- general: owner app; 3 default privileges; comment theirs",
                ],
            ),
        ] {
            let mut plan = plan();
            plan.grants =
                (0..n).map(|n| TableGrant { role: format!("role_{n}"), ..plan.grants[0].clone() }).collect();
            let defaults = (0..n).map(|n| SchemaProperty {
                schema: text("general"),
                kind: text("default privilege"),
                text: format!("d{n}"),
            });
            plan.schema_properties.splice(1..1, defaults);
            let text = lines(&plan, 100, Paint(false)).join("\n");
            assert!(told.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
