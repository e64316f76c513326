//! Any bytes become a chain or faults: nothing panics, nothing is lost, and no text costs more than its length.
//!
//! `make fuzz` runs ten million; each input is named by its number, which gives it again.

mod generator;

use fastrand::Rng;
use model::{
    chain::Chain,
    operation::limits,
    revision::Revision,
    sql::{self, Cutter, Lexer, Strings},
};

const SOME: u64 = 200_000;
const MANY: u64 = 10_000_000;

#[test]
fn any_text_becomes_a_chain_or_faults() {
    (0..SOME).for_each(one);
}

#[test]
#[ignore = "ten million of them: make fuzz"]
fn ten_million_texts_become_chains_or_faults() {
    (0..MANY).for_each(one);
}

fn one(number: u64) {
    let mut rng = Rng::with_seed(number);
    let text = generator::text(&mut rng);
    cut(number, &text);
    let mut files =
        vec![("core/a.sql".to_owned(), format!("-- revision: a\n-- revises: none\n{text}").into_bytes())];
    if rng.u8(..4) == 0 {
        let mut more =
            format!("-- revision: b\n-- revises: {}\n{text}", rng.choice(["a", "b", "c"]).unwrap_or("a"));
        if rng.bool() {
            more.insert(rng.usize(..10), '\u{fffd}');
        }
        let mut bytes = more.into_bytes();
        if rng.u8(..8) == 0 {
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
        }
        files.push(("core/b.sql".to_owned(), bytes));
    }
    match Chain::assemble("core", files) {
        Ok(chain) => planned(number, &chain),
        Err(faults) => {
            assert!((1..=limits::FAULTS).contains(&faults.len()), "{number}: {} faults", faults.len());
            let told: usize = faults.iter().map(|fault| fault.to_string().len()).sum();
            assert!(told < limits::FAULTS * 1_000, "{number}: {told} bytes of faults");
        }
    }
}

/// Tokens and pieces, joined, are the text.
fn cut(number: u64, text: &str) {
    for strings in [Strings::Standard, Strings::Backslash] {
        let mut at = 0;
        for token in Lexer::new(text, strings) {
            assert_eq!((token.start, token.text), (at, &text[at..token.end()]), "{number}");
            assert!(!token.text.is_empty(), "{number}");
            at = token.end();
        }
        assert_eq!(at, text.len(), "{number}");
        let mut at = 0;
        for piece in Cutter::new(text, strings) {
            assert_eq!(piece.whole.start, at, "{number}");
            at = piece.whole.end;
            let Some(statement) = piece.statement else { continue };
            assert!(statement.start >= piece.whole.start && statement.end <= piece.whole.end, "{number}");
            assert!(!text[statement.clone()].starts_with([' ', '\t', '\r', '\n']), "{number}");
            // A statement by itself is the same statement.
            let alone: Vec<_> = Cutter::new(&text[statement.clone()], strings).collect();
            assert_eq!(alone.len(), 1, "{number}: {:?}", &text[statement]);
        }
        assert_eq!(at, text.len(), "{number}");
    }
}

/// What planning and replay ask of a chain.
fn planned(number: u64, chain: &Chain) {
    let _nothing_panics = (chain.transaction_obstacles(), chain.extensions(), chain.fingerprint());
    for revision in &chain.revisions {
        assert!(!revision.statements.is_empty(), "{number}");
        let sent = revision.sql_without_extensions();
        assert_eq!(sent.chars().count(), revision.sql.chars().count(), "{number}");
        for (index, statement) in revision.statements.iter().enumerate() {
            assert!(revision.excerpt(index, 60).is_some_and(|it| it.chars().count() <= 60), "{number}");
            assert_ne!(statement.kind, sql::StatementKind::Transaction, "{number}");
        }
        ends(number, revision);
    }
}

fn ends(number: u64, revision: &Revision) {
    for position in [0, 1, revision.sql.len() / 2, usize::MAX] {
        let place = sql::locate(&revision.sql, &revision.statements, position);
        assert!(place.line >= 1 && place.column >= 1, "{number}");
    }
}
