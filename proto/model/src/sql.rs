//! SQL text told apart into statements, and each statement told what it means for a transaction.
//!
//! The tokens are those of `squawk_syntax` (PostgreSQL's own lexical rules). Statements are cut and classified on
//! tokens, not on the syntax tree: a file which the grammar does not understand still gives up every transaction
//! statement in it. The grammar is asked only for syntax errors.
//!
//! This module must not know revisions, chains or how SQL is sent.

use std::ops::Range;

use squawk_syntax::{SourceFile, SyntaxKind};

use classify::classify;
use token::{Token, cut};

mod classify;
mod token;

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Bytes in the text, without the comments and space around it and without the `;`.
    pub range: Range<usize>,
    /// 1-based line of its first token.
    pub line: u32,
    /// What it means for the transaction it is sent in.
    pub kind: StatementKind,
}

/// What a statement means for the one who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementKind {
    /// Can be sent like any other.
    Ordinary,
    /// Begins, ends or divides a transaction: `BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE PREPARE
    /// TRANSACTION`.
    Transaction,
    /// `COPY … FROM STDIN` or `TO STDOUT`: needs a data stream beside the message.
    CopyStream,
    /// PostgreSQL refuses it inside a transaction block.
    NoTransaction {
        /// The words that say so, for example `CREATE INDEX CONCURRENTLY`.
        what: String,
    },
    /// `CREATE EXTENSION`.
    CreateExtension {
        /// The extension, without quotes.
        name: String,
        /// Whether it says `IF NOT EXISTS`.
        if_not_exists: bool,
    },
    /// `ALTER TYPE … ADD VALUE`.
    AddEnumValue {
        /// The type without its schema and quotes.
        type_name: String,
        /// The new value.
        value: String,
    },
    /// `CREATE ROLE`, `USER` or `GROUP` at top level: roles outlive a reset, so the second replay fails.
    CreateRole {
        /// The role, without quotes.
        name: String,
    },
    /// Creates or writes `alembic_version`, which belongs to whoever replays the chain.
    VersionTable,
}

/// What kind of mistake a [`SyntaxError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntaxErrorKind {
    /// A quote, comment or body does not end as it should: statements cannot be told apart.
    Lexical,
    /// A command of `psql`, which no server understands.
    PsqlCommand,
    /// The grammar does not know the statement; a newer PostgreSQL might.
    Grammar,
}

/// A place where the text is not SQL as we know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// What is wrong there.
    pub message: String,
    /// How bad it is.
    pub kind: SyntaxErrorKind,
}

/// A text cut into its statements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// In order; empty statements are left out.
    pub statements: Vec<Statement>,
    /// In order of place, one per statement at most (the rest are echoes of the first).
    pub errors: Vec<SyntaxError>,
}

/// A place in a text, for humans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// Index of the statement that holds the place, or of the last one that begins before it.
    pub statement: Option<usize>,
}

/// Cuts and classifies a text. Never fails: what is wrong is in [`Script::errors`].
pub fn split(text: &str) -> Script {
    let parse = SourceFile::parse(text);
    let lines = Lines::of(text);
    let mut found = Vec::new();
    let tokens = token::all(&parse, text);
    found.extend(broken_continuations(&tokens));
    let significant: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_trivia()).collect();
    let (spans, open_body) = cut(&significant);
    if let Some(offset) = open_body {
        found.push((offset, "this BEGIN ATOMIC body has no END".to_owned(), SyntaxErrorKind::Lexical));
    }
    let statements: Vec<Statement> = spans
        .iter()
        .map(|span| Statement {
            range: span[0].range.start..span[span.len() - 1].range.end,
            line: lines.place(text, span[0].range.start).0,
            kind: classify(span),
        })
        .collect();
    found.extend(parse.errors().iter().map(|error| {
        let offset = usize::from(error.range().start()).min(text.len());
        let (message, kind) = explain(error.message(), text.get(offset..).unwrap_or_default());
        (offset, message, kind)
    }));
    Script { errors: first_of_each(found, &statements, text, &lines), statements }
}

/// The place of a 1-based *character* position, as PostgreSQL reports it for the whole text. A position outside the
/// text is drawn to its nearer end.
pub fn locate(text: &str, script: &[Statement], position_chars: usize) -> Location {
    let offset =
        text.char_indices().nth(position_chars.saturating_sub(1)).map_or(text.len(), |(offset, _)| offset);
    let (line, column) = Lines::of(text).place(text, offset);
    let statement = script.partition_point(|statement| statement.range.start <= offset).checked_sub(1);
    Location { line, column, statement }
}

/// The beginning of a statement on one line: white space folded, at most `max` characters, `…` where it was cut.
pub fn excerpt(text: &str, statement: &Statement, max: usize) -> String {
    let source = text.get(statement.range.clone()).unwrap_or_default();
    let mut folded = String::new();
    for word in source.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
        if folded.chars().nth(max).is_some() {
            let kept: String = folded.chars().take(max.saturating_sub(1)).collect();
            return if max == 0 { String::new() } else { format!("{}…", kept.trim_end()) };
        }
    }
    folded
}

