//! What a person typed: the confirmation of a destructive verb, and the choice after Ctrl-C.

/// The word that confirms.
pub(crate) const WORD: &str = "RESET";

/// The question is answered with exactly the word; only the end of the line is not part of it.
pub(crate) fn confirms(line: &str) -> bool {
    line.trim_end_matches(['\n', '\r']) == WORD
}

/// What happens after Ctrl-C.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    /// Leave the operation alone and go.
    Detach,
    /// Ask the daemon to cancel it, and go on watching.
    Cancel,
    /// Go on watching.
    Watch,
}

/// The choice in a line; `None` asks again. The end of the input detaches: nobody is there any more.
pub(crate) fn choice(line: Option<&str>) -> Option<Choice> {
    let Some(line) = line else { return Some(Choice::Detach) };
    match line.trim().to_ascii_lowercase().as_str() {
        "d" | "detach" => Some(Choice::Detach),
        "c" | "cancel" => Some(Choice::Cancel),
        "" | "k" | "keep" | "w" | "watch" | "keep watching" => Some(Choice::Watch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_word_confirms() {
        for (line, confirmed) in [
            ("RESET\n", true),
            ("RESET\r\n", true),
            ("RESET", true),
            ("reset\n", false),
            (" RESET\n", false),
            ("RESET \n", false),
            ("RESET!\n", false),
            ("yes\n", false),
            ("\n", false),
        ] {
            assert_eq!(confirms(line), confirmed, "{line:?}");
        }
    }

    #[test]
    fn choices_are_short_or_long_and_nothing_is_cancelled_by_accident() {
        assert_eq!(choice(Some("d\n")), Some(Choice::Detach));
        assert_eq!(choice(Some("Cancel\n")), Some(Choice::Cancel));
        assert_eq!(choice(Some("\n")), Some(Choice::Watch));
        assert_eq!(choice(Some("k\n")), Some(Choice::Watch));
        assert_eq!(choice(Some("ctrl\n")), None);
        assert_eq!(choice(None), Some(Choice::Detach));
    }
}
