//! What a plan holds, when its digest moves, and when it is refused.

use uuid::Uuid;

use super::*;
use crate::{operation::Verb, testing};

fn compute(request: &Request, chains: &ChainSet, observed: &Observation) -> Plan {
    Plan::compute(request, "butlers", &Matrix::builtin_default(), chains, observed)
}

fn plan_of(verb: Verb, observed: &Observation) -> Plan {
    compute(&testing::request(verb), &testing::chains(), observed)
}

fn changed(change: impl FnOnce(&mut Observation)) -> Observation {
    let mut observed = testing::healthy();
    change(&mut observed);
    observed
}

fn outside(identity: &str) -> OutsideObject {
    OutsideObject::new("view", identity)
}

fn warning(code: &str, object: &str) -> Finding {
    Finding::warning(code, object, "message", "hint")
}

fn error(code: &str) -> Finding {
    Finding::error(code, "object", "message", "hint")
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.schemas.iter().map(|s| s.schema.as_str()).collect()
}

fn pending(plan: &Plan) -> Vec<(&str, Vec<&str>)> {
    let ids = |c: &PlannedChain| c.revisions.len();
    plan.chains
        .iter()
        .filter(|c| ids(c) > 0)
        .map(|c| (c.schema.as_str(), c.revisions.iter().map(String::as_str).collect()))
        .collect()
}

#[test]
fn the_digest_does_not_move_with_estimates() {
    let digest = plan_of(Verb::Run, &testing::healthy()).digest;
    assert!(digest.starts_with("sha256:") && digest.len() == 7 + 64, "{digest}");
    let estimates = changed(|o| {
        for schema in &mut o.schemas {
            schema.estimated_rows += 1_000_000;
            schema.bytes += 1 << 30;
        }
    });
    assert_eq!(plan_of(Verb::Run, &estimates).digest, digest);
}

fn session(pid: i32) -> PlannedSession {
    PlannedSession {
        pid,
        user: "app".to_owned(),
        application_name: "worker".to_owned(),
        address: String::new(),
        state: "idle".to_owned(),
        query_age_seconds: 1,
        in_transaction: false,
        would_end: true,
    }
}

#[test]
fn the_digest_does_not_move_with_sessions_and_findings_or_their_order() {
    let request = Request { scope: Some(Scope::Database), ..testing::request(Verb::Run) };
    let digest = compute(&request, &testing::chains(), &testing::healthy()).digest;
    let (a, b) = (warning("W", "pid 1"), warning("W", "pid 2"));
    let observed = [
        changed(|o| o.sessions = vec![session(1), session(2)]),
        changed(|o| o.sessions = vec![session(2), session(1)]),
        changed(|o| o.findings = vec![a.clone(), b.clone()]),
        changed(|o| o.findings = vec![b, a]),
    ];
    for observed in &observed {
        let plan = compute(&request, &testing::chains(), observed);
        assert_eq!(plan.digest, digest, "{observed:?}");
        assert_eq!((&plan.sessions, &plan.findings), (&observed.sessions, &observed.findings));
    }
}

#[test]
fn the_digest_moves_with_everything_that_would_be_lost_or_made() {
    let base = plan_of(Verb::Run, &testing::healthy()).digest;
    let moved: [(&str, Observation); 8] = [
        ("owner", changed(|o| testing::schema(o, "general").owner = Some("mallory".to_owned()))),
        ("schema gone", changed(|o| testing::schema(o, "general").owner = None)),
        ("table came", changed(|o| testing::schema(o, "health").tables.push("new".to_owned()))),
        ("table renamed", changed(|o| testing::schema(o, "health").tables[0] = "renamed".to_owned())),
        (
            "object came",
            changed(|o| testing::schema(o, "shared").identities.push("view shared.v".to_owned())),
        ),
        ("outside", changed(|o| o.outside.push(outside("reporting.v")))),
        ("another outside", changed(|o| o.outside.push(outside("reporting.w")))),
        ("database", changed(|o| o.database_oid += 1)),
    ];
    let mut seen = std::collections::BTreeSet::from([base]);
    for (what, observed) in &moved {
        assert!(seen.insert(plan_of(Verb::Run, observed).digest), "{what}");
    }
}

#[test]
fn the_digest_moves_with_the_content_of_a_chain_and_with_the_request() {
    let observed = testing::healthy();
    let base = compute(&testing::request(Verb::Run), &testing::chains(), &observed).digest;
    let mut other = testing::chains();
    other.chains[1] = testing::chain("memory", &[("mem_001", "select 'another';")]);
    assert_ne!(compute(&testing::request(Verb::Run), &other, &observed).digest, base);
    let elsewhere = Request { target: "elsewhere".to_owned(), ..testing::request(Verb::Run) };
    assert_ne!(compute(&elsewhere, &testing::chains(), &observed).digest, base);
    let one = Request { managed_schemas: vec!["general".to_owned()], ..testing::request(Verb::Run) };
    assert_ne!(compute(&one, &testing::chains(), &observed).digest, base);
    let database = Request { scope: Some(Scope::Database), ..testing::request(Verb::Run) };
    assert_ne!(compute(&database, &testing::chains(), &observed).digest, base);
}

