//! The rules of the house that no compiler and no lint sees, checked over the source tree as text.
//!
//! Each rule is a function from a path and its text to complaints, and each is shown a bad sample that it must find.
//! This file must not know what the code does.

use harness::rust_text::{REMOVED, cut, has_word, is_word, without_tests};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The longest file, in lines, without its tests.
const LINES: usize = 400;
/// What is built, not written; in a second work tree `.git` is a file.
const BUILT: [&str; 4] = ["target", ".git", ".tmp", ".venv"];

type Rule = fn(&Source) -> Vec<String>;

// --- the tree -----------------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// Every text file of the project, by its path from the root.
fn tree() -> Vec<(String, String)> {
    let (root, mut found) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let path = entry.path();
            let kind = entry.file_type().expect("a type");
            if BUILT.contains(&entry.file_name().to_string_lossy().as_ref()) {
                continue;
            }
            // Cargo marks its folder, whatever CARGO_TARGET_DIR calls it.
            if kind.is_dir() && path.join("CACHEDIR.TAG").exists() {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}

/// The Rust files, cut into what the rules look at.
fn sources() -> Vec<Source> {
    let files: Vec<_> = tree().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect();
    let for_tests: BTreeSet<String> =
        files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    files.into_iter().map(|(path, text)| Source::new(for_tests.contains(&path), path, &text)).collect()
}

/// The files of `#[cfg(test)] mod name;`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let here = ["/lib", "/main", "/mod"].iter().find_map(|own| stem.strip_suffix(own)).unwrap_or(stem);
    let lines: Vec<&str> = text.lines().collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]").filter_map(|pair| {
        let name = pair[1].rsplit_once("mod ")?.1.strip_suffix(';')?;
        Some(format!("{here}/{name}.rs"))
    });
    declared.collect()
}

/// A Rust file without its tests: once with only its code left, once with only its string literals. Lines stay.
struct Source {
    path: String,
    text: String,
    code: String,
    strings: Vec<(usize, String)>,
    lines: usize,
    for_tests: bool,
}

impl Source {
    fn new(declared_for_tests: bool, path: String, text: &str) -> Self {
        let for_tests = declared_for_tests || path.split('/').any(|part| part == "tests");
        let kept = if for_tests { text.to_owned() } else { without_tests(text) };
        let (code, strings) = cut(&kept);
        let lines = kept.lines().filter(|line| *line != REMOVED).count();
        Self { text: text.to_owned(), code, strings, lines, for_tests, path }
    }

    fn below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// The lines of code that name one of these words, as whole words.
    fn naming(&self, words: &[&str], why: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (line, code) in (1..).zip(self.code.lines()) {
            found.extend(
                words
                    .iter()
                    .filter(|w| has_word(code, w))
                    .map(|w| format!("{}:{line}: `{w}`: {why}", self.path)),
            );
        }
        found
    }
}

// --- the rules ----------------------------------------------------------------------------------------------------

fn engine_knows_no_wire_and_no_driver(it: &Source) -> Vec<String> {
    if !it.below(&["server/src/engine"]) {
        return Vec::new();
    }
    it.naming(
        &["sqlx", "tonic", "prost", "wire"],
        "the engine speaks the model's language; grpc/ and postgres/ translate",
    )
}

/// The rooms of `postgres`, from the bottom up.
const ROOMS: [&str; 8] = ["sql", "session", "catalog", "control", "lock", "change", "gateway", "swap"];

fn rooms_import_what_stands_below(it: &Source) -> Vec<String> {
    let room = it.path.strip_prefix("server/src/postgres/").and_then(|rest| rest.split('/').next());
    let Some(floor) = ROOMS.iter().position(|name| Some(*name) == room) else { return Vec::new() };
    let above = &ROOMS[floor + 1..];
    let imported = it.code.match_indices("postgres::").flat_map(|(at, _)| heads(&it.code[at + 10..]));
    let wrong = imported.filter(|name| above.contains(&name.as_str()));
    wrong.map(|name| format!("{}: imports {name}, which stands above it", it.path)).collect()
}

