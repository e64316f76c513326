//! Many tables: setting aside takes one lock for each, bringing back the same, and dropping goes in small steps.

use std::io::Write as _;

use harness::{
    Hold, Setup, TestTarget,
    aside::{kept, ledger},
    commands::{RESET, RUN, UNDO},
    eventually,
};

const MANY: &str = "DO $$ BEGIN FOR n IN 1..2000 LOOP
    EXECUTE format('CREATE TABLE general.many_%s (id serial PRIMARY KEY, note text UNIQUE)', n);
    EXECUTE format('CREATE INDEX ON general.many_%s (note, id)', n);
    IF n % 100 = 0 THEN COMMIT; END IF;
  END LOOP; END $$";

#[tokio::test]
async fn two_thousand_tables_are_set_aside_brought_back_and_dropped_at_64_locks_each() {
    let target = TestTarget::migrated().await;
    assert_eq!(target.value("SHOW max_locks_per_transaction").await, "64");
    target.sql(MANY).await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let undone = daemon.ctl(UNDO).await;
    undone.expect(0);
    let many = "SELECT count(*) FROM pg_class WHERE relname ~ '^many_[0-9]+$' AND relnamespace = 'general'::regnamespace";
    assert_eq!(target.value(many).await, "2000");
    let again = daemon.ctl(RESET).await;
    again.expect(0);
    let said = format!(
        "2,000 tables: set aside in {} ms and {} ms, brought back in {} ms\n",
        out.at("/timings/reset_ms"),
        again.at("/timings/reset_ms"),
        undone.at("/timings/reset_ms")
    );
    std::io::stderr().write_all(said.as_bytes()).unwrap();
    target
        .control_sql("UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 minute'")
        .await;
    daemon.ctl("validate").await;
    eventually("they are dropped, step by step", || async { kept(&target).await.is_empty() }).await;
}

/// The daemon is killed between two steps of the janitor: the next one goes on with what is left.
#[tokio::test]
async fn a_drop_that_was_struck_between_its_transactions_goes_on() {
    let target = TestTarget::migrated().await;
    let hold = Hold::new();
    let daemon = hold.setup(Setup::of(&target)).spawn().await;
    daemon.ctl(RUN).await.expect(0);
    hold.at("discarded");
    target
        .control_sql("UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 minute'")
        .await;
    daemon.ctl("validate").await.expect(0);
    hold.reached().await;
    assert_eq!(ledger(&target).await, [["dropping", "1"]]);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'resetd\\_kept\\_%'";
    let left = target.value(tables).await;
    daemon.kill().await;
    assert_eq!(kept(&target).await.len(), 6, "{left} tables are left");
    let next = Setup::of(&target).spawn().await;
    eventually("the next daemon goes on", || async { kept(&target).await.is_empty() }).await;
    eventually("it is forgotten", || async { ledger(&target).await.is_empty() }).await;
    next.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    next.ctl("validate").await.expect(0);
}

#[tokio::test]
async fn what_is_kept_is_listed_and_given_up_by_hand() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    assert!(daemon.ctl("kept list").await.expect(0).stderr.contains("nothing is kept"));
    let operation = daemon.ctl(RUN).await.text("/operation").to_owned();
    let listed = daemon.ctl("kept list").await;
    assert!(listed.expect(0).stdout.contains(&operation), "{listed}");
    let json = daemon.ctl("kept list --json").await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json[0]["names"].as_array().map(Vec::len), Some(6), "{json}");
    let status = daemon.ctl("status").await;
    assert!(status.stdout.contains("kept       6 schemas"), "{status}");
    daemon.ctl(&format!("kept drop {operation}")).await.expect(0);
    eventually("it is dropped", || async { kept(&target).await.is_empty() }).await;
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    eventually("it is forgotten", || async { ledger(&target).await.is_empty() }).await;
    let again = daemon.ctl(&format!("kept drop {operation}")).await;
    assert_ne!(again.code, 0, "{again}");
    let records = "SELECT count(*) FROM resetd.audit_record WHERE body LIKE '%DropKept%'";
    assert_ne!(target.control_rows(records).await, [["0"]]);
}
