//! The rules about windows, one by one, and what is said when one stands in the way.

use super::*;
use crate::{
    fault::Reason,
    operation::Verb,
    profile::{Builtin, Profile},
};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

pub(super) fn window(principal: &str, from: i64, to: i64) -> Window {
    Window {
        id: Uuid::from_u128(u128::try_from(1_000_000 + from).unwrap_or_default()),
        target: "staging".into(),
        principal: principal.into(),
        reason: "rehearsal".into(),
        starts_at: at(from),
        ends_at: at(to),
        etag: Uuid::nil(),
        released_at: None,
    }
}

pub(super) fn rules(builtin: Builtin) -> Rules {
    Rules::of("staging", &Profile::of(builtin))
}

fn asked(start: Start, seconds: u64) -> Reservation {
    Reservation { start, duration: Duration::from_secs(seconds), reason: "rehearsal".into() }
}

#[test]
fn a_window_holds_at_its_start_and_no_longer_at_its_end() {
    let windows = [window("unix:bob", 10, 20)];
    let judged = |now| judge(&windows, "unix:alice", &rules(Builtin::Local), at(now));
    assert_eq!(judged(9), Verdict::Free(Some(Edge::Foreign(windows[0].clone()))));
    assert_eq!(judged(10), Verdict::Held(windows[0].clone()));
    assert_eq!(judged(19), Verdict::Held(windows[0].clone()));
    assert_eq!(judged(20), Verdict::Free(None));
    assert!(!windows[0].overlaps(at(20), at(30)) && !windows[0].overlaps(at(0), at(10)));
    assert!(windows[0].overlaps(at(19), at(30)) && windows[0].overlaps(at(0), at(11)));
}

#[test]
fn a_released_window_holds_nobody() {
    let mut windows = [window("unix:bob", 10, 20)];
    windows[0].released_at = Some(at(12));
    assert_eq!(judge(&windows, "unix:alice", &rules(Builtin::Local), at(15)), Verdict::Free(None));
    assert_eq!(judge(&windows, "unix:bob", &rules(Builtin::Staging), at(15)), Verdict::Required(None));
}

#[test]
fn where_one_is_required_the_edge_is_the_first_of_both() {
    let judged = |windows: &[Window], now| judge(windows, "unix:alice", &rules(Builtin::Staging), at(now));
    assert_eq!(judged(&[], 0), Verdict::Required(None));
    let own = window("unix:alice", 10, 20);
    assert_eq!(judged(std::slice::from_ref(&own), 0), Verdict::Required(Some(own.clone())));
    assert_eq!(judged(std::slice::from_ref(&own), 10), Verdict::Free(Some(Edge::Own(own.clone(), at(20)))));
    // While somebody else's lasts: one's own that comes is waited for, none is not.
    let bob = window("unix:bob", 0, 5);
    assert_eq!(judged(&[bob.clone(), own.clone()], 2), Verdict::Held(bob.clone()));
    let none = judged(std::slice::from_ref(&bob), 2);
    assert!(none == Verdict::NoneOfOnesOwn(bob.clone()) && !none.passes());
    let coming = judged(std::slice::from_ref(&own), 0);
    assert!(coming.passes() && coming.passes_by(at(11)) && !coming.passes_by(at(10)));
    // Windows of one's own without a gap are one stretch; what begins at its end is not in it.
    let row = [own.clone(), window("unix:alice", 20, 30), window("unix:bob", 30, 40)];
    assert_eq!(judged(&row, 12), Verdict::Free(Some(Edge::Own(own.clone(), at(30)))));
    let gap = [own.clone(), window("unix:alice", 21, 30)];
    assert_eq!(judged(&gap, 12), Verdict::Free(Some(Edge::Own(own, at(20)))));
}

