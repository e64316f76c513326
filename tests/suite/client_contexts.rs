//! Contexts, made and used with the real client.

use std::{fs, os::unix::fs::PermissionsExt as _};

use harness::{Daemon, Output, Setup, TestTarget};

const RUN: [&str; 3] = ["run", "--confirm-destructive-reset", "RESET"];

/// The client with nothing said by the environment but this.
async fn ctl(daemon: &Daemon, env: &[(&str, &str)], line: &str) -> Output {
    daemon.ctl_with(env, &line.split(' ').collect::<Vec<_>>()).await
}

#[tokio::test]
async fn contexts_are_made_used_shown_and_removed() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let (server, name) = (&daemon.address, &target.name);
    let none: &[(&str, &str)] = &[];
    let list = ctl(&daemon, none, "context list").await;
    assert!(list.expect(0).stdout.is_empty() && list.stderr.contains("context add"), "{list}");
    let add = format!("--server {server} --target {name} context add lab");
    ctl(&daemon, none, &add).await.expect(0);
    let file = daemon.folder().join(".config/resetctl/config.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // No default yet; a name that is taken stays.
    let twice = ctl(&daemon, none, &add).await;
    assert!(twice.expect(2).stderr.contains("--replace"), "{twice}");
    ctl(&daemon, none, &format!("{add} --replace --use")).await.expect(0);
    ctl(&daemon, none, "--target elsewhere --token-file secret context add ci").await.expect(0);

    let text = fs::read_to_string(&file).unwrap();
    let token = daemon.folder().join("secret").display().to_string();
    assert!(text.contains(&token), "a path holds from every folder\n{text}");
    let list = ctl(&daemon, none, "context list -o json").await;
    let all: serde_json::Value = serde_json::from_str(&list.expect(0).stdout).unwrap();
    assert_eq!(
        (&all[1]["name"], &all[1]["used"], &all[1]["default"]),
        (&"lab".into(), &"default".into(), &true.into())
    );
    let shown = ctl(&daemon, &[("RESETCTL_CONTEXT", "ci")], "context show").await;
    assert!(
        shown.expect(0).stdout.contains("elsewhere") && shown.stdout.contains("yes (variable)"),
        "{shown}"
    );

    assert_eq!(ctl(&daemon, none, "validate").await.expect(0).text("/target"), *name);
    let unknown = ctl(&daemon, none, "context use lba").await;
    assert!(unknown.expect(2).stderr.contains("did you mean `lab`"), "{unknown}");
    ctl(&daemon, none, "context remove lab").await.expect(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("lab") && text.contains("[context.ci]"), "{text}");
    let wrong = ctl(&daemon, none, "--target x context list").await;
    wrong.expect(2);
}

/// `RESETCTL_CONTEXT` takes the default's place, and goes behind what is said more exactly.
#[tokio::test]
async fn the_variables_context_stands_between_a_variable_and_the_default() {
    let (dev, staging) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let daemon = Setup::of(&dev).and(&staging).start().await;
    let server = daemon.address.as_str();
    for target in [&dev, &staging] {
        let line = format!("--server {server} --target {0} context add {0}", target.name);
        ctl(&daemon, &[], &line).await.expect(0);
    }
    ctl(&daemon, &[], &format!("context use {}", staging.name)).await.expect(0);
    let context = ("RESETCTL_CONTEXT", dev.name.as_str());
    let validated = async |env: &[(&str, &str)], line: &str| {
        ctl(&daemon, env, line).await.expect(0).text("/target").to_owned()
    };
    assert_eq!(validated(&[], "validate").await, staging.name);
    assert_eq!(validated(&[context], "validate").await, dev.name);
    assert_eq!(validated(&[context], &format!("--context {} validate", staging.name)).await, staging.name);
    let both = [context, ("RESETCTL_TARGET", staging.name.as_str()), ("RESETCTL_SERVER", server)];
    let out = daemon.ctl_with(&both, &RUN).await;
    assert_eq!(out.expect(0).text("/target"), staging.name, "{out}");
    let first = out.stderr.lines().next().unwrap();
    assert!(
        first.contains("RESETCTL_TARGET") && first.contains(&format!("RESETCTL_CONTEXT {}", dev.name)),
        "{out}"
    );
    let gone = ctl(&daemon, &[("RESETCTL_CONTEXT", "gone")], "validate").await;
    assert!(gone.expect(2).stderr.contains("`gone` (RESETCTL_CONTEXT)"), "{gone}");
}

#[tokio::test]
async fn a_file_that_cannot_be_changed_is_told_and_left() {
    let target = TestTarget::empty().await;
    let daemon = Setup::of(&target).start().await;
    let folder = daemon.folder().join(".config/resetctl");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    let broken = "[context.lab]\nserver = \"unix:/x\n";
    fs::write(&file, broken).unwrap();
    for line in ["--target t context add new", "context use lab", "context remove lab", "context list"] {
        let out = ctl(&daemon, &[], line).await;
        assert!(out.expect(2).stderr.contains("config.toml:2: "), "{out}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);
    // A place where nothing can be made, whoever asks.
    let nowhere = [("XDG_CONFIG_HOME", "/proc/none")];
    let out = ctl(&daemon, &nowhere, "--target t context add new").await;
    assert!(out.expect(2).stderr.contains("cannot be written"), "{out}");
    let out = ctl(&daemon, &[("HOME", ""), ("XDG_CONFIG_HOME", "")], "--target t context add new").await;
    assert!(out.expect(2).stderr.contains("neither XDG_CONFIG_HOME nor HOME"), "{out}");
    let secret = ctl(
        &daemon,
        &[],
        "--target rsd_0000000000000000_0000000000000000000000000000000000000000000 context add x",
    )
    .await;
    secret.expect(2);
}
