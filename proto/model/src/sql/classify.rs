//! What a statement means for the one who sends it, read off its first words.
//!
//! This module must not know where statements begin and end.

use super::{
    StatementKind,
    lexer::{Lexer, Strings, Token},
};

/// So many tokens at the beginning tell what a statement is. Further on only the data stream of a COPY is looked for:
/// whatever else may stand there PostgreSQL refuses by itself where it does not fit.
const HEAD: usize = 200;

/// What a statement means.
#[must_use]
pub fn classify(statement: &str, strings: Strings) -> StatementKind {
    let tokens: Vec<Token<'_>> = significant(statement, strings).take(HEAD).collect();
    let tokens = tokens.as_slice();
    let starts = |pattern: &str| starts_with(tokens, pattern);
    if ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare transaction"]
        .iter()
        .any(|pattern| starts(pattern))
    {
        return StatementKind::Transaction;
    }
    if let Some(what) = forbids_transaction(tokens) {
        return StatementKind::NoTransaction { what };
    }
    if starts("copy") {
        return match has_stream(significant(statement, strings)) {
            true => StatementKind::CopyStream,
            false => StatementKind::Ordinary,
        };
    }
    if starts("create extension") {
        let if_not_exists = starts("create extension if not exists");
        let name = tokens.get(if if_not_exists { 5 } else { 2 }).map(Token::name).unwrap_or_default();
        let at = tokens.iter().position(|token| token.is("schema"));
        let schema = at.and_then(|at| tokens.get(at + 1)).map(Token::name);
        return StatementKind::CreateExtension { name, if_not_exists, schema };
    }
    if ["create role", "create user", "create group"].iter().any(|pattern| starts(pattern))
        && !starts("create user mapping")
    {
        return StatementKind::CreateRole { name: tokens.get(2).map(Token::name).unwrap_or_default() };
    }
    if starts("alter type") {
        return added_value(tokens).unwrap_or(StatementKind::Ordinary);
    }
    if writes_version_table(tokens) { StatementKind::VersionTable } else { StatementKind::Ordinary }
}

fn significant(statement: &str, strings: Strings) -> impl Iterator<Item = Token<'_>> {
    Lexer::new(statement, strings).filter(|token| !token.is_trivia())
}

/// Whether a COPY reads from its client or writes to it. PostgreSQL takes either word in either direction.
fn has_stream<'a>(tokens: impl Iterator<Item = Token<'a>>) -> bool {
    let (mut depth, mut before) = (0_usize, false);
    for token in tokens {
        if before && (token.is("stdin") || token.is("stdout")) {
            return true;
        }
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = depth == 0 && (token.is("from") || token.is("to"));
    }
    false
}

/// The words for which PostgreSQL calls `PreventInTransactionBlock`.
fn forbids_transaction(tokens: &[Token<'_>]) -> Option<String> {
    let starts = |pattern: &str| starts_with(tokens, pattern);
    let has = |word: &str| tokens.iter().any(|token| token.is(word));
    let always = [
        "create index concurrently",
        "create unique index concurrently",
        "drop index concurrently",
        "vacuum",
        "alter system",
        "create database",
        "drop database",
        "create tablespace",
        "drop tablespace",
        "drop subscription",
        "discard all",
    ];
    if let Some(pattern) = always.iter().find(|pattern| starts(pattern)) {
        return Some(pattern.replace("unique ", "").to_uppercase());
    }
    let bare = || after_words(after_parens(&tokens[1..]), &["verbose"]);
    let what = if starts("reindex") && has("concurrently") {
        "REINDEX CONCURRENTLY"
    } else if starts("reindex") {
        let wide = ["database", "system", "schema"];
        let target = wide.iter().find(|word| bare().first().is_some_and(|token| token.is(word)))?;
        return Some(format!("REINDEX {}", target.to_uppercase()));
    } else if starts("alter database") && starts_with(tokens.get(3..)?, "set tablespace") {
        "ALTER DATABASE SET TABLESPACE"
    } else if starts("alter table") && has("detach") && has("concurrently") {
        "DETACH PARTITION CONCURRENTLY"
    } else if starts("cluster") && bare().is_empty() {
        "CLUSTER without a table"
    } else if starts("repack") && has("concurrently") {
        "REPACK CONCURRENTLY"
    } else if starts("create subscription") && !turned_off(tokens, &["create_slot", "connect"]) {
        "CREATE SUBSCRIPTION"
    } else if starts("alter subscription") && has("publication") && !turned_off(tokens, &["refresh"]) {
        "ALTER SUBSCRIPTION … PUBLICATION"
    } else {
        return None;
    };
    Some(what.to_owned())
}

fn turned_off(tokens: &[Token<'_>], options: &[&str]) -> bool {
    tokens.windows(3).any(|part| {
        options.iter().any(|option| part[0].is(option))
            && part[1].text == "="
            && ["false", "off", "0", "'false'", "'off'"]
                .iter()
                .any(|no| part[2].text.eq_ignore_ascii_case(no))
    })
}

fn added_value(tokens: &[Token<'_>]) -> Option<StatementKind> {
    let add = tokens.windows(2).position(|pair| pair[0].is("add") && pair[1].is("value"))?;
    let literal = after_words(&tokens[add + 2..], &["if", "not", "exists"]).first()?;
    let start = literal.text.find('\'')? + 1;
    let value = literal.text.get(start..literal.text.len().checked_sub(1)?)?.replace("''", "'");
    Some(StatementKind::AddEnumValue { type_name: qualified_name(&tokens[2..add]), value })
}

fn writes_version_table(tokens: &[Token<'_>]) -> bool {
    let noise = ["if", "not", "exists", "only", "table", "into", "from"];
    let verb =
        ["insert", "update", "delete", "truncate", "merge", "create table", "alter table", "drop table"];
    let Some(verb) = verb.iter().find(|pattern| starts_with(tokens, pattern)) else { return false };
    qualified_name(after_words(&tokens[verb.split(' ').count()..], &noise)) == "alembic_version"
}

fn starts_with(tokens: &[Token<'_>], pattern: &str) -> bool {
    pattern.split(' ').enumerate().all(|(at, word)| tokens.get(at).is_some_and(|token| token.is(word)))
}

fn after_words<'t, 'a>(tokens: &'t [Token<'a>], words: &[&str]) -> &'t [Token<'a>] {
    let skipped = tokens.iter().take_while(|token| words.iter().any(|word| token.is(word))).count();
    &tokens[skipped..]
}

fn after_parens<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    if tokens.first().is_none_or(|token| token.text != "(") {
        return tokens;
    }
    let close = tokens.iter().position(|token| token.text == ")").map_or(tokens.len(), |at| at + 1);
    &tokens[close..]
}

/// The last part of a dotted name at the beginning of the tokens.
fn qualified_name(tokens: &[Token<'_>]) -> String {
    let qualifiers =
        tokens.chunks(2).take_while(|part| part.get(1).is_some_and(|dot| dot.text == ".")).count();
    tokens.get(2 * qualifiers).map(Token::name).unwrap_or_default()
}

/// The table that a `CREATE TABLE` or `ALTER TABLE` statement is about, without schema and quotes.
pub(crate) fn table_of(statement: &str) -> Option<String> {
    let tokens: Vec<Token<'_>> = significant(statement, Strings::Standard).take(HEAD).collect();
    let at = tokens.iter().take(4).position(|token| token.is("table"))?;
    Some(qualified_name(after_words(&tokens[at + 1..], &["if", "not", "exists", "only"])))
        .filter(|name| !name.is_empty())
}
