//! Text for terminals: cleaned, wrapped, shortened, coloured. Pure.

use console::measure_text_width;
use model::text::visible;
use serde_json::Value;
use textwrap::{WordSeparator, WordSplitter, WrapAlgorithm};

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    pub(crate) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from elsewhere, with everything hidden written out; line breaks and tabs become spaces.
pub(crate) fn clean(text: &str) -> String {
    visible(&text.replace(['\n', '\r', '\t'], " ")).into_owned()
}

/// A JSON value in one line, with nothing hidden in its strings.
pub(crate) fn json(value: &Value) -> String {
    model::text::json(&value.to_string()).into_owned()
}

/// Wraps at words, which are never cut; `first` begins the first line and every further one is indented as far.
pub(crate) fn wrap(first: &str, text: &str, width: usize) -> Vec<String> {
    let indent = measure_text_width(first);
    let options = textwrap::Options::new(width.saturating_sub(indent).max(20))
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let clean = clean(text);
    let words: Vec<&str> = clean.split(' ').filter(|word| !word.is_empty()).collect();
    let text = words.join(" ");
    let lines = textwrap::wrap(&text, options);
    let begin = |n: usize| if n == 0 { first.to_owned() } else { " ".repeat(indent) };
    lines.iter().enumerate().map(|(n, line)| format!("{}{line}", begin(n))).collect()
}

/// At most `width` columns, with `…` where something was left out.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    console::truncate_str(text, width, "…").into_owned()
}

/// A time that something took, from milliseconds: `31ms`, `1.5s`, `2m05s`.
pub(crate) fn span(ms: i128) -> String {
    match ms {
        ..1_000 => format!("{}ms", ms.max(0)),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// `1,234,567`.
pub(crate) fn number(n: impl Into<i128>) -> String {
    let n: i128 = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if n < 0 { format!("-{text}") } else { text }
}

/// `1 table`, `1,234 tables`.
pub(crate) fn count(n: impl Into<i128>, noun: &str) -> String {
    let n: i128 = n.into();
    format!("{} {noun}{}", number(n), if n == 1 { "" } else { "s" })
}

/// `12 B`, `8.0 KiB`, `1.2 GiB`.
pub(crate) fn bytes(n: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let n = n.max(0);
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut tenths, mut unit) = (i128::from(n) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_at_a_glance() {
        assert_eq!(
            [number(0), number(999), number(1_000), number(-1_234_567)],
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!([count(1, "table"), count(1_200, "table")], ["1 table", "1,200 tables"]);
        let sizes = [0, 1023, 1024, 8192, 1_572_864, i64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "8.0 KiB", "1.5 MiB", "8191.9 PiB"]);
    }

    #[test]
    fn times_read_at_a_glance() {
        let spans = [-1, 0, 999, 1_000, 59_999, 60_000, 3_599_999, 3_600_000].map(span);
        assert_eq!(spans, ["0ms", "0ms", "999ms", "1.0s", "59.9s", "1m00s", "59m59s", "1h00m"]);
    }

    #[test]
    fn lines_are_wrapped_at_words_and_never_lose_one() {
        let text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
        for width in [40, 60, 80, 120] {
            let lines = wrap("  hint: ", text, width);
            assert!(lines.iter().all(|l| measure_text_width(l) <= width), "{width}: {lines:?}");
            let back: Vec<&str> = lines.iter().flat_map(|l| l.split_whitespace()).skip(1).collect();
            assert_eq!(back.join(" "), text, "{width}");
        }
        assert_eq!(wrap("- ", "", 80), ["- "]);
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_act_on() {
        assert_eq!(clean("a\x1b[31mb\x07\nc\td"), "a\\u{1b}[31mb\\u{7} c d");
    }

    #[test]
    fn colours_are_there_or_not() {
        assert_eq!(Paint(false).red("x"), "x");
        assert_eq!(Paint(true).red("x"), "\x1b[31mx\x1b[0m");
    }
}
