//! What a record says, and each way of tampering with a chain of them.

use super::*;
use crate::authorization::METHODS;

fn decision(n: u64) -> Decision {
    Decision {
        principal: Some(Principal::anonymous()),
        peer: "127.0.0.1:1".to_owned(),
        method: "resetd.v1.OperationService/Reset".to_owned(),
        target: Some(format!("staging-{n}")),
        allowed: true,
        ..Decision::default()
    }
}

fn at(n: u64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + i64::try_from(n).expect("small")).expect("a time")
}

/// A chain of so many records, and its end.
fn chain(n: u64) -> (Vec<Chained>, Head) {
    let mut head = Head::genesis();
    let records = (1..=n).map(|n| head.chain(&decision(n), 1, at(n))).collect();
    (records, head)
}

fn verify(records: &[Chained], anchor: Option<&Head>, expected: Option<Head>) -> AuditVerdict {
    let mut verifier = Verifier::new(expected);
    records.iter().for_each(|r| verifier.absorb(r));
    verifier.finish(anchor)
}

fn found(records: &[Chained], anchor: &Head) -> (u64, Wrong) {
    let broken = verify(records, Some(anchor), None).broken.expect("it is broken");
    assert!(!broken.text.is_empty());
    (broken.sequence, broken.wrong)
}

/// The record with another target, its text canonical again.
fn forged(it: &Chained, sequence: u64) -> Record {
    let mut record = Record::read(&it.body).expect("a record");
    (record.sequence, record.target) = (sequence, Some("forged".to_owned()));
    record
}

#[test]
fn an_untouched_chain_is_intact_and_ends_at_its_head() {
    for n in [0, 1, 2, 50] {
        let (records, head) = chain(n);
        let verdict = verify(&records, Some(&head), None);
        assert_eq!(verdict, AuditVerdict { records: n, head: head.clone(), broken: None, guard: None });
        assert_eq!(Head::read(&head.to_string()), Some(head.clone()));
        let earlier = records.get(2).map(|r| Head { sequence: 3, hash: r.hash.clone() });
        assert_eq!(verify(&records, Some(&head), earlier).broken, None);
    }
}

#[test]
fn a_changed_row_is_found_where_it_is() {
    let (records, head) = chain(9);
    for at in 0..9 {
        let sequence = at as u64 + 1;
        let mut changed = records.clone();
        changed[at].body = forged(&records[at], sequence).body();
        assert_eq!(found(&changed, &head), (sequence, Wrong::Changed), "text of {sequence}");
        let mut changed = records.clone();
        changed[at].hash = Head::genesis().hash;
        assert_eq!(found(&changed, &head), (sequence, Wrong::Changed), "hash of {sequence}");
        let mut changed = records.clone();
        changed[at].at = Timestamp::UNIX_EPOCH;
        assert_eq!(found(&changed, &head), (sequence, Wrong::Changed), "time of {sequence}");
        let mut changed = records.clone();
        changed[at].body = "not a record".to_owned();
        assert_eq!(found(&changed, &head), (sequence, Wrong::Changed), "no text of {sequence}");
        // A text that says the same in another form was not written by a daemon either.
        let mut changed = records.clone();
        changed[at].body.insert(1, ' ');
        assert_eq!(found(&changed, &head), (sequence, Wrong::Changed), "form of {sequence}");
    }
}

#[test]
fn a_changed_row_with_a_hash_made_anew_is_found_behind_it() {
    let (records, head) = chain(9);
    for at in 0..9_usize {
        let sequence = at as u64 + 1;
        let before = at.checked_sub(1).map_or(Head::genesis().hash, |b| records[b].hash.clone());
        let mut changed = records.clone();
        changed[at].body = forged(&records[at], sequence).body();
        changed[at].hash = link(&before, &changed[at].body);
        let behind = (sequence + 1).min(9);
        assert_eq!(found(&changed, &head), (behind, Wrong::Changed), "{sequence}");
    }
}

#[test]
fn a_removed_row_is_found() {
    let (records, head) = chain(9);
    for at in 0..9 {
        let mut cut = records.clone();
        cut.remove(at);
        assert_eq!(found(&cut, &head), (at as u64 + 1, Wrong::Removed), "{at}");
        // And the rest moved up.
        for (n, it) in (1..).zip(cut.iter_mut()) {
            it.sequence = n;
        }
        assert_eq!(found(&cut, &head), (at as u64 + 1, Wrong::Removed), "{at}, moved up");
    }
    assert_eq!(found(&[], &head), (1, Wrong::Removed));
    assert_eq!(verify(&records, None, None).broken.map(|b| b.wrong), Some(Wrong::Removed));
}

#[test]
fn the_newest_rows_and_their_anchor_removed_are_found_by_who_remembers() {
    let (records, head) = chain(9);
    let cut = &records[..5];
    let anchor = Head { sequence: 5, hash: cut[4].hash.clone() };
    assert_eq!(verify(cut, Some(&anchor), None).broken, None, "a chain alone cannot see it");
    let broken = verify(cut, Some(&anchor), Some(head)).broken.expect("somebody remembers");
    assert_eq!((broken.sequence, broken.wrong), (6, Wrong::Removed));
}

