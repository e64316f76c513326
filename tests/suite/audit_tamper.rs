//! Each way of tampering with the audit record is found, and named: with the real record, the real daemon and client.

use harness::{Daemon, Output, Session, Setup, TestTarget};
use model::audit::Head;

/// A daemon whose record has some decisions, and a copy of the record as it was written.
struct Record {
    target: TestTarget,
    daemon: Daemon,
    session: Session,
    last: u64,
}

impl Record {
    async fn written() -> Self {
        let target = TestTarget::empty().await;
        let daemon = Setup::of(&target).listen("unix:socket").start().await;
        for name in ["a", "b", "c", "d", "e", "f"] {
            daemon.ctl(&format!("token create {name}")).await.expect(0);
        }
        // The verification itself is on record, once an hour.
        daemon.ctl("audit verify").await.expect(0);
        let mut session = target.control_session().await;
        session
            .sql(
                "CREATE TABLE kept AS SELECT * FROM resetd.audit_record;
                 CREATE TABLE kept_head AS SELECT * FROM resetd.audit_head;
                 SET session_replication_role = replica",
            )
            .await;
        let last = session.rows("SELECT max(sequence) FROM kept").await[0][0].parse().unwrap();
        Self { target, daemon, session, last }
    }

    async fn verify(&self, more: &str) -> Output {
        self.daemon.ctl(&format!("audit verify {more}")).await
    }

    /// Does something to the record, verifies it, and puts it back.
    async fn after(&mut self, damage: &str, more: &str) -> Output {
        self.session.sql(damage).await;
        let out = self.verify(more).await;
        self.session
            .sql(
                "TRUNCATE resetd.audit_record; INSERT INTO resetd.audit_record SELECT * FROM kept;
                 DELETE FROM resetd.audit_head; INSERT INTO resetd.audit_head SELECT * FROM kept_head",
            )
            .await;
        out
    }

    async fn broken(&mut self, damage: &str, sequence: u64, wrong: &str) {
        let out = self.after(damage, "").await;
        out.expect(1);
        assert!(out.stderr.contains("AUDIT_BROKEN"), "{damage}\n{out}");
        let expected = format!("record {sequence} is the first that does not fit: {wrong}");
        assert!(out.stderr.contains(&expected), "{damage}\nexpected: {expected}\n{out}");
        assert!(out.stdout.is_empty(), "{out}");
    }
}

/// A record's hash made anew after its text was changed.
const REHASH: &str = "UPDATE resetd.audit_record r SET hash = encode(sha256(convert_to(
    (SELECT p.hash FROM resetd.audit_record p WHERE p.sequence = r.sequence - 1) || E'\\n' || r.body, 'UTF8')), 'hex')";

fn forge(sequence: u64) -> String {
    format!(
        "UPDATE resetd.audit_record SET body = replace(body, '\"allowed\":true', '\"allowed\":false') WHERE sequence = {sequence}"
    )
}

