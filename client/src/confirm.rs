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

/// The choice of a key; `None` waits for another one. The end of the input detaches: nobody is there any more.
pub(crate) fn choice(key: Option<u8>) -> Option<Choice> {
    let Some(key) = key else { return Some(Choice::Detach) };
    match key.to_ascii_lowercase() {
        b'd' => Some(Choice::Detach),
        b'c' => Some(Choice::Cancel),
        b'k' | b'w' | b'\r' | b'\n' => Some(Choice::Watch),
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
    fn a_choice_is_one_key_and_nothing_is_cancelled_by_accident() {
        assert_eq!(choice(Some(b'd')), Some(Choice::Detach));
        assert_eq!(choice(Some(b'C')), Some(Choice::Cancel));
        assert_eq!(choice(Some(b'\n')), Some(Choice::Watch));
        assert_eq!(choice(Some(b'k')), Some(Choice::Watch));
        assert_eq!(choice(Some(b'x')), None);
        assert_eq!(choice(Some(0x1b)), None);
        assert_eq!(choice(None), Some(Choice::Detach));
    }
}
