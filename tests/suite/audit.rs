//! The audit record: every decision is on it, before anything is done; several daemons write one chain; what cannot be
//! recorded is refused.

use std::{fs, os::unix::fs::PermissionsExt as _};

use harness::{
    Daemon, Setup, TestTarget,
    commands::RUN,
    eventually,
    operations::{asleep, sleeping},
    with_token as with,
};
use serde_json::Value;
use uuid::Uuid;
use wire::v1;

/// The records, oldest first.
async fn records(target: &TestTarget) -> Vec<Value> {
    let rows = target.control_rows("SELECT body FROM resetd.audit_record ORDER BY sequence").await;
    rows.iter().map(|row| serde_json::from_str(&row[0]).unwrap()).collect()
}

fn of<'a>(records: &'a [Value], method: &str) -> Vec<&'a Value> {
    records.iter().filter(|r| r["method"].as_str().is_some_and(|m| m.ends_with(method))).collect()
}

async fn socket(target: &TestTarget) -> Daemon {
    Setup::of(target).listen("unix:socket").start().await
}

#[tokio::test]
async fn every_decision_is_on_record_with_who_what_and_why() {
    let target = TestTarget::migrated().await;
    let daemon = socket(&target).await;
    let run = daemon.ctl(&format!("{RUN} --label commit=abc")).await;
    run.expect(0);
    daemon.ctl("reset").await.refused("CONFIRMATION_MISSING");
    daemon.ctl("--target nowhere validate").await.expect(6);
    for _ in 0..3 {
        daemon.ctl("targets").await.expect(0);
    }
    let all = records(&target).await;
    let of_run = of(&all, "/Run");
    assert_eq!(of_run.len(), 1, "{all:#?}");
    let it = of_run[0];
    assert_eq!(it["operation"], run.text("/operation"), "{it}");
    assert_eq!((&it["target"], &it["allowed"]), (&target.name.as_str().into(), &true.into()), "{it}");
    assert!(it["principal"].as_str().unwrap().starts_with("unix:"), "{it}");
    assert_eq!(it["auth_method"], "peer credentials");
    assert!(it["peer"].as_str().unwrap().contains("uid"), "{it}");
    let refused = of(&all, "/Reset");
    assert_eq!(refused[0]["reason"], "CONFIRMATION_MISSING", "{all:#?}");
    assert_eq!(refused[0]["allowed"], false);
    assert_eq!(of(&all, "/Validate")[0]["reason"], "TARGET_NOT_FOUND", "{all:#?}");
    assert_eq!(of(&all, "/ListTargets").len(), 1, "a read once an hour: {all:#?}");

    let created = "SELECT (SELECT at FROM resetd.audit_record WHERE body LIKE '%/Run\"%')
                        < (SELECT created_at FROM resetd.operation)";
    assert_eq!(target.control_rows(created).await[0][0], "t", "before it was an operation");
    let list = daemon.ctl("audit list --limit 3 --json").await;
    let list: Value = serde_json::from_str(&list.expect(0).stdout).unwrap();
    let shown: Vec<u64> = list.as_array().unwrap().iter().filter_map(|r| r["sequence"].as_u64()).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown.is_sorted_by(|a, b| a == &(b + 1)), "newest first, without gaps: {shown:?}");
    let table = daemon.ctl("audit list").await;
    assert!(table.expect(0).stdout.contains("CONFIRMATION_MISSING"), "{table}");
    daemon.ctl("audit verify").await.expect(0);
}

#[tokio::test]
async fn a_refusal_at_the_lock_and_a_cancel_name_their_operation() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).listen("unix:socket").start().await;
    let running = daemon.ctl_spawn(RUN);
    asleep(&target).await;
    daemon.ctl(RUN).await.refused("TARGET_LOCKED");
    let id = target.control_rows("SELECT id FROM resetd.operation").await[0][0].clone();
    daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
    running.finish().await.expect(8);
    let all = records(&target).await;
    let reasons: Vec<&Value> = of(&all, "/Run").iter().map(|r| &r["reason"]).collect();
    assert!(reasons.contains(&&"TARGET_LOCKED".into()), "{all:#?}");
    assert_eq!(of(&all, "/CancelOperation")[0]["operation"], id.as_str(), "{all:#?}");
}

#[tokio::test]
async fn two_daemons_write_one_chain_without_gaps() {
    let target = TestTarget::empty().await;
    let daemons = [socket(&target).await, socket(&target).await];
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..150 {
        let mut api = daemons[n % 2].api().await;
        crowd.spawn(async move {
            let request = v1::CreateTokenRequest {
                request_id: Uuid::new_v4().to_string(),
                name: format!("t{n}"),
                lifetime: None,
            };
            api.admin.create_token(request).await.unwrap();
        });
    }
    crowd.join_all().await;
    let count = "SELECT count(*), max(sequence), count(DISTINCT sequence),
                        count(*) FILTER (WHERE body LIKE '%CreateToken%') FROM resetd.audit_record";
    let row = target.control_rows(count).await.remove(0);
    assert_eq!((&row[0], &row[1]), (&row[1], &row[2]), "{row:?}");
    assert_eq!(row[3], "150");
    for daemon in &daemons {
        daemon.ctl("audit verify").await.expect(0);
    }
}

