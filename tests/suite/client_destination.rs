//! Which daemon, which target and whose token count when several sources name one, with the real programs.

use std::fs;

use harness::{Daemon, Output, Setup, TestTarget};

const RUN: [&str; 3] = ["run", "--confirm-destructive-reset", "RESET"];

/// The client's configuration file, in the daemon's folder.
fn configure(daemon: &Daemon, text: &str) {
    let folder = daemon.folder().join(".config/resetctl");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

fn words<'a>(first: &[&'a str], then: &[&'a str]) -> Vec<&'a str> {
    [first, then].concat()
}

/// The reset emptied the table.
async fn was_reset(target: &TestTarget) -> bool {
    target.holds("SELECT count(*) = 0 FROM general.state").await
}

fn first_line(out: &Output) -> &str {
    out.stderr.lines().next().unwrap_or_default()
}

/// A variable that was set once and forgotten must not send a reset to another target than the context that was named.
#[tokio::test]
async fn a_named_context_s_target_is_reset_whatever_the_environment_says() {
    let (dev, staging) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let daemon = Setup::of(&dev).and(&staging).start().await;
    let server = daemon.address.clone();
    configure(&daemon, &format!("[context.dev]\nserver = \"{server}\"\ntarget = \"{}\"\n", dev.name));
    let env = [("RESETCTL_TARGET", staging.name.as_str())];

    let out = daemon.ctl_with(&env, &words(&["--context", "dev"], &RUN)).await;
    assert_eq!(out.expect(0).text("/target"), dev.name, "{out}");
    assert!(was_reset(&dev).await && !was_reset(&staging).await, "{out}");
    let conflict = first_line(&out);
    assert!(conflict.contains(&dev.name) && conflict.contains("--context dev"), "which one counts\n{out}");
    assert!(conflict.contains(&staging.name) && conflict.contains("RESETCTL_TARGET"), "and which not\n{out}");

    // A flag goes before both; without a context the variable counts.
    let flag = words(&["--context", "dev", "--target", &staging.name, "validate"], &[]);
    assert_eq!(daemon.ctl_with(&env, &flag).await.expect(0).text("/target"), staging.name);
    let env = [("RESETCTL_TARGET", staging.name.as_str()), ("RESETCTL_SERVER", server.as_str())];
    let out = daemon.ctl_with(&env, &["validate"]).await;
    assert_eq!(out.expect(0).text("/target"), staging.name);
    assert!(!out.stderr.contains("RESETCTL_TARGET"), "nothing is destroyed and nothing in conflict\n{out}");
}

#[tokio::test]
async fn a_named_context_s_daemon_is_called_whatever_the_environment_says() {
    let (dev, staging) = (TestTarget::migrated().await, TestTarget::migrated().await);
    let (here, there) = (Setup::of(&dev).start().await, Setup::of(&staging).start().await);
    configure(&here, &format!("[context.dev]\nserver = \"{}\"\n", here.address));
    let env = [("RESETCTL_SERVER", there.address.as_str())];
    let out = here.ctl_with(&env, &words(&["--context", "dev"], &RUN)).await;
    assert_eq!(out.expect(0).text("/target"), dev.name, "{out}");
    assert!(was_reset(&dev).await && !was_reset(&staging).await, "{out}");
    for part in [&here.address, "--context dev", &there.address, "RESETCTL_SERVER"] {
        assert!(first_line(&out).contains(part), "{part}\n{out}");
    }
}

#[tokio::test]
async fn a_named_context_s_token_is_sent_whatever_the_environment_says() {
    let target = TestTarget::empty().await;
    let role = |principal: &str, role: &str| {
        format!("[[role]]\nprincipal = \"{principal}\"\ntargets = [\"*\"]\nrole = \"{role}\"\n")
    };
    let own = format!("unix:{}", nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name);
    let viewers = ["context", "variable", "named"].map(|name| role(&format!("token:{name}"), "viewer"));
    let roles = format!("{}{}", role(&own, "admin"), viewers.concat());
    let daemon = Setup::of(&target).listen("unix:socket").with(&roles).start().await;
    let mut files = Vec::new();
    for name in ["context", "variable", "named"] {
        let file = daemon.folder().join(name).display().to_string();
        daemon.ctl_args(&["token", "create", name, "--output", &file]).await.expect(0);
        files.push(file);
    }
    let (server, [context, variable, named]) = (&daemon.address, [&files[0], &files[1], &files[2]]);
    configure(&daemon, &format!("[context.dev]\nserver = \"{server}\"\ntoken_file = \"{context}\"\n"));
    let text = fs::read_to_string(variable).unwrap();
    let who = async |env: &[(&str, &str)], words: &[&str]| {
        let out = daemon.ctl_with(env, words).await;
        let status: serde_json::Value = serde_json::from_str(&out.expect(0).stdout).unwrap();
        status["principal"].as_str().unwrap().to_owned()
    };
    let variables: [&[(&str, &str)]; 2] =
        [&[("RESETCTL_TOKEN", text.trim())], &[("RESETCTL_TOKEN_FILE", variable)]];
    for env in variables {
        assert_eq!(who(env, &["--context", "dev", "status", "--json"]).await, "token:context");
        let flag = ["--context", "dev", "--token-file", named, "status", "--json"];
        assert_eq!(who(env, &flag).await, "token:named");
        assert_eq!(who(env, &["--server", server, "status", "--json"]).await, "token:variable");
    }
}

/// What is about to be destroyed is named before it is: target, database and daemon, and where each came from.
#[tokio::test]
async fn a_destructive_verb_says_what_it_is_about_to_change() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let server = daemon.address.clone();
    let env = [("RESETCTL_SERVER", server.as_str())];
    let out = daemon.ctl_with(&env, &words(&["--target", &target.name], &RUN)).await;
    out.expect(0);
    for part in [&target.name, &target.database, "--target", &server, "RESETCTL_SERVER"] {
        assert!(first_line(&out).contains(part), "{part}\n{out}");
    }
    // The daemon's only target has no other source than the daemon.
    let out = daemon.ctl_with(&[], &words(&["--server", &server], &RUN)).await;
    for part in [&target.name, &target.database, "only target", &server, "--server"] {
        assert!(first_line(&out).contains(part), "{part}\n{out}");
    }
    // For scripts as well, and never where nothing is destroyed.
    let json = words(&["--progress", "json"], &[]);
    let out = daemon.ctl_with(&env, &words(&RUN, &json)).await;
    // Behind the record of the lines' version.
    let line: serde_json::Value = serde_json::from_str(out.stderr.lines().nth(1).unwrap()).unwrap();
    assert_eq!((line["code"].as_str(), line["sequence"].as_u64()), (Some("CLIENT"), Some(0)), "{out}");
    assert!(line["text"].as_str().unwrap().contains(&target.database), "{out}");
    for harmless in [&["validate"][..], &["run", "--dry-run"]] {
        let out = daemon.ctl_with(&env, harmless).await;
        assert!(!out.expect(0).stderr.contains("RESETCTL_SERVER"), "{out}");
    }
}
