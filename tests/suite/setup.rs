//! `resetd setup` and what `resetd check` says of roles: the SQL is taken as it stands, and then there is nothing to say.

use std::{fs, path::Path, process::Stdio};

use harness::{Because, Daemon, Make, Migrations, Setup, TestTarget, binary, commands::RUN, database, soon};

/// Roles that are not there yet, and a database that is a superuser's.
struct Scene {
    target: TestTarget,
    control_role: String,
    role: String,
    chains: Migrations,
}

impl Scene {
    async fn new() -> Self {
        let target = TestTarget::make(Make::superuser(Because::ItIsAboutSuperusers)).await;
        let (role, control_role) = (format!("it's_{}", target.name), format!("Control_{}", target.name));
        Self { target, control_role, role, chains: Migrations::shipped() }
    }

    fn urls(&self) -> [(&'static str, String); 2] {
        let url = |role: &str, database: &str| {
            let role = role.replace('\'', "%27");
            self.target.postgres.url_of(&role, "unused", database)
        };
        let target = &self.target;
        [
            ("CONTROL_URL", url(&self.control_role, &target.control)),
            ("APP_URL", url(&self.role, &target.database)),
        ]
    }

    fn text(&self) -> String {
        format!(
            "migrations = \"{}\"\n[control]\ndatabase_url_env = \"CONTROL_URL\"\n[target.app]\ndatabase_url_env = \"APP_URL\"\n",
            self.chains.path().display()
        )
    }

    fn setup(&self) -> Setup {
        let setup = Setup::of(&self.target).config(&self.text());
        self.urls().iter().fold(setup, |setup, (name, url)| setup.env(name, url))
    }

    async fn check(&self) -> (String, bool) {
        resetd::check::run(&self.setup().load().unwrap()).await
    }

    /// Runs `resetd setup`.
    async fn set_up(&self, folder: &Path, words: &[&str]) -> (i32, String) {
        let config = folder.join("resetd.toml");
        fs::write(&config, self.text()).unwrap();
        let mut command = tokio::process::Command::new(binary("resetd"));
        command.arg("setup").arg("--config").arg(&config).args(words).stdin(Stdio::null());
        command.envs(self.urls()).env("RESETD_ADMIN_URL", self.target.admin_url());
        let output = soon("resetd setup", command.output()).await.unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.code().unwrap(), out + &err)
    }
}

fn warnings(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("# warning: ") || line.starts_with("# wrong: ")).collect()
}

/// Every verb that needs the most: in place, and the whole database.
async fn works(daemon: &Daemon) {
    for line in [RUN, database::RUN, "validate", "undo --confirm-destructive-reset RESET"] {
        daemon.ctl(line).await.expect(0);
    }
}

#[tokio::test]
async fn what_setup_prints_is_taken_by_psql_and_is_enough() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let (text, good) = scene.check().await;
    assert!(!good, "the roles are not there yet\n{text}");
    let (code, script) = scene.set_up(folder.path(), &[]).await;
    assert_eq!(code, 0, "{script}");
    assert!(!script.contains("unused"), "no password is printed\n{script}");
    let file = folder.path().join("roles.sql");
    fs::write(&file, &script).unwrap();
    // The second time changes nothing.
    for _ in 0..2 {
        let mut psql = tokio::process::Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--file"]).arg(&file).arg(scene.target.admin_url());
        let output = soon("psql", psql.output()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (text, good) = scene.check().await;
    assert!(good && warnings(&text).is_empty(), "{:#?}\n{text}", warnings(&text));
    let role = scene.role.replace('\'', "''");
    // Before version 15 there is nothing to grant.
    if scene.target.major().await >= 15 {
        let looks = format!("SELECT has_parameter_privilege('{role}', 'deadlock_timeout', 'SET')");
        assert!(scene.target.holds(&looks).await, "a run of the target's role is its own victim\n{script}");
    }
    let daemon = scene.setup().start().await;
    works(&daemon).await;
    daemon.stop().await;
}

/// One role did everything until now: its control database goes over to the new one, with all that it holds.
#[tokio::test]
async fn setup_applies_itself_to_what_one_role_had() {
    let scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    let before = Setup::of(&scene.target).start().await;
    let out = before.ctl(RUN).await;
    out.expect(0);
    before.stop().await;
    for _ in 0..2 {
        let (code, said) = scene.set_up(folder.path(), &["--apply"]).await;
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains(&format!("\\password ROLE): {}, {}", scene.control_role, scene.role)),
            "{said}"
        );
    }
    let (text, good) = scene.check().await;
    assert!(good && warnings(&text).is_empty(), "{:#?}\n{text}", warnings(&text));
    let daemon = scene.setup().start().await;
    daemon.ctl(&format!("operations show {}", out.text("/operation"))).await.expect(0);
    works(&daemon).await;
    daemon.stop().await;
}

