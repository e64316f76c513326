//! What a person sees at a terminal, and the keys that they press.

use harness::{
    Daemon, Setup, Terminal, TestTarget,
    operations::{asleep, sleeping},
};

fn at(daemon: &Daemon, columns: usize, words: &str) -> Terminal {
    Terminal::start(
        daemon.folder(),
        &[("RESETCTL_SERVER", &daemon.address), ("TZ", "Asia/Tokyo")],
        columns,
        words,
    )
}

const CTRL_C: &str = "\x03";

#[tokio::test]
async fn ctrl_c_at_the_question_changes_nothing() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let before = target.state().await;
    let mut terminal = at(&daemon, 100, "run");
    terminal.shows("Type RESET").await;
    terminal.press(CTRL_C).await;
    let (code, text) = terminal.finish().await;
    assert_eq!(code, 130, "{text}");
    assert!(text.contains("Aborted. Nothing was changed."), "{text}");
    assert!(!text.contains("if the request arrived"), "{text}");
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn the_menu_reads_single_keys() {
    for (key, code, words) in [("d", 130, "detached"), ("c", 8, "CANCELLED")] {
        let (target, chains) = (TestTarget::migrated().await, sleeping());
        let daemon = Setup::of(&target).migrations(&chains).spawn().await;
        let mut terminal = at(&daemon, 100, "run --confirm-destructive-reset RESET");
        asleep(&target).await;
        terminal.press(CTRL_C).await;
        terminal.shows("[d]etach").await;
        // What is no choice is passed over; Enter is not needed.
        terminal.press("x").await;
        terminal.press(key).await;
        let (ended, text) = terminal.finish().await;
        assert_eq!(ended, code, "{text}");
        assert!(text.contains(words), "{text}");
        if key == "d" {
            daemon.ctl("operations cancel").await.expect(0);
        }
    }
}

#[tokio::test]
async fn ctrl_c_twice_detaches() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let mut terminal = at(&daemon, 60, "run --confirm-destructive-reset RESET");
    asleep(&target).await;
    terminal.press(CTRL_C).await;
    terminal.shows("[d]etach").await;
    terminal.press(CTRL_C).await;
    let (code, text) = terminal.finish().await;
    assert!(code == 130 && text.contains("the operation goes on"), "{code}\n{text}");
    daemon.ctl("operations cancel").await.expect(0);
}

/// Everything on one screen is in one zone, which is said.
#[tokio::test]
async fn a_person_sees_their_own_time_and_a_log_utc() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    daemon.ctl("window reserve --for 30m --start +1h --reason later").await.expect(0);
    daemon.ctl("validate").await.expect(0);
    for words in
        ["status", "operations list", "operations show @last", "targets", "window list", "report list"]
    {
        let (code, text) = at(&daemon, 200, words).finish().await;
        assert_eq!(code, 0, "{text}");
        assert!(!text.contains("Z ") && !text.contains("Z)") && !text.contains("UTC"), "{words}\n{text}");
    }
    let (_, text) = at(&daemon, 200, "operations show @last").finish().await;
    assert!(text.contains(" JST"), "{text}");
    let plain =
        daemon.ctl_with(&[("TZ", "Asia/Tokyo"), ("RESETCTL_SERVER", &daemon.address)], &["validate"]).await;
    assert!(!plain.expect(0).stderr.contains("JST") && plain.stderr.contains('Z'), "{plain}");
}

#[tokio::test]
async fn an_id_is_whole_at_every_width() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let id = daemon.ctl("validate").await.expect(0).text("/operation").to_owned();
    let window = daemon.ctl("window reserve --for 30m --reason why").await.expect(0).stdout.trim().to_owned();
    for columns in [40, 60, 100, 200] {
        for (words, id) in [("operations list", &id), ("window list", &window), ("status", &id)] {
            let (code, text) = at(&daemon, columns, words).finish().await;
            assert!(code == 0 && text.contains(id.as_str()), "{columns} {words}\n{text}");
        }
    }
}

#[tokio::test]
async fn colours_are_as_everywhere_else() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let server = ("RESETCTL_SERVER", daemon.address.as_str());
    let coloured = async |env: &[(&str, &str)], words: &[&str]| {
        let out = daemon.ctl_with(&[&[server], env].concat(), words).await;
        out.expect(0).stderr.contains('\x1b')
    };
    assert!(!coloured(&[], &["validate"]).await);
    for force in [("CLICOLOR_FORCE", "1"), ("FORCE_COLOR", "1")] {
        assert!(coloured(&[force], &["validate"]).await, "{force:?}");
        assert!(!coloured(&[force, ("NO_COLOR", "1")], &["validate"]).await, "{force:?}");
        assert!(!coloured(&[force], &["--color", "never", "validate"]).await, "{force:?}");
    }
    assert!(coloured(&[("NO_COLOR", "1")], &["--color=always", "validate"]).await);
}
