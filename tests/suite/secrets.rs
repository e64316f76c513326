//! Secrets planted in URLs and tokens are in nothing that the programs ever write, whatever goes wrong.

use std::{
    fs,
    path::{Path, PathBuf},
};

use harness::{Because, Make, Migrations, Output, Setup, TestTarget, commands::RUN, with_token as with};
use wire::v1;

/// Everything that was written, piece by piece, with where it was.
#[derive(Default)]
struct Written(Vec<(String, String)>);

impl Written {
    fn said(&mut self, out: &Output) {
        self.0.push((format!("stdout of {}", out.line), out.stdout.clone()));
        self.0.push((format!("stderr of {}", out.line), out.stderr.clone()));
    }

    fn files(&mut self, folder: &Path, but: &[&str]) {
        let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = fs::read(&path)
                    && !but.iter().any(|name| path.ends_with(name))
                {
                    self.0.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
                }
            }
        }
    }

    async fn tables(&mut self, target: &TestTarget) {
        let tables = "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'resetd'::regnamespace AND c.relkind = 'r'";
        let tables = target.control_rows(tables).await;
        assert!(tables.len() >= 10, "the control database is not found any more");
        for table in tables {
            let rows = target.control_rows(&format!("SELECT t::text FROM resetd.{} t", table[0])).await;
            self.0.extend(rows.into_iter().map(|row| (format!("table {}", table[0]), row.concat())));
        }
        let sessions = target.rows("SELECT application_name || query FROM pg_stat_activity").await;
        self.0.extend(sessions.into_iter().map(|row| ("pg_stat_activity".to_owned(), row.concat())));
    }

    #[track_caller]
    fn hold_none_of(&self, secrets: &[String]) {
        for secret in secrets {
            assert!(secret.len() > 10, "too short to be looked for: {secret}");
            for (place, text) in &self.0 {
                let at = text.find(secret.as_str());
                let around = at.map(|at| &text[text.floor_char_boundary(at.saturating_sub(200))..at]);
                assert_eq!(around, None, "a secret is in: {place}");
            }
        }
    }
}

/// The part of a token that nobody may see, and the whole.
fn parts(token: &str) -> [String; 2] {
    [token.to_owned(), token.split('_').nth(2).unwrap().to_owned()]
}

#[tokio::test]
async fn no_secret_is_in_anything_that_is_written() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    let password = "planted-p4ssw0rd%21-with-specials";
    target.sql(&format!("ALTER ROLE {} PASSWORD 'planted-p4ssw0rd!-with-specials'", target.role)).await;
    let place = target.tcp_url();
    let place = place.split_once('@').unwrap().1;
    let url = format!("postgres://{}:{password}@{place}", target.role);
    let audit = tempfile::tempdir().unwrap();
    let section = format!("\n[audit]\nfile = \"{}\"\n", audit.path().join("audit.jsonl").display());
    let chains = Migrations::shipped();
    let variable = format!("URL_OF_{}", target.name.to_uppercase());
    let daemon = Setup::of(&target)
        .env(&variable, &url)
        .env("RESETD_LOG", "trace")
        .with(&section)
        .migrations(&chains)
        .listen("unix:socket")
        .spawn()
        .await;
    let mut written = Written::default();

    // Tokens, shown once on purpose: their own line is not looked at.
    let shown = daemon.ctl("token create shown").await;
    let filed = daemon.ctl("token create filed --output filed.token").await;
    written.0.push(("stderr of token create".to_owned(), shown.expect(0).stderr.clone()));
    written.said(filed.expect(0));
    let shown = shown.stdout.trim_end().to_owned();
    let filed = fs::read_to_string(daemon.folder().join("filed.token")).unwrap().trim_end().to_owned();
    let mut secrets: Vec<String> = [parts(&shown), parts(&filed)].concat();
    secrets.extend([password.to_owned(), "planted-p4ssw0rd!".to_owned()]);

    // Used well, used wrongly, pasted where it does not belong.
    let mut api = daemon.api().await;
    let info = v1::GetServerInfoRequest {};
    api.system.get_server_info(with(&shown, info)).await.unwrap();
    let typo = shown.replace("rsd_", "rsd_x");
    for wrong in [&shown[..shown.len() - 1], &typo] {
        let status = api.system.get_server_info(with(wrong, info)).await.unwrap_err();
        written.0.push(("a status".to_owned(), format!("{status:?}")));
    }
    for line in [
        format!("token revoke {shown}"),
        format!("--target {shown} run --confirm-destructive-reset RESET"),
        format!("run --confirm-destructive-reset {shown}"),
        format!("run --confirm-destructive-reset RESET --label token={shown}"),
        format!("operations show {shown}"),
    ] {
        let out = daemon.ctl(&line).await;
        assert_ne!(out.code, 0, "{out}");
        written.0.push(("the answer to a misplaced token".to_owned(), out.stdout + &out.stderr));
    }

    // Success, refusal, a broken revision, a denied token, a target that is gone.
    for line in
        [RUN, "reset", "validate", "status --json", "token list --json", "audit list --json", "audit verify"]
    {
        written.said(&daemon.ctl(line).await);
    }
    chains.revision("core/core_009.sql", "core_009", "core_001", "SELECT 1/0;");
    written.said(daemon.ctl(RUN).await.expect(1));
    chains.remove("core/core_009.sql");
    target.sql(&format!("ALTER ROLE {} PASSWORD 'another one'", target.role)).await;
    written.said(&daemon.ctl(RUN).await);
    drop(api);
    daemon.terminate().await;
    written.files(daemon.folder(), &["filed.token"]);
    written.files(audit.path(), &[]);
    written.tables(&target).await;
    assert!(written.0.len() > 100 && daemon.log().len() > 10_000, "{}", written.0.len());
    written.hold_none_of(&secrets);
    // The search finds what is there.
    let found = std::panic::catch_unwind(|| written.hold_none_of(&["makes token".to_owned()]));
    assert!(found.is_err());
}

