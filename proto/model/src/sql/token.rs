//! The tokens of a text, and where one statement ends and the next begins.
//!
//! This module must not know what statements mean.

use std::ops::Range;

use squawk_syntax::{Parse, SourceFile, SyntaxKind};

/// All tokens of a parsed text, white space and comments included.
pub(super) fn all<'a>(parse: &Parse<SourceFile>, text: &'a str) -> Vec<Token<'a>> {
    parse
        .syntax_node()
        .descendants_with_tokens()
        .filter_map(|element| element.into_token())
        .map(|token| {
            let range = Range::<usize>::from(token.text_range());
            Token { text: text.get(range.clone()).unwrap_or_default(), range, kind: token.kind() }
        })
        .collect()
}

/// One token, with its text.
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) range: Range<usize>,
    pub(super) kind: SyntaxKind,
}

impl Token<'_> {
    /// Whether it is this bare word; a quoted identifier or a string never is.
    pub(super) fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_trivia(&self) -> bool {
        matches!(self.kind, SyntaxKind::WHITESPACE | SyntaxKind::COMMENT)
    }

    /// The identifier it stands for: folded to lower case, or unquoted.
    pub(super) fn name(&self) -> String {
        match self.text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => self.text.to_lowercase(),
        }
    }
}

/// Cuts at each `;` outside parentheses (`CREATE RULE … DO (…; …)`) and outside `BEGIN ATOMIC … END`. The second value
/// is the offset of a body that never ended.
pub(super) fn cut<'t, 'a>(tokens: &'t [Token<'a>]) -> (Vec<&'t [Token<'a>]>, Option<usize>) {
    let mut spans = Vec::new();
    let (mut from, mut parens, mut body, mut opened) = (0, 0_usize, 0_usize, None);
    for (index, token) in tokens.iter().enumerate() {
        let label = index > 0 && (tokens[index - 1].is("as") || tokens[index - 1].text == ".");
        match token.text {
            "(" => parens += 1,
            ")" => parens = parens.saturating_sub(1),
            ";" if parens == 0 && body == 0 => {
                spans.push(&tokens[from..index]);
                from = index + 1;
            }
            _ if body > 0 && !label && token.is("case") => body += 1,
            _ if body > 0 && !label && token.is("end") => body -= 1,
            _ if body == 0
                && token.is("atomic")
                && index > from
                && tokens[index - 1].is("begin")
                && tokens[from].is("create") =>
            {
                body = 1;
                opened = Some(tokens[index - 1].range.start);
            }
            _ => {}
        }
    }
    spans.push(&tokens[from..]);
    spans.retain(|span| !span.is_empty());
    (spans, opened.filter(|_| body > 0))
}
