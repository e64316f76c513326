//! SQL text told apart into statements, and each statement told what it means for a transaction.
//!
//! A lexer, a cutter, and the first words of each statement: linear, without recursion, and without a grammar. Whether a
//! statement is SQL at all only PostgreSQL knows, of its own version; it is asked before anything is changed.
//!
//! This module must not know revisions, chains or how SQL is sent.

use std::ops::Range;

use crate::operation::limits;

pub use classify::classify;
pub(crate) use classify::table_of;
pub use control::{Control, Meaning, custom_setting, meaning};
pub use cutter::{Cutter, Open, Piece};
pub use lexer::{Lexer, Strings, Token, TokenKind};
pub use relations::relations_made;
pub use shared::{named_databases, touches_shared};

mod classify;
mod control;
mod cutter;
pub mod frames;
mod lexer;
mod relations;
mod shared;

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
        /// The schema it names, without quotes.
        schema: Option<String>,
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

/// A place where the text cannot be cut, or goes beyond a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// 1-based line.
    pub line: u32,
    /// 1-based column in characters.
    pub column: u32,
    /// What is wrong there.
    pub message: String,
}

/// A text cut into its statements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// In order; empty statements are left out.
    pub statements: Vec<Statement>,
    /// In order of place.
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

/// How much may still be read of the files of one chain.
pub struct Budget<'a> {
    statements: usize,
    tokens: usize,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Budget<'a> {
    /// A chain's, which is given up once `stop` says so.
    #[must_use]
    pub fn new(stop: &'a dyn Fn() -> bool) -> Self {
        Self { statements: limits::STATEMENTS, tokens: limits::TOKENS, stop }
    }

    /// Takes a piece from what is left; else what is too much.
    fn take(&mut self, piece: &Piece) -> Result<(), String> {
        let too_much = |what: &str, most: usize| {
            Err(format!(
                "more than {most} {what}; the bound keeps one chain from taking the daemon: divide the chain, or load \
                 the data another way"
            ))
        };
        if piece.depth > limits::NESTING {
            return too_much("parentheses in one another", limits::NESTING);
        }
        if piece.statement.is_some() && self.statements == 0 {
            return too_much("statements in one chain", limits::STATEMENTS);
        }
        if piece.tokens > self.tokens {
            return too_much("words and signs in one chain", limits::TOKENS);
        }
        if (self.stop)() {
            return Err("the rest was not read: nobody waits for it any more".to_owned());
        }
        self.statements -= usize::from(piece.statement.is_some());
        self.tokens -= piece.tokens;
        Ok(())
    }
}

/// Cuts and classifies a text, as long as the budget lasts. Never fails: what is wrong is in [`Script::errors`].
pub fn split(text: &str, budget: &mut Budget<'_>) -> Script {
    let (mut script, mut lines) = (Script::default(), Lines::of(text));
    for piece in Cutter::new(text, Strings::Standard) {
        let start = piece.statement.as_ref().map_or(piece.whole.start, |range| range.start);
        if let Err(message) = budget.take(&piece) {
            let (line, column) = lines.place(start);
            script.errors.push(SyntaxError { line, column, message });
            break;
        }
        if let Some(range) = piece.statement.clone() {
            let source = &text[range.clone()];
            let place = lines.place(start);
            if source.starts_with('\\') && script.errors.len() < limits::FAULTS {
                script.errors.push(psql_command(source, place));
            }
            let kind = classify(source, Strings::Standard);
            script.statements.push(Statement { line: place.0, kind, range });
        }
        if let Some((at, open)) = piece.open {
            let (line, column) = lines.place(at);
            let message = open.explain(&text[at..]).to_owned();
            script.errors.push(SyntaxError { line, column, message });
        }
    }
    script
}

impl Open {
    fn explain(self, rest: &str) -> &'static str {
        match self {
            Self::Body => "this BEGIN ATOMIC body has no END",
            Self::Parenthesis => "this `(` is not closed",
            Self::Token(TokenKind::Comment) => "this comment has no end: `*/` is missing",
            Self::Token(TokenKind::QuotedName) => "this quoted name has no end: `\"` is missing",
            Self::Token(_) if rest.starts_with('$') => {
                "this dollar-quoted body has no end: its closing tag is missing"
            }
            Self::Token(_) => "this string has no end: `'` is missing",
        }
    }
}

fn psql_command(source: &str, (line, column): (u32, u32)) -> SyntaxError {
    let shown: String = source.split_whitespace().next().unwrap_or_default().chars().take(30).collect();
    let message = format!("`{shown}` is a command of psql, which no server understands; take the line out");
    SyntaxError { line, column, message }
}

/// The place of a 1-based *character* position, as PostgreSQL reports it for the whole text. A position outside the
/// text is drawn to its nearer end.
pub fn locate(text: &str, script: &[Statement], position_chars: usize) -> Location {
    let offset =
        text.char_indices().nth(position_chars.saturating_sub(1)).map_or(text.len(), |(offset, _)| offset);
    let (line, column) = Lines::of(text).place(offset);
    let statement = script.partition_point(|statement| statement.range.start <= offset).checked_sub(1);
    Location { line, column, statement }
}

/// The 1-based line of a place in bytes.
pub fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The beginning of a statement on one line: white space folded, at most `max` characters, `…` where it was cut.
pub fn excerpt(text: &str, statement: &Statement, max: usize) -> String {
    let source = text.get(statement.range.clone()).unwrap_or_default();
    let mut folded = String::new();
    for word in source.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().take(max + 1));
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

/// The names in the stored value of a setting that is a list: separated by commas, quoted where they need it.
#[must_use]
pub fn split_list(value: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(std::mem::take(&mut part)),
            c if c.is_whitespace() && !quoted => {}
            c => part.push(c),
        }
    }
    if !part.is_empty() || !parts.is_empty() || value.contains('"') {
        parts.push(part);
    }
    parts
}

/// Whether a statement, or a body quoted in it, names `name` as a whole word or quoted identifier.
pub(crate) fn mentions_name(source: &str, name: &str) -> bool {
    let lowered = source.to_lowercase();
    let wanted = name.to_lowercase();
    let edge = |c: Option<char>| c.is_none_or(|c| !is_word(c));
    !wanted.is_empty()
        && lowered.match_indices(&wanted).any(|(at, found)| {
            edge(lowered[..at].chars().next_back()) && edge(lowered[at + found.len()..].chars().next())
        })
}

/// A character of words, as far as the mention of a name goes.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Lines and columns of places that come in order: each byte is looked at once.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    place: (u32, u32),
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, at: 0, place: (1, 1) }
    }

    /// 1-based line and column (in characters) of a byte offset.
    fn place(&mut self, offset: usize) -> (u32, u32) {
        if offset < self.at {
            *self = Self::of(self.text);
        }
        let passed = &self.text[self.at..offset];
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (line, column) = self.place;
        self.place = match passed.rsplit_once('\n') {
            None => (line, column.saturating_add(count(passed.chars().count()))),
            Some((_, rest)) => {
                let breaks = passed.bytes().filter(|byte| *byte == b'\n').count();
                (line.saturating_add(count(breaks)), count(rest.chars().count() + 1))
            }
        };
        self.at = offset;
        self.place
    }
}

#[cfg(test)]
mod tests;
