//! The whole client against a daemon that follows a script.

use std::io::Cursor;

use model::{
    blast::OutsideObject,
    fault::{Fault, Reason},
    plan::{Plan, Refusal},
    report::Report,
};

use super::{Act, Buffer, OPERATION, REPORT, Script, accepted, finished, milestone, planned};
use crate::{Environment, Io, main_with};

struct End {
    code: u8,
    out: String,
    err: String,
    report: Option<Vec<u8>>,
    asked: Vec<String>,
}

impl End {
    fn stand_in(&self) -> Report {
        serde_json::from_slice(self.report.as_ref().expect("a report")).expect("well formed")
    }
}

/// Runs `resetctl WORDS` against the script; `typed` makes it sit at a terminal.
async fn run(streams: Vec<Vec<Act>>, words: &str, typed: Option<&str>) -> End {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::new(streams);
    let server = script.serve(folder.path());
    let path = folder.path().join("reports/report.json");
    let (out, err) = (Buffer::default(), Buffer::default());
    let stdin = Cursor::new(typed.unwrap_or_default().to_owned());
    let mut io =
        Io::piped(Box::new(out.clone()), Box::new(err.clone()), Box::new(stdin), Environment::default());
    io.interactive = typed.is_some();
    let mut args = vec!["resetctl".into(), "--server".into(), server.into()];
    args.extend(words.split_whitespace().map(Into::into));
    if !words.contains("--detach") {
        args.extend(["--report-path".into(), path.clone().into_os_string()]);
    }
    let code = main_with(args, io).await;
    End { code, out: out.text(), err: err.text(), report: std::fs::read(path).ok(), asked: script.asked() }
}

/// The digest of the plan that is shown.
const SHOWN: &str = "sha256:5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

const CONFIRMED: &str = "run --confirm-destructive-reset RESET --progress plain";

#[tokio::test]
async fn a_success_leaves_the_daemons_bytes_on_disk() {
    let end = run(vec![vec![accepted(), milestone(2), finished(3, None)]], CONFIRMED, None).await;
    assert_eq!((end.code, end.out.as_str()), (0, ""), "{}", end.err);
    assert_eq!(end.report.as_deref(), Some(REPORT));
    assert!(
        end.err.contains("✓ run of staging succeeded: 6 schemas") && end.err.contains("report: "),
        "{}",
        end.err
    );
}

#[tokio::test]
async fn broken_streams_are_taken_up_where_they_were_and_nothing_is_shown_twice() {
    let streams = vec![
        vec![Act::Break],
        vec![accepted(), milestone(2)],
        vec![milestone(2), milestone(4)],
        vec![milestone(3), Act::Break],
        vec![milestone(4), finished(5, None)],
    ];
    let end = run(streams, CONFIRMED, None).await;
    assert_eq!(end.code, 0, "{}", end.err);
    let asked: Vec<&str> = end.asked.iter().map(String::as_str).collect();
    assert_eq!(asked[0], asked[1], "the same request is sent again until an event is seen");
    assert_eq!(asked[2..], ["watch 3", "watch 3", "watch 4"]);
    assert_eq!(end.err.matches("acquired exclusive lock").count(), 3, "{}", end.err);
    assert_eq!(end.err.matches("contact lost").count(), 3, "once per loss: {}", end.err);
}

#[tokio::test]
async fn contact_lost_for_good_is_exit_10_with_the_command_that_re_attaches() {
    let words = format!("{CONFIRMED} --reconnect-timeout 300ms");
    let end = run(vec![vec![accepted()]], &words, None).await;
    assert_eq!(end.code, 10, "{}", end.err);
    assert!(end.err.contains(&format!("operations watch {OPERATION}")), "{}", end.err);
    let report = end.stand_in();
    assert_eq!((report.operation, report.outcome), (Some(OPERATION), None));
    assert_eq!(report.error_detail.expect("a detail").reason, "CONTACT_LOST");
}

/// What nobody may say of an operation whose end was not seen.
#[track_caller]
fn claims_nothing(end: &End, cause: &str) {
    assert_eq!(end.code, 10, "{}", end.err);
    assert!(end.err.contains(cause), "the reason {cause}: {}", end.err);
    let report = end.stand_in();
    assert_eq!((report.outcome, report.details.reset.is_some()), (None, false));
    assert_eq!(report.error_detail.as_ref().expect("a detail").reason, "CONTACT_LOST");
    let text = String::from_utf8(end.report.clone().expect("a report")).expect("text");
    for claim in
        ["nothing was changed", "nothing changed", "rolled back", "goes on", "succeeded", "was refused"]
    {
        assert!(!end.err.contains(claim) && !text.contains(claim), "{claim}: {}\n{text}", end.err);
    }
}