/// The first names of a use tree: `a::b` gives `a`, `{a::b, c::{d}}` gives `a` and `c`.
fn heads(tree: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let Some(inside) = tree.trim_start().strip_prefix('{') else { return vec![name(tree)] };
    let (mut found, mut depth) = (vec![name(inside)], 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(name(&inside[at + 1..])),
            _ => {}
        }
    }
    found
}

fn only_postgres_names_the_driver(it: &Source) -> Vec<String> {
    // embedded/ starts a cluster before there is anything to serve; config/url.rs reads connection strings.
    let allowed =
        ["server/src/postgres", "server/src/embedded", "server/src/config/url", "server/tests", "tests/"];
    if it.below(&allowed) {
        return Vec::new();
    }
    it.naming(&["sqlx"], "only server/src/postgres speaks to PostgreSQL")
}

fn only_postgres_writes_sql(it: &Source) -> Vec<String> {
    // The model reads SQL: its parser and its faults name statements, and send none.
    if it.for_tests || it.below(&["server/src/postgres", "proto/model/src/sql", "proto/model/src/chain"]) {
        return Vec::new();
    }
    let is_sql = |text: &str| {
        let mut words = text.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match first {
            "SELECT" | "WITH" | "UPDATE" | "TRUNCATE" | "GRANT" | "REVOKE" | "VALUES" => !second.is_empty(),
            "INSERT" => second == "INTO",
            "DELETE" => second == "FROM",
            "LOCK" => second == "TABLE",
            "SET" => matches!(second, "LOCAL" | "SESSION" | "ROLE" | "CONSTRAINTS"),
            "CREATE" | "ALTER" | "DROP" | "COMMENT" => {
                second.len() > 1 && second.chars().all(|c| c.is_ascii_uppercase())
            }
            "BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" => {
                text.trim().chars().all(|c| !c.is_ascii_lowercase())
            }
            _ => false,
        }
    };
    let found = it.strings.iter().filter(|(_, text)| is_sql(text));
    found
        .map(|(line, text)| format!("{}:{line}: SQL outside server/src/postgres: {text:.60}", it.path))
        .collect()
}

fn the_environment_is_read_in_one_place(it: &Source) -> Vec<String> {
    // main.rs takes the arguments, which are not the environment.
    let allowed =
        ["server/src/config.rs", "client/src/environment.rs", "client/src/main.rs", "proto/wire/build.rs"];
    // Where temporary folders go is the system's convention, asked where the folder is made; it is no configuration.
    let temporary = it.path == "server/src/embedded/directory.rs";
    if it.for_tests || allowed.contains(&it.path.as_str()) {
        return Vec::new();
    }
    let code = if temporary { it.code.replace("std::env::temp_dir", "") } else { it.code.clone() };
    let rest = Source { code, ..Source::new(false, it.path.clone(), "") };
    rest.naming(
        &["std::env", "env::"],
        "only config.rs (and the client's environment.rs) reads the environment",
    )
}

fn nothing_prints(it: &Source) -> Vec<String> {
    if it.for_tests || it.path.ends_with("build.rs") {
        return Vec::new();
    }
    let words = ["println!", "eprintln!", "print!", "eprint!"];
    it.naming(&words, "the client shows things through render/, the daemon logs")
}

fn lints_are_expected_with_a_reason(it: &Source) -> Vec<String> {
    let close: String = it.code.split_whitespace().collect();
    let words = ["#[allow(", "#![allow("];
    let found = words.iter().filter(|word| close.contains(*word));
    found.map(|word| format!("{}: `{word}`: use #[expect(…, reason = \"…\")]", it.path)).collect()
}

fn nothing_is_left_half_done(it: &Source) -> Vec<String> {
    it.naming(&["todo!", "unimplemented!", "dbg!"], "finish it, or refuse with a Fault")
}

fn nothing_is_unsafe(it: &Source) -> Vec<String> {
    it.naming(&["unsafe"], "there is no unsafe code")
}

