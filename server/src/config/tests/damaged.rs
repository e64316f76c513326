//! Configurations damaged at random: every one is read or refused in words, none makes the reader panic, and no secret is in
//! what is said.

use super::*;

const EXAMPLE: &str = include_str!("../../../../resetd.example.toml");
const ROUNDS: usize = 4_000;

/// Pieces that mean something to TOML or to the reader.
const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ".",
    ",",
    "{",
    "}",
    "#",
    "\n",
    "\\",
    "\u{0}",
    "é",
    "\u{1F980}",
    "0",
    "-1",
    "99999999999999999999",
    "nan",
    "true",
    "false",
    "2020-01-01",
    "[target.x]",
    "[profile.local]",
    "extends = \"y\"",
    "database_url_env = \"URL\"",
    "database_url_file = \"/dev/null\"",
    "[audit]",
    "file = 1",
    "stderr = \"x\"",
    "[[role]]",
    "principal = \"unix:*\"",
    "listen = []",
    "0s",
    "999999999999d",
    "*",
    "a.b.c = 1",
];

fn damaged(text: &str, random: &mut fastrand::Rng) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..random.usize(1..6) {
        let (at, length) = (random.usize(0..=chars.len()), random.usize(0..40));
        let end = (at + length).min(chars.len());
        match random.u8(0..4) {
            0 => drop(chars.drain(at..end)),
            1 => {
                let piece = random.choice(PIECES).copied().unwrap_or_default();
                chars.splice(at..at, piece.chars());
            }
            2 => {
                let copied: Vec<char> = chars[at..end].to_vec();
                let to = random.usize(0..=chars.len());
                chars.splice(to..to, copied);
            }
            _ if at < end => chars[at] = char::from(random.u8(0..128)),
            _ => {}
        }
    }
    chars.into_iter().collect()
}

#[test]
fn damage_is_read_or_refused_in_words() {
    good(EXAMPLE);
    let mut random = fastrand::Rng::with_seed(0xC0FFEE);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let text = damaged(EXAMPLE, &mut random);
        match load(&text) {
            Ok(config) => {
                read += 1;
                assert!(!config.effective().contains("hunter2"), "{text}");
            }
            Err(problems) => {
                refused += 1;
                assert!(!problems.is_empty(), "{text}");
                for problem in &problems {
                    assert!(problem.len() > 10 && !problem.contains("hunter2"), "{problem}\n{text}");
                }
            }
        }
    }
    assert!(read > ROUNDS / 50 && refused > ROUNDS / 4, "{read} read, {refused} refused");
}
