//! What is said on the command line, and what is answered: nothing is silently ignored, and the answer says what to do.

use std::fs;

use harness::{Daemon, Migrations, Setup, TestTarget, commands::RUN, operations::asleep};
use serde_json::Value;

async fn daemon(target: &TestTarget) -> Daemon {
    Setup::of(target).listen("unix:socket").spawn().await
}

#[tokio::test]
async fn flags_that_would_be_ignored_are_usage_errors() {
    let target = TestTarget::migrated().await;
    let daemon = daemon(&target).await;
    for (line, words) in [
        ("run --terminate-sessions --confirm-destructive-reset RESET", "--terminate-sessions"),
        ("reset --jobs 2 --confirm-destructive-reset RESET", "--jobs"),
        ("--target staging audit list", "--target"),
        ("undo --chains ./migrations", "--chains"),
        ("undo --expect-chains ./migrations", "--expect-chains"),
        ("run --wait 5m", "--wait=5m"),
    ] {
        let out = daemon.ctl(line).await;
        assert!(out.expect(2).stderr.contains(words), "{words}\n{out}");
    }
    let rows = target.control_rows("SELECT count(*) FROM resetd.operation").await;
    assert_eq!(rows[0][0], "0");
    // The daemon refuses it as well, whoever asks.
    let asked = model::operation::Request {
        terminate_sessions: true,
        confirmation: Some("RESET".to_owned()),
        scope: Some(model::profile::Scope::ManagedSchemas),
        ..harness::request(model::operation::Verb::Run, &target)
    };
    let status = daemon.api().await.begin(&asked).await.expect_err("a contradiction");
    let fault = wire::decode_status(&status).unwrap();
    assert_eq!(fault.reason, model::fault::Reason::ScopeConflict, "{fault}");
}

#[tokio::test]
async fn without_a_verb_the_first_steps_are_shown() {
    let target = TestTarget::empty().await;
    let daemon = daemon(&target).await;
    let out = daemon.ctl("").await;
    assert!(out.expect(2).stderr.contains("resetctl run --dry-run"), "{out}");
    assert!(out.stderr.lines().count() < 16, "{out}");
    let wrong = daemon.ctl("run --nonsense").await;
    assert!(
        !wrong.expect(2).stderr.contains("--server <"),
        "no flag is needed that is said otherwise\n{wrong}"
    );
}

#[tokio::test]
async fn a_plan_is_data_and_goes_to_standard_output() {
    let target = TestTarget::migrated().await;
    let daemon = daemon(&target).await;
    for line in ["run --dry-run", "reset --dry-run", "migrate --dry-run", "run --dry-run --progress quiet"] {
        let out = daemon.ctl(line).await;
        out.expect(0);
        assert!(out.stdout.starts_with("Plan for ") && out.stdout.contains("Digest sha256:"), "{out}");
        assert!(!out.stderr.contains("Digest sha256:"), "once\n{out}");
    }
}

