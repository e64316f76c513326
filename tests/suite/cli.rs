//! The two programs at a shell: exit codes, what goes to which stream, what lies on disk afterwards, and that no password is
//! in any of it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use harness::{
    Because, Daemon, Make, Migrations, OTHER_DIGEST, Setup, TestTarget, binary, commands::RUN, eventually,
    operations::sleeping, soon,
};
use model::fault::Reason;
use serde_json::Value;
use tempfile::TempDir;

/// What came of a program.
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs a program of the workspace with nothing in its environment but what is given.
async fn program(folder: &Path, name: &str, words: &[&str], env: &[(&str, &str)]) -> Said {
    let mut command = tokio::process::Command::new(binary(name));
    command.current_dir(folder).args(words).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("HOME", folder).envs(env.iter().copied()).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon(&format!("the end of {name} {words:?}"), command.output()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Said {
    #[track_caller]
    fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// A loopback address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn operations(target: &TestTarget) -> String {
    target.control_rows("SELECT count(*) FROM resetd.operation").await[0][0].clone()
}

/// What the old script's flags said stands in the daemon's configuration; the error says where.
#[tokio::test]
async fn flags_of_the_old_script_are_told_where_their_values_belong() {
    let folder = TempDir::new().unwrap();
    for (flag, key) in [
        ("--butler-schema", "schemas of a [[matrix.NAME.chain]]"),
        ("--memory-schema", "schemas of a [[matrix.NAME.chain]]"),
        ("--core-table", "tables of a [[matrix.NAME.chain]]"),
        ("--memory-table", "tables of a [[matrix.NAME.chain]]"),
        ("--target-env", "database_url_env of a [target.NAME]"),
    ] {
        for words in [&["run", flag, "x"][..], &["validate", &format!("{flag}=x")]] {
            let out = program(folder.path(), "resetctl", words, &[]).await;
            assert!(out.expect(2).stderr.contains(key), "{words:?}\n{}", out.stderr);
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_wrong_command_line_is_exit_2_and_starts_nothing() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for words in [
        &[][..],
        &["rest"],
        &["run", "--nonsense"],
        &["run", "extra"],
        &["run", "--scope", "schemas"],
        &["run", "--confirm-destructive-reset"],
        &["run", "--timeout", "soon"],
        &["run", "--timeout", "0s"],
        &["run", "--wait=never"],
        &["run", "--progress", "loud"],
        &["run", "--label", "novalue"],
        &["run", "--label", "=x"],
        &["run", "--label", "a=1", "--label", "a=2"],
        &["run", "--detach", "--report-path", "x.json"],
        &["run", "--scope", "database", "--managed-schema", "general"],
        &["run", "--expect-chains", "sha256:12"],
        &["run", "--chains", "no/such/folder"],
        &["validate", "--dry-run"],
        &["validate", "--confirm-destructive-reset", "RESET"],
        &["migrate", "--scope", "database"],
        &["undo", "not-a-uuid"],
        &["operations"],
        &["operations", "list", "--limit", "0"],
        &["operations", "show", "7"],
        &["report", "get"],
        &["completions", "tcsh7"],
        &["--server", "http://10.0.0.1:50051", "status"],
        &["--server", "nonsense", "status"],
        &["--context", "nosuch", "status"],
    ] {
        let out = daemon.ctl_args(words).await;
        out.expect(2);
        assert!(!out.stderr.trim().is_empty(), "it says why\n{out}");
        assert!(out.stdout.is_empty(), "data has its own stream\n{out}");
    }
    assert_eq!(operations(&target).await, "0");
}

#[tokio::test]
async fn every_verb_has_its_help() {
    let folder = tempfile::tempdir().unwrap();
    let verbs = "reset|run|undo|migrate|validate|operations|operations list|operations show|operations watch|\
                 operations cancel|report|report get|status|targets|target|target enroll|explain|completions";
    for verb in verbs.split('|') {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let said = program(folder.path(), "resetctl", &words, &[]).await;
        said.expect(0);
        assert!(said.stdout.contains(&format!("Usage: resetctl {verb}")), "{verb}\n{}", said.stdout);
        assert!(said.stderr.is_empty(), "{verb}\n{}", said.stderr);
        let group = ["operations", "report", "target"].contains(&verb);
        assert!(group || said.stdout.contains("Example"), "{verb}\n{}", said.stdout);
    }
    let whole = program(folder.path(), "resetctl", &["--help"], &[]).await;
    for line in verbs.split('|').filter(|v| !v.contains(' ')).chain(["Exit codes:"]) {
        assert!(whole.expect(0).stdout.contains(line), "{line}\n{}", whole.stdout);
    }
    for reason in Reason::ALL {
        let code = format!("\n  {:>3}  ", reason.exit_code());
        assert!(whole.stdout.contains(&code), "{reason}\n{}", whole.stdout);
    }
    for name in ["resetctl", "resetd"] {
        let version = program(folder.path(), name, &["--version"], &[]).await;
        assert!(version.expect(0).stdout.starts_with(&format!("{name} 0.")), "{}", version.stdout);
    }
    for verb in ["serve", "check"] {
        let said = program(folder.path(), "resetd", &[verb, "--help"], &[]).await;
        assert!(said.expect(0).stdout.contains("--config"), "{}", said.stdout);
    }
}

#[tokio::test]
async fn every_code_is_explained_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let list = program(folder.path(), "resetctl", &["explain"], &[]).await;
    list.expect(0);
    for reason in Reason::ALL {
        assert!(list.stdout.contains(reason.name()), "{reason}\n{}", list.stdout);
    }
    for (code, name) in [
        ("TARGET_LOCKED", "TARGET_LOCKED"),
        ("target-locked", "TARGET_LOCKED"),
        ("blast_radius", "BLAST_RADIUS"),
    ] {
        let page = program(folder.path(), "resetctl", &["explain", code], &[]).await;
        assert!(page.expect(0).stdout.contains(name), "{}", page.stdout);
    }
    let none = program(folder.path(), "resetctl", &["explain", "NO_SUCH_CODE"], &[]).await;
    assert!(none.expect(2).stderr.contains("NO_SUCH_CODE"), "{}", none.stderr);
}

#[tokio::test]
async fn shells_read_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, mark) in
        [("bash", "complete -o nospace"), ("zsh", "#compdef resetctl"), ("fish", "complete --keep-order")]
    {
        let script = program(folder.path(), "resetctl", &["completions", shell], &[]).await;
        assert!(script.expect(0).stdout.contains(mark), "{shell}");
        assert!(script.stdout.contains("RESETCTL_COMPLETE"), "the program itself is asked: {shell}");
    }
    let script = program(folder.path(), "resetctl", &["completions", "bash"], &[]).await.stdout;
    let path = folder.path().join("completions");
    fs::write(&path, script).unwrap();
    let read = tokio::process::Command::new("bash").arg("-n").arg(&path).output().await.unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
}

#[tokio::test]
async fn no_daemon_is_exit_11_with_what_to_do() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for server in [nowhere(), "unix:/tmp/no/such/resetd.sock".to_owned()] {
        for line in [RUN, "validate", "status", "targets", "operations list"] {
            let out = daemon.ctl(&format!("--server {server} {line}")).await;
            out.expect(11);
            assert!(
                out.stderr.contains("DAEMON_UNREACHABLE") && out.stderr.contains("resetd serve"),
                "{out}"
            );
            if [RUN, "validate"].contains(&line) {
                out.refused("DAEMON_UNREACHABLE");
            }
        }
    }
    // Nobody says where: the usual places are named.
    let said =
        program(daemon.folder(), "resetctl", &["status"], &[("XDG_RUNTIME_DIR", "/nonexistent")]).await;
    assert!(said.expect(11).stderr.contains("/nonexistent/resetd.sock"), "{}", said.stderr);
    assert!(said.stderr.contains("--server"), "{}", said.stderr);
}