/// The text with the given statements blanked out, character by character, so that every position stays true.
pub fn blank<'a>(text: &str, statements: impl IntoIterator<Item = &'a Statement>) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut from = 0;
    for statement in statements {
        blanked.push_str(text.get(from..statement.range.start).unwrap_or_default());
        let gone = text.get(statement.range.clone()).unwrap_or_default();
        blanked.extend(gone.chars().map(|c| if c == '\n' || c == '\r' { c } else { ' ' }));
        from = statement.range.end;
    }
    blanked.push_str(text.get(from..).unwrap_or_default());
    blanked
}

/// Whether a statement, or a body quoted in it, names `name` as a whole word or quoted identifier.
pub(crate) fn mentions_name(source: &str, name: &str) -> bool {
    let lowered = source.to_lowercase();
    let wanted = name.to_lowercase();
    let edge = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '$'));
    !wanted.is_empty()
        && lowered.match_indices(&wanted).any(|(at, found)| {
            edge(lowered[..at].chars().next_back()) && edge(lowered[at + found.len()..].chars().next())
        })
}

/// The table that a `CREATE TABLE` or `ALTER TABLE` statement is about, without schema and quotes.
pub(crate) fn table_of(source: &str) -> Option<String> {
    let tokens = token::all(&SourceFile::parse(source), source);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_trivia()).collect();
    classify::table_of(&tokens)
}

/// PostgreSQL reads `E'a'` and a string on the next line as one escape string; the lexer here reads the second one as
/// plain. They differ where a backslash stands before a quote, and then the end of the string is not where it seems.
fn broken_continuations(tokens: &[Token<'_>]) -> Vec<(usize, String, SyntaxErrorKind)> {
    let mut found = Vec::new();
    let mut escape = false;
    for token in tokens {
        match token.kind {
            SyntaxKind::ESC_STRING => escape = true,
            SyntaxKind::STRING if escape && has_escaped_quote(token.text) => found.push((
                token.range.start,
                "this continues an E'…' string and has `\\'` in it; write both as one string".to_owned(),
                SyntaxErrorKind::Lexical,
            )),
            SyntaxKind::STRING | SyntaxKind::WHITESPACE | SyntaxKind::COMMENT => {}
            _ => escape = false,
        }
    }
    found
}

fn has_escaped_quote(literal: &str) -> bool {
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next() == Some('\'') {
            return true;
        }
    }
    false
}

fn explain(message: &str, rest: &str) -> (String, SyntaxErrorKind) {
    let shown: String = rest.split_whitespace().next().unwrap_or_default().chars().take(30).collect();
    if message.starts_with("Missing trailing") || message.starts_with("Unterminated") {
        let what = match rest.chars().next() {
            Some('/') => "this comment has no end: `*/` is missing",
            Some('"') => "this quoted name has no end: `\"` is missing",
            Some('$') => "this dollar-quoted body has no end: its closing tag is missing",
            _ => "this string has no end: `'` is missing",
        };
        return (what.to_owned(), SyntaxErrorKind::Lexical);
    }
    if rest.starts_with('\\') {
        let text = format!("`{shown}` is a command of psql, which no server understands; take the line out");
        return (text, SyntaxErrorKind::PsqlCommand);
    }
    if message.starts_with("expected command") {
        return (format!("no SQL statement begins with `{shown}`"), SyntaxErrorKind::Grammar);
    }
    let at = if shown.is_empty() { "the end".to_owned() } else { format!("`{shown}`") };
    (format!("{message}, at {at}"), SyntaxErrorKind::Grammar)
}

/// The first error of each statement; a lexical one wins over the echoes around it.
fn first_of_each(
    mut found: Vec<(usize, String, SyntaxErrorKind)>,
    statements: &[Statement],
    text: &str,
    lines: &Lines,
) -> Vec<SyntaxError> {
    let home = |offset: usize| statements.partition_point(|statement| statement.range.end < offset);
    found.sort_by_key(|(offset, _, kind)| (home(*offset), *kind != SyntaxErrorKind::Lexical, *offset));
    found.dedup_by_key(|(offset, _, _)| home(*offset));
    let place = |(offset, message, kind)| {
        let (line, column) = lines.place(text, offset);
        SyntaxError { line, column, message, kind }
    };
    found.into_iter().map(place).collect()
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// 1-based line and column (in characters) of a byte offset.
    fn place(&self, text: &str, offset: usize) -> (u32, u32) {
        let line = self.0.partition_point(|start| *start <= offset).max(1);
        let column = text.get(self.0[line - 1]..offset).unwrap_or_default().chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests;
