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

/// flag, named context, environment, default context → what counts. A named context takes the default one's place.
const TABLE: [(bool, Says, bool, Says, Option<&str>); 36] = [
    (false, Absent, false, Absent, None),
    (false, Absent, false, Silent, None),
    (false, Absent, false, Value, Some("default")),
    (false, Absent, true, Absent, Some("environment")),
    (false, Absent, true, Silent, Some("environment")),
    (false, Absent, true, Value, Some("environment")),
    (false, Silent, false, Absent, None),
    (false, Silent, false, Silent, None),
    (false, Silent, false, Value, None),
    (false, Silent, true, Absent, Some("environment")),
    (false, Silent, true, Silent, Some("environment")),
    (false, Silent, true, Value, Some("environment")),
    (false, Value, false, Absent, Some("named")),
    (false, Value, false, Silent, Some("named")),
    (false, Value, false, Value, Some("named")),
    (false, Value, true, Absent, Some("named")),
    (false, Value, true, Silent, Some("named")),
    (false, Value, true, Value, Some("named")),
    (true, Absent, false, Absent, Some("flag")),
    (true, Absent, false, Silent, Some("flag")),
    (true, Absent, false, Value, Some("flag")),
    (true, Absent, true, Absent, Some("flag")),
    (true, Absent, true, Silent, Some("flag")),
    (true, Absent, true, Value, Some("flag")),
    (true, Silent, false, Absent, Some("flag")),
    (true, Silent, false, Silent, Some("flag")),
    (true, Silent, false, Value, Some("flag")),
    (true, Silent, true, Absent, Some("flag")),
    (true, Silent, true, Silent, Some("flag")),
    (true, Silent, true, Value, Some("flag")),
    (true, Value, false, Absent, Some("flag")),
    (true, Value, false, Silent, Some("flag")),
    (true, Value, false, Value, Some("flag")),
    (true, Value, true, Absent, Some("flag")),
    (true, Value, true, Silent, Some("flag")),
    (true, Value, true, Value, Some("flag")),
];

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

type Row = (bool, Says, bool, Says, Option<&'static str>);

/// The context in use: the default one only where none is named.
fn context(sources: &mut Sources, name: &str, named: bool) {
    let there = sources.context.as_ref().is_some_and(|it| it.named || it.name == name);
    if !there {
        sources.context = Some(Context { name: name.to_owned(), named, settings: Settings::default() });
    }
}

/// Adds what a row says about one value to what others say about others.
fn add(sources: &mut Sources, (flag, named, environment, default, _): Row, of: Of) {
    if flag {
        of.put(&mut sources.flags, "flag");
    }
    if environment {
        of.put(&mut sources.environment, "environment");
    }
    for (says, name, is_named) in [(named, "named", true), (default, "default", false)] {
        if says != Absent {
            context(sources, name, is_named);
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
    for row in TABLE {
        for of in [Of::Server, Of::Target, Of::TokenFile, Of::TokenText] {
            let mut sources = Sources::default();
            add(&mut sources, row, of);
            let chosen = choose(&sources);
            match of {
                Of::Server => agrees(chosen.server, row.4, String::clone, &row),
                Of::Target => agrees(chosen.target, row.4, String::clone, &row),
                // Only the environment has the token itself; a flag of it does not exist.
                Of::TokenFile | Of::TokenText => agrees(chosen.token, row.4, token_text, &row),
            }
        }
    }
}

/// All 36³ combinations of the three: each value is as if it were alone, but for a default context whose daemon is not called.
#[test]
fn the_values_are_chosen_apart_and_a_default_context_stays_with_its_daemon() {
    let mut left_out = 0;
    for server in TABLE {
        for target in TABLE {
            for token in TABLE {
                let mut sources = Sources::default();
                let rows = [(server, Of::Server), (target, Of::Target), (token, Of::TokenFile)];
                // Which contexts are in use holds for all three.
                for (row, of) in rows {
                    add(&mut sources, (false, row.1.min_silent(), false, row.3.min_silent(), None), of);
                }
                for (row, of) in rows {
                    add(&mut sources, row, of);
                }
                let named = rows.iter().any(|(row, _)| row.1 != Absent);
                let alone = |row: &Row| match row.4 {
                    Some("default") if named => None,
                    other => other,
                };
                let chosen = choose(&sources);
                let elsewhere = alone(&server).is_some_and(|it| it != "default");
                let expected = |row: &Row| alone(row).filter(|it| !(elsewhere && *it == "default"));
                left_out += usize::from(expected(&target) != alone(&target));
                agrees(chosen.server, alone(&server), String::clone, &server);
                agrees(chosen.target, expected(&target), String::clone, &target);
                agrees(chosen.token, expected(&token), token_text, &token);
            }
        }
    }
    assert!(left_out > 0, "no combination leaves a default context out");
}

impl Says {
    /// The context, but no value of it.
    fn min_silent(self) -> Self {
        if self == Absent { Absent } else { Silent }
    }
}

#[test]
fn a_pair_is_of_one_source_and_weaker_voices_are_remembered() {
    let mut sources = Sources::default();
    context(&mut sources, "named", true);
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
