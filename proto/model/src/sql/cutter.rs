//! Where one statement ends and the next begins: the pieces of a text, which joined are the text.
//!
//! A mistake in here could hide a statement behind another one. So it follows PostgreSQL's grammar, and where a text is one
//! that PostgreSQL refuses as a whole it does not matter what becomes of it: a message runs only if all of it is understood.
//!
//! This module must not know what statements mean.

use std::ops::Range;

use super::lexer::{Lexer, Strings, Token, TokenKind};

/// One statement with everything up to the next one: comments and space before it, its `;` and nothing behind that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// All of its bytes.
    pub whole: Range<usize>,
    /// The statement alone, without comments and space around it and without its `;`; none where there is nothing else.
    pub statement: Option<Range<usize>>,
    /// The deepest that parentheses stand in each other, bodies counted with them.
    pub depth: usize,
    /// How many tokens it has, comments and space left out.
    pub tokens: usize,
    /// What begins in it and has no end, and where.
    pub open: Option<(usize, Open)>,
}

/// What has a beginning and lacks an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// A quote or a comment.
    Token(TokenKind),
    /// `BEGIN ATOMIC`.
    Body,
    /// `(`.
    Parenthesis,
}

/// The pieces of a text, in order.
#[derive(Debug, Clone)]
pub struct Cutter<'a> {
    lexer: Lexer<'a>,
    from: usize,
}

impl<'a> Cutter<'a> {
    /// At the beginning of a text.
    #[must_use]
    pub fn new(text: &'a str, strings: Strings) -> Self {
        Self { lexer: Lexer::new(text, strings), from: 0 }
    }
}

impl Iterator for Cutter<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let mut state = State::default();
        let mut end = self.from;
        for token in self.lexer.by_ref() {
            end = token.end();
            if state.take(&token) {
                break;
            }
        }
        let whole = self.from..end;
        self.from = end;
        (!whole.is_empty()).then(|| state.piece(whole))
    }
}

/// What is known of the piece so far.
#[derive(Default)]
struct State {
    statement: Option<Range<usize>>,
    tokens: usize,
    deepest: usize,
    /// Where the outermost parenthesis that is open now begins, and how many are.
    parentheses: Option<(usize, usize)>,
    /// Where the outermost body that is open now begins, and how many are.
    bodies: Option<(usize, usize)>,
    head: Head,
    /// The last bare word was `BEGIN`, here.
    begin: Option<usize>,
    unclosed: Option<(usize, TokenKind)>,
}

/// How far the beginning of a statement is that of a routine.
#[derive(Clone, Copy, Default, PartialEq)]
enum Head {
    #[default]
    Nothing,
    Create,
    CreateOr,
    CreateOrReplace,
    Routine,
    Other,
}

impl Head {
    fn next(self, token: &Token<'_>) -> Self {
        let routine = token.is("function") || token.is("procedure");
        match self {
            Self::Nothing if token.is("create") => Self::Create,
            Self::Create if token.is("or") => Self::CreateOr,
            Self::CreateOr if token.is("replace") => Self::CreateOrReplace,
            Self::Create | Self::CreateOrReplace if routine => Self::Routine,
            Self::Routine => Self::Routine,
            _ => Self::Other,
        }
    }
}

impl State {
    /// Takes the next token; `true` where the piece ends with it.
    fn take(&mut self, token: &Token<'_>) -> bool {
        if !token.closed {
            self.unclosed = Some((token.start, token.kind));
        }
        if token.is_trivia() {
            return false;
        }
        self.tokens += 1;
        if token.is_symbol(";") && self.parentheses.is_none() {
            if self.bodies.is_none() {
                return true;
            }
            // The next statement of a body begins. A rule's, in parentheses, have no body of their own.
            (self.head, self.begin) = (Head::Nothing, None);
        } else {
            self.within(token);
        }
        let start = self.statement.as_ref().map_or(token.start, |range| range.start);
        self.statement = Some(start..token.end());
        false
    }

    fn within(&mut self, token: &Token<'_>) {
        // `END` ends a body where a statement would begin, and is a label, or the end of a CASE, anywhere else.
        if self.parentheses.is_none()
            && self.head == Head::Nothing
            && token.is("end")
            && self.bodies.is_some()
        {
            self.bodies = less(self.bodies);
            self.head = Head::Other;
            return;
        }
        if token.is_symbol("(") {
            self.parentheses = more(self.parentheses, token.start);
        } else if token.is_symbol(")") {
            self.parentheses = less(self.parentheses);
        }
        self.head = self.head.next(token);
        let routine = self.parentheses.is_none() && self.head == Head::Routine;
        match self.begin {
            Some(begin) if routine && token.is("atomic") => {
                self.bodies = more(self.bodies, begin);
                (self.head, self.begin) = (Head::Nothing, None);
            }
            _ => self.begin = (routine && token.is("begin")).then_some(token.start),
        }
        let depth = |open: Option<(usize, usize)>| open.map_or(0, |(_, count)| count);
        self.deepest = self.deepest.max(depth(self.parentheses) + depth(self.bodies));
    }

    fn piece(self, whole: Range<usize>) -> Piece {
        let open = match self.unclosed {
            Some((at, kind)) => Some((at, Open::Token(kind))),
            None => self
                .parentheses
                .map(|(at, _)| (at, Open::Parenthesis))
                .or(self.bodies.map(|(at, _)| (at, Open::Body))),
        };
        Piece { whole, statement: self.statement, depth: self.deepest, tokens: self.tokens, open }
    }
}

fn more(open: Option<(usize, usize)>, at: usize) -> Option<(usize, usize)> {
    Some(open.map_or((at, 1), |(at, count)| (at, count + 1)))
}

fn less(open: Option<(usize, usize)>) -> Option<(usize, usize)> {
    open.filter(|(_, count)| *count > 1).map(|(at, count)| (at, count - 1))
}
