//! What the client says of an operation's end: never more than is known, and with true times.

use std::{path::PathBuf, sync::Arc};

use harness::{Daemon, Gate, OTHER_DIGEST, Output, Running, Setup, TestTarget, request};
use model::{fault::Reason, operation::Verb};
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinSet,
};

const RUN: [&str; 3] = ["run", "--confirm-destructive-reset", "RESET"];
/// The default limit of waiting for locks is a minute.
const SHORT: &str = "[profile.local]\nlock_wait_limit = \"1s\"\n";

fn role(principal: &str, role: &str) -> String {
    format!("[[role]]\nprincipal = \"{principal}\"\ntargets = [\"*\"]\nrole = \"{role}\"\n")
}

/// Something between client and daemon whose connections can be cut.
struct Relay {
    path: PathBuf,
    connections: Arc<tokio::sync::Mutex<JoinSet<()>>>,
    _listens: tokio_util::task::AbortOnDropHandle<()>,
}

impl Relay {
    fn to(daemon: &Daemon) -> Self {
        let path = daemon.folder().join("relay");
        let upstream = PathBuf::from(daemon.address.trim_start_matches("unix:"));
        let listener = UnixListener::bind(&path).unwrap();
        let connections = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        let all = Arc::clone(&connections);
        let listens = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut daemon = UnixStream::connect(&upstream).await.unwrap();
                all.lock().await.spawn(async move {
                    // Cut, or ended by one of the two.
                    let _ended = copy_bidirectional(&mut client, &mut daemon).await;
                });
            }
        });
        Self { path, connections, _listens: tokio_util::task::AbortOnDropHandle::new(listens) }
    }

    async fn cut(&self) {
        self.connections.lock().await.shutdown().await;
    }
}

/// The operation went on, and the client had said "refused, exit 3".
#[tokio::test]
async fn a_token_that_is_revoked_during_a_run_is_no_end_of_the_run() {
    let target = TestTarget::migrated().await;
    let own = format!("unix:{}", nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name);
    let roles = role(&own, "admin") + &role("token:deploy", "resetter");
    let daemon = Setup::of(&target).listen("unix:socket").with(&roles).start().await;
    let token = daemon.ctl("token create deploy").await.expect(0).stdout.trim().to_owned();
    let relay = Relay::to(&daemon);
    let gate = Gate::before(&target, "VALIDATED").await;
    let server = format!("unix:{}", relay.path.display());
    let env = [("RESETCTL_SERVER", server.as_str()), ("RESETCTL_TOKEN", token.as_str())];
    let client: Running = daemon.ctl_spawn_with(&env, &RUN);
    gate.reached().await;
    daemon.ctl(&format!("token revoke {}", token.split('_').nth(1).unwrap())).await.expect(0);
    relay.cut().await;

    let out = client.finish().await;
    out.expect(10).refused("CONTACT_LOST");
    let id = target.control_rows("SELECT id FROM resetd.operation").await[0][0].clone();
    for part in ["UNAUTHENTICATED", "revoked", &format!("operations watch {id}")] {
        assert!(out.stderr.contains(part), "{part}\n{out}");
    }
    assert!(out.at("/outcome").is_null() && out.at("/details/reset").is_null(), "{out}");
    for claim in ["nothing was changed", "nothing changed", "rolled back", "refused to"] {
        assert!(!out.to_string().contains(claim), "{claim}\n{out}");
    }
    gate.open().await;
    let ended = daemon.ctl(&format!("operations watch {id}")).await;
    assert_eq!(ended.expect(0).text("/outcome"), "succeeded", "it was committed after all");
}

#[tokio::test]
async fn a_dry_run_whose_plan_is_refused_is_no_success() {
    let target = TestTarget::migrated().await;
    target.sql("CREATE SCHEMA theirs; CREATE VIEW theirs.v AS SELECT key FROM general.state").await;
    let daemon = Setup::of(&target).start().await;
    let said = |out: &Output| out.stderr.clone();
    for verb in ["run --dry-run", "reset --dry-run"] {
        let out = daemon.ctl(verb).await;
        let text = said(out.expect(0));
        assert!(!text.contains('✓') && !text.contains("succeeded"), "{out}");
        assert!(text.contains("BLAST_RADIUS") && text.contains("would be refused"), "{out}");
        assert_eq!(out.text("/plan/refusal/reason"), "BLAST_RADIUS", "{out}");
    }
    target.sql("DROP SCHEMA theirs CASCADE").await;
    let text = said(daemon.ctl("run --dry-run").await.expect(0));
    assert!(text.contains("✓ run (dry run) of ") && !text.contains("would be refused"), "{text}");
}

