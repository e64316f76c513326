//! The managed schemas are set aside instead of dropped, and undo brings them back: to the last byte of a dump.

use harness::{
    Because, Make, Setup, TestTarget,
    aside::{kept, ledger},
    commands::{RUN, UNDO},
    eventually,
};
use serde_json::json;

/// Whether the server publishes whole schemas, and tables by column and row.
async fn publishes_finely(target: &TestTarget) -> bool {
    target.major().await >= 15
}

/// What hangs on the schemas from inside, and what belongs to them.
async fn furnish(target: &TestTarget) {
    let reader = format!("reader_{}", target.database);
    let publications = if publishes_finely(target).await {
        "CREATE PUBLICATION whole FOR TABLES IN SCHEMA health;
         CREATE PUBLICATION one FOR TABLE general.state (key), messenger.state WHERE (key <> 'x');"
    } else {
        "CREATE PUBLICATION one FOR TABLE general.state, messenger.state;"
    };
    target
        .sql(&format!(
            "CREATE ROLE {reader};
             GRANT USAGE ON SCHEMA general TO {reader}; GRANT USAGE ON SCHEMA shared TO PUBLIC;
             GRANT SELECT ON ALL TABLES IN SCHEMA general TO {reader};
             ALTER DEFAULT PRIVILEGES IN SCHEMA general GRANT SELECT ON TABLES TO {reader};
             COMMENT ON SCHEMA general IS 'it''s the general one';
             CREATE VIEW general.states AS SELECT * FROM messenger.state;
             CREATE MATERIALIZED VIEW general.counted AS SELECT count(*) FROM general.state;
             CREATE TABLE general.numbered (id int GENERATED ALWAYS AS IDENTITY, code serial, note text);
             INSERT INTO general.numbered (note) SELECT 'n' || i FROM generate_series(1, 7) i;
             CREATE FUNCTION general.states_of() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
                 RETURN (SELECT count(*) FROM general.state); END $$;
             {publications}"
        ))
        .await;
}

#[tokio::test]
async fn undo_of_a_run_gives_the_dump_of_before_and_undo_of_it_takes_it_again() {
    let target = TestTarget::make(Make::superuser(Because::APropertyIsASuperusers)).await;
    furnish(&target).await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    let old = target.state().await;

    let dry = daemon.ctl("run --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.at("/plan/outside"), &json!([]), "{dry}");
    assert_eq!(dry.at("/plan/keep_previous_seconds"), &json!(24 * 3600), "{dry}");
    assert!(dry.stdout.contains("keeps the previous schemas for 24h"), "{dry}");
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    let reset = out.list("/details/reset");
    let names: Vec<&str> = reset.iter().filter_map(|r| r["kept_as"].as_str()).collect();
    assert_eq!(names.len(), 6, "{out}");
    assert!(reset.iter().all(|r| r["kept_until"].is_string() && r["status"] == "reset"), "{out}");
    let mut sorted: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    sorted.sort();
    assert_eq!(kept(&target).await, sorted);
    assert_eq!(ledger(&target).await, [["kept", "1"]]);
    // Nobody but their owner gets in, and they are in no publication; the new ones are.
    assert_eq!(
        target
            .value(
                "SELECT count(*) FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a
                  WHERE n.nspname LIKE 'resetd%' AND a.grantee <> n.nspowner"
            )
            .await,
        "0"
    );
    assert_eq!(
        target
            .column(
                "SELECT schemaname || '.' || tablename FROM pg_publication_tables
                  WHERE pubname = 'one' ORDER BY 1"
            )
            .await,
        ["general.state", "messenger.state"]
    );
    if publishes_finely(&target).await {
        let published =
            "SELECT tablename || ' ' || array_length(attnames, 1) || ' ' || coalesce(rowfilter, '')
                           FROM pg_publication_tables WHERE pubname = 'one' ORDER BY schemaname";
        assert_eq!(target.column(published).await, ["state 1 ", "state 4 (key <> 'x'::text)"]);
        let whole =
            "SELECT bool_and(schemaname = 'health') FROM pg_publication_tables WHERE pubname = 'whole'";
        assert!(target.holds(whole).await);
    }
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "0");
    let operation = out.text("/operation").to_owned();
    let shown = daemon.ctl(&format!("operations show {operation}")).await;
    assert!(shown.expect(0).stdout.contains("undo until"), "{shown}");
    let new = target.state().await;

    let dry = daemon.ctl("undo --dry-run").await;
    dry.expect(0);
    assert_eq!(dry.text("/details/scope"), "managed-schemas", "{dry}");
    assert_eq!(dry.text("/details/undo/status"), "planned", "{dry}");
    assert_eq!(dry.text("/plan/brings_back_schemas/operation"), operation, "{dry}");
    assert!(dry.stdout.contains("brings back 6 schemas of before operation"), "{dry}");
    assert_eq!(new, target.state().await);

    let undone = daemon.ctl(UNDO).await;
    undone.expect(0);
    assert_eq!(undone.text("/details/undo/status"), "undone", "{undone}");
    assert_eq!(undone.list("/details/undo/schemas").len(), 6, "{undone}");
    let now = target.state().await;
    let without_kept = |state: &harness::State| -> Vec<Vec<String>> {
        state.schemas.iter().filter(|s| !s[0].starts_with("resetd_kept_")).cloned().collect()
    };
    assert_eq!(without_kept(&old), without_kept(&now), "the very same schemas");
    assert_eq!(ledger(&target).await, [["kept", "1"]]);
    // What is set aside is in a dump as well: it is compared without.
    let drop = |names: Vec<String>| format!("DROP SCHEMA {} CASCADE", names.join(", "));
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "0");
    daemon.ctl(UNDO).await.expect(0);
    target.sql(&drop(kept(&target).await)).await;
    assert_eq!(old, target.state().await);
}

