//! The pages that people follow from the top: every shell block, as printed and in order, with the real programs.
//!
//! A block that serves stands for a terminal of its own: it runs in the background until the page ends. Two things are not as a
//! reader has them: cargo hands out the programs that this suite was built with, and port 7443 is one that is free.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use harness::binary;
use tempfile::TempDir;
use tokio::{process::Command, time};

/// Longer than any page takes on a busy machine.
const PATIENCE: time::Duration = time::Duration::from_secs(300);

/// A block of shell commands: its first line in the page, and its text.
#[derive(Debug, Eq, PartialEq)]
struct Block {
    line: usize,
    text: String,
}

impl Block {
    /// A daemon in the foreground: a terminal of its own.
    fn serves(&self) -> bool {
        self.text.lines().any(|line| line.contains("resetd serve") && !line.trim_end().ends_with('&'))
    }
}

/// The shell blocks of a page: fenced ones named `sh`, and indented ones.
fn blocks(page: &str) -> Vec<Block> {
    let (mut found, mut open, mut fence): (Vec<Block>, Option<Block>, Option<bool>) =
        (Vec::new(), None, None);
    for (line, text) in (1..).zip(page.lines()) {
        let code = match (text.strip_prefix("```"), fence) {
            (Some(name), None) => {
                fence = Some(name == "sh");
                None
            }
            (Some(_), Some(_)) => {
                fence = None;
                None
            }
            (None, Some(is_shell)) => is_shell.then_some(text),
            (None, None) => text.strip_prefix("    ").or((open.is_some() && text.is_empty()).then_some("")),
        };
        match code {
            Some(code) => {
                let block = open.get_or_insert(Block { line, text: String::new() });
                block.text.push_str(code);
                block.text.push('\n');
            }
            None => found.extend(open.take()),
        }
    }
    found.extend(open);
    found
}

/// One script of all blocks. What serves is waited for by the line of its log that says so.
fn script(name: &str, blocks: &[Block]) -> String {
    let mut script = "set -eu\n".to_owned();
    for (number, Block { line, text }) in (1..).zip(blocks) {
        let marker = format!("echo '== {name}:{line}'\n");
        let log = format!("\"$LOGS/{number}.log\"");
        script.push_str(&match blocks[number - 1].serves() {
            false => format!("{marker}{text}"),
            true => format!(
                "{marker}( {text} ) >{log} 2>&1 &\n\
                 until grep -q ' listening ' {log}; do kill -0 $! || {{ cat {log}; exit 1; }}; sleep 0.1; done\n"
            ),
        });
    }
    script
}

/// A clone, as a reader has it, with a home folder and nothing built.
struct Clone {
    folder: TempDir,
}