#[tokio::test]
async fn the_report_can_go_to_standard_output() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    for (line, code) in
        [("validate", 0), ("run --dry-run", 0), (RUN, 0), ("run", 4), ("--target nosuch validate", 6)]
    {
        let out = daemon.ctl(&format!("{line} --report-path -")).await;
        out.expect(code);
        let report: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{out}"));
        assert_eq!(report["status"] == "ok", code == 0, "{out}");
        if let Some(id) = report["operation"].as_str() {
            assert_eq!(daemon.ctl(&format!("report get {id}")).await.expect(0).stdout, out.stdout);
        }
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_told_before_anything_starts() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;
    let folder = daemon.folder().display().to_string();
    for path in ["/dev/null/report.json", "/proc/report.json", &folder, "/"] {
        for verb in ["run", "validate"] {
            let mut words = vec![verb, "--report-path", path];
            if verb == "run" {
                words.extend(["--confirm-destructive-reset", "RESET"]);
            }
            let out = daemon.ctl_args(&words).await;
            out.expect(1);
            assert!(
                out.stderr.contains("REPORT_UNWRITABLE") && out.stderr.contains("nothing was started"),
                "{out}"
            );
        }
    }
    assert_eq!(operations(&target).await, "0");
    assert_eq!(before, target.state().await);
}

