//! One wrong value of each kind and the exact line it gives.

use super::*;

/// A target that is right, so that only what is tested is wrong. It has three lines.
const TARGET: &str = "[target.app]\ndatabase_url_env = \"URL\"\nprofile = \"staging\"\n";

#[test]
fn in_tls() {
    for (lines, expected) in [
        ("[tls]\ncertificate_file = \"c\"", "2: key \"key_file\" is missing in [tls]"),
        ("[tls]\nkey_file = \"k\"", "2: key \"certificate_file\" is missing in [tls]"),
        (
            "[tls]\ncertificate_file = \"c\"\nkey_file = \"k\"\nclient_ca_fil = \"a\"",
            "5: unknown key \"client_ca_fil\" in [tls]; did you mean \"client_ca_file\"?",
        ),
        (
            "[tls]\ncertificate_file = \"c\"\nkey_file = 1",
            "4: key \"key_file\" in [tls] must be a string, not an integer",
        ),
    ] {
        assert_problems(&format!("\n{lines}\n{TARGET}"), &[&format!("resetd.toml:{expected}")]);
    }
}

#[test]
fn at_the_top_level() {
    for (line, expected) in [
        ("listne = []", "unknown key \"listne\" in the top level; did you mean \"listen\"?"),
        (
            "colour = 1",
            "unknown key \"colour\" in the top level; known keys: listen, migrations, insecure_loopback, socket_group, \
             tls, port_file, shutdown_grace, audit, control, target, profile, role, matrix",
        ),
        ("listen = \"unix:x\"", "key \"listen\" in the top level must be a list of strings, not a string"),
        ("listen = []", "key \"listen\" in the top level is an empty list"),
        ("listen = [1]", "key \"listen\" in the top level must be a list of strings, not an integer"),
        ("listen = [\"\"]", "key \"listen\" in the top level has an empty entry"),
        ("listen = [\"socket\"]", "listen address \"socket\" is neither unix:PATH nor HOST:PORT"),
        ("listen = [\"unix:\"]", "listen address \"unix:\" has no path"),
        ("listen = [\"unix:x\", \"unix:x\"]", "listen address \"unix:x\" is given twice"),
        (
            "listen = [\"127.0.0.1:0\"]",
            "listen address \"127.0.0.1:0\" is TCP, and there is no certificate for TLS; \
             add [tls] with certificate_file and key_file, or use unix:PATH; \
             plaintext on loopback takes insecure_loopback = true (--insecure-loopback)",
        ),
        (
            "listen = [\"0.0.0.0:1\"]",
            "listen address \"0.0.0.0:1\" is not on loopback, and there is no certificate for TLS; \
             add [tls] with certificate_file and key_file, or use unix:PATH",
        ),
        ("tls = 1", "key \"tls\" in the top level must be a table, written [tls], not an integer"),
        ("socket_group = \"\"", "key \"socket_group\" in the top level is empty"),
        ("migrations = 1", "key \"migrations\" in the top level must be a string, not an integer"),
        ("migrations = \"\"", "key \"migrations\" in the top level is empty"),
        (
            "insecure_loopback = \"yes\"",
            "key \"insecure_loopback\" in the top level must be true or false, not a string",
        ),
        (
            "shutdown_grace = \"30\"",
            "key \"shutdown_grace\" in the top level: \"30\" is not a duration such as 8h, 30d, 45m, 90s, 500ms or 1h30m",
        ),
        (
            "control = 1",
            "key \"control\" in the top level must be a table, written [control], not an integer",
        ),
        (
            "role = 1",
            "key \"role\" in the top level must be a list of tables, written [[role]], not an integer",
        ),
        (
            "password = \"hunter2\"",
            "key \"password\" in the top level would put a secret into the file; \
          name an environment variable with database_url_env or a file with database_url_file",
        ),
    ] {
        assert_problems(&format!("\n{line}\n{TARGET}"), &[&format!("resetd.toml:2: {expected}")]);
    }
}

