//! The action in `dist/github-action`: its script in a plain folder, as a runner calls it, and that its two files agree.

use std::{fs, path::Path, process::Stdio};

use harness::{Daemon, Setup, TestTarget, binary, soon};
use tokio::process::Command;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/github-action");

struct Step {
    code: i32,
    stdout: String,
    outputs: String,
    summary: String,
}

/// One step of a job.
async fn step(daemon: &Daemon, folder: &Path, inputs: &[(&str, &str)]) -> Step {
    let file = |name: &str| folder.join(name).display().to_string();
    let programs = binary("resetctl").parent().unwrap().display().to_string();
    let mut command = Command::new("bash");
    command.arg(format!("{HERE}/run.sh")).current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("PATH", format!("{programs}:/usr/bin:/bin")).env("HOME", folder).env("RUNNER_TEMP", folder);
    command.env("GITHUB_OUTPUT", file("outputs")).env("GITHUB_STEP_SUMMARY", file("summary"));
    command.env("GITHUB_SHA", "1a2b3c").env("INPUT_SERVER", &daemon.address);
    command.envs(inputs.iter().map(|(name, value)| (format!("INPUT_{name}"), *value)));
    let out = soon("the action's script", command.output()).await.unwrap();
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let (outputs, summary) = (text("outputs"), text("summary"));
    for name in ["outputs", "summary"] {
        let _gone = fs::remove_file(folder.join(name));
    }
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    Step { code: out.status.code().unwrap_or(-1), stdout, outputs, summary }
}

#[tokio::test]
async fn the_actions_script_runs_and_hands_over_what_a_job_goes_on_with() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let work = tempfile::tempdir().unwrap();
    let run = [("COMMAND", "run"), ("CONFIRM", "RESET"), ("TARGET", target.name.as_str()), ("WAIT", "1m")];
    let done = step(&daemon, work.path(), &run).await;
    assert_eq!(done.code, 0, "{}", done.stdout);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(work.path().join("resetd-report.json")).unwrap()).unwrap();
    let operation = report["operation"].as_str().unwrap();
    assert_eq!(done.outputs, format!("exit-code=0\noperation={operation}\nreport=resetd-report.json\n"));
    assert_eq!(report["labels"]["commit"], "1a2b3c");
    assert!(
        done.stdout.contains("::notice title=run of ") && done.summary.contains(operation),
        "{}",
        done.stdout
    );

    // What is missing is told, nothing is asked, and the code is the client's.
    let refused = step(&daemon, work.path(), &[("COMMAND", "run")]).await;
    assert_eq!(refused.code, 2, "{}", refused.stdout);
    assert!(refused.outputs.starts_with("exit-code=2\n"), "{}", refused.outputs);
    // Nothing of an input is a command, and a secret is masked before anything is said.
    let hostile = "$(touch pwned); `touch pwned`\nrun";
    let inputs = [
        ("COMMAND", hostile),
        ("TARGET", "$(touch pwned)"),
        ("TOKEN", "rsd_secret"),
        ("REPORT_PATH", "a b.json"),
    ];
    let hostile = step(&daemon, work.path(), &inputs).await;
    assert_eq!(hostile.code, 2, "{}", hostile.stdout);
    assert!(hostile.stdout.starts_with("::add-mask::rsd_secret\n"), "{}", hostile.stdout);
    assert!(!work.path().join("pwned").exists());
    let differs = step(&daemon, work.path(), &[("COMMAND", "validate"), ("EXPECT_CHAINS", ".")]).await;
    assert!(differs.code != 0 && differs.outputs.contains("exit-code="), "{}", differs.stdout);
}

/// Every input is handed over as a variable, and every variable of the script is an input.
#[test]
fn the_actions_two_files_agree() {
    let (action, script) = (
        fs::read_to_string(format!("{HERE}/action.yml")).unwrap(),
        fs::read_to_string(format!("{HERE}/run.sh")).unwrap(),
    );
    let section =
        |from: &str, to: &str| action.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned();
    let names = |text: &str| -> Vec<String> {
        let keys = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        keys.map(|line| line.trim().trim_end_matches(':').to_owned()).collect()
    };
    let inputs = names(&section("inputs:\n", "outputs:\n"));
    assert_eq!(inputs.len(), 10, "{inputs:?}");
    for input in &inputs {
        let variable = format!("INPUT_{}", input.to_uppercase().replace('-', "_"));
        assert!(action.contains(&format!("{variable}: ${{{{ inputs.{input} }}}}\n")), "{input}");
        assert!(script.contains(&format!("{{{variable}")), "{variable} is not used");
    }
    for output in names(&section("outputs:\n", "runs:\n")) {
        assert!(script.contains(&format!("\"{output}=$")), "{output} is not made");
    }
    let run = action.lines().filter(|line| line.trim_start().starts_with("run:"));
    assert!(run.clone().all(|line| !line.contains("${{")), "text of a script is no place for an input");
    assert_eq!(run.count(), 1);
}
