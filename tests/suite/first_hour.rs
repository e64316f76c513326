//! What somebody meets who sets resetd up for the first time: advice that works as printed, and configuration that `check` calls
//! good only where it is.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use harness::{Setup, TestTarget, binary, soon};
use tokio::process::Command;

const UNOPENED: &str = "[profile.staging]\nwindow = \"optional\"\n";

/// A migration takes the digest that its dry run prints, and no other.
#[tokio::test]
async fn migrate_executes_exactly_the_plan_of_its_dry_run() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    let seen = daemon.ctl("migrate --dry-run").await;
    let digest = seen.expect(0).text("/plan/digest").to_owned();
    let advised = format!("migrate --plan-digest {digest}");
    assert!(seen.stdout.contains(&advised), "{seen}");

    target.sql("CREATE SCHEMA general").await;
    let moved = daemon.ctl(&advised).await;
    moved.expect(4).refused("PLAN_CHANGED");
    assert!(target.holds("SELECT count(*) = 0 FROM pg_tables WHERE schemaname = 'general'").await);

    target.sql("DROP SCHEMA general").await;
    daemon.ctl(&advised).await.expect(0);
}

/// The advice is a command that works off a terminal.
#[tokio::test]
async fn the_advised_enrolment_works_as_printed() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).profile("staging").with(UNOPENED).listen("unix:socket").start().await;
    let refused = daemon.ctl("run --confirm-destructive-reset RESET").await;
    refused.expect(4).refused("TARGET_NOT_ENROLLED");
    let hint = refused.text("/error_detail/hint");
    let advised = hint.split_once("resetctl ").expect("a command").1;
    daemon.ctl(advised).await.expect(0);
    daemon.ctl("run --confirm-destructive-reset RESET").await.expect(0);
}

/// A reservation of a target that was never enrolled gives the same advice.
#[tokio::test]
async fn a_reservation_advises_the_same_enrolment() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).profile("staging").listen("unix:socket").start().await;
    let refused = daemon.ctl("window reserve --for 1m --reason first").await;
    refused.expect(4);
    let advised = format!("resetctl target enroll {} --confirm-database {}", target.name, target.database);
    assert!(refused.stderr.contains(&advised), "{refused}");
}

/// A chain on the disk that no target's matrix replays is shown as that.
#[tokio::test]
async fn status_tells_chains_that_are_replayed_from_those_that_are_not() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let shown = daemon.ctl("status").await.expect(0).stdout.clone();
    let line = |name: &str| shown.lines().find(|line| line.contains(name)).expect(name).to_owned();
    assert!(line(" memory_vector:").contains("not replayed"), "{shown}");
    assert!(
        !line(" core:").contains("not replayed") && !line(" memory:").contains("not replayed"),
        "{shown}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&daemon.ctl("status --json").await.expect(0).stdout).expect("JSON");
    let replayed = |name: &str| {
        let chains = json["chains"].as_array().expect("a list");
        chains.iter().find(|chain| chain["name"] == name).expect("there")["replayed"].as_bool()
    };
    assert_eq!((replayed("core"), replayed("memory_vector")), (Some(true), Some(false)));
}

/// A socket that the group cannot reach is wrong before the daemon listens, and `check` says so.
#[tokio::test]
async fn a_folder_that_keeps_the_socket_group_out_is_wrong() {
    let target = TestTarget::migrated().await;
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    let gid = nix::unistd::Gid::from_raw(fs::metadata(&run).unwrap().gid());
    let group = nix::unistd::Group::from_gid(gid).unwrap().expect("one's own group has a name").name;
    let config = folder.path().join("resetd.toml");
    let text = format!(
        "listen = [\"unix:{}\"]\nsocket_group = \"{group}\"\nmigrations = \"{}/../migrations\"\n\
         {}[target.x]\ndatabase_url_env = \"URL\"\n",
        run.join("resetd.sock").display(),
        env!("CARGO_MANIFEST_DIR"),
        target.control_section()
    );
    fs::write(&config, text).unwrap();
    let resetd = async |verb: &str| {
        let mut command = Command::new(binary("resetd"));
        command.args([verb, "--config"]).arg(&config).env("URL", target.url()).kill_on_drop(true);
        command.envs(target.control_url().map(|url| ("CONTROL_URL", url)));
        let out = soon(verb, command.output()).await.unwrap();
        (
            out.status.success(),
            String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap(),
        )
    };
    let advised = format!("chgrp {group} {0} && chmod g+x {0}", run.display());
    for verb in ["check", "serve"] {
        let (good, said) = resetd(verb).await;
        assert!(!good && said.contains(&advised), "{verb}: {said}");
    }
    fs::set_permissions(&run, fs::Permissions::from_mode(0o710)).unwrap();
    let (good, said) = resetd("check").await;
    assert!(good, "{said}");
}

/// Where an ordinary user may not make the usual socket, the daemon says how to choose another place.
#[tokio::test]
async fn without_a_place_for_its_socket_the_daemon_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("resetd");
    fs::copy(binary("resetd"), &program).unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let target = TestTarget::migrated().await;
    let mut words = vec![program.display().to_string(), "serve".to_owned(), "--listen".to_owned()];
    words.push(format!("unix:{}", closed.join("run/resetd.sock").display()));
    if nix::unistd::Uid::effective().is_root() {
        let nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
        words.splice(0..0, nobody.map(str::to_owned));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("BUTLERS_DATABASE_URL", target.tcp_url()).kill_on_drop(true);
    let out = soon("a daemon that cannot listen", command.output()).await.unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(!out.status.success(), "{said}");
    assert!(said.contains("--listen unix:PATH") && said.contains("XDG_RUNTIME_DIR"), "{said}");
}
