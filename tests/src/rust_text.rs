//! Rust files as text: code without comments and tests, and string literals, for rules that no compiler and no lint sees.

/// What stands in place of a line that was taken out.
pub const REMOVED: &str = "//\u{1}removed";

/// The text with each item under `#[cfg(test)]` taken out, line by line.
#[must_use]
pub fn without_tests(text: &str) -> String {
    let (mut out, mut lines) = (Vec::new(), text.lines());
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            out.push(line);
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        out.push(REMOVED);
        for (n, inner) in lines.by_ref().enumerate() {
            out.push(REMOVED);
            let one_line =
                inner.ends_with(';') && (n == 0 || inner.starts_with(indent) && !inner.contains("  "));
            if inner == end || (one_line && !inner.contains('{')) {
                break;
            }
        }
    }
    out.join("\n")
}

/// Splits code from string literals and drops comments; the line breaks of all of it stay in the code.
#[must_use]
pub fn cut(text: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut strings, mut at) = (String::new(), Vec::new(), 0);
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => end_of_line(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => end_of_comment(&chars, at),
            '"' => end_of_string(&chars, at),
            'r' if !code.ends_with(is_word) => end_of_raw_string(&chars, at).unwrap_or(at),
            '\'' => end_of_char(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        let piece: String = chars[at..end].iter().collect();
        if piece.starts_with(['"', 'r']) {
            let line = code.matches('\n').count() + 1;
            strings.push((line, piece.trim_start_matches(['r', '#']).trim_matches(['"', '#']).to_owned()));
            code.push_str("\"\"");
        }
        code.extend(piece.chars().filter(|c| *c == '\n'));
        at = end;
    }
    (code, strings)
}

/// The string literals of Rust code, as the compiler reads them but for escapes of whole characters.
#[must_use]
pub fn string_literals(text: &str) -> Vec<String> {
    let unescaped = |text: String| text.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
    cut(text).1.into_iter().map(|(_, text)| unescaped(text)).collect()
}

fn end_of_line(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| from + n)
}

fn end_of_comment(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        let two = (chars[at], chars.get(at + 1).copied());
        depth += i32::from(two == ('/', Some('*'))) - i32::from(two == ('*', Some('/')));
        at += if matches!(two, ('/', Some('*')) | ('*', Some('/'))) { 2 } else { 1 };
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn end_of_raw_string(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    let open = from + 1 + hashes;
    (chars.get(open) == Some(&'"')).then_some(())?;
    let closes = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (open + 1..chars.len()).find(|at| closes(*at)).map(|at| at + 1 + hashes)
}

/// `'x'` and `'\n'`, but no lifetime.
fn end_of_char(chars: &[char], from: usize) -> Option<usize> {
    match (chars.get(from + 1)?, chars.get(from + 2)?) {
        ('\\', _) => (from + 3..chars.len()).find(|at| chars[*at] == '\'').map(|at| at + 1),
        (_, '\'') => Some(from + 3),
        _ => None,
    }
}

/// Whether a character is one of a word.
#[must_use]
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the text has the word with no letter, digit or underscore beside it.
#[must_use]
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let open_left = !word.starts_with(is_word) || !before.ends_with(is_word);
        let open_right = !word.ends_with(is_word) || !after.starts_with(is_word);
        open_left && open_right
    })
}