fn reports(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join(".local/state/resetctl/reports"));
    let mut all: Vec<PathBuf> = entries.map(|e| e.map(|e| e.unwrap().path()).collect()).unwrap_or_default();
    all.sort();
    all
}

/// Where nobody says where it goes, each report is a new file, also that of a refusal.
#[tokio::test]
async fn reports_are_kept_in_a_folder_of_their_own() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let folder = tempfile::tempdir().unwrap();
    let ctl = async |words: &[&str]| {
        program(folder.path(), "resetctl", words, &[("RESETCTL_SERVER", &daemon.address)]).await
    };
    ctl(&["validate"]).await.expect(0);
    // What was mistyped is nobody's history, and a folder is not made for it.
    assert!(reports(folder.path()).len() == 1, "{:?}", reports(folder.path()));
    ctl(&["validate", "--target", "stagin"]).await.expect(6);
    ctl(&["run", "--jobs", "2"]).await.expect(2);
    assert!(reports(folder.path()).len() == 1, "{:?}", reports(folder.path()));
    ctl(&["run"]).await.expect(4);
    ctl(&["run", "--plan-digest", OTHER_DIGEST, "--confirm-destructive-reset", "RESET"]).await.expect(4);
    let found = reports(folder.path());
    assert_eq!(found.len(), 3, "{found:?}");
    let names: Vec<String> =
        found.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert!(names[0].contains("-validate-") && names[1].ends_with("-run-refused.json"), "{names:?}");
    for path in &found {
        let report: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(report["report_version"], 1, "{report}");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o644, "{path:?}");
    }
    // And they are found again.
    let list = ctl(&["report", "list", "--json"]).await;
    let list: Value = serde_json::from_str(&list.expect(0).stdout).unwrap();
    let ends: Vec<&str> = list.as_array().unwrap().iter().map(|it| it["end"].as_str().unwrap()).collect();
    assert_eq!(ends, ["refused", "CONFIRMATION_MISSING", "succeeded"], "newest first\n{list}");
    assert_eq!(list[2]["path"], found[0].display().to_string(), "{list}");
    let table = ctl(&["report", "list", "--limit", "1"]).await;
    let name = found[2].file_name().unwrap().to_str().unwrap();
    assert!(table.expect(0).stdout.contains(name), "{}", table.stdout);
    assert!(!folder.path().join(".tmp").exists(), "nothing beside it");
    // Parents are made; what was there is replaced whole; nothing else is left.
    let deep = folder.path().join("a/b/c.json");
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    fs::write(&deep, "an older one").unwrap();
    ctl(&["validate", "--report-path", "a/b/c.json"]).await.expect(0);
    let report: Value = serde_json::from_slice(&fs::read(&deep).unwrap()).unwrap();
    assert_eq!(report["status"], "ok");
    assert_eq!(fs::read_dir(deep.parent().unwrap()).unwrap().count(), 1);
}

#[tokio::test]
async fn detached_it_prints_the_operation_and_goes() {
    let (target, chains) = (TestTarget::migrated().await, sleeping());
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let out = daemon.ctl(&format!("{RUN} --detach")).await;
    out.expect(0);
    let id: uuid::Uuid = out.stdout.trim().parse().unwrap_or_else(|e| panic!("{e}\n{out}"));
    assert!(out.stderr.contains(&format!("operations watch {id}")), "{out}");
    let shown = daemon.ctl(&format!("operations show {id} --json")).await;
    let shown: Value = serde_json::from_str(&shown.expect(0).stdout).unwrap();
    assert_eq!(shown["state"], "running");
    let watch = daemon.ctl_spawn(&format!("operations watch {id} --report-path watched.json"));
    watch.said("plan:").await;
    daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
    watch.finish().await.expect(8);
    assert!(daemon.folder().join("watched.json").is_file());
    let out = daemon.ctl("run --detach").await;
    assert!(out.expect(4).stdout.is_empty(), "a refusal is not detached from\n{out}");
}

