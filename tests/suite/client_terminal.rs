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

/// What a terminal shows at last of each line: without colours, and without what was drawn over.
fn lines(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                rest.by_ref().find(|c| c.is_ascii_alphabetic());
            }
            c => plain.push(c),
        }
    }
    let last = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
    plain.split('\n').map(last).collect()
}

fn wide(lines: &[String], columns: usize) -> Vec<&String> {
    // A path has no place where it could be broken.
    lines.iter().filter(|line| line.chars().count() > columns && !line.contains('/')).collect()
}

/// Steps with their times and counts, and at the end one block: at every width, and nothing is cut that one copies.
#[tokio::test]
async fn a_person_follows_steps_and_reads_one_block_at_the_end() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    for columns in [40, 60, 100, 200] {
        let terminal = at(&daemon, columns, "run --confirm-destructive-reset RESET");
        let (code, text) = terminal.finish().await;
        assert_eq!(code, 0, "{text}");
        let shown = lines(&text);
        let has = |words: &str| shown.iter().any(|line| line.contains(words));
        for words in ["· reset", "tables set aside", "· migrate", "core is at core_001", "succeeded"] {
            assert!(has(words), "{columns}: {words}\n{text}");
        }
        let end = shown.iter().position(|line| line.contains("succeeded")).unwrap();
        for label in ["  took:", "  slowest:", "  undo:", "  operation:", "  report:"] {
            assert!(shown[end..].iter().any(|line| line.starts_with(label)), "{columns}: {label}\n{text}");
        }
        assert!(shown[end..].join("\n").contains(" JST"), "{text}");
        let id = daemon.ctl("operations show @last --json").await;
        let id: serde_json::Value = serde_json::from_str(&id.expect(0).stdout).unwrap();
        let id = id["id"].as_str().unwrap();
        assert!(
            shown[end..].iter().any(|line| line.trim().ends_with(id)),
            "{columns}: {id} is whole\n{text}"
        );
        assert_eq!(wide(&shown, columns), Vec::<&String>::new(), "{columns}\n{text}");
    }
}

/// Nothing moves there, and nothing is coloured.
#[tokio::test]
async fn a_dumb_terminal_gets_lines_and_nothing_else() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let server = ("RESETCTL_SERVER", daemon.address.as_str());
    let (code, text) =
        Terminal::start(daemon.folder(), &[server, ("TERM", "dumb")], 80, "validate").finish().await;
    assert!(code == 0 && !text.contains('\x1b') && text.contains("took:"), "{text:?}");
    let (code, text) =
        Terminal::start(daemon.folder(), &[server, ("NO_COLOR", "1")], 80, "validate").finish().await;
    assert!(code == 0 && !text.contains("\x1b[3"), "{text:?}");
}

/// Right after a resize lines have the new width, and the bar is drawn ten times a second at most.
#[tokio::test]
async fn a_resize_counts_at_once_and_the_bar_is_calm() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let began = std::time::Instant::now();
    let mut terminal = at(&daemon, 100, "run --confirm-destructive-reset RESET");
    asleep(&target).await;
    terminal.resize(40).await;
    let before = terminal.text();
    terminal.press(CTRL_C).await;
    terminal.shows("[d]etach").await;
    terminal.press("c").await;
    let (code, text) = terminal.finish().await;
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(code, 8, "{text}");
    let after = lines(&text[before.len()..]);
    let end = after.iter().position(|line| line.contains("CANCELLED")).unwrap();
    assert_eq!(wide(&after[end..], 40), Vec::<&String>::new(), "{text}");
    assert!(after[end..].len() > 4, "{text}");
    // Each line that stays takes the bar away and draws it anew.
    let (drawn, stays) = (text.matches("\x1b[2K").count(), text.matches('\n').count());
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let moved = drawn.saturating_sub(2 * stays) as f64;
    assert!(moved <= 10.0 * seconds + 10.0, "{drawn} redraws and {stays} lines in {seconds} s");
}
