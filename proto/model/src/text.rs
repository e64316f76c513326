//! Text that others wrote (names, comments, messages of servers, reasons, labels), as it may be shown: nothing in it acts on a
//! terminal, turns what stands around it, or is there without being seen.

use std::{borrow::Cow, fmt::Write as _};

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Whether a character does something other than to be seen: controls, formats (what turns the direction of writing, what joins
/// and parts), separators of lines and paragraphs, and whatever else is shown as nothing.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let category = c.general_category();
    let acts = matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    acts || is_ignorable(c)
}

/// `Default_Ignorable_Code_Point` beside the formats: fillers, joiners and selectors that leave no trace.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2065}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text with everything hidden written out: `\n`, `\u{202e}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, rust)
}

/// The same for a text of several lines, which stay.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_hidden(c), rust)
}

/// The same for a text that has been coloured: `ESC [ … m` stays, every other control does not.
#[must_use]
pub fn visible_coloured(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return visible(text);
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\u{1b}') {
        shown.push_str(&visible(&rest[..at]));
        let length = colour(&rest[at..]).unwrap_or(0);
        match length {
            0 => shown.push_str("\\u{1b}"),
            length => shown.push_str(&rest[at..at + length]),
        }
        rest = &rest[at + length.max(1)..];
    }
    shown.push_str(&visible(rest));
    Cow::Owned(shown)
}

/// The length of the colour that a text begins with.
fn colour(text: &str) -> Option<usize> {
    let code = text.strip_prefix("\u{1b}[")?;
    let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    code[end..].starts_with('m').then_some(end + 3)
}

/// A JSON text with everything hidden as JSON escapes it: the document is the same, and may be shown. The line breaks of a
/// document in many lines stay; those in its strings were escaped before.
#[must_use]
pub fn json(document: &str) -> Cow<'_, str> {
    escaped(
        document,
        |c| c != '\n' && is_hidden(c),
        |out, c| {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

fn rust(out: &mut String, c: char) {
    match c {
        '\n' | '\r' | '\t' => out.extend(c.escape_default()),
        c => out.extend(c.escape_unicode()),
    }
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hidden(c) {
            true => escape(&mut shown, c),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests;