#[tokio::test]
async fn a_signal_detaches_and_the_operation_goes_on() {
    for (signal, code) in [(harness::Signal::SIGINT, 130), (harness::Signal::SIGTERM, 143)] {
        let (target, chains) = (TestTarget::migrated().await, sleeping());
        let daemon = Setup::of(&target).migrations(&chains).start().await;
        let client = daemon.ctl_spawn(RUN);
        client.said("plan:").await;
        client.signal(signal);
        let out = client.finish().await;
        assert_eq!(out.code, code, "{out}");
        let id = &target.control_rows("SELECT id FROM resetd.operation").await[0][0];
        assert!(out.stderr.contains(&format!("operations watch {id}")), "{out}");
        assert_eq!(target.control_rows("SELECT state FROM resetd.operation").await, [["running"]]);
        daemon.ctl(&format!("operations cancel {id}")).await.expect(0);
        daemon.ctl(&format!("operations watch {id}")).await.expect(8);
    }
}

#[tokio::test]
async fn chains_can_be_pinned_and_brought_along() {
    let target = TestTarget::migrated().await;
    let chains = Migrations::shipped();
    let daemon = Setup::of(&target).migrations(&chains).start().await;
    let (same, other) = (Migrations::shipped(), Migrations::shipped());
    other.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE brought (n int);");
    let folder = |it: &Migrations| it.path().display().to_string();

    daemon.ctl(&format!("{RUN} --expect-chains {}", folder(&same))).await.expect(0);
    let before = target.state().await;
    let out = daemon.ctl(&format!("{RUN} --expect-chains {}", folder(&other))).await;
    out.expect(4).refused("CHAINS_DIFFER");
    assert!(out.at("/operation").is_null(), "{out}");
    let none = format!("sha256:{}", "0".repeat(64));
    for verb in [RUN, "migrate", "validate", "run --dry-run"] {
        let out = daemon.ctl(&format!("{verb} --expect-chains {none}")).await;
        out.expect(4).refused("CHAINS_DIFFER");
    }
    assert_eq!(before, target.state().await);
    // The refusal names both fingerprints: the daemon's can be pinned as it is.
    let text = daemon.ctl(&format!("validate --expect-chains {none}")).await.text("/error").to_owned();
    assert!(text.contains(&none), "{text}");
    let pinned = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != ':')
        .find(|w| w.starts_with("sha256:") && **w != none);
    let pinned = pinned.unwrap_or_else(|| panic!("{text}"));
    daemon.ctl(&format!("validate --expect-chains {pinned}")).await.expect(0);
    // The chains are read at each operation: another deployment is seen at once.
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TABLE deployed (n int);");
    daemon.ctl(&format!("validate --expect-chains {pinned}")).await.refused("CHAINS_DIFFER");
    chains.remove("core/core_002.sql");

    let out = daemon.ctl(&format!("{RUN} --chains {}", folder(&other))).await;
    out.expect(0);
    assert!(target.holds("SELECT to_regclass('general.brought') IS NOT NULL").await);
    assert!(out.report().to_string().contains("core_002"), "{out}");
    // The daemon's own chains do not know that revision.
    daemon.ctl("validate").await.expect(7);
    daemon.ctl(&format!("validate --chains {}", folder(&other))).await.expect(0);
}

#[tokio::test]
async fn staging_takes_no_chains_from_clients() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target)
        .profile("staging")
        .with("[profile.staging]\nwindow = \"optional\"\nself_enroll = true\n")
        .listen("unix:socket")
        .start()
        .await;
    let before = target.state().await;
    let own = Migrations::shipped();
    let folder = own.path().display().to_string();
    for line in [RUN, "migrate", "validate", "run --dry-run"] {
        let out = daemon.ctl(&format!("{line} --chains {folder}")).await;
        out.expect(4).refused("CLIENT_CHAINS_FORBIDDEN");
    }
    assert_eq!(before, target.state().await);
    daemon.ctl(RUN).await.expect(0);
}