#[test]
fn a_chain_made_anew_is_found_by_its_anchor_and_by_who_remembers() {
    let (records, head) = chain(5);
    let mut other = Head::genesis();
    let forged: Vec<Chained> = (1..=5).map(|n| other.chain(&decision(n + 1), 1, at(n))).collect();
    assert_eq!(found(&forged, &head), (5, Wrong::Changed));
    let remembered = Head { sequence: 3, hash: records[2].hash.clone() };
    let broken = verify(&forged, Some(&other), Some(remembered)).broken.expect("somebody remembers");
    assert_eq!((broken.sequence, broken.wrong), (3, Wrong::Changed));
}

#[test]
fn rows_in_another_order_are_found() {
    let (records, head) = chain(9);
    for (a, b) in [(0, 1), (3, 4), (2, 7), (0, 8), (7, 8)] {
        let mut swapped = records.clone();
        swapped.swap(a, b);
        (swapped[a].sequence, swapped[b].sequence) = (a as u64 + 1, b as u64 + 1);
        assert_eq!(found(&swapped, &head), (a as u64 + 1, Wrong::Reordered), "{a} and {b}");
    }
}

#[test]
fn an_inserted_row_is_found() {
    let (records, head) = chain(9);
    for at in 0..=9_usize {
        let sequence = at as u64 + 1;
        let before = at.checked_sub(1).map_or(Head::genesis().hash, |b| records[b].hash.clone());
        let body = forged(&records[at.min(8)], sequence).body();
        let mut it = Chained { sequence, at: records[at.min(8)].at, hash: "0".repeat(64), body, seal: None };
        for good_hash in [false, true] {
            if good_hash {
                it.hash = link(&before, &it.body);
            }
            let mut more = records.clone();
            more.insert(at, it.clone());
            for (n, it) in (1..).zip(more.iter_mut()) {
                it.sequence = n;
            }
            let (place, wrong) = found(&more, &head);
            assert!(place == sequence || (good_hash && place == sequence + 1), "{at}: {place}");
            let at_end = at == 9 && !good_hash;
            let expected = if at_end { Wrong::Changed } else { Wrong::Inserted };
            assert_eq!(wrong, expected, "{at} {good_hash}");
        }
    }
    let mut twice = records.clone();
    twice.insert(3, records[2].clone());
    assert_eq!(found(&twice, &head).1, Wrong::Inserted);
}

#[test]
fn random_damage_never_goes_unseen() {
    let mut random = fastrand::Rng::with_seed(0xA0D17);
    for _ in 0..2_000 {
        let (records, head) = chain(random.u64(1..12));
        let mut damaged = records.clone();
        let at = random.usize(0..damaged.len());
        match random.u8(0..4) {
            0 => drop(damaged.remove(at)),
            1 => {
                let mut bytes = damaged[at].body.clone().into_bytes();
                let place = random.usize(0..bytes.len());
                bytes[place] = bytes[place].wrapping_add(random.u8(1..128)) & 0x7F;
                damaged[at].body = String::from_utf8(bytes).expect("ASCII");
            }
            2 => damaged[at].sequence += random.u64(1..20),
            _ => damaged.insert(at, damaged[random.usize(0..damaged.len())].clone()),
        }
        if damaged != records {
            assert!(verify(&damaged, Some(&head), None).broken.is_some(), "{damaged:#?}");
        }
    }
}

#[test]
fn a_record_holds_no_token_and_no_long_text() {
    let token = token::Token::mint([7; token::NUMBERS]);
    let it = Decision {
        target: Some(token.text().expose().clone()),
        detail: Some("ü".repeat(10_000)),
        method: "x\n\u{1b}[2J".repeat(1_000),
        ..decision(1)
    };
    let body = Record::of(&it, 1, 1, at(1)).body();
    let secret: String = token.text().expose().chars().skip(16).take(44).collect();
    assert!(!body.contains(&secret) && body.contains(token.id()), "{body}");
    assert!(body.len() < 10_000 && !body.contains('\n'), "{body}");
    assert_eq!(Record::read(&body).map(|r| r.body()), Some(body));
}

#[test]
fn a_line_is_the_record_with_its_hash() {
    let (records, head) = chain(1);
    let value: serde_json::Value = serde_json::from_str(&records[0].line()).expect("JSON");
    assert_eq!(value["hash"], head.hash.as_str());
    assert_eq!(value["target"], "staging-1");
}

#[test]
fn the_methods_that_only_look_are_these() {
    let reads = METHODS
        .iter()
        .filter(|(name, _)| Decision { method: (*name).to_owned(), ..Decision::default() }.reads());
    let names: Vec<&str> = reads.filter_map(|(name, _)| name.rsplit('/').next()).collect();
    let expected = [
        "WatchOperation",
        "GetOperation",
        "ListOperations",
        "GetReport",
        "GetWindow",
        "ListWindows",
        "ListTargets",
        "GetTarget",
        "WatchTargets",
        "ListTokens",
        "ListAuditRecords",
        "VerifyAudit",
        "GetServerInfo",
    ];
    assert_eq!(names, expected);
}