#[test]
fn the_digest_does_not_move_with_who_asks_and_how() {
    let observed = testing::healthy();
    let base = compute(&testing::request(Verb::Run), &testing::chains(), &observed).digest;
    let asked = Request {
        request_id: Uuid::from_u128(2),
        labels: [("commit".to_owned(), "1a2b3c".to_owned())].into(),
        wait: crate::operation::Wait::Forever,
        dry_run: true,
        confirmation: None,
        plan_digest: Some(base.clone()),
        ..testing::request(Verb::Run)
    };
    assert_eq!(compute(&asked, &testing::chains(), &observed).digest, base);
}

#[test]
fn an_approved_digest_must_match() {
    let plan = plan_of(Verb::Reset, &testing::healthy());
    assert_eq!(plan.refusal(None), None);
    assert_eq!(plan.refusal(Some(&plan.digest)), None);
    let fault = plan.refusal(Some("sha256:older")).expect("a refusal");
    assert_eq!(fault.reason, Reason::PlanChanged);
    assert_eq!(fault.metadata["approved"], "sha256:older");
    assert_eq!(fault.metadata["digest"], plan.digest);
}

#[test]
fn what_is_outside_is_lost_only_with_the_approved_digest() {
    let plan =
        plan_of(Verb::Reset, &changed(|o| o.outside = (0..7).map(|n| outside(&format!("r.v{n}"))).collect()));
    let fault = plan.refusal(None).expect("a refusal");
    assert_eq!(fault.reason, Reason::BlastRadius);
    assert!(fault.message.starts_with("7 objects outside"), "{fault}");
    assert!(fault.message.ends_with("view r.v4 and 2 more"), "{fault}");
    assert!(fault.hint.is_some_and(|hint| hint.contains(&plan.digest)));
    assert_eq!(plan.refusal.as_ref().map(|r| r.reason), Some(Reason::BlastRadius));
    assert_eq!(plan.refusal(Some(&plan.digest)), None);
}

#[test]
fn errors_of_preflight_refuse_with_all_of_them_and_warnings_do_not() {
    let plan =
        plan_of(Verb::Reset, &changed(|o| o.findings = vec![warning("W", "a"), error("A"), error("B")]));
    let fault = plan.refusal(None).expect("a refusal");
    assert_eq!(fault.reason, Reason::PreflightFailed);
    assert!(fault.message.contains("2 errors: object: message; object: message"), "{fault}");
    assert_eq!(plan.refusal(Some(&plan.digest)).map(|f| f.reason), Some(Reason::PreflightFailed));
    assert_eq!(plan.findings.len(), 3);
    let warned = plan_of(Verb::Reset, &changed(|o| o.findings = vec![warning("W", "a")]));
    assert_eq!(warned.refusal, None);
}

#[test]
fn only_obstacles_alone_are_called_not_transactional() {
    let obstacle = || error(Reason::NotTransactional.name());
    let reason =
        |findings| plan_of(Verb::Reset, &changed(|o| o.findings = findings)).refusal(None).map(|f| f.reason);
    assert_eq!(reason(vec![obstacle(), obstacle()]), Some(Reason::NotTransactional));
    assert_eq!(reason(vec![obstacle(), error("OTHER")]), Some(Reason::PreflightFailed));
}

#[test]
fn preflight_goes_before_the_blast_radius_and_a_changed_plan_before_both() {
    let plan = plan_of(
        Verb::Reset,
        &changed(|o| {
            o.findings = vec![error("A")];
            o.outside = vec![outside("r.v")];
        }),
    );
    assert_eq!(plan.refusal(None).map(|f| f.reason), Some(Reason::PreflightFailed));
    assert_eq!(plan.refusal(Some("sha256:older")).map(|f| f.reason), Some(Reason::PlanChanged));
}

#[test]
fn a_reset_plans_all_managed_schemas_or_the_named_ones_in_the_matrix_order() {
    let all = plan_of(Verb::Reset, &testing::healthy());
    assert_eq!(names(&all), ["shared", "general", "health", "messenger", "relationship", "switchboard"]);
    assert!(all.chains.is_empty() && all.created_schemas.is_empty(), "a reset replays nothing");
    assert_eq!((all.schemas[1].tables, all.schemas[1].owner.as_deref()), (8, Some("app")));
    let two = Request {
        managed_schemas: vec!["health".to_owned(), "general".to_owned()],
        ..testing::request(Verb::Reset)
    };
    assert_eq!(names(&compute(&two, &testing::chains(), &testing::healthy())), ["general", "health"]);
    for verb in [Verb::Migrate, Verb::Validate] {
        assert!(plan_of(verb, &testing::healthy()).schemas.is_empty(), "{verb:?}");
    }
}

