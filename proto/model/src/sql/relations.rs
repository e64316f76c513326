//! How many relations a statement makes, each of which takes an entry in the server's lock table until the transaction ends.
//!
//! This module must not know how large that table is.

use super::lexer::{Lexer, Strings, Token, TokenKind};
use super::shared::inside;

/// A table, its toast table and that one's index.
const TABLE: u64 = 3;
/// Words between `CREATE` and the kind of relation.
const BETWEEN: [&str; 10] = [
    "or",
    "replace",
    "global",
    "local",
    "temp",
    "temporary",
    "unlogged",
    "unique",
    "materialized",
    "recursive",
];
/// Words with which a table gets an index or a sequence.
const WITH: [&str; 6] = ["primary", "unique", "serial", "bigserial", "smallserial", "identity"];

/// The relations that a statement, or what a `DO` block in it says, makes: an estimate.
#[must_use]
pub fn relations_made(statement: &str) -> u64 {
    let tokens: Vec<Token<'_>> =
        Lexer::new(statement, Strings::Standard).filter(|t| !t.is_trivia()).collect();
    if !tokens.first().is_some_and(|token| token.is("do")) {
        return made(&tokens);
    }
    let bodies = tokens.iter().filter(|token| token.kind == TokenKind::String);
    bodies
        .map(|body| {
            let (_, text) = inside(body);
            let of_body: Vec<Token<'_>> =
                Lexer::new(&text, Strings::Standard).filter(|t| !t.is_trivia()).collect();
            made(&of_body)
        })
        .sum()
}

fn made(tokens: &[Token<'_>]) -> u64 {
    tokens.split(|token| token.is_symbol(";")).map(made_by_one).sum()
}

fn made_by_one(tokens: &[Token<'_>]) -> u64 {
    // In a body other words may come first: IF … THEN CREATE TABLE.
    let Some(at) = tokens.iter().position(|token| token.is("create") || token.is("alter")) else { return 0 };
    let rest = &tokens[at + 1..];
    let between = rest.iter().take_while(|token| BETWEEN.iter().any(|word| token.is(word))).count();
    let Some(kind) = rest.get(between) else { return 0 };
    let with = || {
        let named = rest[between..].iter().filter(|token| WITH.iter().any(|word| token.is(word)));
        u64::try_from(named.count()).unwrap_or(u64::MAX)
    };
    match (tokens[at].is("create"), kind) {
        (true, kind) if kind.is("table") => TABLE + with(),
        (false, kind) if kind.is("table") => with(),
        (true, kind) if ["index", "sequence", "view"].iter().any(|word| kind.is(word)) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_counted_in_bodies_too() {
        for (statement, expected) in [
            ("CREATE TABLE t (a int)", 3),
            ("create unlogged table t (id bigserial primary key, b text unique)", 6),
            ("CREATE UNIQUE INDEX i ON t (a)", 1),
            ("CREATE OR REPLACE VIEW v AS SELECT 1", 1),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1", 1),
            ("ALTER TABLE t ADD COLUMN b int UNIQUE", 1),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", 0),
            ("CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'CREATE TABLE t (a int)'", 0),
            (
                "DO $$ BEGIN IF true THEN CREATE TABLE a (x int); ELSE CREATE TABLE b (y int); END IF; END $$",
                6,
            ),
            ("INSERT INTO t VALUES ('CREATE TABLE x ()')", 0),
        ] {
            assert_eq!(relations_made(statement), expected, "{statement}");
        }
    }
}
