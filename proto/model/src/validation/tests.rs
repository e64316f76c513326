//! The healthy matrix, and each way to differ from it.

use super::*;
use crate::testing;

fn validate(observed: &Observation) -> Validation {
    Validation::compute(&Matrix::builtin_default(), &testing::chains(), observed)
}

fn after(change: impl FnOnce(&mut Observation)) -> Validation {
    let mut observed = testing::healthy();
    change(&mut observed);
    validate(&observed)
}

/// Missing schemas, tables and revisions; unknown revisions.
fn differences(it: &Validation) -> [Vec<String>; 4] {
    let missing = &it.missing;
    [missing.schema_names(), missing.table_names(), missing.revision_names(), it.unknown_revisions.clone()]
}

fn assert_counts_agree(it: &Validation) {
    let s = &it.summary;
    let checked = (s.schemas_checked, s.tables_checked, s.revisions_checked);
    assert_eq!(checked, (6, 36, 9));
    let missing = (s.missing_schemas, s.missing_tables, s.missing_revisions);
    assert_eq!(missing, (it.missing.schemas.len(), it.missing.tables.len(), it.missing.revisions.len()));
}

#[test]
fn a_healthy_target_has_6_schemas_36_tables_and_9_revisions() {
    let it = validate(&testing::healthy());
    assert!(it.is_ok() && it.status == "ok");
    assert_counts_agree(&it);
    assert_eq!(differences(&it), [const { Vec::<String>::new() }; 4]);
    assert_eq!((it.schema_results.len(), it.table_checks.len(), it.revision_checks.len()), (6, 36, 9));
    assert_eq!(it.differences(5), "");
}

#[test]
fn an_empty_database_lacks_everything() {
    let it = validate(&testing::empty());
    assert_eq!(it.status, "failed");
    assert_counts_agree(&it);
    let s = &it.summary;
    assert_eq!((s.missing_schemas, s.missing_tables, s.missing_revisions), (6, 36, 9));
}

#[test]
fn a_missing_schema_is_named() {
    let it = after(|o| {
        *testing::schema(o, "shared") = ObservedSchema { name: "shared".into(), ..Default::default() }
    });
    assert!(!it.is_ok());
    assert_counts_agree(&it);
    assert_eq!(differences(&it), [vec!["shared".to_owned()], vec![], vec![], vec![]]);
}

#[test]
fn a_missing_table_is_named_with_its_schema() {
    let it = after(|o| testing::schema(o, "health").tables.retain(|t| t != "facts"));
    assert!(!it.is_ok());
    assert_counts_agree(&it);
    assert_eq!(differences(&it), [vec![], vec!["health.facts".to_owned()], vec![], vec![]]);
    let check = it.table_checks.iter().find(|c| !c.exists).expect("the one");
    assert_eq!(
        (check.schema.as_str(), check.table.as_str(), check.group.as_str()),
        ("health", "facts", "memory")
    );
}

#[test]
fn a_missing_revision_is_named_with_its_schema() {
    for versions in [Some(vec!["core_001".to_owned()]), Some(Vec::new()), None] {
        let it = after(|o| testing::schema(o, "general").versions = versions.clone());
        assert!(!it.is_ok());
        assert_counts_agree(&it);
        assert!(it.missing.revision_names().contains(&"general:mem_001".to_owned()), "{versions:?}");
        let core = it.missing.revision_names().contains(&"general:core_001".to_owned());
        assert_eq!(core, versions.is_none_or(|v| v.is_empty()));
    }
}

#[test]
fn an_unknown_revision_alone_fails() {
    let it =
        after(|o| testing::schema(o, "messenger").versions.get_or_insert_default().push("mem_001".into()));
    assert_eq!(it.status, "failed", "messenger has no chain memory");
    assert_counts_agree(&it);
    assert_eq!(differences(&it), [&[] as &[String], &[], &[], &["messenger:mem_001".to_owned()]]);
    let it = after(|o| testing::schema(o, "shared").versions = Some(vec!["zz".into()]));
    assert_eq!(it.unknown_revisions, ["shared:zz"]);
}

#[test]
fn with_a_second_revision_the_first_is_not_enough_and_the_second_is() {
    let mut chains = testing::chains();
    chains.chains[0] = testing::chain("core", &[("core_001", "select 1;"), ("core_002", "select 2;")]);
    let matrix = Matrix::builtin_default();
    let mut observed = testing::healthy();
    let it = Validation::compute(&matrix, &chains, &observed);
    assert_counts_agree(&it);
    assert_eq!(it.summary.missing_revisions, 5);
    assert!(it.missing.revision_names().contains(&"general:core_002".to_owned()));
    for schema in observed.schemas.iter_mut().filter(|s| s.name != "shared") {
        schema.versions.get_or_insert_default()[0] = "core_002".to_owned();
    }
    let it = Validation::compute(&matrix, &chains, &observed);
    assert!(it.is_ok(), "{}", it.differences(9));
    let check = &it.revision_checks[0];
    assert_eq!((check.expected_revision.as_str(), check.present), ("core_002", true));
    assert_eq!(check.versions, ["core_002", "mem_001"]);
}

#[test]
fn the_line_of_differences_is_bounded() {
    let it = after(|o| {
        testing::schema(o, "shared").owner = None;
        testing::schema(o, "health").tables.clear();
        testing::schema(o, "messenger").versions = Some(vec!["zz".into()]);
    });
    assert_eq!(it.differences(2), "missing schema shared, missing table health.state and 9 more");
    let all = it.differences(99);
    for part in
        ["missing table health.facts", "missing revision messenger:core_001", "unknown revision messenger:zz"]
    {
        assert!(all.contains(part), "{all}");
    }
}
