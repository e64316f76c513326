//! Results for those who show many: exit codes of a dry run, JUnit for dashboards, annotations for GitHub.

use std::{fs, process::Stdio};

use harness::{Migrations, Output, Setup, TestTarget, soon};
use tokio::{io::AsyncWriteExt as _, process::Command};

const RUN: &str = "run --confirm-destructive-reset RESET";

/// A dry run that is asked for it tells by its code what the real run would do.
#[tokio::test]
async fn a_dry_run_tells_by_its_code_whether_something_would_change() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    daemon.ctl("migrate --dry-run").await.expect(0);
    daemon.ctl("migrate --dry-run --detailed-exitcode").await.expect(13);
    daemon.ctl("migrate").await.expect(0);
    daemon.ctl("migrate --dry-run --detailed-exitcode").await.expect(0);
    daemon.ctl("run --dry-run --detailed-exitcode").await.expect(13);
    daemon.ctl("run --dry-run").await.expect(0);
    // What would be refused ends with the reason's code.
    target.sql("CREATE VIEW public.depends AS SELECT * FROM general.state").await;
    daemon.ctl("run --dry-run").await.expect(0);
    let refused = daemon.ctl("run --dry-run --detailed-exitcode").await;
    assert!(refused.expect(4).stderr.contains("BLAST_RADIUS"), "{refused}");
    let usage = daemon.ctl("migrate --detailed-exitcode").await;
    assert!(usage.expect(2).stderr.contains("--dry-run"), "{usage}");
}

/// What the schema's rules say of a document, and its suites: name, tests, failures, errors.
async fn junit(out: &Output) -> Vec<String> {
    let script = format!("{}/python/junit.py", env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python can be run");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(out.stdout.as_bytes()).await.expect("it reads");
    drop(pipe);
    let said = soon("the schema's rules", child.wait_with_output()).await.expect("it ends");
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success(), "{text}\n{out}");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn junit_keeps_the_schemas_rules_whatever_happened() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let good = daemon.ctl("validate --format junit --label a=<&\">").await;
    let suites = junit(good.expect(0)).await;
    assert!(suites[0] == "operation 1 0 0" && suites[1].ends_with(" 0 0"), "{suites:?}");
    assert!(good.has_report(), "the report is kept as well\n{good}");

    let run = daemon.ctl(&format!("{RUN} --format junit")).await;
    let suites = junit(run.expect(0)).await;
    assert!(suites.iter().any(|it| it.starts_with("revisions ")), "{suites:?}");

    target.sql("DROP TABLE general.state").await;
    let differs = daemon.ctl("validate --format junit").await;
    let suites = junit(differs.expect(7)).await;
    assert!(suites[0] == "operation 1 1 0" && suites[1].ends_with(" 1 0"), "{suites:?}");
    assert!(differs.stdout.contains("type=\"MISSING_TABLE\""), "{differs}");

    let refused = daemon.ctl("run --format junit").await;
    assert_eq!(junit(refused.expect(4)).await, ["operation 1 0 1"], "{refused}");
    assert!(refused.stdout.contains("type=\"CONFIRMATION_MISSING\""), "{refused}");
    let both = daemon.ctl("validate --format junit --report-path -").await;
    assert!(both.expect(2).stderr.contains("standard output"), "{both}");
}

#[tokio::test]
async fn github_gets_the_file_and_the_line_and_a_summary() {
    let (target, chains) = (TestTarget::migrated().await, Migrations::shipped());
    // What a statement says is shown: it must not become a command.
    chains.revision(
        "core/core_002.sql",
        "core_002",
        "core_001",
        "\n\nSELECT '100%\n::warning::x' FROM nowhere;",
    );
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let summary = daemon.folder().join("summary.md");
    fs::write(&summary, "# another step\n").unwrap();
    let path = summary.display().to_string();
    let here = daemon.folder().join("migrations/core");
    fs::create_dir_all(&here).unwrap();
    fs::write(here.join("core_002.sql"), "here").unwrap();
    let env = [("RESETCTL_SERVER", daemon.address.as_str()), ("GITHUB_STEP_SUMMARY", path.as_str())];
    let words: Vec<&str> = RUN.split(' ').chain(["--format", "github"]).collect();
    let out = daemon.ctl_with(&env, &words).await;
    let line = out.expect(1).at("/error_detail/line").as_u64().unwrap();
    let commands: Vec<&str> = out.stdout.lines().collect();
    let [command] = commands[..] else { panic!("one command\n{out}") };
    let at = format!("file=migrations/core/core_002.sql,line={line}::REVISION_FAILED: ");
    assert!(command.starts_with("::error title=") && command.contains(&at), "{command}");
    let text = fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("# another step\n### ⛔ run of "), "{text}");
    assert!(text.contains("REVISION\\_FAILED") && !text.contains("\n::"), "{text}");

    chains.remove("core/core_002.sql");
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let good = daemon.ctl("validate --format github").await;
    assert!(good.expect(0).stdout.starts_with("::notice title=validate of "), "{good}");
    assert_eq!(fs::read_to_string(&summary).unwrap(), text, "no variable, no summary");
    let nowhere = [("RESETCTL_SERVER", daemon.address.as_str()), ("GITHUB_STEP_SUMMARY", "/proc/none/x")];
    let out = daemon.ctl_with(&nowhere, &["validate", "--format", "github"]).await;
    assert!(out.expect(0).stderr.contains("summary cannot be written to /proc/none/x"), "{out}");
}
