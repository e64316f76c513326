//! What each mode prints where.

use model::{
    event::{EventKind, Finished, Progress},
    fault::{Fault, Reason, Status},
    operation::Outcome,
};
use uuid::Uuid;
use wire::Received;

use super::*;
use crate::scripted::Buffer;

fn received(sequence: u64, kind: EventKind) -> Received {
    Received {
        sequence,
        operation: Uuid::from_u128(7),
        at: "2026-01-02T03:04:05Z".parse().expect("a time"),
        code: kind.code().to_owned(),
        severity: kind.severity(),
        text: kind.text(),
        exit_code: kind.is_terminal().then_some(1),
        kind: Some(kind),
    }
}

fn shown(mode: ProgressMode) -> (String, String) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let io = Io::piped(
        Box::new(out.clone()),
        Box::new(err.clone()),
        Box::new(io::empty()),
        Environment::default(),
    );
    let mut screen = Screen::new(io);
    screen.progress(mode);
    screen.say("talk");
    screen.event(&received(1, EventKind::LockAcquired { shared: false, pid: 1 }));
    let progress = Progress { phase: "migrate".into(), done: 1, total: 9, current: "core_001".into() };
    screen.event(&received(0, EventKind::Progress(progress.clone())));
    screen.event(&received(0, EventKind::Progress(Progress { done: 2, ..progress })));
    screen.event(&received(0, EventKind::Heartbeat));
    let end = Finished {
        outcome: Outcome::Failed,
        status: Status::Error,
        summary: "failed".into(),
        report_sha256: String::new(),
        error: Some(Fault::new(Reason::RevisionFailed, "a statement failed")),
    };
    screen.finished(&received(2, EventKind::Finished(Box::new(end))), "run of t", None);
    screen.data(b"data\n").expect("written");
    (out.text(), err.text())
}

#[test]
fn data_alone_is_on_stdout_in_every_mode() {
    for mode in
        [ProgressMode::Auto, ProgressMode::Tty, ProgressMode::Plain, ProgressMode::Json, ProgressMode::Quiet]
    {
        let (out, err) = shown(mode);
        assert_eq!(out, "data\n", "{mode:?}");
        assert!(!err.contains('\x1b'), "no colour and no bar off a terminal: {err:?}");
        assert!(err.contains("REVISION_FAILED"), "{mode:?} shows errors: {err}");
    }
}

#[test]
fn plain_is_a_log_and_tells_what_only_moves_seldom() {
    let (_, err) = shown(ProgressMode::Plain);
    let lines: Vec<&str> = err.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "talk",
            "2026-01-02T03:04:05.000Z acquired exclusive lock",
            "2026-01-02T03:04:05.000Z migrate: 1/9 core_001"
        ]
    );
    assert!(lines[3].starts_with("✗ run of t failed"), "{err}");
}

#[test]
fn json_is_one_document_per_line_and_every_event_is_there() {
    let (_, err) = shown(ProgressMode::Json);
    let codes: Vec<String> = err
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect(l)["code"].as_str().expect("a code").to_owned())
        .collect();
    assert_eq!(
        codes,
        ["PROGRESS_VERSION", "CLIENT", "LOCK_ACQUIRED", "PROGRESS", "PROGRESS", "HEARTBEAT", "FINISHED"]
    );
}

#[test]
fn quiet_shows_the_error_only() {
    let (_, err) = shown(ProgressMode::Quiet);
    assert!(err.starts_with("✗ run of t failed") && !err.contains("talk"), "{err}");
}