/// A refusal to show an operation any longer, whatever its reason, says nothing about the operation.
#[tokio::test]
async fn once_an_operation_is_known_only_its_end_ends_it() {
    let refused = |reason: Reason| Act::Fault(Fault::new(reason, "no more").hint("nothing was changed"));
    let refusals = [
        Reason::PermissionDenied,
        Reason::Unauthenticated,
        Reason::OperationNotFound,
        Reason::LimitExceeded,
        Reason::InvalidRequest,
        Reason::NotImplemented,
        Reason::Internal,
        Reason::TargetNotFound,
    ];
    for reason in refusals {
        for streams in [
            vec![vec![accepted(), milestone(2)], vec![refused(reason)]],
            vec![vec![accepted(), refused(reason)]],
        ] {
            let end = run(streams, CONFIRMED, None).await;
            claims_nothing(&end, reason.name());
            assert!(end.err.contains(&format!("operations watch {OPERATION}")), "{}", end.err);
            assert_eq!(end.stand_in().operation, Some(OPERATION));
        }
    }
    let foreign = [
        tonic::Code::PermissionDenied,
        tonic::Code::Unauthenticated,
        tonic::Code::OutOfRange,
        tonic::Code::ResourceExhausted,
        tonic::Code::Unimplemented,
        tonic::Code::InvalidArgument,
        tonic::Code::NotFound,
    ];
    for code in foreign {
        let end = run(vec![vec![accepted(), Act::Foreign(code)]], CONFIRMED, None).await;
        claims_nothing(&end, "by somebody on the way");
        assert!(end.err.contains(&format!("operations watch {OPERATION}")), "{}", end.err);
    }
    let end = run(vec![vec![accepted(), Act::Unreadable]], CONFIRMED, None).await;
    claims_nothing(&end, "unreadable");
}

/// The first request may have arrived: the refusal of the second says nothing about the first.
#[tokio::test]
async fn a_refusal_of_a_request_that_was_sent_again_is_no_end() {
    for reason in [Reason::PermissionDenied, Reason::Unauthenticated, Reason::TargetLocked, Reason::Internal]
    {
        let refusal = Act::Fault(Fault::new(reason, "no"));
        let end = run(vec![vec![Act::Break], vec![refusal]], CONFIRMED, None).await;
        claims_nothing(&end, reason.name());
        assert!(end.err.contains("operations list"), "{}", end.err);
    }
    // A stream that begins was accepted; one that is refused by somebody on the way, in a way that means nothing, maybe.
    for streams in [vec![vec![Act::Unreadable]], vec![vec![Act::Foreign(tonic::Code::FailedPrecondition)]]] {
        claims_nothing(&run(streams, CONFIRMED, None).await, "");
    }
}

#[tokio::test]
async fn a_refusal_without_an_operation_keeps_its_exit_code_and_a_report() {
    for reason in
        [Reason::TargetLocked, Reason::ConfirmationMissing, Reason::ShuttingDown, Reason::PermissionDenied]
    {
        let fault = Fault::new(reason, "no").hint("do this").with("target", "staging");
        let end = run(vec![vec![Act::Fault(fault)]], "run --progress json --label commit=1a", None).await;
        assert_eq!((end.code, end.asked.len()), (reason.exit_code(), 1), "{}", end.err);
        let report = end.stand_in();
        assert_eq!((report.operation, report.target.as_str()), (None, "staging"));
        assert_eq!((report.labels["commit"].as_str(), report.status), ("1a", reason.status()));
    }
}

#[tokio::test]
async fn a_failed_operation_ends_with_its_own_exit_code() {
    let fault = Fault::new(Reason::ValidationDifferences, "missing table general.state");
    let end = run(vec![vec![accepted(), finished(2, Some(fault))]], CONFIRMED, None).await;
    assert_eq!((end.code, end.report.as_deref()), (7, Some(REPORT)));
    assert!(end.err.contains("run of staging found differences: VALIDATION_DIFFERENCES"), "{}", end.err);
}

#[tokio::test]
async fn detached_prints_the_operation_and_nothing_else() {
    let end = run(vec![vec![accepted(), milestone(2)]], &format!("{CONFIRMED} --detach"), None).await;
    assert_eq!((end.code, end.out), (0, format!("{OPERATION}\n")));
}