#[test]
fn in_a_target() {
    for (lines, expected) in [
        (
            "databse_url_env = \"URL\"",
            &[
                "1: [target.x] has neither database_url_env nor database_url_file; \
                 for example database_url_env = \"BUTLERS_DATABASE_URL\"",
                "2: unknown key \"databse_url_env\" in [target.x]; did you mean \"database_url_env\"?",
            ][..],
        ),
        (
            "database_url_env = \"URL\"\ndatabase_url = \"postgres://u:hunter2@h/d\"",
            &["3: key \"database_url\" in [target.x] would put a secret into the file; \
               name an environment variable with database_url_env or a file with database_url_file"],
        ),
        (
            "database_url_env = \"postgres://u:hunter2@h/d\"",
            &["2: key \"database_url_env\" in [target.x] is not the name of an environment variable; \
               put the URL into a variable and write the variable's name here"],
        ),
        (
            "database_url_file = \"postgres://u:hunter2@h/d\"",
            &["2: key \"database_url_file\" in [target.x] is not the name of a file; \
               put the URL into a file and write the file's name here"],
        ),
        (
            "database_url_env = \"NONE\"",
            &["2: environment variable \"NONE\" (database_url_env in [target.x]) is not set"],
        ),
        (
            "database_url_env = \"EMPTY\"",
            &["2: environment variable \"EMPTY\" (database_url_env in [target.x]) is not set"],
        ),
        (
            "database_url_env = \"BROKEN\"",
            &[
                "2: environment variable \"BROKEN\" (database_url_env in [target.x]): the URL cannot be read: characters \
               such as @ : / # ? % in a user name or password must be percent-encoded",
            ],
        ),
        (
            "database_url_env = \"NODB\"",
            &["2: environment variable \"NODB\" (database_url_env in [target.x]): the URL names no database"],
        ),
        (
            "database_url_file = \"/none\"",
            &[
                "2: file \"/none\" (database_url_file in [target.x]) cannot be read: No such file or directory (os error 2)",
            ],
        ),
        (
            "database_url_env = \"URL\"\ndatabase_url_file = \"/none\"",
            &["3: [target.x] has both database_url_env and database_url_file; keep one of them"],
        ),
        (
            "database_url_env = \"TEMPLATE\"",
            &["2: database of [target.x]: \"template1\" belongs to PostgreSQL and is never touched"],
        ),
        (
            "database_url_env = \"URL\"\ndatabase = \"a\"",
            &["3: key \"database\" in [target.x] is for --embedded; the URL names the database"],
        ),
        (
            "database_url_env = \"URL\"\nprofile = \"stagin\"",
            &["3: unknown profile \"stagin\" in [target.x]; did you mean \"staging\"?"],
        ),
        (
            "database_url_env = \"URL\"\nmatrix = \"huge-one\"",
            &["3: unknown matrix \"huge-one\" in [target.x]; known: default"],
        ),
    ] {
        let expected: Vec<_> = expected.iter().map(|line| format!("resetd.toml:{line}")).collect();
        assert_problems(&format!("[target.x]\n{lines}\n"), &expected);
    }
}

