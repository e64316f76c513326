//! Plans of observed targets: what the digest is over, and what refuses them.

use crate::{
    blast::{ExtensionMove, OutsideObject, Reference, SchemaProperty},
    fault::Reason,
    finding::Finding,
    operation::Verb,
    plan::{Observation, Plan, PlannedSession, tell_moved},
    testing::{chains, healthy, request},
};

fn observed() -> Observation {
    let mut observed = healthy();
    for schema in &mut observed.schemas {
        schema.identities = vec![format!("table {}.state", schema.name)];
    }
    observed
}

fn plan(observed: &Observation) -> Plan {
    let matrix = crate::matrix::Matrix::builtin_default();
    Plan::compute(&request(Verb::Reset), "butlers", &matrix, &chains(), observed)
}

#[test]
fn the_digest_is_over_identities_and_not_over_what_moves_by_itself() {
    let one = plan(&observed());
    let mut grown = observed();
    grown.schemas[0].estimated_rows = 1_000_000;
    grown.schemas[0].bytes = 1 << 30;
    grown.schemas[0].written = 77;
    grown.activity.commits = 12;
    grown.sessions.push(PlannedSession { pid: 1, ..PlannedSession::default() });
    grown.findings.push(Finding::warning("X", "a session", "is there", "nothing"));
    grown.references.push(Reference { kind: "replication slot".to_owned(), ..Reference::default() });
    assert_eq!(plan(&grown).digest, one.digest);

    let mut each: Vec<(&str, Observation)> = Vec::new();
    let mut change = |what, change: fn(&mut Observation)| {
        let mut changed = observed();
        change(&mut changed);
        each.push((what, changed));
    };
    change("an object inside", |o| o.schemas[0].identities.push("view general.v".to_owned()));
    change("an object outside", |o| o.outside.push(OutsideObject::new("view", "public.v")));
    change("an owner", |o| o.schemas[0].owner = Some("other".to_owned()));
    change("schema_properties", |o| {
        o.schema_properties.push(SchemaProperty {
            schema: "general".to_owned(),
            kind: "grant".to_owned(),
            ..Default::default()
        })
    });
    change("the database", |o| o.database_oid = 6);
    change("an extension that moves", |o| o.moves.push(ExtensionMove::default()));
    for (what, changed) in each {
        assert_ne!(plan(&changed).digest, one.digest, "{what}");
    }
}

#[test]
fn what_is_outside_goes_with_the_digest_only_and_a_changed_plan_says_what_moved() {
    let mut observed = observed();
    observed.outside.push(OutsideObject::new("view", "public.v"));
    let before = plan(&observed);
    let identity = before.identity(&chains(), &observed);
    assert_eq!(before.refusal.as_ref().map(|r| r.reason), Some(Reason::BlastRadius));
    assert_eq!(before.refusal(Some(&before.digest)), None);

    observed.outside[0] = OutsideObject::new("view", "public.w");
    let now = plan(&observed);
    let refusal = now.refusal(Some(&before.digest)).expect("it is another plan");
    let refusal = tell_moved(refusal, &identity, &now.identity(&chains(), &observed));
    assert_eq!(refusal.reason, Reason::PlanChanged);
    assert!(
        refusal.message.ends_with("added: outside view public.w; gone: outside view public.v"),
        "{}",
        refusal.message
    );
}

#[test]
fn more_than_the_fuse_goes_with_the_digest_only() {
    let blown = plan(&Observation { max_rows: Some(599), ..observed() });
    assert_eq!(blown.data_limit.as_deref(), Some("about 600 rows, more than max_rows = 599"));
    assert_eq!(blown.refusal.as_ref().map(|r| r.reason), Some(Reason::DataLimit));
    assert_eq!(blown.refusal(Some(&blown.digest)), None);
    let whole = Observation { max_rows: Some(600), max_bytes: Some(6 * 8192), ..observed() };
    assert_eq!(plan(&whole).refusal, None);
}

#[test]
fn all_errors_of_preflight_are_named_at_once_and_no_digest_lets_them_pass() {
    let mut observed = observed();
    for code in ["A", "B"] {
        observed.findings.push(Finding::error(code, format!("thing {code}"), "is in the way", "mend it"));
    }
    let plan = plan(&observed);
    let refusal = plan.refusal(Some(&plan.digest)).expect("errors refuse");
    assert_eq!(refusal.reason, Reason::PreflightFailed);
    assert!(
        refusal.message.contains("thing A") && refusal.message.contains("thing B"),
        "{}",
        refusal.message
    );
}
