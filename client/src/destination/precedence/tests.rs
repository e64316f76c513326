//! Every combination of sources, for each value.

use super::*;

/// What a context says about a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Says {
    /// There is no such context.
    Absent,
    /// It is in use, and silent.
    Silent,
    /// It names the value.
    Value,
}
use Says::{Absent, Silent, Value};

/// What counts, by flag and variable, and then by what three contexts say: the one of `--context` (a word each for absent,
/// silent, value), in it that of `RESETCTL_CONTEXT` (a group each), in it the file's default one (a letter each).
/// `F`lag, `N`amed context, `E`nvironment, context of the `V`ariable, `D`efault context, `.` none. One context is in use:
/// the named one, else the variable's, else the default one.
const TABLE: [(bool, bool, [&str; 3]); 4] = [
    (false, false, ["..D ... VVV", "... ... ...", "NNN NNN NNN"]),
    (false, true, ["EEE EEE EEE", "EEE EEE EEE", "NNN NNN NNN"]),
    (true, false, ["FFF FFF FFF", "FFF FFF FFF", "FFF FFF FFF"]),
    (true, true, ["FFF FFF FFF", "FFF FFF FFF", "FFF FFF FFF"]),
];

const SAYS: [Says; 3] = [Absent, Silent, Value];

/// A combination: who says something, and what counts.
#[derive(Clone, Copy, Debug)]
struct Row {
    flag: bool,
    environment: bool,
    named: Says,
    variable: Says,
    default: Says,
    counts: Option<&'static str>,
}

impl Row {
    /// Which contexts there are: the same for every value.
    fn contexts(&self) -> [bool; 3] {
        [self.named, self.variable, self.default].map(|says| says != Absent)
    }
}

/// Every combination: 4 × 27.
fn rows() -> Vec<Row> {
    let mut all = Vec::new();
    for (flag, environment, words) in TABLE {
        for (named, word) in SAYS.iter().zip(words) {
            for (variable, group) in SAYS.iter().zip(word.split(' ')) {
                for (default, letter) in SAYS.iter().zip(group.chars()) {
                    let (named, variable, default) = (*named, *variable, *default);
                    let counts = name(letter);
                    all.push(Row { flag, environment, named, variable, default, counts });
                }
            }
        }
    }
    all
}

fn name(letter: char) -> Option<&'static str> {
    Some(match letter {
        'F' => "flag",
        'N' => "named",
        'E' => "environment",
        'V' => "variable",
        'D' => "default",
        _ => return None,
    })
}

/// Server, target and token, each in its own column of the table.
#[derive(Clone, Copy)]
enum Of {
    Server,
    Target,
    TokenFile,
    TokenText,
}

impl Of {
    fn put(self, into: &mut Settings, value: &str) {
        match self {
            Self::Server => into.server = Some(value.to_owned()),
            Self::Target => into.target = Some(value.to_owned()),
            Self::TokenFile => into.token_file = Some(value.into()),
            Self::TokenText => into.token = Some(Secret::new(value.to_owned())),
        }
    }
}

/// The context in use: the strongest that is there.
fn context(sources: &mut Sources, name: &str, by: By) {
    if sources.context.is_none() {
        sources.context = Some(Context { name: name.to_owned(), by, settings: Settings::default() });
    }
}

/// Adds what a row says about one value to what others say about others.
fn add(sources: &mut Sources, row: &Row, of: Of) {
    if row.flag {
        of.put(&mut sources.flags, "flag");
    }
    if row.environment {
        of.put(&mut sources.environment, "environment");
    }
    let contexts = [
        (row.named, "named", By::Flag),
        (row.variable, "variable", By::Variable),
        (row.default, "default", By::Default),
    ];
    for (says, name, by) in contexts {
        if says != Absent {
            context(sources, name, by);
        }
        if says == Value
            && let Some(context) = sources.context.as_mut().filter(|it| it.name == name)
        {
            // A token itself is never in a context: there it is a file.
            let of = if matches!(of, Of::TokenText) { Of::TokenFile } else { of };
            of.put(&mut context.settings, name);
        }
    }
}

