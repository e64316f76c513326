//! Configurations as people write them, right and wrong.

use std::path::PathBuf;

use model::authorization::{PrincipalKind, Role};
use model::matrix::Matrix;
use model::profile::{Builtin, Profile, WindowRule};

use super::*;

mod damaged;
mod wrong;

const URL: &str = "postgres://u:hunter2@db.example:5433/app";

/// The variables of the tests.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "BUTLERS_DATABASE_URL" | "URL" => URL,
        "LOCAL" => "postgresql+asyncpg://u:hunter2@127.0.0.1/app",
        "LOCAL2" => "postgres://u:hunter2@localhost/app",
        "OTHER" => "postgres://u:hunter2@db.example:5433/other",
        "ELSEWHERE" => "postgres://u:hunter2@db2.example:5433/other",
        "CONTROL" | "RESETD_CONTROL_URL" => "postgres://c:hunter2@db.example:5433/resetd",
        "TEMPLATE" => "postgres://u:hunter2@db.example:5433/template1",
        "BROKEN" => "postgres://u:hunter2@db.example:port/app",
        "NODB" => "postgres://u:hunter2@db.example",
        "EMPTY" => " ",
        "XDG_RUNTIME_DIR" => "/run/user/7",
        _ => return None,
    };
    Some(value.to_owned())
}

fn no_env(_: &str) -> Option<String> {
    None
}

/// Loads a text as `resetd.toml`; messages name it like that.
fn load_with(text: &str, mut options: ServeOptions) -> Result<Config, Vec<String>> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("resetd.toml");
    std::fs::write(&file, text).expect("a file");
    options.config = Some(file);
    let prefix = format!("{}/", dir.path().display());
    let lines =
        |problems: Vec<Problem>| problems.iter().map(|p| p.to_string().replace(&prefix, "")).collect();
    Config::load(&options, &env).map_err(lines)
}

fn load(text: &str) -> Result<Config, Vec<String>> {
    load_with(text, ServeOptions::default())
}