/// The run happened; what its profile asks for beside it did not.
#[tokio::test]
async fn a_report_that_cannot_be_written_is_an_error_where_the_profile_says_so() {
    for (rule, code) in [("error", 1), ("warn", 0)] {
        let target = TestTarget::migrated().await;
        let profile = format!("[profile.local]\nreport = \"{rule}\"\n");
        let daemon = Setup::of(&target).with(&profile).start().await;
        let words = [&RUN[..], &["--report-path", "/dev/full"]].concat();
        let out = daemon.ctl_args(&words).await;
        out.expect(code);
        assert!(target.holds("SELECT count(*) = 0 FROM general.state").await, "it was reset\n{out}");
        for part in ["THE REPORT IS NOT ON DISK", "report get", "succeeded"] {
            assert!(out.stderr.contains(part), "{part}\n{out}");
        }
        // Its own end goes before that of its report.
        let words = ["run", "--report-path", "/dev/full"];
        daemon.ctl_args(&words).await.expect(4);
    }
}

#[tokio::test]
async fn a_digest_that_is_none_is_a_usage_error_before_anything_is_locked() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let hex = "ab".repeat(32);
    let bad = [
        hex.clone(),
        "sha256:".to_owned(),
        format!("sha256:{}", &hex[2..]),
        format!("sha256:{hex}ab"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!(" sha256:{hex}"),
        format!("sha256:{}", "xy".repeat(32)),
        "sha256:äöü".to_owned(),
        String::new(),
    ];
    for digest in &bad {
        for verb in ["run", "reset", "undo"] {
            let words = [verb, "--confirm-destructive-reset", "RESET", "--plan-digest", digest];
            let out = daemon.ctl_args(&words).await;
            assert!(out.expect(2).stderr.contains("--plan-digest"), "{digest:?}\n{out}");
        }
        if digest.is_empty() {
            continue; // In the contract that is none.
        }
        // The daemon asks no client for its manners.
        let asked =
            model::operation::Request { plan_digest: Some(digest.clone()), ..request(Verb::Run, &target) };
        let status = daemon.api().await.begin(&asked).await.expect_err("a wrong digest");
        let fault = wire::decode_status(&status).unwrap();
        assert_eq!(fault.reason, Reason::InvalidRequest, "{digest}: {fault}");
        assert!(fault.message.contains("plan_digest"), "{fault}");
    }
    assert_eq!(target.control_rows("SELECT count(*) FROM resetd.operation").await[0][0], "0");
    // A digest of the right form that is of another plan is what it was.
    let words = [&RUN[..], &["--plan-digest", OTHER_DIGEST]].concat();
    daemon.ctl_args(&words).await.refused("PLAN_CHANGED").expect(4);
}

/// Milliseconds of the report's `timings`.
#[track_caller]
fn millis(out: &Output, key: &str) -> i64 {
    out.at(&format!("/timings/{key}")).as_i64().unwrap_or_else(|| panic!("no {key}\n{out}"))
}

#[tokio::test]
async fn the_report_of_a_failure_says_how_long_it_took() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).with(SHORT).start().await;
    let mut session = target.session().await;
    session.sql("BEGIN; SELECT FROM general.state").await;
    // Blocked until the limit of a second: that second is in the total.
    let out = daemon.ctl_args(&RUN).await;
    out.expect(1).refused("BLOCKED");
    assert!(millis(&out, "total_ms") >= 1_000, "{out}");
    assert!(out.at("/timings/waited_ms").is_i64() && out.at("/timings/plan_ms").is_i64(), "{out}");
    let (accepted, finished) = (out.text("/timings/accepted_at"), out.text("/timings/finished_at"));
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let between = time(finished).duration_since(time(accepted)).as_millis();
    assert_eq!(between, i128::from(millis(&out, "total_ms")), "{out}");

    // Refused after a wait: the wait is all of it.
    session.sql("COMMIT").await;
    let gate = Gate::before(&target, "PLANNED").await;
    let holder = daemon.ctl_spawn(&RUN.join(" "));
    gate.reached().await;
    let out = daemon.ctl_args(&[&RUN[..], &["--wait=200ms"]].concat()).await;
    out.expect(9).refused("WAIT_EXPIRED");
    assert!(millis(&out, "waited_ms") >= 200, "{out}");
    assert!(millis(&out, "total_ms") >= millis(&out, "waited_ms"), "{out}");
    assert!(out.at("/timings/plan_ms").is_null() && out.at("/timings/started_at").is_null(), "{out}");
    gate.open().await;
    holder.finish().await.expect(0);
    // Refused by its plan, after the lock: what was waited is known.
    let out = daemon.ctl_args(&[&RUN[..], &["--plan-digest", OTHER_DIGEST]].concat()).await;
    out.refused("PLAN_CHANGED").expect(4);
    assert!(millis(&out, "waited_ms") >= 0 && millis(&out, "total_ms") >= millis(&out, "waited_ms"), "{out}");
}