fn source(name: &str) -> Source {
    match name {
        "flag" => Source::Flag,
        "named" => Source::NamedContext("named".to_owned()),
        "environment" => Source::Environment,
        "variable" => Source::VariableContext("variable".to_owned()),
        _ => Source::DefaultContext("default".to_owned()),
    }
}

#[track_caller]
fn agrees<T>(found: Option<Choice<T>>, expected: Option<&str>, text: impl Fn(&T) -> String, of: &Row) {
    let found = found.map(|it| (text(&it.value), it.source));
    assert_eq!(found, expected.map(|name| (name.to_owned(), source(name))), "{of:?}");
}

fn token_text(token: &Token) -> String {
    match token {
        Token::File(path) => path.display().to_string(),
        Token::Text(secret) => secret.expose().clone(),
    }
}

#[test]
fn each_value_counts_as_the_table_says() {
    assert_eq!(rows().len(), 108);
    for row in rows() {
        for of in [Of::Server, Of::Target, Of::TokenFile, Of::TokenText] {
            let mut sources = Sources::default();
            add(&mut sources, &row, of);
            let chosen = choose(&sources);
            match of {
                Of::Server => agrees(chosen.server, row.counts, String::clone, &row),
                Of::Target => agrees(chosen.target, row.counts, String::clone, &row),
                // Only the environment has the token itself; a flag of it does not exist.
                Of::TokenFile | Of::TokenText => agrees(chosen.token, row.counts, token_text, &row),
            }
        }
    }
}

/// All combinations of the three that can be: which contexts there are is the same for each. Each value is as if it were alone,
/// but for a context that is not named and whose daemon is not called.
#[test]
fn the_values_are_chosen_apart_and_an_unnamed_context_stays_with_its_daemon() {
    let unnamed = |name: &str| matches!(name, "variable" | "default");
    let (all, mut left_out, mut tried) = (rows(), 0, 0);
    for server in &all {
        for target in all.iter().filter(|row| row.contexts() == server.contexts()) {
            for token in all.iter().filter(|row| row.contexts() == server.contexts()) {
                let mut sources = Sources::default();
                add(&mut sources, server, Of::Server);
                add(&mut sources, target, Of::Target);
                add(&mut sources, token, Of::TokenFile);
                let chosen = choose(&sources);
                let elsewhere = server.counts.is_some_and(|it| !unnamed(it));
                let expected = |row: &Row| row.counts.filter(|it| !(elsewhere && unnamed(it)));
                tried += 1;
                left_out += usize::from(expected(target) != target.counts);
                agrees(chosen.server, server.counts, String::clone, server);
                agrees(chosen.target, expected(target), String::clone, target);
                agrees(chosen.token, expected(token), token_text, token);
            }
        }
    }
    assert!(tried > 40_000 && left_out > 0, "{tried} combinations, {left_out} leave a context out");
}

#[test]
fn a_pair_is_of_one_source_and_weaker_voices_are_remembered() {
    let mut sources = Sources::default();
    context(&mut sources, "named", By::Flag);
    let named = &mut sources.context.as_mut().expect("a context").settings;
    (named.cert, named.key, named.ca) = (Some("c".into()), Some("k".into()), Some("a".into()));
    (named.target, named.server) = (Some("dev".into()), Some("unix:/dev".into()));
    let environment = &mut sources.environment;
    (environment.cert, environment.target) = (Some("e".into()), Some("staging".into()));
    let chosen = choose(&sources);
    assert_eq!(chosen.pair, (Some("c".into()), Some("k".into())));
    assert_eq!(chosen.ca, Some("a".into()));
    let target = chosen.target.expect("a target");
    assert_eq!(target.others, [("staging".to_owned(), Source::Environment)]);
    sources.flags.cert = Some("f".into());
    assert_eq!(choose(&sources).pair, (Some("f".into()), None), "not mixed: --key is missed later");
}