fn every_file_says_what_it_is_for(it: &Source) -> Vec<String> {
    if it.text.starts_with("//!") { Vec::new() } else { vec![format!("{}: begins without `//!`", it.path)] }
}

fn error_codes_are_read_in_one_place(it: &Source) -> Vec<String> {
    // The gateway speaks to its tool with codes of its own.
    let allowed = ["server/src/postgres/sql/error", "server/src/postgres/gateway"];
    if it.for_tests || !it.below(&["server/src"]) || it.below(&allowed) {
        return Vec::new();
    }
    let is_code = |text: &str| {
        text.len() == 5
            && text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
            && text.chars().filter(char::is_ascii_digit).count() > 1
    };
    let found = it.strings.iter().filter(|(_, text)| is_code(text));
    found
        .map(|(line, code)| format!("{}:{line}: {code}: ask for a condition of sql/error", it.path))
        .collect()
}

/// What tests share is in the harness. A file may go on with what another began, whose name it continues.
fn the_suite_imports_the_harness(it: &Source) -> Vec<String> {
    let file = it.path.strip_prefix("tests/suite/").and_then(|rest| rest.strip_suffix(".rs"));
    let Some(file) = file.filter(|file| !file.contains('/')) else { return Vec::new() };
    let imported = it.code.match_indices("crate::").flat_map(|(at, _)| heads(&it.code[at + 7..]));
    let wrong = imported.filter(|name| !file.starts_with(name.as_str()));
    wrong
        .map(|name| format!("{}: imports {name} of the suite: put what tests share into tests/src", it.path))
        .collect()
}

fn files_are_short(it: &Source) -> Vec<String> {
    let long = !it.for_tests && it.lines > LINES;
    if long {
        vec![format!("{}: {} lines, at most {LINES} without tests", it.path, it.lines)]
    } else {
        Vec::new()
    }
}

const RULES: [(&str, Rule); 13] = [
    ("engine_knows_no_wire_and_no_driver", engine_knows_no_wire_and_no_driver),
    ("rooms_import_what_stands_below", rooms_import_what_stands_below),
    ("only_postgres_names_the_driver", only_postgres_names_the_driver),
    ("only_postgres_writes_sql", only_postgres_writes_sql),
    ("the_environment_is_read_in_one_place", the_environment_is_read_in_one_place),
    ("nothing_prints", nothing_prints),
    ("lints_are_expected_with_a_reason", lints_are_expected_with_a_reason),
    ("nothing_is_left_half_done", nothing_is_left_half_done),
    ("nothing_is_unsafe", nothing_is_unsafe),
    ("every_file_says_what_it_is_for", every_file_says_what_it_is_for),
    ("files_are_short", files_are_short),
    ("error_codes_are_read_in_one_place", error_codes_are_read_in_one_place),
    ("the_suite_imports_the_harness", the_suite_imports_the_harness),
];

#[test]
fn the_tree_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 100, "the tree is not found any more");
    let found: Vec<String> = RULES
        .iter()
        .flat_map(|(name, rule)| sources.iter().flat_map(rule).map(move |it| format!("{name}: {it}")))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// For each rule: a path, a text that it must complain about, and one that it must not.
