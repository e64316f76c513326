//! A record that whoever owns the control database forges behind the end that somebody kept: with a key outside of the
//! database, it is found.

use std::fs;

use harness::{Daemon, Setup, TestTarget};

/// One more record with a hash that follows from the last one, noted as the end: only a key tells it apart.
const FORGE: &str = "
    INSERT INTO resetd.audit_record (sequence, at, body, hash)
    SELECT n.sequence, n.at, n.body, encode(sha256(convert_to(n.hash || E'\\n' || n.body, 'UTF8')), 'hex')
      FROM (SELECT sequence + 1 AS sequence, at, hash,
                   replace(body, '\"sequence\":' || sequence, '\"sequence\":' || sequence + 1) AS body
              FROM resetd.audit_record ORDER BY sequence DESC LIMIT 1) n;
    UPDATE resetd.audit_head SET (sequence, hash) =
        (SELECT sequence, hash FROM resetd.audit_record ORDER BY sequence DESC LIMIT 1)";

async fn started(target: &TestTarget, key: Option<&str>) -> Daemon {
    let setup = Setup::of(target).listen("unix:socket");
    match key {
        Some(path) => setup.with(&format!("\n[audit]\nkey_file = {path:?}\n")).start().await,
        None => setup.start().await,
    }
}

#[tokio::test]
async fn a_record_forged_behind_a_kept_end_is_found_with_a_key() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("audit.key").display().to_string();
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();

    // Before there was a key; those records stay what they are.
    let daemon = started(&target, None).await;
    daemon.ctl("token create before").await.expect(0);
    daemon.stop().await;
    let daemon = started(&target, Some(&key)).await;
    daemon.ctl("token create a").await.expect(0);
    let kept = daemon.ctl("audit verify").await.expect(0).stdout.trim().to_owned();
    daemon.ctl("token create b").await.expect(0);
    daemon.ctl(&format!("audit verify --expect {kept}")).await.expect(0);

    target.control_sql(FORGE).await;
    for line in ["audit verify".to_owned(), format!("audit verify --expect {kept}")] {
        let out = daemon.ctl(&line).await;
        assert!(out.stderr.contains("AUDIT_BROKEN") && out.stderr.contains("inserted"), "{line}\n{out}");
        assert!(out.expect(1).stderr.contains("no seal"), "{out}");
    }
    // A seal of one's own making is none.
    target
        .control_sql(
            "UPDATE resetd.audit_head SET hash = hash; ALTER TABLE resetd.audit_record DISABLE TRIGGER ALL;
             UPDATE resetd.audit_record SET seal = repeat('0', 64) WHERE seal IS NULL AND sequence > 2;
             ALTER TABLE resetd.audit_record ENABLE TRIGGER ALL",
        )
        .await;
    let out = daemon.ctl(&format!("audit verify --expect {kept}")).await;
    assert!(out.expect(1).stderr.contains("its seal is not"), "{out}");
    daemon.stop().await;
    // Who has no key sees a chain that fits: that is what the key is for.
    started(&target, None).await.ctl(&format!("audit verify --expect {kept}")).await.expect(0);
}

/// All seals taken away at once: behind a kept end every record needs one.
#[tokio::test]
async fn seals_cannot_be_taken_away_behind_a_kept_end() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("audit.key").display().to_string();
    fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    let daemon = started(&target, Some(&key)).await;
    let kept = daemon.ctl("audit verify").await.expect(0).stdout.trim().to_owned();
    daemon.ctl("token create a").await.expect(0);
    target
        .control_sql(
            "ALTER TABLE resetd.audit_record DISABLE TRIGGER ALL; UPDATE resetd.audit_record SET seal = NULL;
             ALTER TABLE resetd.audit_record ENABLE TRIGGER ALL",
        )
        .await;
    let out = daemon.ctl(&format!("audit verify --expect {kept}")).await;
    assert!(out.expect(1).stderr.contains("no seal"), "{out}");
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_at_the_start() {
    let target = TestTarget::empty().await;
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short").display().to_string();
    fs::write(&short, "too short\n").unwrap();
    for (path, words) in [(short.as_str(), "32"), ("/no/such/key", "cannot be read")] {
        let setup = Setup::of(&target).with(&format!("\n[audit]\nkey_file = {path:?}\n"));
        let said = setup.resetd(&["check"]).await;
        said.expect(2).says("key_file").says(words);
        assert!(!said.stderr.contains("too short"), "{said}");
    }
}
