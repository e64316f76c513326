//! What a chain makes PostgreSQL say does not become the daemon's memory: rows, notices and errors of any size.

use harness::{Daemon, Migrations, Setup, TestTarget, commands::RUN};

/// How much more than at its start the daemon may have had at its most, in KiB.
const ROOM: u64 = 96 * 1024;

/// The most memory that the daemon ever had, in KiB.
async fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid().await)).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Beside the harness's capture, so that a run shows what was measured.
fn say(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").expect("standard error is open");
}

#[tokio::test]
async fn a_huge_answer_ends_the_revision_and_not_the_daemon() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let before = target.state().await;
    for tcp in [false, true] {
        chains.restore();
        let setup = Setup::of(&target).migrations(&chains);
        let daemon = if tcp { setup.over_tcp(&target) } else { setup }.spawn().await;
        daemon.ctl("validate").await.expect(0);
        let first = peak(&daemon).await;
        for (sql, line, statement) in [
            ("SELECT 1;\nSELECT repeat('x', 300000000);", 5, "SELECT repeat"),
            ("DO $$ BEGIN RAISE EXCEPTION '%', repeat('x', 70000000); END $$;", 4, "DO $$"),
            ("DO $$ BEGIN RAISE WARNING '%', repeat('x', 70000000); END $$;", 4, "DO $$"),
            (
                "CREATE TABLE t (a text);\nINSERT INTO t SELECT repeat('x', 200000000) RETURNING a;",
                5,
                "INSERT",
            ),
        ] {
            chains.revision("core/core_002.sql", "core_002", "core_001", sql);
            for verb in [RUN, "migrate"] {
                let out = daemon.ctl(verb).await;
                out.refused("REVISION_FAILED");
                assert!(out.text("/error").contains("more than 16 MiB at once"), "{out}");
                assert!(out.text("/error").contains(&format!("core/core_002.sql:{line}")), "{out}");
                assert!(out.text("/error_detail/statement").starts_with(statement), "{out}");
            }
        }
        assert_eq!(before, target.state().await);
        let most = peak(&daemon).await;
        say(&format!("rows of 300 MB, errors of 70 MB: {first} KiB at first, {most} KiB at most"));
        assert!(most < first + ROOM, "{first} KiB at first, {most} KiB at most");
    }
}

#[tokio::test]
async fn many_small_rows_are_no_large_one_and_long_texts_are_cut() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let first = peak(&daemon).await;
    // 200 MB, a kilobyte at a time; and a row of 8 MB, which is not too large.
    let rows = "SELECT repeat('x', 1000) FROM generate_series(1, 200000);\nSELECT repeat('x', 8000000);";
    chains.revision("core/core_002.sql", "core_002", "core_001", rows);
    daemon.ctl("migrate").await.expect(0);
    let before = target.state().await;
    // An error of a megabyte in each of its parts is told, cut.
    let sql = "DO $$ BEGIN RAISE EXCEPTION '%', repeat('é', 1000000) USING DETAIL = repeat('d', 1000000), HINT = repeat('h', \
               1000000); END $$;";
    chains.revision("core/core_003.sql", "core_003", "core_002", sql);
    let out = daemon.ctl("migrate").await;
    out.refused("REVISION_FAILED");
    for mark in ["… [cut: 2000000 bytes in all]", "… [cut: 1000000 bytes in all]"] {
        assert!(out.text("/error").contains(mark), "{}", out.text("/error").len());
    }
    let longest = target.control_rows("SELECT max(octet_length(body::text)) < 65536 FROM resetd.event").await;
    assert_eq!(longest, [["t"]]);
    let report = target.control_rows("SELECT max(octet_length(report)) < 131072 FROM resetd.operation").await;
    assert_eq!(report, [["t"]]);
    assert_eq!(before, target.state().await);
    let most = peak(&daemon).await;
    say(&format!("200 MB of small rows, an error of 4 MB: {first} KiB at first, {most} KiB at most"));
    assert!(most < first + ROOM, "{first} KiB at first, {most} KiB at most");
}
