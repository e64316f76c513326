//! Over all of Unicode.

use super::*;

/// From UnicodeData.txt of Unicode 14 and later (what is assigned never changes): Cc, Cf, Zl and Zp.
const HIDDEN: [(u32, u32); 24] = [
    (0x0, 0x1f),
    (0x7f, 0x9f),
    (0xad, 0xad),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x890, 0x891),
    (0x8e2, 0x8e2),
    (0x180e, 0x180e),
    (0x200b, 0x200f),
    (0x2028, 0x2029),
    (0x202a, 0x202e),
    (0x2060, 0x2064),
    (0x2066, 0x206f),
    (0xfeff, 0xfeff),
    (0xfff9, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0001, 0xe0001),
    (0xe0020, 0xe007f),
];

fn every() -> impl Iterator<Item = char> {
    (0..=0x10_ffff).filter_map(char::from_u32)
}

#[test]
fn everything_that_acts_or_is_not_seen_is_written_out() {
    let mut hidden = 0;
    for c in every() {
        let listed = HIDDEN.iter().any(|(from, to)| (*from..=*to).contains(&u32::from(c)));
        let shown = visible(&c.to_string()).into_owned();
        assert!(!listed || is_hidden(c), "U+{:04X} is listed", u32::from(c));
        assert_eq!(shown.contains(c), !is_hidden(c), "U+{:04X}: {shown}", u32::from(c));
        assert!(!shown.contains(is_hidden), "U+{:04X}", u32::from(c));
        hidden += u32::from(is_hidden(c));
    }
    let listed: u32 = HIDDEN.iter().map(|(from, to)| to - from + 1).sum();
    assert!(hidden > listed, "{hidden} of at least {listed}");
    for named in
        ['\u{202e}', '\u{2066}', '\u{2028}', '\u{9b}', '\u{7f}', '\u{85}', '\u{1b}', '\u{200d}', '\u{3164}']
    {
        assert!(is_hidden(named), "{named:?}");
    }
}

#[test]
fn what_is_seen_stays() {
    for text in ["", "plain", "größe", "名前", "é", "e\u{301}", "🦀", "a b", "«x» — y…", "\\u{202e}"]
    {
        assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
        assert!(matches!(json(text), Cow::Borrowed(_)), "{text}");
    }
    let letters = every().filter(|c| c.is_alphanumeric() && !is_ignorable(*c));
    assert_eq!(letters.filter(|c| is_hidden(*c)).count(), 0, "no letter or digit is hidden");
}

#[test]
fn escapes_are_those_of_rust() {
    assert_eq!(visible("a\u{202e}b\u{1b}[2Jc\nd\te\u{85}"), "a\\u{202e}b\\u{1b}[2Jc\\nd\\te\\u{85}");
    assert_eq!(visible_lines("a\nb\u{2028}"), "a\nb\\u{2028}");
}

#[test]
fn colours_stay_and_nothing_else_that_begins_like_one() {
    let coloured = "\u{1b}[31m✗ x\u{1b}[0m and \u{1b}[1;32mmore\u{1b}[0m";
    assert_eq!(visible_coloured(coloured), coloured);
    for (text, shown) in [
        ("\u{1b}[2Jx", "\\u{1b}[2Jx"),
        ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
        ("x\u{1b}", "x\\u{1b}"),
        ("\u{1b}[31", "\\u{1b}[31"),
        ("\u{1b}[\u{202e}m", "\\u{1b}[\\u{202e}m"),
        ("\u{1b}[0m\u{9b}2J", "\u{1b}[0m\\u{9b}2J"),
    ] {
        assert_eq!(visible_coloured(text), shown, "{text:?}");
    }
}

#[test]
fn a_json_document_is_the_same_and_may_be_shown() {
    let text: String = every().filter(|c| is_hidden(*c)).collect();
    let document = serde_json::json!({ "text": text, "list": [1, "ä"] });
    for written in [document.to_string(), format!("{document:#}")] {
        let shown = json(&written);
        assert!(!shown.contains(|c| c != '\n' && is_hidden(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), document);
    }
    assert_eq!(json("\"\u{e0001}\u{7f}\""), "\"\\udb40\\udc01\\u007f\"");
}
