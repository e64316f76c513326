//! What the words of a command line come to mean.

use clap::Parser as _;

use super::*;
use crate::args::{self, Args};

fn operate(words: &str) -> Result<Operate, Fault> {
    let args = Args::try_parse_from(words.split_whitespace()).expect(words);
    match &args.verb {
        args::Verb::Reset(it) => Operate::reset(Verb::Reset, it, "t"),
        args::Verb::Run(it) => Operate::reset(Verb::Run, it, "t"),
        args::Verb::Migrate(it) => Operate::migrate(it, "t"),
        args::Verb::Validate(it) => Operate::validate(it, "t"),
        _ => unreachable!("not an operation"),
    }
}

#[test]
fn scope_is_managed_schemas_unless_said_and_the_runbooks_flags_are_understood() {
    let plain = operate("resetctl reset").expect("understood").request;
    assert_eq!((plain.scope, plain.wait, plain.confirmation), (Some(Scope::ManagedSchemas), Wait::No, None));
    let full = operate(
        "resetctl run --scope database --confirm-destructive-reset RESET --allow-production-db-name \
         --plan-digest sha256:5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a --terminate-sessions --wait=10m --timeout 5m --label commit=1a --label k=a=b",
    )
    .expect("understood")
    .request;
    assert_eq!(full.scope, Some(Scope::Database));
    assert_eq!(full.confirmation.as_deref(), Some("RESET"));
    assert!(full.allow_production_db_name && full.terminate_sessions);
    assert_eq!(full.wait, Wait::AtMost(Duration::from_secs(600)));
    assert_eq!(full.timeout, Some(Duration::from_secs(300)));
    assert_eq!(full.labels["k"], "a=b");
}

#[test]
fn managed_schemas_and_scope_database_exclude_each_other() {
    let fault = operate("resetctl run --scope database --managed-schema general").expect_err("a conflict");
    assert_eq!((fault.reason, fault.reason.exit_code()), (Reason::ScopeConflict, 2));
    let two = operate("resetctl reset --managed-schema general --managed-schema health").expect("understood");
    assert_eq!(two.request.managed_schemas, ["general", "health"]);
}

#[test]
fn only_a_destructive_verb_without_any_confirmation_is_asked_about() {
    for (words, asked) in [
        ("resetctl reset", true),
        ("resetctl run", true),
        ("resetctl run --dry-run", false),
        ("resetctl reset --confirm-destructive-reset RESET", false),
        ("resetctl reset --confirm-destructive-reset yes", false),
        ("resetctl migrate", false),
        ("resetctl validate", false),
    ] {
        assert_eq!(operate(words).expect(words).needs_confirmation(), asked, "{words}");
    }
}

#[test]
fn wait_takes_its_duration_with_an_equals_sign_only() {
    assert_eq!(operate("resetctl validate --wait").expect("understood").request.wait, Wait::Forever);
    assert!(Args::try_parse_from(["resetctl", "validate", "--wait", "10m"]).is_err());
    assert!(Args::try_parse_from(["resetctl", "validate", "--timeout", "10"]).is_err());
    assert_eq!(operate("resetctl validate --timeout 0s").expect_err("nothing").reason.exit_code(), 2);
}

#[test]
fn labels_must_be_pairs_within_their_limits() {
    let long = format!("resetctl validate --label {}=x", "k".repeat(64));
    let many: String = (0..33).map(|n| format!(" --label k{n}=v")).collect();
    let many = format!("resetctl validate{many}");
    for words in ["resetctl validate --label x", "resetctl validate --label =x", &long, &many] {
        assert_eq!(operate(words).expect_err(words).reason, Reason::InvalidRequest, "{words}");
    }
    assert!(operate("resetctl validate --label a=1 --label a=2").is_err());
    assert!(operate("resetctl validate --label a=1 --label a=1").is_ok());
}

#[test]
fn fingerprints_are_checked_before_they_travel() {
    let good = format!("sha256:{}", "0a".repeat(32));
    let request = operate(&format!("resetctl validate --expect-chains {good}")).expect("understood").request;
    assert_eq!(request.expect_chains, Some(good));
    assert!(operate("resetctl validate --expect-chains sha256:zz").is_err());
    assert!(operate("resetctl validate --expect-chains /no/such/folder").is_err());
}

#[test]
fn reports_go_to_a_file_to_stdout_or_to_the_default_folder() {
    let to = |words: &str| operate(words).expect(words).follow.report;
    assert_eq!(to("resetctl validate"), ReportTo::DefaultFolder);
    assert_eq!(to("resetctl validate --report-path -"), ReportTo::Stdout);
    assert_eq!(to("resetctl validate --report-path a/b.json"), ReportTo::File("a/b.json".into()));
    assert!(Args::try_parse_from(["resetctl", "run", "--detach", "--report-path", "x"]).is_err());
}

#[test]
fn what_scope_managed_schemas_would_ignore_is_a_contradiction() {
    for (words, flag) in [
        ("resetctl run --terminate-sessions", "--terminate-sessions"),
        ("resetctl reset --jobs 2", "--jobs"),
        ("resetctl run --scope managed-schemas --jobs 1", "--jobs"),
    ] {
        let fault = operate(words).expect_err(words);
        assert_eq!((fault.reason, fault.reason.exit_code()), (Reason::ScopeConflict, 2));
        assert!(fault.message.contains(flag), "{fault}");
    }
    assert!(operate("resetctl run --scope database --jobs 2 --terminate-sessions").is_ok());
}