#[test]
fn in_the_other_sections() {
    for (lines, expected) in [
        ("[control]\ndatabase = 7", "5: key \"database\" in [control] must be a string, not an integer"),
        (
            "[control]\ndatabase = \"template0\"",
            "5: control database: \"template0\" belongs to PostgreSQL and is never touched",
        ),
        (
            "[control]\ndatabase = \"ctl\"\ndatabase_url_env = \"CONTROL\"",
            "5: control database \"ctl\" is not the one of its URL, \"resetd\"; leave out one of the two",
        ),
        (
            "[control]\ndatabase_url_env = \"ELSEWHERE\"",
            "5: the control database is in another cluster (db2.example:5433) than the first target (db.example:5433); \
             one daemon serves one cluster; write host and port the same way",
        ),
        (
            "[profile.staging]\nwindow = \"off\"",
            "5: key \"window\" in [profile.staging]: \"off\" is not one of optional, required",
        ),
        (
            "[profile.staging]\nmax_window = \"0s\"",
            "5: key \"max_window\" in [profile.staging]: the duration may not be zero",
        ),
        (
            "[profile.staging]\nprotected = \"no\"",
            "5: key \"protected\" in [profile.staging] must be true or false, not a string",
        ),
        ("[profile.staging]\nscopes = []", "5: key \"scopes\" in [profile.staging] is an empty list"),
        (
            "[profile.staging]\nscopes = [\"schemas\"]",
            "5: key \"scopes\" in [profile.staging]: \"schemas\" is not one of managed-schemas, database",
        ),
        (
            "[profile.staging]\nscopes = [\"managed-schemas\"]\ndefault_scope = \"database\"",
            "6: [profile.staging]: default_scope \"database\" is not among the scopes",
        ),
        (
            "[profile.staging]\nwindows = \"x\"",
            "5: unknown key \"windows\" in [profile.staging]; did you mean \"window\"?",
        ),
        ("[profile.staging]\nextends = \"local\"", "5: [profile.staging] is built in and extends nothing"),
        (
            "[profile.x]\nwindow = \"optional\"",
            "4: [profile.x] is not built in and must say extends = one of local, shared-dev, staging",
        ),
        (
            "[profile.x]\nextends = \"y\"",
            "5: key \"extends\" in [profile.x]: \"y\" is not one of local, shared-dev, staging",
        ),
        ("[matrix.m]\nshared_schemas = [\"s\"]", "4: [matrix.m] has no chain: add [[matrix.m.chain]]"),
        (
            "[matrix.default]\nextensions_schema = \"shared\"",
            "4: [matrix.default]: extensions_schema \"shared\" is a managed schema: a reset would drop the extensions",
        ),
        (
            "[[matrix.default.chain]]\nschemas = [\"a\"]",
            "4: key \"name\" is missing in [[matrix.default.chain]]",
        ),
        (
            "[[matrix.default.chain]]\nname = \"c\"\nschemas = []",
            "6: key \"schemas\" in [[matrix.default.chain]] is an empty list",
        ),
        (
            "[[matrix.default.chain]]\nname = \"c\"\nschemas = [\"a\"]\ntable = [\"t\"]",
            "7: unknown key \"table\" in [[matrix.default.chain]]; did you mean \"tables\"?",
        ),
        (
            "[[role]]\nprincipal = \"user:a\"\ntargets = [\"*\"]\nrole = \"admin\"",
            "5: principal \"user:a\" is of no known kind (unix:NAME, cert:NAME, token:NAME, loopback:anonymous)",
        ),
        (
            "[[role]]\nprincipal = \"*\"\ntargets = [\"*\"]\nrole = \"admin\"",
            "5: principal \"*\" is of no known kind (unix:NAME, cert:NAME, token:NAME, loopback:anonymous)",
        ),
        (
            "[[role]]\nprincipal = \"unix:\"\ntargets = [\"*\"]\nrole = \"admin\"",
            "5: principal \"unix:\" has no name; \"unix:*\" means everyone of this kind",
        ),
        (
            "[[role]]\nprincipal = \"loopback:bob\"\ntargets = [\"*\"]\nrole = \"admin\"",
            "5: principal \"loopback:bob\" does not exist: on loopback everyone is \"loopback:anonymous\"",
        ),
        (
            "[[role]]\nprincipal = \"unix:a\"\ntargets = [\"*\"]\nrole = \"root\"",
            "7: role \"root\" is not one of viewer, operator, resetter, admin",
        ),
        ("[[role]]\nprincipal = \"unix:a\"\nrole = \"admin\"", "4: key \"targets\" is missing in [[role]]"),
        (
            "[[role]]\nprincipal = \"unix:a\"\ntargets = [\"ap\", \"x*\"]\nrole = \"admin\"",
            "6: unknown target \"ap\" in [[role]]; did you mean \"app\"?",
        ),
        (
            "[[role]]\nprincipal = \"unix:a\"\ntargets = []\nrole = \"admin\"",
            "6: key \"targets\" in [[role]] is an empty list",
        ),
    ] {
        assert_problems(&format!("{TARGET}{lines}\n"), &[&format!("resetd.toml:{expected}")]);
    }
}

#[test]
fn between_sections() {
    let two = |first: &str, second: &str| {
        format!("[target.a]\ndatabase_url_env = \"{first}\"\n[target.b]\ndatabase_url_env = \"{second}\"\n")
    };
    assert_problems(
        &two("LOCAL", "LOCAL2"),
        &["resetd.toml:4: targets \"a\" and \"b\" are one database, \"app\""],
    );
    assert_problems(
        &two("URL", "ELSEWHERE"),
        &[
            "resetd.toml:4: target \"b\" is in another cluster (db2.example:5433) than target \"a\" (db.example:5433); \
           one daemon serves one cluster; write host and port the same way",
        ],
    );
    assert_problems(
        &two("URL", "CONTROL"),
        &[
            "resetd.toml:4: target \"b\" is the control database \"resetd\"; name another one with database in [control]",
        ],
    );
    assert_problems(
        "[target.App]\ndatabase_url_env = \"URL\"\n",
        &[
            "resetd.toml:1: \"App\" is not a target name; up to 63 of a-z, 0-9, _, . and -, a letter or digit first",
        ],
    );
    assert_problems("[target]\n", &["resetd.toml:1: [target] names no target; write [target.NAME]"]);
}

