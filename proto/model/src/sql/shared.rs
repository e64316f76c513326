//! What a text does to objects that all databases of a cluster share, or that other schemas have: read off its words, also
//! those of the bodies and strings in it.
//!
//! This module must not know which database or schema the text is sent to.

use super::lexer::{Lexer, Strings, Token, TokenKind};

/// Strings within strings are looked into so deeply: a body, a statement in it, a literal in that.
const DEPTH: usize = 3;

/// Words that begin a statement about a shared object, with the kind of the object.
const VERBS: [&str; 3] = ["create", "alter", "drop"];
const KINDS: [&str; 6] = ["role", "user", "group", "database", "tablespace", "subscription"];
/// Kinds of shared objects that grants, comments and labels are on.
const ON: [&str; 5] = ["database", "tablespace", "role", "parameter", "subscription"];

/// Whether a text writes catalogs that all databases share, or names one of `schemas`, which others use as well: two such
/// texts collide when they run at the same time. A false alarm only costs time.
#[must_use]
pub fn touches_shared(text: &str, schemas: &[&str]) -> bool {
    touches(text, schemas, DEPTH)
}

fn touches(text: &str, schemas: &[&str], depth: usize) -> bool {
    let tokens: Vec<Token<'_>> = Lexer::new(text, Strings::Standard).filter(|t| !t.is_trivia()).collect();
    let any = |token: &Token<'_>, words: &[&str]| words.iter().any(|word| token.is(word));
    let pairs = tokens.windows(2).any(|pair| {
        any(&pair[0], &VERBS) && any(&pair[1], &KINDS)
            || pair[0].is("on") && any(&pair[1], &ON)
            || any(&pair[0], &["drop", "reassign"]) && pair[1].is("owned")
            || pair[0].is("schema") && is_one_of(&pair[1], schemas)
            || is_one_of(&pair[0], schemas) && pair[1].is_symbol(".")
    });
    pairs
        || tokens.iter().enumerate().any(|(at, token)| {
            any(token, &["grant", "revoke"]) && is_membership(&tokens[at + 1..])
                || token.kind == TokenKind::String
                    && depth > 0
                    && touches(&inside(token).1, schemas, depth - 1)
        })
}

fn is_one_of(token: &Token<'_>, names: &[&str]) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) && names.contains(&token.name().as_str())
}

/// A grant of roles says what to whom, and not on what.
fn is_membership(after: &[Token<'_>]) -> bool {
    let end = after.iter().find(|t| t.is("on") || t.is("to") || t.is("from") || t.is_symbol(";"));
    end.is_some_and(|token| token.is("to") || token.is("from"))
}

/// Databases that a statement, or one that a `DO` block executes, names: with the place of the name in bytes.
#[must_use]
pub fn named_databases(statement: &str) -> Vec<(usize, String)> {
    let tokens: Vec<Token<'_>> =
        Lexer::new(statement, Strings::Standard).filter(|t| !t.is_trivia()).collect();
    let mut found = named_in(&tokens);
    if tokens.first().is_some_and(|token| token.is("do")) {
        for body in tokens.iter().filter(|token| token.kind == TokenKind::String) {
            let (from, text) = inside(body);
            let of_body: Vec<Token<'_>> =
                Lexer::new(&text, Strings::Standard).filter(|t| !t.is_trivia()).collect();
            let at = |place: usize| body.start + from + place;
            found.extend(named_in(&of_body).into_iter().map(|(place, name)| (at(place), name)));
            for string in of_body.iter().filter(|token| token.kind == TokenKind::String) {
                found.extend(executed(string).into_iter().map(|name| (at(string.start), name)));
            }
        }
    }
    found.sort();
    found
}

/// The databases that a string names which is a statement by its first word.
fn executed(string: &Token<'_>) -> Vec<String> {
    let (_, text) = inside(string);
    let tokens: Vec<Token<'_>> = Lexer::new(&text, Strings::Standard).filter(|t| !t.is_trivia()).collect();
    let begins = tokens.first().is_some_and(|first| {
        ["grant", "revoke", "alter", "comment", "security"].iter().any(|word| first.is(word))
    });
    match begins {
        true => named_in(&tokens).into_iter().map(|(_, name)| name).collect(),
        false => Vec::new(),
    }
}

fn named_in(tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let is_name = |token: &&Token<'_>| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if !pair[1].is("database") || !["on", "alter", "in"].iter().any(|word| pair[0].is(word)) {
            continue;
        }
        // Grants take a list of names.
        for part in tokens[at + 2..].chunks(2) {
            let Some(name) = part.first().filter(is_name) else { break };
            found.push((name.start, name.name()));
            if !part.get(1).is_some_and(|comma| comma.is_symbol(",")) {
                break;
            }
        }
    }
    found
}