fn samples() -> Vec<(&'static str, &'static str, String, String)> {
    let long = |n: usize| "//! x\n".to_owned() + &"fn f() {}\n".repeat(n - 1);
    let s = |bad: &str, good: &str| (format!("//! x\n{bad}\n"), format!("//! x\n{good}\n"));
    let with_tests = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn f() { println!(\"SELECT 1\"); }\n}";
    let mut all = Vec::new();
    let mut add = |rule, path, (bad, good): (String, String)| all.push((rule, path, bad, good));
    add(
        "engine_knows_no_wire_and_no_driver",
        "server/src/engine/operation/lifecycle.rs",
        s("use wire::v1;", "// wire\nlet s = \"wire\"; rewire();"),
    );
    add(
        "engine_knows_no_wire_and_no_driver",
        "server/src/engine/operation/lifecycle.rs",
        s("fn f(_: tonic::Status) {}", "use crate::postgres;"),
    );
    add(
        "engine_knows_no_wire_and_no_driver",
        "server/src/engine/operation/lifecycle.rs",
        s("x(sqlx::query)", "/* sqlx /* prost */ tonic */"),
    );
    add(
        "rooms_import_what_stands_below",
        "server/src/postgres/session/connect.rs",
        s(
            "use crate::postgres::{sql::{self, x}, lock::lease};",
            "use model::lock; use crate::postgres::sql::{lock};",
        ),
    );
    add(
        "rooms_import_what_stands_below",
        "server/src/postgres/lock/lease.rs",
        s("crate::postgres::swap::swap::f()", "use crate::{postgres::{control::pool}};"),
    );
    add(
        "error_codes_are_read_in_one_place",
        "server/src/postgres/change/discard.rs",
        s("sqlstate(&error) == Some(\"55P03\")", "x(\"UTF8X\", \"12 MiB\")"),
    );
    add(
        "the_suite_imports_the_harness",
        "tests/suite/audit_seal.rs",
        s("use crate::{audit::x, windows::Two};", "use crate::audit::x;"),
    );
    add("only_postgres_names_the_driver", "server/src/grpc/mod.rs", s("use sqlx::PgPool;", "//sqlx"));
    add(
        "only_postgres_names_the_driver",
        "client/src/watch.rs",
        s("sqlx::query", "let s = r#\"a \"sqlx\" b\"#;"),
    );
    add(
        "only_postgres_writes_sql",
        "server/src/engine/operation/lifecycle.rs",
        s("q(\"SELECT 1\")", "q(\"SELECT\"); say(\"select one\");"),
    );
    add(
        "only_postgres_writes_sql",
        "server/src/chains.rs",
        s("q(\"\n  DROP SCHEMA x\")", "say(\"DROP it\")"),
    );
    add("only_postgres_writes_sql", "client/src/lib.rs", s("q(r\"COMMIT\")", with_tests));
    add(
        "the_environment_is_read_in_one_place",
        "server/src/daemon.rs",
        s("std::env::var(\"X\")", "env!(\"X\")"),
    );
    add("the_environment_is_read_in_one_place", "client/src/io.rs", s("use std::env;", "// std::env"));
    add(
        "the_environment_is_read_in_one_place",
        "server/src/embedded/directory.rs",
        s("std::env::var_os(x)", "std::env::temp_dir()"),
    );
    add("nothing_prints", "server/src/daemon.rs", s("println!(\"x\")", with_tests));
    add(
        "nothing_prints",
        "client/src/lib.rs",
        s("let c = '\"'; eprintln!(\"x\")", "let c = '\"'; let s = \"print!\";"),
    );
    add(
        "lints_are_expected_with_a_reason",
        "tests/src/lib.rs",
        s("#[allow(dead_code)]", "#[expect(dead_code, reason = \"x\")]"),
    );
    add("lints_are_expected_with_a_reason", "tests/src/lib.rs", s("#![allow( x)]", "// #[allow(x)]"));
    add("nothing_is_left_half_done", "tests/src/lib.rs", s("todo!()", "\"todo!()\""));
    add("nothing_is_left_half_done", "server/src/lib.rs", s("dbg!(x)", "not_dbg!(x)"));
    add("nothing_is_unsafe", "server/src/lib.rs", s("unsafe { x() }", "#[expect(unsafe_code)] // unsafe"));
    add(
        "every_file_says_what_it_is_for",
        "server/src/lib.rs",
        ("use x;\n//! late\n".to_owned(), "//! x\n".to_owned()),
    );
    add("files_are_short", "server/src/lib.rs", (long(LINES + 1), long(LINES)));
    add(
        "files_are_short",
        "server/src/lib.rs",
        (long(LINES + 1), format!("{}#[cfg(test)]\nmod t {{\n  x\n}}\n", long(LINES))),
    );
    all
}

#[test]
fn every_rule_finds_its_bad_sample_and_only_that() {
    let samples = samples();
    for (name, rule) in RULES {
        let mut tried = 0;
        for (_, path, bad, good) in samples.iter().filter(|sample| sample.0 == name) {
            let complaints = |text: &str| rule(&Source::new(false, (*path).to_owned(), text));
            assert!(!complaints(bad).is_empty(), "{name} does not see: {bad:.200}");
            assert_eq!(complaints(good), Vec::<String>::new(), "{name} is wrong about: {good:.200}");
            tried += 1;
        }
        assert!(tried > 0, "{name} has no sample");
    }
}

#[test]
fn tests_are_told_from_code() {
    let text = "#[cfg(test)]\nmod tests;\nfn f() {}\nimpl X {\n    #[cfg(test)]\n    fn g() {\n        x();\n    }\n    fn h() {}\n}\n";
    let kept: Vec<String> =
        without_tests(text).lines().filter(|l| *l != REMOVED).map(str::to_owned).collect();
    assert_eq!(kept, ["fn f() {}", "impl X {", "    fn h() {}", "}"]);
    assert_eq!(test_modules("a/src/lib.rs", text), ["a/src/tests.rs"]);
    assert_eq!(test_modules("a/src/b.rs", text), ["a/src/b/tests.rs"]);
    let (code, strings) = cut("a(\"x\\\"y\nz\", 'q', b'\"', r#\"p\"q\"#) // c\n'life");
    assert_eq!(code, "a(\"\"\n, , b, \"\") \n'life");
    assert_eq!(strings, [(1, "x\\\"y\nz".to_owned()), (2, "p\"q".to_owned())]);
}

// --- dependencies -------------------------------------------------------------------------------------------------

/// The crate's folder, and what it must not depend on.
const FORBIDDEN: [(&str, &[&str]); 4] = [
    ("proto/model", &["tokio", "sqlx", "tonic", "prost", "wire", "resetd", "resetctl", "resetd-wire"]),
    ("proto/wire", &["sqlx", "tokio", "resetd", "resetctl"]),
    ("server", &["resetctl"]),
    ("client", &["sqlx", "resetd"]),
];

/// The names of a manifest's dependencies of every kind; a crate that is renamed counts with both names.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let (mut inside, mut names) = (false, BTreeSet::new());
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section.ends_with("dependencies");
            names.extend(section.split_once("dependencies.").map(|(_, name)| name.to_owned()));
        } else if inside && let Some((name, value)) = line.split_once('=') {
            names.insert(name.trim().split('.').next().unwrap_or_default().to_owned());
            let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
            names.extend(renamed.map(str::to_owned));
        }
    }
    names
}