#[tokio::test]
async fn what_came_to_hang_on_the_new_schemas_is_the_blast_radius_of_an_undo() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let old = target.state().await;
    daemon.ctl(RUN).await.expect(0);
    target.sql("CREATE SCHEMA app; CREATE VIEW app.v AS SELECT * FROM general.state").await;
    let refused = daemon.ctl(UNDO).await;
    refused.refused("BLAST_RADIUS");
    assert!(refused.text("/error").contains("view app.v"), "{refused}");
    let dry = daemon.ctl("undo --dry-run").await;
    dry.expect(0);
    let unkept: Vec<_> =
        dry.list("/plan/findings").iter().filter(|f| f["code"] == "CANNOT_BE_UNDONE").collect();
    assert_eq!(unkept.len(), 1, "{dry}");
    assert!(unkept[0]["message"].as_str().unwrap().contains("view app.v"), "{dry}");
    let digest = dry.text("/plan/digest").to_owned();
    let undone = daemon.ctl(&format!("{UNDO} --plan-digest {digest}")).await;
    undone.expect(0);
    assert_eq!(undone.at("/details/undo/schemas/0/kept_as"), &json!(null), "{undone}");
    target.sql("DROP SCHEMA app").await;
    assert_eq!(old, target.state().await);
    assert_eq!(ledger(&target).await, [[""; 2]; 0]);
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
}