/// One wrong value of each class of keys: file and line, exit 2, and the daemon does not start.
#[tokio::test]
async fn a_wrong_configuration_names_file_and_line() {
    let target = TestTarget::migrated().await;
    let folder = tempfile::tempdir().unwrap();
    let (url, path) = (target.url(), folder.path().join("resetd.toml"));
    let good = "[target.app]\ndatabase_url_env = \"URL\"\n";
    for (line, text, words) in [
        (1, format!("lisen = []\n{good}"), "did you mean \"listen\"?"),
        (1, format!("listen = [\"0.0.0.0:1\"]\n{good}"), "loopback"),
        (1, format!("shutdown_grace = \"soon\"\n{good}"), "duration"),
        (3, "\n[target.app]\ndatabase_url_env = \"NOT_SET\"\n".to_owned(), "NOT_SET"),
        (2, "[target.app]\ndatabase_url = \"postgres://u:hunter2@h/d\"\n".to_owned(), "secret"),
        (3, format!("{good}profile = \"stagin\"\n"), "did you mean \"staging\"?"),
        (4, format!("{good}[control]\ndatabase = \"template1\"\n"), "template1"),
        (4, format!("{good}[profile.local]\nwindow = \"off\"\n"), "optional, required"),
        (4, format!("{good}[profile.local]\nlock_wait_limit = \"0s\"\n"), "zero"),
        (4, format!("{good}[matrix.default]\nshared_schema = [\"x\"]\n"), "did you mean \"shared_schemas\"?"),
        (5, format!("{good}[[matrix.default.chain]]\nname = \"core\"\ntables = 7\n"), "list of strings"),
        (
            4,
            format!("{good}[[role]]\nprincipal = \"bob\"\ntargets = [\"*\"]\nrole = \"admin\"\n"),
            "unix:NAME",
        ),
        (
            6,
            format!("{good}[[role]]\nprincipal = \"unix:bob\"\ntargets = [\"*\"]\nrole = \"boss\"\n"),
            "resetter",
        ),
        (1, "listen = [\n".to_owned(), "not TOML"),
    ] {
        fs::write(&path, &text).unwrap();
        let config = path.display().to_string();
        for verb in ["serve", "check"] {
            let said = program(folder.path(), "resetd", &[verb, "--config", &config], &[("URL", &url)]).await;
            said.expect(2);
            let found =
                said.stderr.lines().any(|l| l.contains(words) && l.contains(&format!("{config}:{line}:")));
            assert!(found, "line {line}, {words}\n{text}\n{}", said.stderr);
            for secret in ["hunter2", &target.postgres.password] {
                assert!(!said.stderr.contains(secret) && !said.stdout.contains(secret), "{}", said.stderr);
            }
        }
    }
    let said = program(folder.path(), "resetd", &["serve"], &[]).await;
    assert!(said.expect(2).stderr.contains("BUTLERS_DATABASE_URL"), "{}", said.stderr);
    let said = program(
        folder.path(),
        "resetd",
        &["serve", "--listen", "0.0.0.0:0"],
        &[("BUTLERS_DATABASE_URL", &url)],
    )
    .await;
    assert!(said.expect(2).stderr.contains("0.0.0.0:0"), "{}", said.stderr);
}

#[tokio::test]
async fn check_shows_what_is_in_force_when_all_is_good() {
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let (folder, chains) = (tempfile::tempdir().unwrap(), Migrations::shipped());
    let config = folder.path().join("resetd.toml");
    fs::write(
        &config,
        format!(
            "migrations = \"{}\"\n[control]\ndatabase = \"{}\"\n[target.app]\ndatabase_url_env = \"URL\"\n\
             profile = \"staging\"\n[profile.staging]\nlock_wait_limit = \"7s\"\n",
            chains.path().display(),
            target.control
        ),
    )
    .unwrap();
    let config = config.display().to_string();
    let said =
        program(folder.path(), "resetd", &["check", "--config", &config], &[("URL", &target.tcp_url())])
            .await;
    said.expect(0);
    for words in [
        "all connections and chains are good",
        "[target.app]",
        "lock_wait_limit = \"7s\"",
        "window = \"required\"",
    ] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert!(
        !said.stdout.contains(&target.postgres.password) && !said.stderr.contains(&target.postgres.password)
    );
    // It only looks: the control database is not made.
    assert!(
        target
            .holds(&format!(
                "SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = '{}')",
                target.control
            ))
            .await
    );
    // What it prints is a configuration.
    let again = folder.path().join("again.toml");
    let text = said.stdout.replace("[target.app]", "[target.app]\ndatabase_url_env = \"URL\"");
    fs::write(&again, text).unwrap();
    let again = again.display().to_string();
    program(folder.path(), "resetd", &["check", "--config", &again], &[("URL", &target.tcp_url())])
        .await
        .expect(0);
}

