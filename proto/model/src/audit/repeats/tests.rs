//! What gets a record of its own, what is counted, and that a flood is bounded.

use super::*;
use crate::authorization::Principal;

fn denial(peer: &str, principal: Option<&str>) -> Decision {
    Decision {
        principal: principal.map(|name| Principal {
            kind: PrincipalKind::Unix,
            name: name.to_owned(),
            owner: false,
        }),
        peer: peer.to_owned(),
        method: "resetd.v1.OperationService/Reset".to_owned(),
        reason: Some(Reason::PermissionDenied),
        ..Decision::default()
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn admit(it: &mut Repeats, decision: &Decision, at: u64) -> Admission {
    it.admit(decision, |name| name == "staging", seconds(at))
}

#[test]
fn identical_denials_within_a_minute_are_one_record_and_a_count() {
    let mut repeats = Repeats::default();
    let it = denial("10.0.0.1:1000", None);
    assert_eq!(admit(&mut repeats, &it, 0), Admission::Record);
    for at in 1..50 {
        // Another port, another method: a stranger chooses both.
        let again = Decision { method: format!("x{at}"), ..denial(&format!("10.0.0.1:{at}"), None) };
        assert_eq!(admit(&mut repeats, &again, at), Admission::Count);
    }
    assert!(repeats.due(seconds(59), false).is_empty(), "it may come again");
    let due = repeats.due(seconds(60), false);
    assert_eq!(due.iter().map(|(_, more)| *more).collect::<Vec<_>>(), [49]);
    assert!(repeats.due(seconds(120), true).is_empty());
    assert_eq!(admit(&mut repeats, &it, 61), Admission::Record);
}

#[test]
fn what_differs_has_its_own_record() {
    let mut repeats = Repeats::default();
    let alice = denial("unix socket, uid 5", Some("alice"));
    let others = [
        alice.clone(),
        denial("unix socket, uid 5", Some("bob")),
        denial("unix socket, uid 6", Some("alice")),
        Decision { target: Some("staging".to_owned()), ..alice.clone() },
        Decision { method: "resetd.v1.OperationService/Run".to_owned(), ..alice.clone() },
        Decision { reason: Some(Reason::TargetLocked), ..alice.clone() },
    ];
    for it in &others {
        assert_eq!(admit(&mut repeats, it, 0), Admission::Record, "{it:?}");
    }
    // Targets that do not exist are the caller's invention.
    let invented = Decision { target: Some("invented".to_owned()), ..alice };
    assert_eq!(admit(&mut repeats, &invented, 0), Admission::Count);
}

#[test]
fn what_changes_something_always_has_its_own_record_and_a_read_has_one_an_hour() {
    let mut repeats = Repeats::default();
    let change = Decision { allowed: true, reason: None, ..denial("unix socket", Some("alice")) };
    let read = Decision { method: "resetd.v1.TargetService/GetTarget".to_owned(), ..change.clone() };
    for at in 0..10 {
        assert_eq!(admit(&mut repeats, &change, at), Admission::Record);
        let expected = if at == 0 { Admission::Record } else { Admission::Count };
        assert_eq!(admit(&mut repeats, &read, at), expected);
    }
    assert!(repeats.due(seconds(60), false).is_empty(), "reads are not counted");
    assert_eq!(admit(&mut repeats, &read, 3_600), Admission::Record);
}

#[test]
fn a_flood_from_everywhere_is_bounded() {
    let mut repeats = Repeats::default();
    let mut records = 0;
    for n in 0..100_000_u32 {
        let peer = format!("{}:1", std::net::Ipv4Addr::from(n));
        records += u64::from(admit(&mut repeats, &denial(&peer, None), 1) == Admission::Record);
    }
    assert!(records <= MOST as u64 + 1, "{records}");
    let counted: u64 = repeats.due(seconds(61), false).iter().map(|(_, more)| more).sum();
    assert_eq!(records + counted, 100_000);
    // One IPv6 network is one peer.
    assert_eq!(admit(&mut repeats, &denial("[2001:db8::1]:1", None), 100), Admission::Record);
    assert_eq!(admit(&mut repeats, &denial("[2001:db8::ffff:2]:9", None), 100), Admission::Count);
}
