//! The tokens of SQL, by PostgreSQL's own lexical rules (its `scan.l`), one at a time and without recursion.
//!
//! Every byte of a text belongs to exactly one token, whatever the text is: what PostgreSQL refuses gets a token, too. Where
//! servers of different versions differ, they do so only in texts that one of them refuses.
//!
//! This module must not know where statements begin and end, nor what they mean.

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// White space.
    Space,
    /// `-- …` up to the end of the line, or `/* … */`, nested.
    Comment,
    /// A bare word: keyword or identifier.
    Word,
    /// `"…"`, or `U&"…"`.
    QuotedName,
    /// `'…'`, `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`, with what continues it on later lines, or `$tag$…$tag$`.
    String,
    /// Digits.
    Number,
    /// `$1`.
    Parameter,
    /// One character that is none of the others, for example `;`, `(` or a part of an operator.
    Symbol,
}

/// One token, with its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its bytes.
    pub text: &'a str,
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// What it is.
    pub kind: TokenKind,
    /// Whether a quote or comment has its end; `true` for all else.
    pub closed: bool,
}

impl Token<'_> {
    /// The byte after its last one.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this bare word. PostgreSQL folds ASCII only to find a keyword.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is this character.
    #[must_use]
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }

    /// White space or comment.
    #[must_use]
    pub fn is_trivia(&self) -> bool {
        matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }

    /// The identifier it stands for: folded to lower case, or unquoted.
    #[must_use]
    pub fn name(&self) -> String {
        match self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => self.text.to_lowercase(),
        }
    }
}

/// How a session reads plain strings: its setting `standard_conforming_strings`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strings {
    /// `on`: a backslash in `'…'` is a backslash.
    #[default]
    Standard,
    /// `off`: a backslash in `'…'` escapes what follows, as in `E'…'`.
    Backslash,
}

/// The tokens of a text, in order; joined they are the text.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    strings: Strings,
}

impl<'a> Lexer<'a> {
    /// At the beginning of a text.
    #[must_use]
    pub fn new(text: &'a str, strings: Strings) -> Self {
        Self { text, at: 0, strings }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn starts(&self, at: usize, with: &[u8]) -> bool {
        self.text.as_bytes().get(at..).is_some_and(|rest| rest.starts_with(with))
    }

    /// The first place from `at` on whose byte is not one of these.
    fn after(&self, at: usize, of: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !of(*byte)).unwrap_or(rest.len())
    }

    /// The kind of the token at `at`, its end, and whether it has one.
    fn token(&self, at: usize, first: u8) -> (TokenKind, usize, bool) {
        let second = self.byte(at + 1);
        match first {
            _ if is_space(first) => (TokenKind::Space, self.after(at, is_space), true),
            b'-' if second == Some(b'-') => (TokenKind::Comment, self.line_end(at), true),
            b'/' if second == Some(b'*') => self.block_comment(at),
            b'\'' => self.string(at + 1, self.strings == Strings::Backslash),
            b'"' => self.quoted_name(at + 1),
            b'e' | b'E' if second == Some(b'\'') => self.string(at + 2, true),
            b'b' | b'B' | b'x' | b'X' if second == Some(b'\'') => self.string(at + 2, false),
            // A keyword before a plain string.
            b'n' | b'N' if second == Some(b'\'') => self.string(at + 2, self.strings == Strings::Backslash),
            b'u' | b'U' if self.starts(at + 1, b"&'") => self.string(at + 3, false),
            b'u' | b'U' if self.starts(at + 1, b"&\"") => self.quoted_name(at + 3),
            b'$' => self.dollar(at),
            _ if is_word_start(first) => (TokenKind::Word, self.after(at, is_word), true),
            _ if first.is_ascii_digit() => (TokenKind::Number, self.number(at), true),
            _ => (TokenKind::Symbol, at + 1, true),
        }
    }

    fn line_end(&self, at: usize) -> usize {
        self.after(at, |byte| byte != b'\n' && byte != b'\r')
    }

