//! What helps on the way: completions with the daemon's names, man pages, and the name that was meant.

use std::{fs, process::Stdio, time::Instant};

use harness::{Daemon, Migrations, Output, Setup, TestTarget, soon};
use tokio::process::Command;

/// What bash is offered for the last word of a line.
async fn offered(daemon: &Daemon, env: &[(&str, &str)], line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let index = (words.len() - 1).to_string();
    let shell = [("RESETCTL_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", index.as_str())];
    let out = daemon.ctl_with(&[&shell, env].concat(), &[&["--"], &words[..]].concat()).await;
    assert_eq!(out.expect(0).stderr, "", "{out}");
    out.stdout.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn completions_know_targets_contexts_windows_operations_schemas_and_reasons() {
    let (one, two) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let daemon = Setup::of(&one).and(&two).start().await;
    let server = ("RESETCTL_SERVER", daemon.address.as_str());
    let target = |words: &str| words.replace("TARGET", &one.name);
    let validated = daemon.ctl(&target("--target TARGET validate")).await;
    let id = validated.expect(0).text("/operation").to_owned();
    let window = daemon.ctl(&target("--target TARGET window reserve --for 30m --reason why")).await;
    let window = window.expect(0).stdout.trim().to_owned();
    daemon.ctl("--target x context add lab").await.expect(0);

    let targets = offered(&daemon, &[server], "resetctl run --target ").await;
    assert!(targets.contains(&one.name) && targets.contains(&two.name), "{targets:?}");
    assert_eq!(
        offered(&daemon, &[server], &format!("resetctl target enroll {}", two.name)).await,
        std::slice::from_ref(&two.name)
    );
    for line in ["resetctl operations show ", "resetctl undo ", "resetctl report get ", "resetctl kept drop "]
    {
        let ids = offered(&daemon, &[server], line).await;
        assert!(ids.contains(&id) && ids.contains(&"@last".to_owned()), "{line}: {ids:?}");
    }
    assert!(offered(&daemon, &[server], "resetctl window release ").await.contains(&window));
    assert_eq!(offered(&daemon, &[server], "resetctl --context la").await, ["lab"]);
    let schemas = offered(&daemon, &[server], "resetctl reset --managed-schema gen").await;
    assert_eq!(schemas.iter().filter(|it| *it == "general").count(), schemas.len(), "{schemas:?}");
    assert!(!schemas.is_empty());
    assert_eq!(offered(&daemon, &[server], "resetctl explain TARGET_L").await, ["TARGET_LOCKED"]);
    assert_eq!(offered(&daemon, &[server], "resetctl migr").await, ["migrate", "migrations"]);
    // Whose daemon is asked stands on the line as well.
    let line = format!("resetctl --server {} undo --target ", daemon.address);
    assert!(offered(&daemon, &[], &line).await.contains(&one.name));
    // Nobody there, or nonsense: nothing, and at once.
    let began = Instant::now();
    for line in
        ["resetctl --server unix:/none run --target ", "resetctl --server :: undo ", "resetctl nonsense x "]
    {
        let names = offered(&daemon, &[], line).await;
        assert!(!names.contains(&one.name), "{line}: {names:?}");
    }
    assert!(began.elapsed().as_secs() < 30, "it waits for nobody");
}

/// bash runs the script, asks, and completes.
#[tokio::test]
async fn bash_completes_a_target_with_the_printed_script() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    let script = daemon.ctl("completions bash").await.expect(0).stdout.clone();
    let file = daemon.folder().join("completions");
    fs::write(&file, script).unwrap();
    let line = format!(
        "source '{}'; COMP_WORDS=(resetctl --target ''); COMP_CWORD=2; COMP_TYPE=9; \
         _clap_complete_resetctl resetctl '' --target; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let programs = harness::binary("resetctl").parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut command = Command::new("bash");
    command.args(["-c", &line]).env("PATH", path).env("RESETCTL_SERVER", &daemon.address);
    command.env("HOME", daemon.folder()).stdin(Stdio::null());
    let out = soon("bash", command.output()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.trim(), target.name, "{err}");
}

#[tokio::test]
async fn man_pages_are_written_and_troff_reads_them() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl("man --dir man1").await;
    let pages: Vec<&str> = out.expect(0).stdout.lines().collect();
    assert!(
        pages.contains(&"man1/resetctl.1") && pages.contains(&"man1/resetctl-operations-list.1"),
        "{out}"
    );
    for page in pages {
        let text = fs::read_to_string(daemon.folder().join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
        // An unknown request, or a line that begins with a dot by chance, is a warning.
        if let Ok(child) = Command::new("groff")
            .args(["-k", "-man", "-Tutf8", "-ww", "-z"])
            .arg(daemon.folder().join(page))
            .output()
            .await
        {
            assert_eq!(String::from_utf8_lossy(&child.stderr), "", "{page}");
        }
    }
    let one = daemon.ctl("man").await;
    assert!(one.expect(0).stdout.contains("resetctl\\-run(1)"), "{one}");
}

#[track_caller]
fn meant(out: &Output, code: u8, name: &str) {
    assert!(out.expect(code).stderr.contains(&format!("did you mean {name}")), "{out}");
}

#[tokio::test]
async fn a_slip_in_a_name_is_told_with_the_name_that_was_meant() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let slip = format!("{}x", target.name);
    for verb in ["validate", "window list", "run --dry-run", "operations list"] {
        let out = daemon.ctl(&format!("--target {slip} {verb}")).await;
        if out.code == 6 {
            meant(&out, 6, &format!("`{}`", target.name));
        } else {
            assert!(verb.ends_with("list"), "{out}");
        }
    }
    let schema = daemon.ctl("reset --managed-schema genral --confirm-destructive-reset RESET").await;
    meant(&schema, 2, "`general`");
    meant(&daemon.ctl("explain TARGET_LOKED").await, 2, "TARGET_LOCKED");
    let far = daemon.ctl("--target nothing-like-it validate").await;
    assert!(!far.expect(6).stderr.contains("did you mean"), "{far}");
}