#[tokio::test]
async fn check_says_everything_that_is_wrong_with_what_mends_it() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let (folder, chains) = (tempfile::tempdir().unwrap(), Migrations::shipped());
    let (role, database, control) = (&target.role, &target.database, &target.control);
    target
        .sql(&format!(
            "ALTER ROLE {role} NOCREATEDB; ALTER DATABASE {database} OWNER TO postgres;
             CREATE ROLE owner_{database}; ALTER SCHEMA general OWNER TO owner_{database}"
        ))
        .await;
    chains.write("memory/mem_001.sql", "no header\n");
    let config = folder.path().join("resetd.toml");
    fs::write(
        &config,
        format!(
            "migrations = \"{}\"\n[control]\ndatabase = \"{control}\"\n[target.app]\ndatabase_url_env = \"URL\"\n\
             [target.gone]\ndatabase_url_env = \"GONE\"\n",
            chains.path().display()
        ),
    )
    .unwrap();
    let config = config.display().to_string();
    let gone = target.url().replace(&format!("/{database}?"), "/no_such_database?");
    let check = async || {
        program(
            folder.path(),
            "resetd",
            &["check", "--config", &config],
            &[("URL", &target.url()), ("GONE", &gone)],
        )
        .await
    };
    let said = check().await;
    said.expect(1);
    let statements = [
        format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\";"),
        format!("GRANT \"owner_{database}\" TO \"{role}\";"),
        format!(
            "CREATE DATABASE \"{control}\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' OWNER \"{role}\";"
        ),
    ];
    for words in statements.iter().map(String::as_str).chain(["no_such_database", "memory/mem_001.sql:1"]) {
        let found = said.stdout.lines().filter(|l| l.starts_with("# wrong: ")).any(|l| l.contains(words));
        assert!(found, "{words}\n{}", said.stdout);
    }
    assert!(!said.stdout.contains("restricted-secret"), "{}", said.stdout);
    // The statements are taken as they stand, and mend it.
    for statement in &statements {
        target.sql(statement).await;
    }
    target.sql("CREATE DATABASE no_such_database TEMPLATE template0").await;
    target.sql(&format!("GRANT CREATE ON DATABASE no_such_database TO {role}")).await;
    chains.restore();
    let said = check().await;
    target.sql("DROP DATABASE no_such_database").await;
    said.expect(0);
}

/// Every file below a folder; links lead elsewhere.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files(&entry.path()));
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all
}

/// The password is in the daemon's environment, and nowhere else: not in its log at its loudest, not on a screen, not in a
/// report, an event, or a row of its database, whatever goes wrong.
#[tokio::test]
async fn no_password_is_ever_told() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let chains = Migrations::shipped();
    let variable = format!("URL_OF_{}", target.name.to_uppercase());
    let daemon = Setup::of(&target)
        .migrations(&chains)
        .env("BUTLERS_DATABASE_URL", &target.tcp_url())
        .env(&variable, &target.tcp_url())
        .env("RESETD_LOG", "trace")
        .spawn()
        .await;
    let secret = "restricted-secret";
    assert!(target.tcp_url().contains(secret));
    let mut said = Vec::new();
    let mut ctl = async |line: &str, code: Option<u8>| {
        let out = daemon.ctl(line).await;
        match code {
            Some(code) => drop(out.expect(code).code),
            None => assert_ne!(out.code, 0, "{out}"),
        }
        said.push((line.to_owned(), out.to_string()));
    };
    for (line, code) in [
        (RUN, 0),
        ("validate --progress json", 0),
        ("run --scope database --confirm-destructive-reset RESET", 0),
        ("run", 4),
        ("status", 0),
        ("status --json", 0),
        ("targets --json", 0),
        ("operations list --json", 0),
    ] {
        ctl(line, Some(code)).await;
    }
    chains.revision("core/core_002.sql", "core_002", "core_001", "SELECT 1 / 0;");
    ctl(RUN, Some(1)).await;
    chains.remove("core/core_002.sql");
    target.sql(&format!("ALTER ROLE {} PASSWORD 'another'", target.role)).await;
    ctl(RUN, None).await;
    ctl("validate", None).await;
    daemon.kill().await;
    assert!(daemon.log().len() > 1000, "the log was as loud as it can be");
    for (line, text) in said {
        assert!(!text.contains(secret), "the password is told by: {line}\n{text}");
    }
    let mut looked = 0;
    for path in files(daemon.folder()) {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let place =
            text.find(secret).map(|at| text[text.floor_char_boundary(at.saturating_sub(200))..at].to_owned());
        assert_eq!(place, None, "the password is in {}", path.display());
        looked += 1;
    }
    assert!(looked > 5, "reports, log, configuration");
    for table in ["operation", "event", "instance", "target", "kept_database"] {
        let rows = target.control_rows(&format!("SELECT t::text FROM resetd.{table} t")).await;
        assert!(!rows.is_empty() || table == "kept_database", "{table}");
        assert!(rows.iter().all(|row| !row[0].contains(secret)), "the password is in {table}");
    }
}

