//! What others wrote is shown safely: nothing hidden in it reaches a terminal, a log or a file, and scripts lose nothing of it.

use std::fs;

use harness::{Migrations, Setup, TestTarget, commands::RUN};
use serde_json::Value;

/// Turns the direction, isolates, ends lines and paragraphs, begins control sequences, deletes, is not seen.
const NASTY: &str =
    "a\u{202e}b\u{2066}c\u{2028}d\u{2029}e\u{9b}2Jf\u{7f}g\u{85}h\u{200b}i\u{feff}j\u{1b}[31mk\u{e0041}l";

/// By hand, apart from the code: what must not be there as it is.
fn hidden(c: char) -> bool {
    match u32::from(c) {
        0xa => false,
        0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0xfeff | 0xe0000..=0xe0fff => true,
        0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f => true,
        _ => false,
    }
}

#[track_caller]
fn safe(what: &str, text: &str) {
    let found: Vec<String> =
        text.lines().filter(|line| line.contains(hidden)).map(|l| format!("{l:?}")).collect();
    assert!(found.is_empty(), "{what}\n{}", found.join("\n"));
}

/// Somebody's object outside, a label, a reason, a comment in a finding, and the message of a revision that fails.
#[tokio::test]
async fn nothing_hidden_is_shown_and_nothing_is_lost() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    target
        .sql(&format!(
            "CREATE SCHEMA theirs; CREATE VIEW theirs.\"{NASTY}\" AS SELECT key FROM general.state"
        ))
        .await;
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let label = format!("note={}", NASTY.replace('\u{1b}', ""));
    for mode in ["plain", "json", "tty"] {
        let words = ["run", "--dry-run", "--label", &label, "--progress", mode];
        let out = daemon.ctl_args(&words).await;
        safe(mode, &out.expect(0).stderr);
        safe(mode, &out.stdout);
        assert!(
            out.stderr.contains("u{202e}") || out.stderr.contains("u202e"),
            "it is there, written out\n{out}"
        );
        let bytes = fs::read_to_string(out.report_path.as_ref().unwrap()).unwrap();
        safe("the report", &bytes);
        let outside = out.at("/plan/outside").to_string();
        assert!(outside.contains('\u{202e}') && outside.contains('\u{e0041}'), "nothing is lost\n{outside}");
        assert_eq!(out.text("/labels/note"), &label[5..], "{out}");
        let again = daemon.ctl(&format!("report get {}", out.text("/operation"))).await;
        assert_eq!(again.expect(0).stdout, bytes, "the same bytes");
    }
    let id = target.control_rows("SELECT id FROM resetd.operation LIMIT 1").await[0][0].clone();
    for line in ["operations list", &format!("operations show {id}"), "status", "targets"] {
        safe(line, &daemon.ctl(line).await.expect(0).stdout);
        let out = daemon.ctl(&format!("{line} --json")).await;
        safe(line, &out.expect(0).stdout);
        let value: Value = serde_json::from_str(&out.stdout).unwrap();
        assert!(value.to_string().contains('\u{202e}'), "scripts read what was said\n{value}");
    }
    let reason = format!("why {}", NASTY.replace('\u{1b}', ""));
    let out = daemon.ctl_args(&["window", "reserve", "--for", "5m", "--reason", &reason]).await;
    safe("a window", &out.expect(0).stderr);
    for line in ["window list", "window list --json", "status", "status --json"] {
        safe(line, &daemon.ctl(line).await.expect(0).stdout);
    }
    daemon.ctl("window release").await.expect(0);

    target.sql("DROP SCHEMA theirs CASCADE").await;
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = 'no ' || chr(8238) || 'etadpu' || chr(155) || chr(10) || 'x'; END $$;",
    );
    for mode in ["plain", "json"] {
        let out = daemon.ctl(&format!("{RUN} --progress {mode}")).await;
        safe("an error", &out.expect(1).stderr);
        assert!(out.text("/error").contains('\u{202e}'), "{out}");
    }
    safe("the log", &daemon.log());
}
