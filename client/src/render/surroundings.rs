//! What surrounds the schemas of a plan: objects by kind, schema properties that are restored, rights that go, what hangs on them,
//! extensions that move, and what was written lately. Pure.

use std::collections::BTreeMap;

use model::plan::Plan;

use super::text::{Paint, clean, count, number, wrap};

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
pub(super) fn totals(plan: &Plan) -> Vec<String> {
    let mut all: Vec<String> = plan.extension_moves.iter().map(|it| format!("moves {it}")).collect();
    if !plan.created_extensions.is_empty() {
        all.push(format!("creates extensions {}", plan.created_extensions.join(", ")));
    }
    let it = &plan.activity;
    if let Some(since) = it.since.filter(|_| !plan.schemas.is_empty()) {
        all.push(format!(
            "since {}: {} committed; rows: {} inserted, {} updated, {} deleted",
            since.strftime("%Y-%m-%d %H:%M UTC"),
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
    let grants = plan.grants.iter().map(|g| {
        format!("{}: {} to {} on {}", g.schema, g.privileges.join(", "), g.role, g.objects.join(", "))
    });
    list("Grants on what is inside, gone with it:", grants.collect());
    let references = plan.references.iter().map(|h| format!("{} {}: {}", h.kind, h.identity, h.text));
    list("Touched, not dropped:", references.collect());
    list("Put back after the recreation:", schema_properties(plan));
    lines
}

/// One line for each schema.
fn schema_properties(plan: &Plan) -> Vec<String> {
    let mut by_schema: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for piece in &plan.schema_properties {
        by_schema.entry(&piece.schema).or_default().push(piece.to_string());
    }
    by_schema.into_iter().map(|(schema, pieces)| format!("{schema}: {}", pieces.join("; "))).collect()
}

#[cfg(test)]
mod tests {
    use model::{
        blast::{Activity, ExtensionMove, Reference, SchemaProperty, TableGrant},
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
        let totals = totals(&plan).join("\n");
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
}