#[tokio::test]
async fn setup_refuses_what_are_no_two_roles() {
    let mut scene = Scene::new().await;
    let folder = tempfile::tempdir().unwrap();
    scene.role = "postgres".to_owned();
    let (code, said) = scene.set_up(folder.path(), &["--apply"]).await;
    assert!(code != 0 && said.contains("role postgres is a superuser"), "{code} {said}");
    let (code, said) = scene.set_up(folder.path(), &["--apply", "--admin-url-env", "NOWHERE"]).await;
    assert!(code != 0 && said.contains("NOWHERE"), "{code} {said}");
    scene.role = scene.control_role.clone();
    let (code, said) = scene.set_up(folder.path(), &[]).await;
    assert!(code == 2 && said.contains("have one role"), "{code} {said}");
    let roles = format!("SELECT count(*) FROM pg_roles WHERE rolname IN ('{}')", scene.control_role);
    assert_eq!(scene.target.value(&roles).await, "0");
}

/// Every right that the roles need, taken away, is asked for with the very statement that gives it back.
#[tokio::test]
async fn check_prints_the_grants_that_are_missing() {
    let target = TestTarget::make(Make::least()).await;
    let (role, control, database) = (&target.role, target.control_role.clone().unwrap(), &target.database);
    let chains = Migrations::shipped();
    let setup = || {
        let idle = "profile = \"local\"\n[profile.local]\nsessions = \"idle-only\"\n";
        Setup::of(&target).migrations(&chains).with(idle)
    };
    let daemon = setup().start().await;
    let check = async || resetd::check::run(&setup().load().unwrap()).await;
    let (text, good) = check().await;
    assert!(good && warnings(&text).is_empty(), "{text}");
    for (taken, grant, is_wrong) in [
        (format!("ALTER ROLE {control} NOCREATEDB"), format!("ALTER ROLE \"{control}\" CREATEDB;"), false),
        (format!("REVOKE {role} FROM {control}"), format!("GRANT \"{role}\" TO \"{control}\""), true),
        (
            format!("REVOKE pg_signal_backend FROM {control}"),
            format!("GRANT pg_signal_backend TO \"{control}\";"),
            false,
        ),
        (
            format!("REVOKE pg_read_all_stats FROM {control}"),
            format!("GRANT pg_read_all_stats TO \"{control}\";"),
            false,
        ),
        (
            format!(
                "ALTER DATABASE {database} OWNER TO postgres; REVOKE CREATE ON DATABASE {database} FROM {role}"
            ),
            format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\";"),
            true,
        ),
        (format!("ALTER ROLE {role} CREATEROLE"), format!("ALTER ROLE \"{role}\" NOCREATEROLE;"), false),
        (
            format!("GRANT pg_read_server_files TO {role}"),
            format!("REVOKE \"pg_read_server_files\" FROM \"{role}\";"),
            false,
        ),
    ] {
        target.sql(&taken).await;
        let (text, good) = check().await;
        let found = warnings(&text);
        let line = found.iter().find(|line| line.contains(&grant));
        let line = line.unwrap_or_else(|| panic!("{grant} is not in {found:#?}"));
        assert!(good != is_wrong && line.starts_with("# wrong") == is_wrong, "{grant}: {text}");
        let statement = &line[line.find(" — ").unwrap() + " — ".len()..];
        target.sql(statement).await;
        if taken.contains("OWNER TO postgres") {
            target.sql(&format!("ALTER DATABASE {database} OWNER TO {role}")).await;
        }
        let (text, good) = check().await;
        assert!(good && warnings(&text).is_empty(), "after {statement}: {:#?}", warnings(&text));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn check_says_what_a_superuser_and_a_single_role_mean_for_chains() {
    let (superuser, single) = (
        TestTarget::make(Make::superuser(Because::ItIsAboutSuperusers)).await,
        TestTarget::make(Make { restricted: true, ..Make::migrated() }).await,
    );
    for (target, words) in [
        (superuser, ["is a superuser", "--chains", "runs programs on its machine", "resetd setup"]),
        (single, ["owns the control database as well", "--chains", "audit record", "resetd setup"]),
    ] {
        let chains = Migrations::shipped();
        let (text, good) = resetd::check::run(&Setup::of(&target).migrations(&chains).load().unwrap()).await;
        assert!(good, "{text}");
        let found = warnings(&text);
        let told = found.iter().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(told, "{found:#?}");
    }
}