/// As an ordinary user, with a PostgreSQL of its own: what README shows first.
#[tokio::test]
async fn embedded_it_needs_nothing_and_no_rights() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let home = folder.path();
    fs::set_permissions(home, fs::Permissions::from_mode(0o777)).unwrap();
    for name in ["resetd", "resetctl"] {
        fs::copy(binary(name), home.join(name)).unwrap();
    }
    let chains = Migrations::shipped();
    fs::set_permissions(chains.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut words: Vec<String> = Vec::new();
    if nix::unistd::Uid::effective().is_root() {
        words.extend(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"].map(str::to_owned));
    }
    words.push(home.join("resetd").display().to_string());
    words
        .extend(["serve", "--embedded", "--insecure-loopback", "--listen", "127.0.0.1:0"].map(str::to_owned));
    words.extend(["--port-file".to_owned(), home.join("port").display().to_string()]);
    words.extend(["--migrations".to_owned(), chains.path().display().to_string()]);
    let log = fs::File::create(home.join("log")).unwrap();
    let mut command = tokio::process::Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir(home)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin");
    command.env("HOME", home).env("TMPDIR", home).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    let mut daemon = command.spawn().unwrap();
    let port = home.join("port");
    eventually("the embedded daemon answers", || {
        if let Ok(Some(status)) = daemon.try_wait() {
            panic!("{status}\n{}", fs::read_to_string(home.join("log")).unwrap());
        }
        std::future::ready(port.exists())
    })
    .await;
    let address = fs::read_to_string(&port).unwrap().trim().to_owned();
    let ctl = async |words: &[&str]| program(home, "resetctl", words, &[("RESETCTL_SERVER", &address)]).await;
    ctl(&["run", "--confirm-destructive-reset", "RESET"]).await.expect(0);
    ctl(&["validate"]).await.expect(0);
    let status: Value = serde_json::from_str(&ctl(&["status", "--json"]).await.expect(0).stdout).unwrap();
    assert_eq!(status["targets"][0]["database"], "butlers");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, harness::Signal::SIGTERM).unwrap();
    let ended = soon("the end of the embedded daemon", daemon.wait()).await.unwrap();
    assert!(ended.success(), "{ended}\n{}", fs::read_to_string(home.join("log")).unwrap());
    let left: Vec<String> =
        fs::read_dir(home).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let known = ["resetd", "resetctl", "log", ".local"];
    assert!(left.iter().all(|name| known.contains(&name.as_str())), "{left:?}");
}

/// Two targets and none named: said, not guessed.
#[tokio::test]
async fn of_two_targets_one_is_named() {
    let (target, other) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let daemon: Daemon = Setup::of(&target).and(&other).start().await;
    let out = daemon.ctl(RUN).await;
    out.expect(2).refused("INVALID_REQUEST");
    assert!(out.stderr.contains("--target"), "{out}");
    daemon.ctl(&format!("--target {} {RUN}", other.name)).await.expect(0);
    assert!(target.holds("SELECT count(*) = 3 FROM general.state").await, "the other one is not touched");
    let named = [("RESETCTL_SERVER", daemon.address.as_str()), ("RESETCTL_TARGET", target.name.as_str())];
    program(daemon.folder(), "resetctl", &["validate"], &named).await.expect(0);
}