fn wrong_dependencies(folder: &str, manifest: &str) -> Vec<String> {
    let forbidden =
        FORBIDDEN.iter().find(|(name, _)| *name == folder).map_or(&[] as &[&str], |(_, list)| list);
    let there = dependencies(manifest);
    // Families count as a whole: tonic-prost is as much gRPC as tonic.
    let family = |name: &str, word: &str| {
        name == word || (!word.starts_with("reset") && name.starts_with(&format!("{word}-")))
    };
    let found = there.iter().filter(|name| forbidden.iter().any(|word| family(name, word)));
    found.map(|name| format!("{folder} must not depend on {name}")).collect()
}

#[test]
fn dependencies_point_one_way() {
    for (folder, _) in FORBIDDEN {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        assert!(!dependencies(&manifest).is_empty(), "{folder}: the manifest is not read any more");
        assert_eq!(wrong_dependencies(folder, &manifest), Vec::<String>::new());
    }
}

#[test]
fn a_wrong_dependency_is_found_in_every_form() {
    let bad = [
        ("proto/model", "[dependencies]\ntokio.workspace = true\n"),
        ("proto/model", "[dev-dependencies]\ntonic-prost = \"1\"\n"),
        ("proto/model", "[dependencies.sqlx]\nversion = \"1\"\n"),
        ("client", "[dependencies]\ndaemon = { package = \"resetd\", path = \"../server\" }\n"),
        ("server", "[target.'cfg(unix)'.dependencies]\nresetctl.workspace = true\n"),
    ];
    for (folder, manifest) in bad {
        assert_eq!(wrong_dependencies(folder, manifest).len(), 1, "{manifest}");
    }
    let good = "[package]\nname = \"tokio\"\n[dependencies]\nserde = \"1\"\n[lints]\nsqlx = \"x\"\n";
    assert_eq!(wrong_dependencies("proto/model", good), Vec::<String>::new());
    assert_eq!(wrong_dependencies("client", "[dependencies]\nresetd-wire = \"1\"\n"), Vec::<String>::new());
}