#[tokio::test]
async fn the_plan_says_why_a_reset_cannot_be_undone() {
    let target = TestTarget::migrated().await;
    target
        .sql(
            "CREATE SCHEMA app; CREATE TABLE app.whole (id int) PARTITION BY LIST (id);
             CREATE TABLE general.part PARTITION OF app.whole FOR VALUES IN (1);",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let dry = daemon.ctl("run --dry-run").await;
    dry.expect(0);
    assert!(dry.stdout.contains("general.part of app.whole"), "{dry}");
    assert_eq!(dry.at("/plan/keep_previous_seconds"), &json!(0), "{dry}");
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(kept(&target).await, [""; 0]);
    // Foreign keys hold on, and the plan says so.
    target.sql("CREATE TABLE app.users (id int PRIMARY KEY); CREATE TABLE general.k (u int REFERENCES app.users)").await;
    let dry = daemon.ctl("run --dry-run").await;
    assert!(dry.list("/plan/findings").iter().any(|f| f["code"] == "KEPT_REFERENCES"), "{dry}");
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert_eq!(kept(&target).await.len(), 6);

    let zero = Setup::of(&target).with("[profile.local]\nkeep_previous = \"0s\"\n").start().await;
    let dry = zero.ctl("run --dry-run").await;
    dry.expect(0);
    assert!(dry.list("/plan/findings").iter().any(|f| f["code"] == "CANNOT_BE_UNDONE"), "{dry}");
    let out = zero.ctl(RUN).await;
    out.expect(0);
    assert_eq!(out.at("/details/reset/0/kept_as"), &json!(null), "{out}");
    assert_eq!(kept(&target).await.len(), 6, "those of before are still there");
}

#[tokio::test]
async fn what_has_had_its_time_is_dropped_and_what_is_not_ours_is_left() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl(RUN).await.expect(0);
    let first = kept(&target).await;
    daemon.ctl(RUN).await.expect(0);
    let second: Vec<String> = kept(&target).await.into_iter().filter(|k| !first.contains(k)).collect();
    daemon.ctl(RUN).await.expect(0);
    let third: Vec<String> =
        kept(&target).await.into_iter().filter(|k| !first.contains(k) && !second.contains(k)).collect();
    // Something hangs on the first, somebody granted rights on the second, the third is left as it is.
    let general = |all: &[String]| all.iter().find(|n| n.ends_with("_general")).cloned().unwrap();
    target
        .sql(&format!(
            "CREATE VIEW public.v AS SELECT * FROM {}.state; GRANT USAGE ON SCHEMA {} TO PUBLIC",
            general(&first),
            general(&second)
        ))
        .await;
    target
        .control_sql("UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 minute'")
        .await;
    // An operation that ends wakes the janitor.
    daemon.ctl("validate").await.expect(0);
    eventually("the third are dropped", || async {
        kept(&target).await.iter().all(|name| !third.contains(name))
    })
    .await;
    let states = "SELECT state, coalesce(given_up, left_because) FROM resetd.kept_schemas ORDER BY kept_at";
    eventually("the others are told of", || async {
        let rows = target.control_rows(states).await;
        rows.len() == 2 && rows[0][1].contains("view public.v") && rows[1][0] == "given_up"
    })
    .await;
    assert!(target.control_rows(states).await[1][1].contains("rights on it were granted"));
    assert_eq!(kept(&target).await.len(), 12);
    daemon.ctl(UNDO).await.refused("NOTHING_TO_UNDO");
    target.sql("DROP VIEW public.v").await;
    daemon.ctl("validate").await.expect(0);
    eventually("the first are dropped, too", || async {
        kept(&target).await.iter().all(|name| !first.contains(name))
    })
    .await;
    assert_eq!(kept(&target).await.len(), 6);
}

#[tokio::test]
async fn what_somebody_changed_by_hand_is_not_brought_back() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let old = target.state().await;
    daemon.ctl(RUN).await.expect(0);
    let general = kept(&target).await.into_iter().find(|n| n.ends_with("_general")).unwrap();
    for (change, back) in [
        (format!("ALTER SCHEMA {general} RENAME TO mine"), format!("ALTER SCHEMA mine RENAME TO {general}")),
        (
            format!("GRANT USAGE ON SCHEMA {general} TO PUBLIC"),
            format!("REVOKE USAGE ON SCHEMA {general} FROM PUBLIC"),
        ),
        (
            format!("ALTER TABLE {general}.state ALTER key SET STATISTICS 7"),
            format!("ALTER TABLE {general}.state ALTER key SET STATISTICS -1"),
        ),
        (format!("CREATE TABLE {general}.more (id int)"), format!("DROP TABLE {general}.more")),
    ] {
        target.sql(&change).await;
        let before = target.state().await;
        let refused = daemon.ctl(UNDO).await;
        refused.refused("PREFLIGHT_FAILED");
        assert!(refused.text("/error").contains("is not what was set aside"), "{change}: {refused}");
        assert_eq!(before, target.state().await, "{change}");
        target.sql(&back).await;
    }
    daemon.ctl(UNDO).await.expect(0);
    target.sql(&format!("DROP SCHEMA {} CASCADE", kept(&target).await.join(", "))).await;
    assert_eq!(old, target.state().await);
    // Dropped by hand, there is nothing to come back, and the ledger forgets it.
    daemon.ctl(UNDO).await.refused("PREFLIGHT_FAILED");
    target
        .control_sql("UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 minute'")
        .await;
    daemon.ctl("validate").await.expect(0);
    eventually("it is forgotten", || async { ledger(&target).await.is_empty() }).await;
}