#[tokio::test]
async fn each_kind_of_tampering_is_found() {
    let mut record = Record::written().await;
    let last = record.last;
    assert!(last >= 7, "{last}");
    let move_up = |from: u64, by: &str| {
        format!(
            "UPDATE resetd.audit_record SET sequence = -sequence WHERE sequence >= {from};
             UPDATE resetd.audit_record SET sequence = -sequence {by} WHERE sequence < 0"
        )
    };

    // Changed: the text, the time, the hash; and the text with its hash made anew, which shows in the record behind it.
    record.broken(&forge(3), 3, "changed").await;
    record
        .broken("UPDATE resetd.audit_record SET at = at - interval '1 hour' WHERE sequence = 3", 3, "changed")
        .await;
    record
        .broken("UPDATE resetd.audit_record SET hash = repeat('0', 64) WHERE sequence = 3", 3, "changed")
        .await;
    let rehashed = format!("{}; {REHASH} WHERE sequence = 3", forge(3));
    record.broken(&rehashed, 4, "changed").await;
    let rehashed = format!("{}; {REHASH} WHERE sequence = {last}", forge(last));
    record.broken(&rehashed, last, "changed").await;

    // Removed: in the middle, with the rest moved up, at the beginning, at the end, all of it.
    record.broken("DELETE FROM resetd.audit_record WHERE sequence = 4", 4, "removed").await;
    let moved = format!("DELETE FROM resetd.audit_record WHERE sequence = 4; {}", move_up(5, "- 1"));
    record.broken(&moved, 4, "removed").await;
    record.broken("DELETE FROM resetd.audit_record WHERE sequence = 1", 1, "removed").await;
    record.broken(&format!("DELETE FROM resetd.audit_record WHERE sequence = {last}"), last, "removed").await;
    record.broken("TRUNCATE resetd.audit_record", 1, "removed").await;
    record.broken("DELETE FROM resetd.audit_head", last + 1, "removed").await;

    // Reordered.
    let swap = "UPDATE resetd.audit_record SET sequence = -sequence WHERE sequence IN (2, 5);
                UPDATE resetd.audit_record SET sequence = 7 + sequence WHERE sequence < 0";
    record.broken(swap, 2, "reordered").await;

    // Inserted: in the middle with a hash that fits, and behind the end.
    let inserted = format!(
        "{}; INSERT INTO resetd.audit_record SELECT 3, at, replace(body, '\"sequence\":2', '\"sequence\":3'), hash
           FROM resetd.audit_record WHERE sequence = 2; {REHASH} WHERE sequence = 3",
        move_up(3, "+ 1")
    );
    record.broken(&inserted, 4, "inserted").await;
    let appended = format!(
        "INSERT INTO resetd.audit_record SELECT {0}, at, replace(body, '\"sequence\":{last}', '\"sequence\":{0}'), hash
           FROM resetd.audit_record WHERE sequence = {last}; {REHASH} WHERE sequence = {0}",
        last + 1
    );
    record.broken(&appended, last + 1, "inserted").await;

    let first = "INSERT INTO resetd.audit_record SELECT -9223372036854775808, at, body, hash
                   FROM resetd.audit_record WHERE sequence = 1";
    let out = record.after(first, "").await;
    assert!(out.expect(1).stderr.contains("AUDIT_BROKEN"), "{out}");

    // And it is intact again.
    record.verify("").await.expect(0);
    let json = record.after(&forge(3), "--json").await;
    let json: serde_json::Value = serde_json::from_str(&json.expect(1).stdout).unwrap();
    assert_eq!((&json["intact"], &json["first_broken_sequence"]), (&false.into(), &3.into()), "{json}");
    assert_eq!(json["wrong"], "changed");
    let list = record.after("UPDATE resetd.audit_record SET body = 'x' WHERE sequence = 3", "").await;
    list.expect(1);
    assert!(!record.target.control_rows("SELECT FROM resetd.audit_record").await.is_empty());
}

/// Who owns the control database can take the newest records away together with the note of the end. Who remembers an
/// earlier end sees it.
#[tokio::test]
async fn what_the_table_alone_cannot_tell_is_told_by_who_remembers() {
    let mut record = Record::written().await;
    let verified = record.verify("").await;
    let head = Head::read(&verified.expect(0).stdout).expect("the end of the record");
    assert_eq!(head.sequence, record.last);
    let cut = "DELETE FROM resetd.audit_record WHERE sequence > 4;
               UPDATE resetd.audit_head SET (sequence, hash) =
                   (SELECT sequence, hash FROM resetd.audit_record WHERE sequence = 4)";
    record.after(cut, "").await.expect(0);
    let out = record.after(cut, &format!("--expect {head}")).await;
    out.expect(1);
    assert!(out.stderr.contains("record 5 is the first that does not fit: removed"), "{out}");

    // A whole chain made anew from a changed record on.
    let anew = format!(
        "{}; DO $$ BEGIN FOR n IN 3..{last} LOOP {REHASH} WHERE sequence = n; END LOOP; END $$;
         UPDATE resetd.audit_head SET hash = (SELECT hash FROM resetd.audit_record WHERE sequence = {last})",
        forge(3),
        last = record.last
    );
    record.after(&anew, "").await.expect(0);
    let out = record.after(&anew, &format!("--expect {head}")).await;
    out.expect(1);
    assert!(out.stderr.contains("changed"), "{out}");

    // An end that is older than the record is fine.
    record.daemon.ctl("token create g").await.expect(0);
    record.verify(&format!("--expect {head}")).await.expect(0);
    for wrong in ["x", "1:2", "0"] {
        record.verify(&format!("--expect {wrong}")).await.expect(2);
    }
}

#[tokio::test]
async fn the_table_itself_refuses_what_is_not_an_append() {
    let record = Record::written().await;
    let mut session = record.target.control_session().await;
    for statement in [
        "UPDATE resetd.audit_record SET body = ''",
        "DELETE FROM resetd.audit_record",
        "TRUNCATE resetd.audit_record",
    ] {
        let error = session.try_sql(statement).await.expect_err("it is only appended to").to_string();
        assert!(error.contains("only appended to"), "{statement}: {error}");
    }
    record.verify("").await.expect(0);
}
