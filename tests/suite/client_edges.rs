//! The client where its surroundings give way: signals, a full disk, places that cannot be written, a reader that has gone.

use std::process::Stdio;

use harness::{
    Daemon, Output, Setup, Signal, Terminal, TestTarget, binary, eventually,
    operations::{asleep, sleeping},
    soon,
};
use tokio::process::Command;

const RUN: &str = "run --confirm-destructive-reset RESET";

/// A shell's line with the client in it: exit code, standard output and standard error.
async fn shell(daemon: &Daemon, line: &str) -> (i32, String, String) {
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(daemon.folder()).stdin(Stdio::null());
    command.env("RESETCTL", binary("resetctl")).env("RESETCTL_SERVER", &daemon.address);
    command.env("HOME", daemon.folder()).env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    let out = soon(line, command.output()).await.expect("bash");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

async fn end_of(target: &TestTarget) -> String {
    let sql = "SELECT coalesce(outcome, state) FROM resetd.operation ORDER BY created_at DESC LIMIT 1";
    target.control_rows(sql).await[0][0].clone()
}

/// A pipeline that is cancelled takes its operation along, and sees its end.
#[tokio::test]
async fn an_interrupt_cancels_where_that_was_said() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (target, chains) = (TestTarget::migrated().await, sleeping());
        let daemon = Setup::of(&target).migrations(&chains).spawn().await;
        let running = daemon.ctl_spawn(&format!("{RUN} --on-interrupt cancel"));
        asleep(&target).await;
        running.signal(signal);
        let out = running.finish().await;
        assert_eq!(out.expect(8).text("/error_detail/reason"), "CANCELLED", "{out}");
        let shown = daemon.ctl("operations show @last --json").await;
        assert!(shown.expect(0).stdout.contains("\"cancelled\""), "{shown}");
    }
}

/// Whoever is in a hurry interrupts once more, and the operation is cancelled all the same.
#[tokio::test]
async fn a_second_interrupt_does_not_wait_for_the_end() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let gone = async |out: Output| out.expect(130).stderr.contains("the operation goes on");
    let running = daemon.ctl_spawn(&format!("{RUN} --on-interrupt detach"));
    asleep(&target).await;
    running.signal(Signal::SIGINT);
    assert!(gone(running.finish().await).await);
    let watching = daemon.ctl_spawn("operations watch --on-interrupt cancel");
    watching.said("acquired").await;
    watching.signal(Signal::SIGTERM);
    watching.said("asked the daemon to cancel it").await;
    watching.signal(Signal::SIGTERM);
    let out = watching.finish().await;
    assert!([8, 143].contains(&out.code), "cancelled or left\n{out}");
    eventually("the operation is cancelled", || async {
        daemon.ctl("operations show @last --json").await.stdout.contains("\"cancelled\"")
    })
    .await;
}

#[tokio::test]
async fn what_was_said_is_not_asked_at_a_terminal() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let env = [("RESETCTL_SERVER", daemon.address.as_str())];
    let mut terminal = Terminal::start(daemon.folder(), &env, 100, &format!("{RUN} --on-interrupt cancel"));
    asleep(&target).await;
    terminal.press("\x03").await;
    let (code, text) = terminal.finish().await;
    assert!(code == 8 && !text.contains("[d]etach"), "{code}\n{text}");

    // --no-input never asks: what is missing is a usage error, at a terminal and off one.
    let (code, text) = Terminal::start(daemon.folder(), &env, 100, "--no-input run").finish().await;
    assert!(code == 2 && text.contains("--confirm-destructive-reset RESET is missing"), "{code}\n{text}");
    assert!(!text.contains("Type RESET"), "{text}");
    let out = daemon.ctl("--no-input undo").await;
    assert!(out.expect(2).stderr.contains("--confirm-destructive-reset RESET is missing"), "{out}");
    let out = daemon.ctl(&format!("--no-input target enroll {}", target.name)).await;
    assert!(out.expect(2).stderr.contains("--confirm-database DATABASE is missing"), "{out}");
    daemon.ctl("--no-input validate").await;
}

/// The disk is full when the report is written: the operation's end stands, and the report is still to be had.
#[tokio::test]
async fn a_disk_that_is_full_at_the_end_is_told_and_leaves_no_half_report() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    // No byte may be written to a file; the signal that comes with that is passed over.
    let line = format!("trap '' XFSZ; ulimit -f 0; exec \"$RESETCTL\" {RUN} --report-path reports/r.json");
    let (code, _, err) = shell(&daemon, &line).await;
    assert!(err.contains("THE REPORT IS NOT ON DISK") && err.contains("report get"), "{code}\n{err}");
    assert_eq!(code, 0, "the operation succeeded, and the profile does not want its report kept\n{err}");
    let left: Vec<_> = std::fs::read_dir(daemon.folder().join("reports")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.ctl("report get @last").await.expect(0);
    assert_eq!(end_of(&target).await, "succeeded");
}

#[tokio::test]
async fn a_report_that_can_go_nowhere_starts_nothing() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    std::fs::create_dir(daemon.folder().join("folder")).unwrap();
    let run = format!("\"$RESETCTL\" {RUN}");
    // A folder, a place where nothing can be made whoever asks, no home.
    for line in [
        format!("{run} --report-path folder"),
        format!("{run} --report-path /proc/none/r.json"),
        format!("env -u HOME {run}"),
        format!("HOME=/proc/none {run}"),
    ] {
        let (code, out, err) = shell(&daemon, &line).await;
        assert!(code == 1 && err.contains("REPORT_UNWRITABLE") && out.is_empty(), "{line}: {code}\n{err}");
        assert!(err.contains("nothing was started") && err.contains("--report-path"), "{line}\n{err}");
    }
    daemon.ctl("operations list").await.expect(0);
    assert_eq!(target.control_rows("SELECT count(*) FROM resetd.operation").await, [["0"]]);
    // What only reads goes on without a place for its report, and says so.
    let (code, _, err) = shell(&daemon, "env -u HOME \"$RESETCTL\" validate").await;
    assert!(code == 0 && err.contains("THE REPORT IS NOT ON DISK"), "{code}\n{err}");
}

#[tokio::test]
async fn a_reader_that_has_gone_and_a_closed_output_are_no_panic() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let (code, out, err) = shell(&daemon, "set -o pipefail; \"$RESETCTL\" explain | head -n1").await;
    assert_eq!((code, out.lines().count(), err.as_str()), (0, 1, ""));
    for line in ["\"$RESETCTL\" validate --report-path - >&- 2>/dev/null", "\"$RESETCTL\" validate 2>&-"] {
        assert_eq!(shell(&daemon, line).await.0, 0, "{line}");
    }
    let (code, _, err) = shell(&daemon, "\"$RESETCTL\" validate --format junit >/dev/full").await;
    assert!(code == 0 && err.contains("standard output cannot be written"), "{code}\n{err}");
    let (code, _, err) = shell(&daemon, "\"$RESETCTL\" operations list --json >/dev/full").await;
    assert!(code == 1 && err.contains("standard output cannot be written"), "{code}\n{err}");
}