fn good(text: &str) -> Config {
    load(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn the_audit_record_can_go_to_a_file_and_to_standard_error() {
    let text = "[target.app]\ndatabase_url_env = \"URL\"\nprofile = \"staging\"\n";
    assert_eq!(good(text).audit, AuditLines::default());
    let config = good(&format!("[audit]\nfile = \"/var/log/a.jsonl\"\nstderr = true\n{text}"));
    assert_eq!(config.audit, AuditLines { file: Some("/var/log/a.jsonl".into()), stderr: true, seal: None });
    assert!(config.effective().contains("[audit]\nfile = \"/var/log/a.jsonl\"\nstderr = true\n"));
    let said = load(&format!("[audit]\nfile = 1\nfil = \"x\"\n{text}")).expect_err("wrong").join("\n");
    assert!(said.contains("resetd.toml:2:") && said.contains("did you mean \"file\"?"), "{said}");
}

/// Loads without a file.
fn bare(options: ServeOptions, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<String>> {
    Config::load(&options, env).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_example_is_good_and_shows_the_defaults() {
    let config = good(include_str!("../../../resetd.example.toml"));
    let target = config.target("staging").expect("the example's target");
    let expected = Profile { window: WindowRule::Optional, ..Profile::of(Builtin::Staging) };
    assert_eq!(target.profile, expected);
    assert_eq!(target.matrix, Matrix::builtin_default());
    assert_eq!(config.listen, [Listen::Unix("/run/resetd/resetd.sock".into())]);
    assert_eq!(
        config.control.url.map(|url| url.to_string()).as_deref(),
        Some("postgres://c@db.example:5433/resetd")
    );
    let role = Grant {
        kind: PrincipalKind::Unix,
        name: "alice".into(),
        targets: vec!["staging*".into()],
        role: Role::Resetter,
    };
    assert_eq!((config.roles.len(), &config.roles[0]), (2, &role));
}

#[test]
fn without_a_file_the_environment_names_one_target() {
    let config = bare(ServeOptions::default(), &env).expect("a configuration");
    let target = &config.targets[0];
    assert_eq!((config.targets.len(), target.name.as_str(), target.source.database()), (1, "app", "app"));
    assert_eq!(target.profile, Profile::of(Builtin::SharedDev));
    assert_eq!(
        (config.migrations, config.control.database.as_str()),
        (PathBuf::from("migrations"), "resetd")
    );
    let local = |name: &str| env(if name == URL_VARIABLE { "LOCAL" } else { name });
    let config = bare(ServeOptions::default(), &local).expect("a configuration");
    assert_eq!(config.targets[0].profile, Profile::of(Builtin::Local));
    let odd = |_: &str| Some("postgres://u@h/_My%20App".to_owned());
    assert_eq!(bare(ServeOptions::default(), &odd).expect("a configuration").targets[0].name, "my-app");
}

#[test]
fn embedded_needs_neither_file_nor_environment() {
    let options = ServeOptions { embedded: Some(None), ..ServeOptions::default() };
    let config = bare(options.clone(), &no_env).expect("a configuration");
    assert_eq!(
        (config.targets[0].name.as_str(), config.targets[0].source.database()),
        ("butlers", "butlers")
    );
    assert_eq!(config.targets[0].profile, Profile::of(Builtin::Local));
    assert_eq!(config.embedded, Some(Embedded { dir: None }));
    assert!(config.control.url.is_none());
    let config = load_with("[target.a]\n[target.b]\ndatabase = \"bee\"\nprofile = \"staging\"\n", options);
    let config = config.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let databases: Vec<_> = config.targets.iter().map(|target| target.source.database()).collect();
    assert_eq!(databases, ["a", "bee"]);
}

#[test]
fn the_command_line_goes_before_the_file() {
    let options = ServeOptions {
        listen: vec!["localhost:0".into(), "[::1]:0".into(), "unix:s".into()],
        insecure_loopback: true,
        port_file: Some("p".into()),
        migrations: Some("m".into()),
        profile: Some("nightly".into()),
        ..ServeOptions::default()
    };
    let text = "listen = [\"unix:x\"]\nport_file = \"q\"\nmigrations = \"n\"\nshutdown_grace = \"5s\"\n\
                [profile.nightly]\nextends = \"local\"\nwindow = \"required\"\n[target.a]\ndatabase_url_env = \"URL\"\n";
    let config = load_with(text, options).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:0", "[::1]:0", "unix:s"]);
    assert_eq!((config.port_file, config.migrations), (Some("p".into()), "m".into()));
    assert_eq!(config.shutdown_grace, Duration::from_secs(5));
    let profile = &config.targets[0].profile;
    assert_eq!(
        (profile.name.as_str(), profile.base, profile.window),
        ("nightly", Builtin::Local, WindowRule::Required)
    );
}

#[test]
fn a_file_gives_a_url_and_targets_keep_their_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let secret = dir.path().join("url");
    std::fs::write(&secret, format!("{URL}\n")).expect("a file");
    let text = format!(
        "[target.zoo]\ndatabase_url_file = {secret:?}\n[target.abc]\ndatabase_url_env = \"OTHER\"\n\
         [control]\ndatabase_url_env = \"CONTROL\"\n"
    );
    let config = good(&text);
    let names: Vec<_> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["zoo", "abc"]);
    assert_eq!(config.control.url.as_ref().map(DatabaseUrl::user), Some("c"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_matrix_of_ones_own_has_its_own_defaults() {
    let config = good(
        "[target.a]\ndatabase_url_env = \"URL\"\nmatrix = \"m\"\n\
         [matrix.m]\nshared_schemas = [\"s\"]\n[[matrix.m.chain]]\nname = \"c\"\nschemas = [\"x\"]\n\
         [matrix.default]\nextensions_schema = \"ext\"\n",
    );
    let matrix = &config.targets[0].matrix;
    assert_eq!(
        (matrix.search_path_suffix.join(" "), matrix.managed_schemas()),
        ("s public".into(), vec!["s", "x"])
    );
    let config =
        good("[target.a]\ndatabase_url_env = \"URL\"\n[matrix.default]\nextensions_schema = \"ext\"\n");
    let expected = Matrix { extensions_schema: "ext".into(), ..Matrix::builtin_default() };
    assert_eq!(config.targets[0].matrix, expected);
}

#[test]
fn the_effective_values_are_toml_without_secrets_and_mean_the_same() {
    let config = good(include_str!("../../../resetd.example.toml"));
    let text = config.effective();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("# at postgres://u@db.example:5433/app\n"), "{text}");
    assert!(text.contains("# 6 schemas, 36 tables, 9 revisions\n"), "{text}");
    for key in model::profile::KEYS {
        assert!(text.contains(&format!("\n{} = ", key.name)), "{}", key.name);
    }
    let again = text.replace("[target.staging]\n", "[target.staging]\ndatabase_url_env = \"URL\"\n");
    let again = good(&again);
    assert_eq!(again.targets[0].profile, config.targets[0].profile);
    assert_eq!(again.targets[0].matrix, config.targets[0].matrix);
    assert_eq!((again.roles, again.listen), (config.roles, config.listen));
}

#[test]
fn the_default_socket_is_where_the_client_looks() {
    for (env, is_root, expected) in [
        (&env as &dyn Fn(&str) -> Option<String>, false, "/run/user/7/resetd.sock"),
        (&env, true, "/run/resetd/resetd.sock"),
        (&no_env, false, "/run/resetd/resetd.sock"),
    ] {
        assert_eq!(default_socket(env, is_root), PathBuf::from(expected));
    }
}

#[test]
fn tcp_is_tls_but_for_loopback_that_was_asked_for() {
    const TLS: &str =
        "[tls]\ncertificate_file = \"c.pem\"\nkey_file = \"k.pem\"\n[target.a]\ndatabase_url_env = \"URL\"\n";
    let listen = |more: &str| {
        let text = format!(
            "listen = [\"127.0.0.1:1\", \"localhost:2\", \"[::1]:3\", \"0.0.0.0:4\", \"db.example:5\"]\n{more}{TLS}"
        );
        let kind = |listen: &Listen| match listen {
            Listen::Tls(host_port) => format!("tls {host_port}"),
            Listen::Plain(address) => format!("plain {address}"),
            Listen::Unix(path) => path.display().to_string(),
        };
        good(&text).listen.iter().map(kind).collect::<Vec<_>>()
    };
    let remote = ["tls 0.0.0.0:4", "tls db.example:5"];
    let all_tls = ["tls 127.0.0.1:1", "tls localhost:2", "tls [::1]:3"];
    assert_eq!(listen(""), [&all_tls[..], &remote].concat());
    let plain = ["plain 127.0.0.1:1", "plain 127.0.0.1:2", "plain [::1]:3"];
    assert_eq!(listen("insecure_loopback = true\n"), [&plain[..], &remote].concat());
    let config = good(&format!("socket_group = \"staff\"\n{TLS}"));
    let expected = Tls { certificate_file: "c.pem".into(), key_file: "k.pem".into(), client_ca_file: None };
    assert_eq!((config.tls, config.socket_group.as_deref()), (Some(expected), Some("staff")));
}

#[test]
fn sockets_that_were_handed_over_take_the_place_of_the_default_one() {
    let own = std::process::id().to_string();
    let with = |pid: &str, count: &str| {
        let (pid, count) = (pid.to_owned(), count.to_owned());
        move |name: &str| match name {
            "LISTEN_PID" => Some(pid.clone()),
            "LISTEN_FDS" => Some(count.clone()),
            "NOTIFY_SOCKET" => Some("/run/notify".to_owned()),
            name => env(name),
        }
    };
    let config = bare(ServeOptions::default(), &with(&own, "1")).expect("a configuration");
    assert_eq!((config.activated, config.listen.len()), (true, 0));
    assert_eq!(config.notify_socket.as_deref(), Some("/run/notify"));
    // Sockets for another process, or none at all.
    for (pid, count) in [("1", "1"), (own.as_str(), "0"), ("", "1"), (own.as_str(), "x")] {
        let config = bare(ServeOptions::default(), &with(pid, count)).expect("a configuration");
        assert_eq!((config.activated, config.listen.len()), (false, 1), "{pid} {count}");
    }
}
