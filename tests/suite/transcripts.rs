//! The `console` blocks of the pages: each command is run as it stands, and what it prints is what the page says. `make docs`
//! sets RESETD_UPDATE_DOCS and writes the blocks anew.
//!
//! What is different each time (ids, points in time, how long something took, fingerprints, places) is replaced by what is
//! always the same, in the page and here.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Stdio};

use harness::{Daemon, Setup, TestTarget, binary, soon};
use tokio::process::Command;

/// The pages, and how many commands each has at least.
const PAGES: [(&str, usize); 1] = [("docs/examples.md", 18)];
/// Where a block begins.
const BEGIN: &str = "```console\n";

/// Runs the commands of pages, one after the other.
struct Scene {
    target: TestTarget,
    daemon: Daemon,
}

impl Scene {
    async fn new() -> Self {
        // A page calls it by a name that people use.
        let mut target = TestTarget::migrated().await;
        target.name = "staging".to_owned();
        let own =
            format!("unix:{}", nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name);
        let role = format!("[[role]]\nprincipal = \"{own}\"\ntargets = [\"*\"]\nrole = \"admin\"\n");
        let daemon = Setup::of(&target).listen("unix:socket").with(&role).spawn().await;
        // What a page says to psql goes to the target.
        let psql = format!("#!/bin/sh\nexec psql -qX '{}' \"$@\"\n", target.admin_url());
        fs::create_dir(daemon.folder().join("bin")).unwrap();
        let file = daemon.folder().join("bin/psql");
        fs::write(&file, psql.replace("exec psql", "PATH=$REAL exec psql")).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { target, daemon }
    }

    /// What a command prints, and its exit code where that is not 0.
    async fn run(&self, line: &str) -> String {
        let folder = self.daemon.folder();
        let programs = binary("resetctl").parent().unwrap().to_owned();
        let real = format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display());
        let mut command = Command::new("bash");
        command
            .args(["-c", &format!("exec 2>&1; {line}")])
            .current_dir(folder)
            .env_clear()
            .stdin(Stdio::null());
        command.env("PATH", format!("{}:{real}", folder.join("bin").display())).env("REAL", real);
        command.env("HOME", folder).env("RESETCTL_SERVER", &self.daemon.address);
        let out = soon(line, command.output()).await.unwrap();
        let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
        if let Some(code @ 1..) = out.status.code() {
            text.push_str(&format!("[exit code {code}]\n"));
        }
        self.same(&text)
    }

    /// What is always the same in place of what never is.
    fn same(&self, text: &str) -> String {
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let folder = self.daemon.folder().display().to_string();
        let text = text
            .replace(&self.daemon.address, "unix:/run/resetd/resetd.sock")
            .replace(&format!("{folder}/.local"), "/home/alice/.local")
            .replace(&format!("{folder}/.config"), "/home/alice/.config")
            .replace(&self.target.database, "butlers")
            .replace(&format!("unix:{user}"), "unix:alice");
        let lines: Vec<&str> = text.lines().filter(|line| !only_moves(line)).collect();
        let after: Vec<String> = lines.iter().map(|line| aligned(line, &same_line(line))).collect();
        let heads =
            |at: usize| lines.get(at + 1).is_some_and(|next| next.contains("  ") && *next != after[at + 1]);
        let title = |line: &str| line.chars().all(|c| c.is_ascii_uppercase() || c == ' ');
        let shown = after.iter().enumerate().map(|(at, line)| match heads(at) && title(line) {
            true => columns(line),
            false => line.clone(),
        });
        shown.map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

/// How far a step is: whether it is told depends on how busy the machine is.
fn only_moves(line: &str) -> bool {
    let step = line.split(' ').nth(2).and_then(|word| word.split_once('/'));
    let number = |text: &str| text.parse::<u32>().is_ok();
    line.contains("still running") || step.is_some_and(|(done, all)| number(done) && number(all))
}

/// A table's columns are of no use where its cells were replaced by longer or shorter ones.
fn aligned(before: &str, after: &str) -> String {
    if before == after || !before.contains("  ") { after.to_owned() } else { columns(after) }
}

/// The cells of a row with two spaces between them.
fn columns(row: &str) -> String {
    let indent = row.len() - row.trim_start().len();
    let cells = row.trim_start().split("  ").map(str::trim).filter(|cell| !cell.is_empty());
    format!("{}{}", &row[..indent], cells.collect::<Vec<_>>().join("  "))
}

/// The words of a line and what stands between them.
fn words(line: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-:._".contains(c);
    let (mut found, mut from) = (Vec::new(), 0);
    let chars: Vec<(usize, char)> = line.char_indices().collect();
    for pair in chars.windows(2) {
        if is_word(pair[0].1) != is_word(pair[1].1) {
            found.push(&line[from..pair[1].0]);
            from = pair[1].0;
        }
    }
    found.push(&line[from..]);
    found
}

/// A line with everything in it the same each time.
fn same_line(line: &str) -> String {
    let words = words(line);
    let number = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let gap = |at: Option<usize>| at.and_then(|at| words.get(at)).is_some_and(|it| it.starts_with("  "));
    let cell = |at: usize| gap(at.checked_sub(1)) && gap(Some(at + 1));
    let mut out = String::new();
    for (at, word) in words.iter().enumerate() {
        let (before, after) =
            (at.checked_sub(2).map_or("", |at| words[at]), words.get(at + 2).copied().unwrap_or_default());
        let unit = ["ms", "s", "KiB", "MiB"].contains(&after.trim_end_matches(['.', ',']));
        out.push_str(&match before {
            _ if number(word) && unit => "12".to_owned(),
            _ if after == "ago" => "2s".to_owned(),
            _ if *word == "now" && cell(at) => "2s ago".to_owned(),
            // What takes 900 ms on one machine takes 1.1 s on another.
            _ if number(before) && word.trim_end_matches(['.', ',']) == "s" => word.replace('s', "ms"),
            "transaction" if number(word) => "748".to_owned(),
            "PostgreSQL" if number(word) => "17.6".to_owned(),
            _ => same_word(word),
        });
    }
    out
}

fn same_word(word: &str) -> String {
    let hex = |text: &str, n: usize| text.len() == n && text.chars().all(|c| c.is_ascii_hexdigit());
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (core, end) = match word.strip_suffix([':', '.', ',']) {
        Some(core) => (core, &word[core.len()..]),
        None => (word, ""),
    };
    let parts: Vec<&str> = core.split('-').collect();
    let uuid =
        |parts: &[&str]| parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, n)| hex(part, n));
    let id = "0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f";
    let same = if uuid(&parts) {
        id.to_owned()
    } else if core.strip_prefix("sha256:").is_some_and(|rest| hex(rest, 64)) {
        format!("sha256:{}", "1a2b3c4d".repeat(8))
    } else if hex(core, 64) {
        "1a2b3c4d".repeat(8)
    } else if core.starts_with("resetd_kept_") {
        let name = core.splitn(4, '_').nth(3).unwrap_or_default();
        format!("resetd_kept_98c4dc0c0c07398f_{name}")
    } else if core.len() >= 10
        && parts.len() == 3
        && digits(&parts[0][..4.min(parts[0].len())])
        && core.contains("20")
    {
        match core {
            _ if core.contains('T') && core.ends_with('Z') => "2026-01-02T03:04:05Z".to_owned(),
            _ if core.contains('T') => "2026-01-02T03:04:05".to_owned(),
            _ => "2026-01-02".to_owned(),
        }
    } else if core.matches(':').count() == 2 && core.split(':').all(|part| digits(&part.replace('.', ""))) {
        "03:04:05".to_owned()
    } else if core.matches(':').count() == 1 && core.len() == 5 && core.split(':').all(digits) {
        // Seconds are left out where they are 0.
        "03:04:05".to_owned()
    } else if core.strip_suffix("ms").is_some_and(|n| digits(&n.replace('.', ""))) {
        "12ms".to_owned()
    } else if core.ends_with("json") && core.contains("Z-") {
        format!("20260102T030405.678Z-staging-{}-{id}.json", core.split('-').nth(2).unwrap_or("run"))
    } else {
        core.to_owned()
    };
    same + end
}