// --- data and documents -------------------------------------------------------------------------------------------

/// Chains that no matrix replays and no page shows.
fn unused_chains(folders: &[String], used: &[&str], pages: &str) -> Vec<String> {
    let shown = |name: &str| used.contains(&name) || has_word(pages, name);
    folders.iter().filter(|name| *name != "control" && !shown(name)).cloned().collect()
}

#[test]
fn every_chain_is_replayed_or_shown() {
    let folders: Vec<String> = fs::read_dir(root().join("migrations"))
        .expect("migrations")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let matrix = model::matrix::Matrix::builtin_default();
    let used: Vec<&str> = matrix.chains.iter().map(|chain| chain.name.as_str()).collect();
    let shown = |path: &str| path.ends_with(".md") || path.ends_with(".example.toml");
    let pages: Vec<String> =
        tree().into_iter().filter(|(path, _)| shown(path)).map(|(_, text)| text).collect();
    assert_eq!(unused_chains(&folders, &used, &pages.join("\n")), Vec::<String>::new());

    let folders = ["control", "core", "lost", "shown"].map(str::to_owned);
    assert_eq!(unused_chains(&folders, &["core"], "see shown, not lost_too"), ["lost"]);
}

/// The files and folders that a page names in backquotes, from the top of the tree.
fn named_paths(page: &str) -> Vec<&str> {
    const TOP: [&str; 9] =
        ["server/", "client/", "proto/", "tests/", "scripts/", "migrations/", "dist/", "docs/", ".ci/"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    // Odd pieces stand between backquotes.
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|text| TOP.iter().any(|top| text.starts_with(top)) && text.chars().all(plain)).collect()
}