    fn block_comment(&self, from: usize) -> (TokenKind, usize, bool) {
        let (mut depth, mut at) = (1_usize, from + 2);
        while depth > 0 {
            at = self.after(at, |byte| byte != b'*' && byte != b'/');
            match (self.byte(at), self.byte(at + 1)) {
                (None, _) => return (TokenKind::Comment, at, false),
                (Some(b'/'), Some(b'*')) => (depth, at) = (depth + 1, at + 2),
                (Some(b'*'), Some(b'/')) => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
        }
        (TokenKind::Comment, at, true)
    }

    /// From after its opening quote on, with the parts that continue it.
    fn string(&self, mut at: usize, escapes: bool) -> (TokenKind, usize, bool) {
        loop {
            at = self.after(at, |byte| byte != b'\'' && !(escapes && byte == b'\\'));
            match self.byte(at) {
                None => return (TokenKind::String, at, false),
                // Whatever follows belongs to it; of a longer character its first byte, the others are no quotes.
                Some(b'\\') => at = (at + 2).min(self.text.len()),
                Some(_) if self.byte(at + 1) == Some(b'\'') => at += 2,
                Some(_) => match self.continued(at + 1) {
                    Some(next) => at = next,
                    None => return (TokenKind::String, at + 1, true),
                },
            }
        }
    }

    /// A string goes on behind white space with a line break in it, and line comments: after the quote that reopens it.
    fn continued(&self, from: usize) -> Option<usize> {
        let (mut at, mut broken) = (from, false);
        loop {
            match self.byte(at)? {
                b'\'' if broken => return Some(at + 1),
                b'\n' | b'\r' => (at, broken) = (at + 1, true),
                byte if is_space(byte) => at += 1,
                b'-' if self.byte(at + 1) == Some(b'-') => at = self.line_end(at),
                _ => return None,
            }
        }
    }

    fn quoted_name(&self, mut at: usize) -> (TokenKind, usize, bool) {
        loop {
            at = self.after(at, |byte| byte != b'"');
            match (self.byte(at), self.byte(at + 1)) {
                (None, _) => return (TokenKind::QuotedName, at, false),
                (_, Some(b'"')) => at += 2,
                _ => return (TokenKind::QuotedName, at + 1, true),
            }
        }
    }

    /// A body in dollar quotes, a parameter, or the character alone.
    fn dollar(&self, at: usize) -> (TokenKind, usize, bool) {
        let tag = self.after(at + 1, is_tag);
        if self.byte(tag) == Some(b'$') && !self.byte(at + 1).is_some_and(|byte| byte.is_ascii_digit()) {
            let (quote, body) = (&self.text[at..=tag], tag + 1);
            return match self.text[body..].find(quote) {
                Some(length) => (TokenKind::String, body + length + quote.len(), true),
                None => (TokenKind::String, self.text.len(), false),
            };
        }
        match self.after(at + 1, |byte| byte.is_ascii_digit()) {
            end if end > at + 1 => (TokenKind::Parameter, end, true),
            _ => (TokenKind::Symbol, at + 1, true),
        }
    }

    /// Digits, a fraction, an exponent: whatever letters follow otherwise begin a token of their own.
    fn number(&self, at: usize) -> usize {
        let digits = |from| self.after(from, |byte| byte.is_ascii_digit());
        let mut end = digits(at);
        // `1..10` are two numbers with two dots between them.
        if self.byte(end) == Some(b'.') && self.byte(end + 1) != Some(b'.') {
            end = digits(end + 1);
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.byte(end + 1), Some(b'+' | b'-')));
            if self.byte(end + 1 + sign).is_some_and(|byte| byte.is_ascii_digit()) {
                end = digits(end + 1 + sign);
            }
        }
        end
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (start, first) = (self.at, self.byte(self.at)?);
        let (kind, end, closed) = self.token(start, first);
        self.at = end;
        Some(Token { text: &self.text[start..end], start, kind, closed })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// All bytes of characters beyond ASCII belong to words.
fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn is_word(byte: u8) -> bool {
    is_tag(byte) || byte == b'$'
}

fn is_tag(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit()
}