#[test]
fn what_is_outside_counts_for_resets_and_refuses_those_of_the_managed_schemas() {
    let observed = changed(|o| o.outside = vec![outside("r.v")]);
    assert_eq!(plan_of(Verb::Run, &observed).refusal.map(|r| r.reason), Some(Reason::BlastRadius));
    assert!(plan_of(Verb::Migrate, &observed).outside.is_empty());
    let database = Request { scope: Some(Scope::Database), ..testing::request(Verb::Run) };
    let plan = compute(&database, &testing::chains(), &observed);
    assert_eq!((plan.scope, plan.refusal), (Some(Scope::Database), None), "the previous one is kept");
}

#[test]
fn migrate_creates_what_is_missing_and_run_only_what_it_does_not_reset() {
    let observed = changed(|o| {
        for name in ["shared", "messenger"] {
            testing::schema(o, name).owner = None;
        }
    });
    assert_eq!(plan_of(Verb::Migrate, &observed).created_schemas, ["shared", "messenger"]);
    assert!(plan_of(Verb::Run, &observed).created_schemas.is_empty());
    assert!(plan_of(Verb::Reset, &observed).created_schemas.is_empty());
    let one = Request { managed_schemas: vec!["shared".to_owned()], ..testing::request(Verb::Run) };
    assert_eq!(compute(&one, &testing::chains(), &observed).created_schemas, ["messenger"]);
}

#[test]
fn migrate_applies_what_the_history_lacks_and_run_everything() {
    let mut chains = testing::chains();
    chains.chains[0] = testing::chain("core", &[("core_001", "select 1;"), ("core_002", "select 2;")]);
    let observed = changed(|o| testing::schema(o, "health").versions = None);
    let plan = compute(&testing::request(Verb::Migrate), &chains, &observed);
    let expected = [
        ("general", vec!["core_002"]),
        ("health", vec!["core_001", "core_002"]),
        ("messenger", vec!["core_002"]),
        ("relationship", vec!["core_002"]),
        ("switchboard", vec!["core_002"]),
        ("health", vec!["mem_001"]),
    ];
    assert_eq!(pending(&plan), expected);
    assert_eq!(plan.chains.len(), 9, "those at their heads are listed too");
    let from: Vec<Option<&str>> = plan.chains.iter().take(2).map(|c| c.from.as_deref()).collect();
    assert_eq!(from, [Some("core_001"), None]);
    assert!(plan.chains.iter().all(|c| c.to == if c.chain == "core" { "core_002" } else { "mem_001" }));

    let run = compute(&testing::request(Verb::Run), &chains, &observed);
    assert_eq!(run.chains.iter().map(|c| c.revisions.len()).sum::<usize>(), 5 * 2 + 4);
    assert!(run.chains.iter().all(|c| c.from.is_none()));
}

#[test]
fn a_revision_that_no_chain_of_the_schema_knows_stops_a_migrate_but_no_reset() {
    let observed = changed(|o| {
        testing::schema(o, "messenger").versions = Some(vec!["core_001".to_owned(), "mem_001".to_owned()]);
    });
    let plan = plan_of(Verb::Migrate, &observed);
    let found: Vec<(&str, &str)> =
        plan.findings.iter().map(|f| (f.code.as_str(), f.object.as_str())).collect();
    assert_eq!(found, [("UNKNOWN_REVISION", "messenger.alembic_version")]);
    assert!(plan.findings[0].message.contains("mem_001"), "{:?}", plan.findings);
    assert_eq!(plan.refusal.as_ref().map(|r| r.reason), Some(Reason::PreflightFailed));
    assert!(plan_of(Verb::Run, &observed).findings.is_empty(), "the reset takes the row along");
    let other = Request { managed_schemas: vec!["general".to_owned()], ..testing::request(Verb::Run) };
    assert_eq!(compute(&other, &testing::chains(), &observed).findings.len(), 1, "this one keeps it");
}

#[test]
fn obstacles_count_only_where_their_revision_is_pending() {
    let mut chains = testing::chains();
    chains.chains[0] = testing::chain("core", &[("core_001", "create index concurrently i on t (a);")]);
    let request = |verb| testing::request(verb);
    let migrate = compute(&request(Verb::Migrate), &chains, &testing::healthy());
    assert_eq!(migrate.refusal, None, "core_001 is there already");
    let run = compute(&request(Verb::Run), &chains, &testing::healthy());
    assert_eq!(run.refusal.as_ref().map(|r| r.reason), Some(Reason::NotTransactional));
    assert_eq!(run.findings.len(), 1, "once, not once a schema");
    assert_eq!(run.findings[0].object, "core/core_001.sql:3");
    let ways_out = [
        Request { scope: Some(Scope::Database), ..request(Verb::Run) },
        Request { allow_phased: true, ..request(Verb::Migrate) },
    ];
    for request in ways_out {
        assert_eq!(compute(&request, &chains, &testing::empty()).refusal, None, "{:?}", request.verb);
    }
    let migrate = compute(&request(Verb::Migrate), &chains, &testing::empty());
    assert_eq!(migrate.refusal.map(|r| r.reason), Some(Reason::NotTransactional));
}

#[test]
fn counts_are_words() {
    assert_eq!((count(1, "schema"), count(0, "schema")), ("1 schema".to_owned(), "0 schemas".to_owned()));
}