#[tokio::test]
async fn resets_are_undone_newest_first() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let zero = target.state().await.schemas;
    let first = daemon.ctl(RUN).await.text("/operation").to_owned();
    let one: Vec<_> = target.state().await.schemas;
    let second = daemon.ctl(RUN).await.text("/operation").to_owned();
    let refused = daemon.ctl(&format!("undo {first} --confirm-destructive-reset RESET")).await;
    refused.refused("PREFLIGHT_FAILED");
    assert!(refused.text("/error").contains(&second), "{refused}");
    let serving = |all: &[Vec<String>]| -> Vec<Vec<String>> {
        all.iter().filter(|s| !s[0].starts_with("resetd_kept_")).cloned().collect()
    };
    daemon.ctl(&format!("undo {second} --confirm-destructive-reset RESET")).await.expect(0);
    assert_eq!(serving(&target.state().await.schemas), serving(&one));
    daemon.ctl(&format!("undo {first} --confirm-destructive-reset RESET")).await.expect(0);
    assert_eq!(serving(&target.state().await.schemas), serving(&zero));
    // A whole database takes what is kept in it along, and brings it back.
    let replaced = daemon.ctl("run --scope database --confirm-destructive-reset RESET").await;
    let lost = replaced.expect(0).list("/plan/outside");
    assert!(!lost.iter().any(|o| o.to_string().contains("resetd_kept_")), "{replaced}");
    assert_eq!(kept(&target).await, [""; 0]);
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(serving(&target.state().await.schemas), serving(&zero));
    assert_eq!(kept(&target).await.len(), 12);
}

/// The janitor of a second daemon looks while the undo of the first one waits.
#[tokio::test]
async fn what_an_undo_uses_does_not_expire() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let old = target.state().await;
    daemon.ctl(RUN).await.expect(0);
    let mut holder = target.session().await;
    holder.sql("BEGIN; LOCK TABLE general.state IN ACCESS SHARE MODE").await;
    let undo = daemon.ctl_spawn(UNDO);
    target.until_blocked_by(holder.pid).await;
    target
        .control_sql(
            "UPDATE resetd.kept_schemas SET expires_at = clock_timestamp() - interval '1 hour';
             INSERT INTO resetd.kept_schemas (operation, database, database_oid, system_identifier, marker, by_undo, state, body, expires_at)
                 VALUES (gen_random_uuid(), 'gone', 4294967295, '', '', false, 'kept', '{}', clock_timestamp())",
        )
        .await;
    let second = Setup::of(&target).start().await;
    eventually("a janitor looked", || async {
        target.control_rows("SELECT count(*) FROM resetd.kept_schemas WHERE database = 'gone'").await
            == [["0"]]
    })
    .await;
    assert_eq!(kept(&target).await.len(), 6, "they are still there");
    holder.sql("ROLLBACK").await;
    undo.finish().await.expect(0);
    second.stop().await;
    target.sql(&format!("DROP SCHEMA {} CASCADE", kept(&target).await.join(", "))).await;
    assert_eq!(old, target.state().await);
}

/// An extension is moved out before, and an undo leaves it there: what uses it on either side goes on.
#[tokio::test]
async fn an_extension_moves_out_once_and_serves_both_sides() {
    let target = TestTarget::make(Make::superuser(Because::ExtensionsMove)).await;
    target
        .sql(
            "CREATE EXTENSION hstore SCHEMA general; CREATE TABLE general.worn (v general.hstore);
             INSERT INTO general.worn VALUES ('a=>1')",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl(RUN).await;
    assert_eq!(out.expect(0).text("/plan/extension_moves/0/extension"), "hstore", "{out}");
    let home = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'hstore'";
    for line in [UNDO, UNDO, UNDO] {
        daemon.ctl(line).await.expect(0);
        assert_eq!(target.value(home).await, "extensions", "{line}");
    }
    assert_eq!(target.value("SELECT v::text FROM general.worn").await, r#""a"=>"1""#);
    daemon.ctl("validate").await.expect(0);
}