/// A page with its blocks written anew, and how many commands it has.
async fn written(scene: &Scene, page: &str) -> (String, usize) {
    let (mut out, mut rest, mut ran) = (String::new(), page, 0);
    while let Some(at) = rest.find(BEGIN) {
        let (before, block) = rest.split_at(at + BEGIN.len());
        out.push_str(before);
        let (block, after) = block.split_at(block.find("```").expect("a block ends"));
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            ran += 1;
            out.push_str(&format!("$ {line}\n{}", scene.run(line).await));
        }
        rest = after;
    }
    (out + rest, ran)
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says so, in the environment")]
#[tokio::test]
async fn the_pages_show_what_the_programs_print() {
    let update = std::env::var_os("RESETD_UPDATE_DOCS").is_some();
    for (name, commands) in PAGES {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let page = fs::read_to_string(&path).unwrap();
        let (now, ran) = written(&Scene::new().await, &page).await;
        assert!(ran >= commands, "{name} has only {ran} commands");
        if update {
            fs::write(&path, &now).unwrap();
            continue;
        }
        let (page, now): (Vec<&str>, Vec<&str>) = (page.lines().collect(), now.lines().collect());
        let first =
            page.iter().zip(&now).position(|(a, b)| a != b).or((page.len() != now.len()).then_some(0));
        if let Some(at) = first {
            let shown = |all: &[&str]| {
                all.iter().skip(at).take(8).fold(String::new(), |text, line| text + line + "\n")
            };
            panic!(
                "{name}:{}: run `make docs`\nthe page says\n{}\nit is\n{}",
                at + 1,
                shown(&page),
                shown(&now)
            );
        }
    }
}

#[test]
fn what_is_different_each_time_is_made_the_same() {
    let pairs = BTreeMap::from([
        (
            "operation 01a20e62-21ee-77e6-aeb8-4ef119ec22a9, x",
            "operation 0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f, x",
        ),
        (
            "2026-11-24T16:16:41.542Z general: core_001 (8 statements, 27 ms)",
            "2026-01-02T03:04:05Z general: core_001 (8 statements, 12 ms)",
        ),
        ("until 2026-11-25 16:21:32 UTC", "until 2026-01-02 03:04:05 UTC"),
        ("resetd_kept_ac5681bd6f208099_shared, recreated", "resetd_kept_98c4dc0c0c07398f_shared, recreated"),
    ]);
    for (text, expected) in pairs {
        assert_eq!(same_line(text), expected);
    }
}
