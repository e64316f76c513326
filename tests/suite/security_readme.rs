//! The README's remote client: its three commands, run by a shell as they stand there.

use std::os::unix::fs::PermissionsExt as _;

use harness::{Authority, Setup, TestTarget, binary, soon};

/// The lines of the shell block under a heading.
fn commands(page: &str, heading: &str) -> Vec<String> {
    let section = page.split_once(heading).expect("the heading").1;
    let block = section.split_once("```sh\n").expect("a shell block").1;
    block.split_once("```").expect("its end").0.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_remote_client_over_tls_in_the_three_commands_of_the_readme() {
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let page = std::fs::read_to_string(readme).expect("the README");
    let commands = commands(&page, "## From another machine");
    assert_eq!(commands.len(), 3, "{commands:?}");

    let target = TestTarget::migrated().await;
    let authority = Authority::new();
    let text = format!(
        "{}[target.staging]\ndatabase_url_env = \"BUTLERS_DATABASE_URL\"\n\
         [[role]]\nprincipal = \"token:deploy\"\ntargets = [\"staging\"]\nrole = \"resetter\"\n",
        target.control_section()
    );
    let daemon = Setup::of(&target).config(&text).profile("local").tls(&authority).spawn().await;

    // On the daemon's machine: the command of the page, on this daemon's configuration.
    let made = tokio::process::Command::new(binary("resetd"))
        .args(["token", "create", "deploy", "--config", "resetd.toml", "--output", "deploy.token"])
        .current_dir(daemon.folder())
        .env("BUTLERS_DATABASE_URL", target.url())
        .envs(target.control_url().map(|url| ("CONTROL_URL", url)))
        .output();
    let made = soon("a token", made).await.expect("resetd can be run");
    assert!(made.status.success(), "{made:?}");
    let token = daemon.folder().join("deploy.token");
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::copy(authority.ca(), daemon.folder().join("ca.pem")).unwrap();

    // On the other machine; only the name of the daemon's is another here.
    let script = commands.join(" && ").replace("https://resetd.example.org:7443", &daemon.address);
    let programs = binary("resetctl").parent().unwrap().display().to_string();
    let shell = tokio::process::Command::new("sh")
        .args(["-ec", &script])
        .current_dir(daemon.folder())
        .env_clear()
        .env("HOME", daemon.folder())
        .env("PATH", format!("{programs}:/usr/bin:/bin"))
        .output();
    let out = soon("the three commands", shell).await.expect("a shell");
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{script}\n{stdout}\n{stderr}");
    assert!(stdout.contains("staging") && stdout.contains("token:deploy"), "status shows both\n{stdout}");
    let state = target.control_rows("SELECT principal FROM resetd.operation").await;
    assert_eq!(state, [["token:deploy"]], "it ran as the token's owner");
    let secret = std::fs::read_to_string(token).unwrap();
    assert!(
        !stdout.contains(secret.trim())
            && !stderr.contains(secret.trim())
            && !daemon.log().contains(secret.trim())
    );
}
