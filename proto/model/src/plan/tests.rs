//! Plans of observed targets: what the digest is over, and what refuses them.

use super::*;
use crate::{finding::Finding, operation::Verb, profile::Builtin, testing::request};

fn observed() -> Observation {
    let schema = |name: &str| ObservedSchema {
        name: name.to_owned(),
        owner: Some("app".to_owned()),
        tables: vec!["state".to_owned()],
        kinds: BTreeMap::from([("table".to_owned(), 1)]),
        identities: vec![format!("table {name}.state")],
        estimated_rows: 10,
        bytes: 8192,
        ..ObservedSchema::default()
    };
    let names = Matrix::builtin_default();
    Observation {
        database_oid: 5,
        role: "app".to_owned(),
        schemas: names.managed_schemas().into_iter().map(schema).collect(),
        ..Observation::default()
    }
}

fn plan_of(observed: &Observation, profile: &Profile) -> Plan {
    let request = Request { scope: Some(Scope::ManagedSchemas), ..request(Verb::Reset) };
    Plan::compute(&request, "butlers", profile, &Matrix::builtin_default(), &ChainSet::default(), observed)
}

fn plan(observed: &Observation) -> Plan {
    plan_of(observed, &Profile::of(Builtin::Local))
}

#[test]
fn the_digest_is_over_identities_and_not_over_what_moves_by_itself() {
    let one = plan(&observed());
    let mut grown = observed();
    grown.schemas[0].estimated_rows = 1_000_000;
    grown.schemas[0].bytes = 1 << 30;
    grown.schemas[0].written = 77;
    grown.activity.commits = 12;
    grown.activity.sessions.push(crate::blast::ActiveSession { pid: 1, ..Default::default() });
    grown.findings.push(Finding::warning("X", "a session", "is there", "nothing"));
    grown.hanging.push(Hanging { kind: "replication slot".to_owned(), ..Hanging::default() });
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
    change("furniture", |o| {
        o.furniture.push(FurniturePiece {
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
    assert_eq!(before.would_refuse.as_ref().map(|r| r.reason), Some(Reason::BlastRadius));
    assert_eq!(before.refusal(Some(&before.digest), None), None);

    observed.outside[0] = OutsideObject::new("view", "public.w");
    let refusal = plan(&observed).refusal(Some(&before.digest), Some(&before.identity));
    let refusal = refusal.expect("it is another plan");
    assert_eq!(refusal.reason, Reason::PlanChanged);
    assert!(
        refusal.message.ends_with("added: outside view public.w; gone: outside view public.v"),
        "{}",
        refusal.message
    );
}

#[test]
fn more_than_the_fuse_goes_with_the_digest_only() {
    let profile = Profile { max_rows: Some(59), ..Profile::of(Builtin::Local) };
    let blown = plan_of(&observed(), &profile);
    assert_eq!(blown.fuse.as_deref(), Some("about 60 rows, more than max_rows = 59"));
    assert_eq!(blown.would_refuse.as_ref().map(|r| r.reason), Some(Reason::DataFuse));
    assert_eq!(blown.refusal(Some(&blown.digest), None), None);
    let profile = Profile { max_rows: Some(60), max_bytes: Some(6 * 8192), ..profile };
    assert_eq!(plan_of(&observed(), &profile).would_refuse, None);
}

#[test]
fn all_errors_of_preflight_are_named_at_once_and_no_digest_lets_them_pass() {
    let mut observed = observed();
    for code in ["A", "B"] {
        observed.findings.push(Finding::error(code, format!("thing {code}"), "is in the way", "mend it"));
    }
    let plan = plan(&observed);
    let refusal = plan.refusal(Some(&plan.digest), None).expect("errors refuse");
    assert_eq!(refusal.reason, Reason::PreflightFailed);
    assert!(
        refusal.message.contains("thing A") && refusal.message.contains("thing B"),
        "{}",
        refusal.message
    );
}
