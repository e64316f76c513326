//! Any bytes become a chain or faults: nothing panics, nothing is lost, and no text costs more than its length.
//!
//! `make fuzz` runs ten million; each input is named by its number, which gives it again.

mod generator;

use fastrand::Rng;
use model::{
    chain::Chain,
    operation::limits,
    revision::Revision,
    sql::{self, Cutter, Lexer, Meaning, Strings},
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
    escapes(number, &text);
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

/// What begins, ends or divides a transaction, in PostgreSQL's grammar: each by its first words.
const ENDS: &[&str] = &[
    "COMMIT",
    "commit work",
    "END",
    "ROLLBACK",
    "abort",
    "COMMIT AND CHAIN",
    "rollback to savepoint a",
    "PREPARE TRANSACTION 'x'",
    "Commit Prepared 'x'",
    "START TRANSACTION",
    "BEGIN",
    "RELEASE a",
    "SAVEPOINT a",
];

/// Nothing that ends a transaction is taken for anything else, wherever it is hidden: in the text as it is, and with one put
/// between its statements. PostgreSQL itself refuses a second statement in a message, so that the first words decide.
fn escapes(number: u64, text: &str) {
    let mut rng = Rng::with_seed(number);
    let end = rng.choice(ENDS).copied().unwrap_or("COMMIT");
    let gaps = ["", " ", "/* ; */", "-- ' ;\n", "/* a /* $$ */ ' */", "\n\t", "--\r"];
    let gap = |rng: &mut Rng| rng.choice(gaps).unwrap_or("");
    let hidden = format!("{};{}{end}{};{text}", text, gap(&mut rng), gap(&mut rng));
    for strings in [Strings::Standard, Strings::Backslash] {
        for text in [text, &hidden] {
            for piece in Cutter::new(text, strings) {
                let Some(statement) = piece.statement else { continue };
                // As it is sent: from its first token on, and with what stands before it.
                let (sent, whole) = (&text[statement], &text[piece.whole]);
                let meaning = sql::meaning(sent, strings);
                if controls(sent) || controls(whole) {
                    assert!(matches!(meaning, Meaning::Control(_)), "{number}: {sent:?} is {meaning:?}");
                }
            }
        }
    }
    let alone = format!("{}{end}{}", gap(&mut rng), gap(&mut rng));
    assert!(controls(&alone), "{number}: {alone:?}");
}

/// Whether PostgreSQL takes a text for transaction control: white space and comments passed over byte by byte, then words. Written
/// for itself, without the lexer.
fn controls(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut words = Vec::new();
    while words.len() < 2 {
        rest = after_gap(rest);
        let length =
            rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"_$".contains(b) || **b > 127).count();
        if length == 0 {
            break;
        }
        words.push(String::from_utf8_lossy(&rest[..length]).to_ascii_lowercase());
        rest = &rest[length..];
    }
    match (words.first().map(String::as_str), words.get(1).map(String::as_str)) {
        (Some("commit" | "end" | "rollback" | "abort" | "begin" | "savepoint" | "release" | "start"), _) => {
            true
        }
        (Some("prepare"), second) => second == Some("transaction"),
        _ => false,
    }
}

fn after_gap(mut rest: &[u8]) -> &[u8] {
    loop {
        match rest {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, after @ ..] => rest = after,
            [b'-', b'-', after @ ..] => {
                let line = after.iter().take_while(|b| !b"\n\r".contains(b)).count();
                rest = &after[line..];
            }
            [b'/', b'*', after @ ..] => {
                let (mut depth, mut inside) = (1, after);
                while depth > 0 {
                    (depth, inside) = match inside {
                        [b'*', b'/', after @ ..] => (depth - 1, after),
                        [b'/', b'*', after @ ..] => (depth + 1, after),
                        [_, after @ ..] => (depth, after),
                        [] => return inside,
                    };
                }
                rest = inside;
            }
            _ => return rest,
        }
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