const UNWRITABLE: &str = "CREATE TRIGGER unwritable BEFORE INSERT ON resetd.audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION resetd.audit_record_keep()";

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_and_nothing_is_changed() {
    let target = TestTarget::migrated().await;
    let daemon = socket(&target).await;
    daemon.ctl("targets").await.expect(0);
    target.control_sql(UNWRITABLE).await;
    let before = target.state().await;
    for line in [RUN, "reset --confirm-destructive-reset RESET", "migrate", "validate"] {
        daemon.ctl(line).await.expect(11).refused("AUDIT_UNAVAILABLE");
    }
    for line in ["token create deploy", &format!("target enroll {0} --confirm-database {0}", target.name)] {
        let out = daemon.ctl(line).await;
        out.expect(11);
        assert!(out.stderr.contains("AUDIT_UNAVAILABLE"), "{out}");
    }
    assert_eq!(target.state().await, before);
    let made = "SELECT (SELECT count(*) FROM resetd.operation), (SELECT count(*) FROM resetd.token),
                       (SELECT count(*) FROM resetd.target)";
    assert_eq!(target.control_rows(made).await[0], ["0", "0", "0"]);
    // Looking is still possible, and a denial stays one.
    daemon.ctl("status").await.expect(0);
    let mut api = daemon.api().await;
    let denied = api.admin.list_tokens(with("rsd_x", v1::ListTokensRequest {})).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::Unauthenticated);

    target.control_sql("DROP TRIGGER unwritable ON resetd.audit_record").await;
    daemon.ctl(RUN).await.expect(0);
    daemon.ctl("audit verify").await.expect(0);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_refuses_as_well() {
    for file in ["/dev/full", "/no/such/folder/audit.jsonl"] {
        let target = TestTarget::migrated().await;
        let section = format!("\n[audit]\nfile = \"{file}\"\n");
        let daemon = Setup::of(&target).with(&section).listen("unix:socket").start().await;
        let before = target.state().await;
        let out = daemon.ctl(RUN).await;
        out.expect(11).refused("AUDIT_UNAVAILABLE");
        assert!(out.stderr.contains(file), "{out}");
        assert_eq!(target.state().await, before);
        assert!(target.control_rows("SELECT FROM resetd.operation").await.is_empty());
        // What stands in the table as allowed was taken back there, too.
        let all = records(&target).await;
        let last = of(&all, "/Run").last().map(|r| r["reason"].clone());
        assert!(last.is_none_or(|reason| reason == "AUDIT_UNAVAILABLE"), "{all:#?}");
        daemon.ctl("audit verify").await.expect(0);
    }
}

#[tokio::test]
async fn the_file_has_the_same_records_and_can_be_rotated() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, rotated) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
    let section = format!("\n[audit]\nfile = \"{}\"\nstderr = true\n", file.display());
    let daemon = Setup::of(&target).with(&section).listen("unix:socket").spawn().await;
    daemon.ctl("token create a").await.expect(0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::rename(&file, &rotated).unwrap();
    daemon.ctl("token create b").await.expect(0);
    let lines = fs::read_to_string(&rotated).unwrap() + &fs::read_to_string(&file).unwrap();
    let rows = target.control_rows("SELECT body, hash FROM resetd.audit_record ORDER BY sequence").await;
    assert_eq!(lines.lines().count(), rows.len());
    for (line, row) in lines.lines().zip(&rows) {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line.as_object_mut().unwrap().remove("hash").unwrap(), row[1].as_str());
        assert_eq!(line, serde_json::from_str::<Value>(&row[0]).unwrap());
        assert!(daemon.log().contains(&row[1]), "standard error has it, too");
    }
}

#[tokio::test]
async fn a_flood_of_strangers_is_one_record_and_a_count() {
    let target = TestTarget::empty().await;
    let daemon = socket(&target).await;
    let mut api = daemon.api().await;
    for n in 0..300 {
        let call = with(&format!("rsd_{n}"), v1::GetTargetRequest { target: format!("guess-{n}") });
        api.targets.get_target(call).await.unwrap_err();
    }
    let denials = "SELECT count(*) FROM resetd.audit_record WHERE body LIKE '%UNAUTHENTICATED%'";
    assert_eq!(target.control_rows(denials).await[0][0], "1");
    drop(api);
    // What was only counted is written at the end at the latest.
    daemon.stop().await;
    eventually("the count", || async { target.control_rows(denials).await[0][0] == "2" }).await;
    let all = records(&target).await;
    let counted = all.last().unwrap();
    assert_eq!((&counted["count"], &counted["allowed"]), (&299.into(), &false.into()), "{counted}");
    assert!(counted["principal"].is_null());
}