/// As root a folder cannot be made unwritable by its mode; nobody writes into `/proc`.
#[tokio::test]
async fn a_folder_that_cannot_be_written_does_not_stop_what_only_looks() {
    let target = TestTarget::migrated().await;
    let daemon = daemon(&target).await;
    let home = tempfile::tempdir().unwrap();
    let run = async |env: &[(&str, &str)], words: &[&str]| {
        let mut command = tokio::process::Command::new(harness::binary("resetctl"));
        command.current_dir("/proc").env_clear().env("PATH", "/usr/bin:/bin").envs(env.iter().copied());
        command.args(["--server", &daemon.address]).args(words);
        let output = harness::soon("resetctl", command.output()).await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let state = home.path().display().to_string();
    let (code, text) = run(&[("XDG_STATE_HOME", &state)], &["validate"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(fs::read_dir(home.path().join("resetctl/reports")).unwrap().count(), 1, "{text}");
    // Nowhere to keep it: what only looks goes on and says so, what changes something is told first.
    for env in [&[][..], &[("XDG_STATE_HOME", "/proc/none")]] {
        let (code, text) = run(env, &["validate"]).await;
        assert!(code == 0 && text.contains("THE REPORT IS NOT ON DISK"), "{code}\n{text}");
        let (code, text) = run(env, &RUN.split(' ').collect::<Vec<_>>()).await;
        assert!(code == 1 && text.contains("nothing was started"), "{code}\n{text}");
    }
}

#[tokio::test]
async fn a_denial_says_who_needs_what_and_the_lines_that_grant_it() {
    let target = TestTarget::migrated().await;
    let roles = "[[role]]\nprincipal = \"unix:*\"\ntargets = [\"*\"]\nrole = \"viewer\"\n";
    let daemon = Setup::of(&target).with(roles).listen("unix:socket").spawn().await;
    let out = daemon.ctl(RUN).await;
    let own = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
    for part in [
        "needs the role resetter",
        &target.name,
        &format!("unix:{own} has the role viewer"),
        "[[role]] principal =",
        &format!("targets = [\"{}\"], role = \"resetter\"", target.name),
    ] {
        assert!(
            out.expect(3).text("/error").contains(part) || out.text("/error_detail/hint").contains(part),
            "{part}\n{out}"
        );
    }
}

#[tokio::test]
async fn differing_chains_are_named_by_chain_and_file() {
    let target = TestTarget::migrated().await;
    let daemon = daemon(&target).await;
    let mine = Migrations::shipped();
    mine.revision("core/core_900.sql", "core_900", "core_001", "CREATE TABLE extra (n int)");
    let path = mine.path().display().to_string();
    let out = daemon.ctl_args(&["validate", "--expect-chains", &path]).await;
    out.refused("CHAINS_DIFFER");
    assert!(out.stderr.contains("core/core_900.sql: only here"), "{out}");
}

#[tokio::test]
async fn status_is_read_at_a_glance_and_says_what_goes_on() {
    let (target, chains) = (TestTarget::migrated().await, harness::operations::sleeping());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let running = daemon.ctl_spawn(RUN);
    asleep(&target).await;
    let out = daemon.ctl("status").await;
    let hex = |word: &str| word.len() >= 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    let digests = out.expect(0).stdout.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| hex(word));
    assert_eq!(digests.count(), 0, "{out}");
    assert!(out.stdout.contains("now        "), "what the operation does\n{out}");
    let json: Value = serde_json::from_str(&daemon.ctl("status --json").await.expect(0).stdout).unwrap();
    assert!(json["chains_fingerprint"].as_str().unwrap().starts_with("sha256:"), "{json}");
    assert!(json["progress"][&target.name]["text"].is_string(), "{json}");
    // Without an id: one is active.
    let out = daemon.ctl("operations cancel --reason enough").await;
    assert!(out.expect(0).stderr.contains(&target.name), "{out}");
    running.finish().await.expect(8);
    let out = daemon.ctl("operations cancel").await;
    assert!(out.expect(6).stderr.contains("no operation is active"), "{out}");
    let log = daemon.log();
    assert!(log.contains("operation begins") && log.contains("operation ends"), "{log}");
}

#[tokio::test]
async fn windows_say_their_state_to_scripts() {
    let target = TestTarget::migrated().await;
    let daemon = daemon(&target).await;
    for start in ["+2h", "+1m"] {
        let words = ["window", "reserve", "--for", "10m", "--start", start, "--reason", "why"];
        daemon.ctl_args(&words).await.expect(0);
    }
    let id = daemon.ctl("window reserve --for 30s --reason now").await.expect(0).stdout.trim().to_owned();
    let list: Value = serde_json::from_str(&daemon.ctl("window list --json").await.expect(0).stdout).unwrap();
    let states: Vec<&str> = list.as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["active", "to-come", "to-come"], "{list}");
    daemon.ctl(&format!("window release {id}")).await.expect(0);
    let list: Value =
        serde_json::from_str(&daemon.ctl("window list --all --json").await.expect(0).stdout).unwrap();
    assert!(list.as_array().unwrap().iter().any(|it| it["state"] == "released"), "{list}");
}

#[tokio::test]
async fn several_findings_are_a_list_and_said_once() {
    let target = TestTarget::migrated().await;
    // Two extensions that no server has.
    let chains = Migrations::shipped();
    let text = "-- revision: core_002\n-- revises: core_001\n-- requires-extension: no_such_a, no_such_b\nSELECT 1;\n";
    chains.write("core/core_002.sql", text);
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    for line in ["run --dry-run", RUN] {
        let out = daemon.ctl(line).await;
        for name in ["no_such_a", "no_such_b"] {
            let (screen, said) = (format!("{}{}", out.stdout, out.stderr), format!("{name}: chain core"));
            assert_eq!(screen.matches(&said).count(), 1, "{name}\n{out}");
        }
    }
}

/// A statement of a minute: a log is not silent for so long.
#[tokio::test]
async fn a_log_shows_life_while_one_statement_runs() {
    let (target, chains) = (TestTarget::migrated().await, harness::operations::sleeping());
    let daemon = Setup::of(&target).migrations(&chains).spawn().await;
    let running = daemon.ctl_spawn(RUN);
    running.said("still running, ").await;
    daemon.ctl("operations cancel @last").await.expect(0);
    running.finish().await.expect(8);
}
