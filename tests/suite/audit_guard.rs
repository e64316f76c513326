//! The trigger that keeps the audit record: whoever takes it off, or takes its effect away, is noticed.

use harness::{Setup, TestTarget};

const GUARD: &str =
    "CREATE TRIGGER audit_record_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON resetd.audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION resetd.audit_record_keep()";

#[tokio::test]
async fn a_record_without_its_guard_is_not_called_intact() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).listen("unix:socket").start().await;
    daemon.ctl("token create a").await.expect(0);
    daemon.ctl("audit verify").await.expect(0);
    let kept = target.control_rows("SELECT prosrc FROM pg_proc WHERE proname = 'audit_record_keep'").await;
    let restore = format!(
        "CREATE OR REPLACE FUNCTION resetd.audit_record_keep() RETURNS trigger LANGUAGE plpgsql AS $q${}$q$",
        kept[0][0]
    );
    let again = format!("DROP TRIGGER IF EXISTS audit_record_keep ON resetd.audit_record; {GUARD}");
    let control = &target.control;
    for (damage, repair, words) in [
        (
            "ALTER TABLE resetd.audit_record DISABLE TRIGGER audit_record_keep".to_owned(),
            "ALTER TABLE resetd.audit_record ENABLE TRIGGER audit_record_keep".to_owned(),
            "is off",
        ),
        (
            "ALTER TABLE resetd.audit_record ENABLE REPLICA TRIGGER audit_record_keep".to_owned(),
            "ALTER TABLE resetd.audit_record ENABLE TRIGGER audit_record_keep".to_owned(),
            "is off",
        ),
        ("DROP TRIGGER audit_record_keep ON resetd.audit_record".to_owned(), again.clone(), "is gone"),
        (
            "DROP TRIGGER audit_record_keep ON resetd.audit_record;
             CREATE TRIGGER audit_record_keep BEFORE DELETE ON resetd.audit_record
                 FOR EACH STATEMENT EXECUTE FUNCTION resetd.audit_record_keep()"
                .to_owned(),
            again.clone(),
            "not every change",
        ),
        (
            "CREATE OR REPLACE FUNCTION resetd.audit_record_keep() RETURNS trigger LANGUAGE plpgsql
                 AS 'BEGIN RETURN NULL; END'"
                .to_owned(),
            restore,
            "was changed",
        ),
        (
            "CREATE RULE hide AS ON INSERT TO resetd.audit_head DO ALSO NOTHING;
             CREATE RULE hide AS ON UPDATE TO resetd.audit_record DO ALSO NOTHING"
                .to_owned(),
            "DROP RULE hide ON resetd.audit_head; DROP RULE hide ON resetd.audit_record".to_owned(),
            "rule",
        ),
        (
            format!("ALTER DATABASE {control} SET session_replication_role = replica"),
            format!("ALTER DATABASE {control} RESET session_replication_role"),
            "session_replication_role",
        ),
    ] {
        target.control_sql(&damage).await;
        let out = daemon.ctl("audit verify").await;
        assert!(out.stderr.contains("AUDIT_BROKEN") && out.stderr.contains(words), "{damage}\n{out}");
        assert!(out.expect(1).stdout.is_empty(), "{out}");
        let json = daemon.ctl("audit verify --json").await;
        let json: serde_json::Value = serde_json::from_str(&json.expect(1).stdout).unwrap();
        assert_eq!((&json["intact"], &json["first_broken_sequence"]), (&true.into(), &().into()), "{json}");
        assert!(json["guard"].as_str().unwrap().contains(words), "{json}");
        Setup::of(&target).resetd(&["check"]).await.says("audit record");
        target.control_sql(&repair).await;
        daemon.ctl("audit verify").await.expect(0);
    }
}