/// What stands between a string's quotes, and where it begins. Doubled quotes stay one, so that places behind them are
/// those of a shorter text.
pub(super) fn inside(string: &Token<'_>) -> (usize, String) {
    let text = string.text;
    if let Some(rest) = text.strip_prefix('$') {
        let quote = rest.find('$').map_or(1, |end| end + 2);
        let end = text.len().saturating_sub(if string.closed { quote } else { 0 }).max(quote);
        return (quote, text.get(quote..end).unwrap_or_default().to_owned());
    }
    let from = text.find('\'').map_or(0, |at| at + 1);
    let body = text.get(from..).unwrap_or_default();
    (from, body.strip_suffix('\'').unwrap_or(body).replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_databases_share_is_recognised_in_bodies_and_strings_too() {
        let shared = [
            "create role a",
            "ALTER /* x */ USER a SET work_mem = '1MB'",
            "GRANT a, b TO c",
            "revoke \"A\" from b",
            "grant connect on database d to a",
            "DO $$ BEGIN IF true THEN CREATE ROLE a; END IF; END $$",
            "DO $x$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = a', current_database()); END $x$",
            "DO 'BEGIN EXECUTE ''GRANT a TO b''; END'",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ COMMENT ON DATABASE d IS 'x' $$",
            "DROP OWNED BY a",
            "CREATE TABLE IF NOT EXISTS common.carrier (a int)",
            "GRANT USAGE ON SCHEMA \"common\" TO a",
            "INSERT INTO common . carrier VALUES (1)",
        ];
        for text in shared {
            assert!(touches_shared(text, &["common"]), "{text}");
        }
        let own = [
            "CREATE TABLE role (user_group text)",
            "GRANT SELECT ON parcel TO reader",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader",
            "DO $$ BEGIN EXECUTE format('GRANT SELECT ON TABLE %I.x TO reader', current_schema()); END $$",
            "CREATE POLICY p ON parcel TO reader USING (region = 'common')",
            "SELECT commons.x FROM commons",
            "-- create role a\nSELECT 1",
        ];
        for text in own {
            assert!(!touches_shared(text, &["common"]), "{text}");
        }
    }

    #[test]
    fn named_databases_are_found_with_their_places() {
        let names = |text: &str| {
            let found = named_databases(text);
            found
                .into_iter()
                .map(|(at, name)| (text[..at].matches('\n').count() + 1, name))
                .collect::<Vec<_>>()
        };
        let one = |line: usize, name: &str| vec![(line, name.to_owned())];
        assert_eq!(names("GRANT CONNECT\nON DATABASE Butlers TO a"), one(2, "butlers"));
        assert_eq!(names("alter database \"B c\" set work_mem = 1"), one(1, "B c"));
        assert_eq!(names("ALTER ROLE a IN DATABASE b SET x = 1"), one(1, "b"));
        assert_eq!(names("COMMENT ON DATABASE b IS 'on database c'"), one(1, "b"));
        assert_eq!(names("DO $$\nBEGIN\n  GRANT ALL ON DATABASE b TO a; END $$"), one(3, "b"));
        assert_eq!(names("DO $$ BEGIN\n EXECUTE 'ALTER DATABASE b SET x = 1'; END $$"), one(2, "b"));
        let both = vec![(1, "a".to_owned()), (1, "b".to_owned())];
        assert_eq!(names("REVOKE ALL ON DATABASE a, b FROM c"), both);
        for none in [
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET x = 1', current_database()); END $$",
            "INSERT INTO help VALUES ('ALTER DATABASE b SET x = 1')",
            "DO $$ BEGIN INSERT INTO help VALUES ('say ALTER DATABASE b'); END $$",
            "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'COMMENT ON DATABASE b IS NULL'",
            "SELECT database FROM on_database",
        ] {
            assert_eq!(names(none), [], "{none}");
        }
    }

    #[test]
    fn whatever_a_text_is_it_is_read() {
        for text in ["", "$", "$$", "$a", "DO $a$ x", "DO '", "DO 'a", "''", "E'\\'", "GRANT"] {
            let read = (touches_shared(text, &["a"]), named_databases(text));
            assert!(!read.0 && read.1.is_empty(), "{text}");
        }
        // What cannot be told is taken for shared: it runs alone, and that is all.
        assert!(touches_shared("on database", &["a"]) && named_databases("on database").is_empty());
    }
}