#[test]
fn what_is_reserved_keeps_the_rules() {
    let rules = Rules { lead_time: Duration::from_secs(60), ..rules(Builtin::SharedDev) };
    let place = |start, seconds| rules.place(&asked(start, seconds), at(0));
    assert_eq!(place(Start::In(Duration::from_secs(60)), 10).ok(), Some((at(60), at(70))));
    assert_eq!(place(Start::At(at(60)), 4 * 3600).ok(), Some((at(60), at(60 + 4 * 3600))));
    for (start, seconds, word) in [
        (Start::Now, 10, "at least 1m ahead"),
        (Start::At(at(59)), 10, "at least 1m ahead"),
        (Start::At(at(-1)), 10, "past"),
        (Start::At(at(60)), 0, "longer than nothing"),
        (Start::At(at(60)), 4 * 3600 + 1, "longer than the 4h"),
        (Start::At(at(400 * 86_400)), 10, "more than 366d"),
        (Start::In(Duration::MAX), 10, "out of range"),
    ] {
        let fault = place(start, seconds).expect_err(word);
        assert!(fault.reason == Reason::InvalidRequest && fault.message.contains(word), "{word}: {fault}");
        assert!(fault.hint.is_some(), "{fault}");
    }
    for reason in ["", "  ", &"x".repeat(501)] {
        let wish = Reservation { reason: reason.into(), ..asked(Start::At(at(60)), 10) };
        assert!(rules.place(&wish, at(0)).is_err(), "{reason:.10}");
    }
}

#[test]
fn an_end_moves_only_while_the_window_lasts() {
    let rules = rules(Builtin::SharedDev);
    let own = window("unix:alice", 10, 20);
    let extend = |window: &Window, to, now| rules.extend(window, at(to), at(now));
    assert!(extend(&own, 30, 15).is_ok() && extend(&own, 16, 15).is_ok() && extend(&own, 11, 0).is_ok());
    for (to, now) in [(15, 15), (10, 0), (9, 0), (30, 20), (10 + 4 * 3600 + 1, 15)] {
        assert!(extend(&own, to, now).is_err(), "to {to} at {now}");
    }
    assert!(extend(&Window { released_at: Some(at(12)), ..own }, 30, 15).is_err());
}

#[test]
fn a_running_change_of_somebody_else_is_given_notice() {
    let rules = rules(Builtin::Local);
    let change = |committing| Change {
        operation: Uuid::from_u128(7),
        verb: Verb::Run,
        principal: "unix:alice".into(),
        committing,
    };
    let begins = |committing, who, from| rules.beside(&[change(committing)], who, at(from), at(0));
    assert!(begins(false, "unix:alice", 0).is_ok() && begins(true, "unix:alice", 0).is_ok());
    assert!(begins(false, "unix:bob", 5).is_ok());
    for (committing, from) in [(false, 0), (false, 4), (true, 1_000)] {
        let fault = begins(committing, "unix:bob", from).expect_err("a change runs");
        assert_eq!(fault.reason, Reason::WindowConflict);
        assert!(fault.message.contains("unix:alice") && fault.metadata.contains_key("operation"), "{fault}");
    }
}

#[test]
fn refusals_name_holder_end_and_reason_or_the_command() {
    let rules = rules(Builtin::Staging);
    let bob = window("unix:bob", 10, 20);
    let fault = Verdict::Held(bob.clone()).refusal(&rules, "unix:alice").expect("refused");
    assert_eq!(fault.reason, Reason::WindowHeld);
    for word in ["unix:bob", "rehearsal", &bob.ends_at.to_string()] {
        assert!(fault.message.contains(word), "{fault}");
    }
    let fault = Verdict::Required(None).refusal(&rules, "unix:alice").expect("refused");
    assert_eq!(fault.reason, Reason::WindowRequired);
    let hint = fault.hint.unwrap_or_default();
    assert!(hint.contains("resetctl --target staging window reserve --for 45m --reason TEXT"), "{hint}");
    let many: Vec<Window> = (0..12).map(|n| window("unix:bob", n * 10, n * 10 + 10)).collect();
    let fault = overlaps(&rules, &many);
    assert!(fault.message.contains("and 2 more") && fault.metadata["overlapping"] == "12", "{fault}");
}
