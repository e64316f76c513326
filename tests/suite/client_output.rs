//! Data for scripts: what is documented is what is printed, each noun the same wherever it stands.

use std::collections::{BTreeMap, BTreeSet};

use harness::{Daemon, Setup, TestTarget};
use serde_json::Value;

/// The documented keys of each noun.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../docs/output.md");
    let section = page.split("## One noun").nth(1).unwrap().split("## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let keys = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[0].to_owned(), keys)
    };
    rows.map(row).collect()
}

#[track_caller]
fn agrees(noun: &str, found: &Value) {
    let one = found.get(0).unwrap_or(found);
    let keys: BTreeSet<String> =
        one.as_object().unwrap_or_else(|| panic!("{noun}: {found}")).keys().cloned().collect();
    assert_eq!(documented().get(noun), Some(&keys), "{noun}");
}

async fn json(daemon: &Daemon, words: &str) -> Value {
    let out = daemon.ctl(&format!("{words} -o json")).await;
    serde_json::from_str(&out.expect(0).stdout).unwrap_or_else(|error| panic!("{error}\n{out}"))
}

#[tokio::test]
async fn every_noun_has_the_documented_keys_wherever_it_is_printed() {
    let target = TestTarget::migrated().await;
    let own = format!("unix:{}", nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name);
    let role = format!("[[role]]\nprincipal = \"{own}\"\ntargets = [\"*\"]\nrole = \"admin\"\n");
    let daemon = Setup::of(&target).listen("unix:socket").with(&role).start().await;
    daemon.ctl("validate").await.expect(0);
    daemon.ctl("run --confirm-destructive-reset RESET").await.expect(0);
    daemon.ctl("window reserve --for 30m --reason why").await.expect(0);
    daemon.ctl("token create deploy --output token").await.expect(0);
    daemon.ctl("--target x context add lab").await.expect(0);
    for (noun, words) in [
        ("operation", "operations list"),
        ("operation", "operations show @last"),
        ("target", "targets"),
        ("window", "window list"),
        ("status", "status"),
        ("cell", "migrations status"),
        ("chain", "migrations list"),
        ("context", "context list"),
        ("context", "context show lab"),
        ("step", "doctor"),
        ("caller", "whoami"),
        ("token", "token list"),
        ("audit record", "audit list"),
        ("gate", "gate"),
    ] {
        let found = match words {
            "gate" => json(&daemon, &format!("gate --chains {}", shipped())).await,
            _ => json(&daemon, words).await,
        };
        agrees(noun, &found);
    }
    let targets = json(&daemon, "targets").await;
    agrees("operation", &targets[0]["last_operation"]);
    agrees("window", &targets[0]["window"]);
    agrees("target", &json(&daemon, "status").await["targets"]);
    assert_eq!(json(&daemon, "targets").await[0]["name"], target.name.as_str());
    // YAML is the same document.
    let yaml = daemon.ctl("targets -o yaml").await;
    assert!(yaml.expect(0).stdout.contains(&format!("name: \"{}\"", target.name)), "{yaml}");
}

fn shipped() -> String {
    format!("{}/../migrations", env!("CARGO_MANIFEST_DIR"))
}

/// A reader that knows the page and nothing else.
#[tokio::test]
async fn progress_is_read_by_who_knows_only_the_page() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl("run --confirm-destructive-reset RESET --progress json").await;
    let lines: Vec<Value> = out
        .expect(0)
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert_eq!((&lines[0]["code"], &lines[0]["version"]), (&"PROGRESS_VERSION".into(), &1.into()), "{out}");
    let page = include_str!("../../docs/output.md");
    let section = page.split("## Progress, for scripts").nth(1).unwrap().split("## ").next().unwrap();
    let documented: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for line in &lines[1..] {
        let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, documented, "{line}");
    }
    let numbered: Vec<u64> =
        lines.iter().filter_map(|line| line["sequence"].as_u64().filter(|n| *n > 0)).collect();
    assert_eq!(numbered, (1..=numbered.len() as u64).collect::<Vec<_>>(), "without gaps");
    let events: Vec<&Value> = lines.iter().filter(|line| !line["operation"].is_null()).collect();
    assert_eq!(events.last().unwrap()["code"], "FINISHED");
    assert_eq!(events.iter().filter(|line| line["code"] == "FINISHED").count(), 1);
    // The first line is there whatever happens.
    let wrong = daemon.ctl("run --progress json").await;
    assert!(
        wrong.expect(4).stderr.starts_with("{\"sequence\":0") && wrong.stderr.contains("PROGRESS_VERSION"),
        "{wrong}"
    );
}