#[test]
fn every_path_of_the_pages_is_there() {
    let root = root();
    let mut missing = Vec::new();
    for (path, text) in tree().iter().filter(|(path, _)| path.ends_with(".md")) {
        let gone = named_paths(text).into_iter().filter(|named| !root.join(named).exists());
        missing.extend(gone.map(|named| format!("{path}: `{named}` is not there")));
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
    assert_eq!(
        named_paths("a `docs/x.md` and `tests/<name>` b `proto` `server/src`"),
        ["docs/x.md", "server/src"]
    );
}

/// Words of the places and tools that the project was written with. Put together here, so that this file has none.
fn private_words() -> Vec<String> {
    let halves = [
        ("/wo", "rk/"),
        ("/tmp/ba", "sh_jobs"),
        ("clau", "de"),
        ("anth", "ropic"),
        ("chat", "gpt"),
        ("sub", "agent"),
        ("co-auth", "ored-by"),
    ];
    halves.iter().map(|(a, b)| format!("{a}{b}")).collect()
}

fn private(path: &str, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let found = private_words().into_iter().filter(|word| text.contains(word) || path.contains(word));
    found.map(|word| format!("{path}: `{word}` does not belong here")).collect()
}

#[test]
fn no_file_tells_where_it_was_written() {
    let found: Vec<String> = tree().iter().flat_map(|(path, text)| private(path, text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    for word in private_words() {
        assert_eq!(private("a.md", &format!("see {}", word.to_uppercase())).len(), 1, "{word}");
    }
}

/// The command lines of a page, from its code blocks (indented or fenced) that begin with one of the two programs,
/// perhaps after `$` and variables; continued lines are joined.
fn commands(page: &str) -> Vec<(usize, Vec<String>)> {
    let (mut found, mut fenced, mut whole) = (Vec::new(), false, String::new());
    for (line, text) in (1..).zip(page.lines()) {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !text.starts_with("    ") {
            continue;
        }
        let (part, goes_on) = match text.trim().strip_suffix('\\') {
            Some(part) => (part, true),
            None => (text.trim(), false),
        };
        whole.push_str(part);
        whole.push(' ');
        if !goes_on {
            found.extend(words_of_command(&whole).map(|words| (line, words)));
            whole.clear();
        }
    }
    found
}

/// The words of a shell line up to its pipe, redirection, comment or end; `None` when it is not one of our programs.
fn words_of_command(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote, mut in_word) = (Vec::new(), String::new(), None, false);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, in_word) = (Some(c), true),
            (None, '|' | '>' | '<' | '&' | ';' | ')') => break,
            (None, '#') if !in_word => break,
            (None, c) if c.is_whitespace() => {
                if in_word {
                    words.push(std::mem::take(&mut word));
                }
                in_word = false;
            }
            (None, c) => (in_word, _) = (true, word.push(c)),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    let begins = |word: &String| matches!(program(word), Some("resetctl" | "resetd"));
    let first =
        words.iter().position(|word| !(word == "$" || word == "if" || word == "!" || word.contains('=')))?;
    words.drain(..first);
    words.first().is_some_and(begins).then_some(words)
}

fn program(word: &str) -> Option<&str> {
    word.rsplit('/').next()
}

/// What the program's own definition of its command line says; `--help` at the end keeps it from doing anything. What
/// the definition only says at the very end (a needed word that is missing) is not seen this way.
fn refused(words: &[String]) -> Option<String> {
    let programs = std::env::current_exe().expect("this test");
    let folder = programs.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let binary = folder.join(program(&words[0])?);
    let mut command = Command::new(&binary);
    // A word that stands for a digest, which the program wants well formed.
    let digest = format!("sha256:{}", "0".repeat(64));
    let words = words.iter().map(|word| if word == "DIGEST" { &digest } else { word });
    command.args(words.skip(1)).arg("--help").env_remove("RESETCTL_SERVER").env_remove("RESETCTL_TARGET");
    let output =
        command.output().unwrap_or_else(|error| panic!("{}: {error}; run: make build", binary.display()));
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_command_of_the_pages_is_one() {
    let mut checked = 0;
    let mut found = Vec::new();
    for (path, text) in tree().iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, words) in commands(text) {
            checked += 1;
            found.extend(refused(&words).map(|why| format!("{path}:{line}: {}\n{why}", words.join(" "))));
        }
    }
    assert!(checked > 20, "the commands are not found any more: {checked}");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_command_that_is_none_is_found() {
    let page = "resetctl prose\n\n    $ A=1 resetctl reset --dryrun | jq .\n\n```sh\nresetctl --server x \\\n  rset\nls\n\
                target/debug/resetd serve --embeded & # x\nif ! resetctl run --timeout soon; then\nresetctl validate --label 'a=b c' > x\n```\n";
    let lines = commands(page);
    let said: Vec<String> = lines.iter().map(|(line, words)| format!("{line} {}", words.join("|"))).collect();
    let expected = [
        "3 resetctl|reset|--dryrun",
        "7 resetctl|--server|x|rset",
        "9 target/debug/resetd|serve|--embeded",
        "10 resetctl|run|--timeout|soon",
        "11 resetctl|validate|--label|a=b c",
    ];
    assert_eq!(said, expected);
    let wrong: Vec<usize> =
        lines.iter().filter(|(_, words)| refused(words).is_some()).map(|(line, _)| *line).collect();
    assert_eq!(wrong, [3, 7, 9, 10]);
}