/// Wrong passwords and hosts, in `resetd check`, `resetd serve` and `resetd token`.
#[tokio::test]
async fn what_cannot_be_reached_is_told_without_its_password() {
    let target = TestTarget::empty().await;
    let planted = "planted-wr0ng-password";
    let port = target.postgres.port;
    let folder = tempfile::tempdir().unwrap();
    let mut written = Written::default();
    for url in [
        format!("postgres://postgres:{planted}@127.0.0.1:{port}/{}", target.database),
        format!("postgres://postgres:{planted}@127.0.0.1:1/{}", target.database),
        format!("postgres://postgres:{planted}@no-such-host.invalid/{}", target.database),
        format!("postgres://postgres:{planted}@127.0.0.1:{port}/{}?sslmode=verify-full", target.database),
        format!("postgres://postgres:{planted}@127.0.0.1:{port}/"),
        format!("postgres://postgres:{planted}@127.0.0.1:x/y"),
        format!("postgres://postgres:x/{planted}@127.0.0.1/y"),
    ] {
        for words in [&["check"][..], &["serve", "--listen", "unix:s"], &["token", "list"]] {
            let mut command = tokio::process::Command::new(harness::binary("resetd"));
            command.args(words).current_dir(folder.path()).env("BUTLERS_DATABASE_URL", &url);
            command.env("RESETD_LOG", "trace").stdin(std::process::Stdio::null()).kill_on_drop(true);
            let output = harness::soon("the end of resetd", command.output()).await.unwrap();
            assert!(!output.status.success(), "{words:?} {url}");
            for bytes in [output.stdout, output.stderr] {
                written.0.push((format!("{words:?} {url}"), String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
    }
    written.files(folder.path(), &[]);
    written.hold_none_of(&[planted.to_owned()]);
}

/// `resetd check` warns about files that are open to too many, names the command that closes them, and is content then.
#[tokio::test]
async fn check_warns_about_files_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let target = TestTarget::make(Make::superuser(Because::ItHasOneRole)).await;
    let folder = tempfile::tempdir().unwrap();
    let chains = Migrations::shipped();
    let (url, record, config) =
        (folder.path().join("url"), folder.path().join("audit"), folder.path().join("c.toml"));
    fs::write(&url, target.url()).unwrap();
    fs::write(&record, "").unwrap();
    let text = format!(
        "migrations = \"{}\"\n[control]\ndatabase = \"{}\"\n[audit]\nfile = \"{}\"\n[target.app]\ndatabase_url_file = \"{}\"\n",
        chains.path().display(),
        target.control,
        record.display(),
        url.display()
    );
    fs::write(&config, text).unwrap();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let check = async || {
        let mut command = tokio::process::Command::new(harness::binary("resetd"));
        command.args(["check", "--config"]).arg(&config).env_remove("RESETD_LOG").kill_on_drop(true);
        let output = harness::soon("the end of resetd check", command.output()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let warnings = text.lines().filter(|line| line.starts_with("# warning: ") && line.contains("chmod"));
        let warnings = warnings.map(str::to_owned);
        warnings.collect::<Vec<_>>()
    };
    for path in [&url, &record, &config] {
        mode(path, 0o600);
    }
    assert_eq!(check().await, Vec::<String>::new());
    for (path, bits, command) in
        [(&url, 0o644, "chmod go-rwx"), (&record, 0o604, "chmod o-r"), (&config, 0o620, "chmod go-w")]
    {
        mode(path, bits);
        let warnings = check().await;
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        assert!(warnings[0].ends_with(&format!("{command} {}", path.display())), "{warnings:#?}");
        mode(path, 0o600);
    }
}