#[test]
fn on_the_command_line() {
    let with_profile = |name: &str| ServeOptions { profile: Some(name.into()), ..ServeOptions::default() };
    let conflict = load_with(TARGET, with_profile("local")).expect_err("a contradiction");
    assert_eq!(
        conflict,
        [
            "resetd.toml:3: [target.app] has profile \"staging\", and --profile says \"local\"; leave out one of the two"
        ]
    );
    let unknown = bare(with_profile("locl"), &env).expect_err("an unknown profile");
    assert_eq!(unknown, ["unknown profile \"locl\" in --profile; did you mean \"local\"?"]);
    let embedded = ServeOptions { embedded: Some(None), ..ServeOptions::default() };
    assert_eq!(
        load_with(TARGET, embedded).expect_err("a URL"),
        ["resetd.toml:2: key \"database_url_env\" in [target.app] has no meaning with --embedded; \
          name the database with database = \"…\""]
    );
    let listen = ServeOptions { listen: vec!["here".into()], ..ServeOptions::default() };
    assert_eq!(
        bare(listen, &env).expect_err("an address"),
        ["listen address \"here\" is neither unix:PATH nor HOST:PORT"]
    );
}

#[test]
fn nothing_at_all_says_the_three_ways() {
    assert_eq!(
        bare(ServeOptions::default(), &no_env).expect_err("no target"),
        [
            "there is no target; set BUTLERS_DATABASE_URL to the URL of a database, or name a file with [target.NAME] sections \
          (--config FILE), or let the daemon start a private PostgreSQL (--embedded)"
        ]
    );
    let missing = ServeOptions { config: Some("/none.toml".into()), ..ServeOptions::default() };
    assert_eq!(
        bare(missing, &env).expect_err("no file"),
        ["configuration file \"/none.toml\" cannot be read: No such file or directory (os error 2)"]
    );
    let reserved = |_: &str| Some("postgres://u@h/postgres".to_owned());
    assert_eq!(
        bare(ServeOptions::default(), &reserved).expect_err("reserved"),
        ["database of BUTLERS_DATABASE_URL: \"postgres\" belongs to PostgreSQL and is never touched"]
    );
}

#[test]
fn everything_wrong_is_said_at_once_in_order() {
    let text = "lissten = [\"unix:x\"]\nshutdown_grace = 3\n\n[target.a]\ndatabase_url_env = \"NONE\"\nprofile = \"prod\"\n\
                [target.b]\ndatabase_url_env = \"URL\"\nmatrix = \"defualt\"\n[profile.local]\nreport = \"ignore\"\n\
                self_enrol = true\n[[role]]\nprincipal = \"unix:a\"\nrole = \"boss\"\n\
                [matrix.default]\nshared_schemas = [\"pg_x\", \"pg_y\"]\n";
    let problems = load(text).expect_err("many problems");
    let places: Vec<_> = problems.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let expected = [1, 2, 5, 6, 9, 11, 12, 13, 15, 16, 16].map(|line| format!("resetd.toml:{line}:"));
    assert_eq!(places, expected, "{problems:#?}");
}

#[test]
fn every_syntax_error_has_its_line() {
    let problems = load("listen = [\n\n[control\ndatabase = \"a\n").expect_err("not TOML");
    assert!(
        problems.iter().all(|line| line.starts_with("resetd.toml:") && line.contains(": not TOML: ")),
        "{problems:?}"
    );
    let twice = load("migrations = \"a\"\nmigrations = \"b\"\n").expect_err("twice");
    assert_eq!(twice, ["resetd.toml:2: not TOML: duplicate key"]);
}

fn assert_problems<T: AsRef<str>>(text: &str, expected: &[T]) {
    let found = load(text).expect_err(text);
    let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
    assert_eq!(found, expected, "{text}");
    assert!(!found.concat().contains("hunter2"), "{text}");
}