impl Clone {
    fn new() -> Self {
        let it = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        // As root, PostgreSQL runs as another user.
        fs::set_permissions(it.folder.path(), fs::Permissions::from_mode(0o755)).expect("its owner");
        for folder in ["home", "logs", "tmp", "bin", "clone", "built/debug", "built/release"] {
            fs::create_dir_all(it.path(folder)).expect("a folder");
        }
        fs::set_permissions(it.path("tmp"), fs::Permissions::from_mode(0o1777)).expect("its owner");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned();
        for entry in fs::read_dir(&root).expect("the workspace") {
            let name = entry.expect("an entry").file_name();
            if !["target", ".git", ".tmp"].map(Into::into).contains(&name) {
                symlink(root.join(&name), it.path("clone").join(&name)).expect("a link");
            }
        }
        // A folder elsewhere, as people have it whose disk is small.
        symlink(it.path("built"), it.path("clone/target")).expect("a link");
        for program in ["resetd", "resetctl"] {
            for profile in ["debug", "release"] {
                symlink(binary(program), it.path(&format!("built/{profile}/{program}"))).expect("a link");
            }
        }
        let cargo = format!(
            "#!/bin/sh\n[ \"$1\" != --version ] || echo 'cargo {}'\n",
            env!("CARGO_PKG_RUST_VERSION")
        );
        fs::write(it.path("bin/cargo"), cargo).expect("a file");
        fs::set_permissions(it.path("bin/cargo"), fs::Permissions::from_mode(0o755)).expect("its owner");
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script as a login shell of nobody in particular would; what it said, and whether it went well.
    async fn run(&self, script: &str) -> (String, bool) {
        let path = format!(
            "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.path("bin").display()
        );
        let file = self.path("script");
        // The daemons end with the script, however it ends.
        fs::write(&file, format!("trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{script}"))
            .expect("a file");
        let mut command = Command::new("bash");
        command.arg(&file).current_dir(self.path("clone")).env_clear().env("PATH", path);
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp")).env("LOGS", self.path("logs"));
        let said = fs::File::create(self.path("said")).expect("a file");
        command
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("a file"))
            .stderr(said)
            .kill_on_drop(true);
        let status = time::timeout(PATIENCE, command.status()).await;
        let said = fs::read_to_string(self.path("said")).expect("text");
        let status = status.unwrap_or_else(|_| panic!("the page does not end\n{said}")).expect("bash");
        (said, status.success())
    }
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Everything that was said while a page was followed, the daemons' logs last.
async fn follow(name: &str) -> String {
    follow_with(name, &[]).await
}

/// The same, and then these scripts, each in a shell of its own.
async fn follow_with(name: &str, then: &[String]) -> String {
    let clone = Clone::new();
    let blocks = blocks(&page(name));
    assert!(!blocks.is_empty(), "{name} has no blocks any more");
    let then: String = then.iter().map(|it| format!("(\nexport CI_COMMIT_SHA=1a2b3c\n{it}\n)\n")).collect();
    let script = (script(name, &blocks) + &then).replace("7443", &free_port().to_string());
    let (said, good) = clone.run(&script).await;
    assert!(good, "{said}");
    let left: Vec<_> =
        fs::read_dir(clone.path("tmp")).expect("a folder").flatten().map(|e| e.path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new(), "left behind by {name}");
    let logs = fs::read_dir(clone.path("logs")).expect("a folder").flatten();
    logs.map(|log| fs::read_to_string(log.path()).expect("text")).fold(said, |all, log| all + &log)
}

#[tokio::test]
async fn the_readme_runs_from_the_top() {
    follow("README.md").await;
}

#[tokio::test]
async fn the_tutorial_runs_from_the_top() {
    let said = follow("docs/tutorial.md").await;
    for code in [1, 7, 8, 9] {
        assert_eq!(said.matches(&format!("\nexit code {code}\n")).count(), 1, "exit code {code}\n{said}");
    }
}

#[tokio::test]
async fn the_page_about_pipelines_runs_from_the_top() {
    let text = page("docs/pipelines.md");
    let jobs = jobs(&text);
    assert_eq!(jobs.len(), 4, "{jobs:#?}");
    let said = follow_with("docs/pipelines.md", &jobs).await;
    assert!(said.contains("\nreset and valid\n") && said.contains("\nstart the services\n"), "{said}");
    assert_eq!(said.matches("::notice title=run of butlers%3A succeeded").count(), 1, "{said}");
    assert_eq!(said.matches("::notice title=migrate (dry run) of butlers").count(), 1, "{said}");
}

/// What a runner does of the jobs in a page's YAML blocks: scripts as they stand, and the action by its own script, each in a
/// shell of its own. A secret is a variable, and empty where there is none.
fn jobs(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in page.split("```yaml\n").skip(1) {
        let lines: Vec<&str> = block.split("```").next().unwrap_or_default().lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let below = || deeper(line, &lines[at + 1..]);
            match line.trim().trim_start_matches("- ") {
                "script:" => {
                    let each = below();
                    found.push(each.iter().map(|it| format!("{}\n", it.trim_start_matches("- "))).collect());
                }
                "run: |" => found.push(below().join("\n")),
                it if it.starts_with("uses:") && it.ends_with("dist/github-action") => {
                    let with = below();
                    let inputs = with.iter().filter_map(|it| it.trim().split_once(": "));
                    let inputs = inputs.filter(|(name, _)| *name != "id");
                    found.push(inputs.map(input).collect::<String>() + "bash dist/github-action/run.sh");
                }
                _ => {}
            }
        }
    }
    found
}

/// An input as the runner hands it over.
fn input((name, value): (&str, &str)) -> String {
    let name = name.to_uppercase().replace('-', "_");
    let secret = value.strip_prefix("${{ secrets.").and_then(|it| it.strip_suffix(" }}"));
    match secret {
        Some(secret) => format!("export INPUT_{name}=\"${{{secret}:-}}\"\n"),
        None => format!("export INPUT_{name}='{value}'\n"),
    }
}

/// The lines that stand deeper than this one, without what they have in common.
fn deeper<'a>(line: &str, after: &[&'a str]) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    // What follows a dash stands at its own depth.
    let own = depth(line);
    let block: Vec<&str> = after.iter().copied().take_while(|it| depth(it) > own).collect();
    let common = block.iter().map(|it| depth(it)).min().unwrap_or_default();
    block.iter().map(|it| &it[common..]).collect()
}

#[tokio::test]
async fn the_page_about_remote_clients_runs_from_the_top() {
    let said = follow("docs/remote.md").await;
    assert!(said.contains("token:deploy"), "the operation ran as the token's owner\n{said}");
    assert!(!said.contains("rsd_"), "the token is never shown\n{said}");
}

#[test]
fn blocks_are_cut_and_joined_in_order() {
    let text = "a\n\n    one\n\n    two\n\ntext\n```toml\nno\n```\n```sh\nresetd serve \\\n  --x\nfour &\n```\n\n    resetd serve &\n";
    let found = blocks(text);
    let shown: Vec<_> = found.iter().map(|b| (b.line, b.text.trim_end(), b.serves())).collect();
    let serve = (12, "resetd serve \\\n  --x\nfour &", true);
    assert_eq!(shown, [(3, "one\n\ntwo", false), serve, (17, "resetd serve &", false)]);
}

#[tokio::test]
async fn a_block_that_fails_fails_its_page() {
    let clone = Clone::new();
    for (text, good) in [("true", true), ("false\ntrue", false), ("echo \"$unset\"", false)] {
        let block = Block { line: 1, text: format!("{text}\n") };
        let (said, went_well) = clone.run(&script("x.md", &[block])).await;
        assert_eq!(went_well, good, "{text}: {said}");
    }
    let serves = Block { line: 1, text: "exit 3; resetd serve\n".to_owned() };
    let (said, good) = clone.run(&script("x.md", &[serves])).await;
    assert!(!good, "{said}");
}