fn plan(refusal: Option<Reason>) -> Plan {
    Plan {
        digest: SHOWN.into(),
        target: "staging".into(),
        database: "butlers".into(),
        database_oid: 1,
        scope: None,
        schemas: Vec::new(),
        outside: vec![OutsideObject::new("view", "reporting.v")],
        created_schemas: Vec::new(),
        chains: Vec::new(),
        findings: Vec::new(),
        refusal: refusal.map(|reason| Refusal { reason, text: "why".into() }),
        ..Plan::default()
    }
}

fn preview(refusal: Option<Reason>) -> Vec<Act> {
    vec![accepted(), planned(2, plan(refusal)), finished(3, None)]
}

#[tokio::test]
async fn at_a_terminal_the_plan_is_shown_and_exactly_it_is_executed() {
    let streams = vec![preview(None), vec![accepted(), finished(2, None)]];
    let end = run(streams, "run", Some("RESET\n")).await;
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(
        end.err.contains("- view reporting.v") && end.err.contains("Type RESET to run staging: "),
        "{}",
        end.err
    );
    let words: Vec<Vec<&str>> = end.asked.iter().map(|a| a.split(' ').skip(2).collect()).collect();
    assert_eq!(words, [vec!["dry=true", "", ""], vec!["dry=false", "RESET", SHOWN]]);
    let ids: Vec<&str> = end.asked.iter().filter_map(|a| a.split(' ').nth(1)).collect();
    assert_ne!(ids[0], ids[1], "two requests");
}

#[tokio::test]
async fn anything_but_the_word_starts_nothing() {
    for typed in ["reset\n", "yes\n", ""] {
        let end = run(vec![preview(None)], "run", Some(typed)).await;
        assert_eq!((end.code, end.asked.len()), (4, 1), "{typed:?}: {}", end.err);
        assert_eq!(end.stand_in().error_detail.expect("a detail").reason, "CONFIRMATION_MISSING");
    }
}

#[tokio::test]
async fn what_a_confirmation_would_not_let_through_is_not_asked_about() {
    for reason in [Reason::PreflightFailed, Reason::BlastRadius] {
        let end = run(vec![preview(Some(reason))], "run", Some("RESET\n")).await;
        assert_eq!((end.code, end.asked.len()), (4, 1), "{}", end.err);
        assert!(!end.err.contains("Type RESET"), "{}", end.err);
        assert_eq!(end.stand_in().error_detail.expect("a detail").reason, reason.name());
    }
}

#[tokio::test]
async fn a_digest_that_was_sent_along_lets_what_it_shows_be_confirmed() {
    let streams = vec![preview(Some(Reason::BlastRadius)), vec![accepted(), finished(2, None)]];
    let end = run(streams, &format!("run --plan-digest {SHOWN}"), Some("RESET\n")).await;
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(end.err.contains("Type RESET to run staging: "), "{}", end.err);
}

#[tokio::test]
async fn the_command_of_a_dry_run_is_the_one_that_was_asked_without_the_dry() {
    let end =
        run(vec![preview(None)], "run --dry-run --managed-schema general --label a=b --wait=90s", None).await;
    let words = format!(
        "--target staging run --scope managed-schemas --managed-schema general --label a=b --wait=1m30s \
         --plan-digest {SHOWN} --confirm-destructive-reset RESET\n"
    );
    assert!(end.out.contains(&words), "a plan is data\n{}\n{}", end.out, end.err);
    assert!(end.out.contains("- view reporting.v") && !end.err.contains("- view"), "{}", end.err);
    assert_eq!((end.code, end.report.as_deref()), (0, Some(REPORT)));
}

/// What an older client does not know it shows as it was told, counts, and goes on.
#[tokio::test]
async fn events_of_a_newer_daemon_are_shown_and_counted_and_change_no_end() {
    let events =
        || vec![accepted(), Act::Newer(0), Act::Newer(2), milestone(3), Act::Newer(4), finished(5, None)];
    let end = run(vec![events()], CONFIRMED, None).await;
    assert_eq!(end.code, 0, "{}", end.err);
    assert_eq!(end.err.matches("warning: the firmament has moved").count(), 3, "{}", end.err);
    assert_eq!(end.asked.len(), 1, "nothing is missed, nothing asked for again: {:?}", end.asked);
    let json = CONFIRMED.replace("plain", "json");
    let end = run(vec![events()], &json, None).await;
    let lines: Vec<serde_json::Value> =
        end.err.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let newer: Vec<_> = lines.iter().filter(|line| line["code"] == "FIRMAMENT_MOVED").collect();
    assert_eq!((end.code, newer.len()), (0, 3), "{}", end.err);
    assert!(newer.iter().all(|line| line["payload"].is_null() && line["severity"] == "warning"), "{newer:?}");
}
