//! `docs/configuration.md` and `resetd.example.toml` name exactly the profile keys that there are, with their defaults.

use std::{fs, path::PathBuf};

use model::profile::{Builtin, KEYS, Key, Kind};

fn read(file: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file))
        .expect("it is there")
}

/// What kind of value a key has, in the words of the page.
fn kind(key: &Key) -> String {
    let quoted =
        |words: &[&str]| words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ");
    match key.kind {
        Kind::Flag => "`true`, `false`".to_owned(),
        Kind::Duration { zero: true } => "duration, `\"0s\"` too".to_owned(),
        Kind::Duration { zero: false } => "duration".to_owned(),
        Kind::DurationOrAuto => "`\"auto\"`, duration".to_owned(),
        Kind::Count => "`\"none\"`, number such as `\"500k\"`".to_owned(),
        Kind::Word(words) => quoted(words),
        Kind::Names => "list of names".to_owned(),
        Kind::Words(words) => format!("list of {}", quoted(words)),
    }
}

fn row(key: &Key) -> String {
    let [local, shared_dev, staging] = key.defaults;
    format!("| `{}` | {} | {local} | {shared_dev} | {staging} | {} |", key.name, kind(key), key.meaning)
}

#[test]
fn the_table_of_profile_keys_is_the_one_of_the_page() {
    let page = read("docs/configuration.md");
    let listed: Vec<&str> = page
        .lines()
        .skip_while(|line| !line.starts_with("| Key | Values | local"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected: Vec<String> = KEYS.iter().map(row).collect();
    assert_eq!(listed, expected);
}

#[test]
fn the_columns_are_the_built_in_profiles() {
    let header = format!("| Key | Values | {} | Meaning |", Builtin::WORDS.join(" | "));
    assert!(read("docs/configuration.md").contains(&header), "{header}");
}

#[test]
fn the_example_shows_every_profile_key() {
    let example = read("resetd.example.toml");
    for key in KEYS {
        assert!(example.lines().any(|line| line.starts_with(&format!("{} = ", key.name))), "{}", key.name);
    }
}
