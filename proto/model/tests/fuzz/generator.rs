//! Texts that are hard to cut: SQL that PostgreSQL takes, with semicolons and `COMMIT` hidden wherever it lets them be hidden;
//! the same with a character gone wrong; rubbish of the same parts; and now and then something deep or endless.

use fastrand::Rng;

/// What may stand inside quotes, bodies and comments.
const NOISE: &[&str] = &[
    ";",
    " ; commit; ",
    "commit",
    "rollback;",
    "--",
    "/*",
    "*/",
    "'",
    "''",
    "\"",
    "$$",
    "$a$",
    "$",
    "\\",
    "\\'",
    "\n",
    "\r",
    " ",
    "begin atomic",
    "end",
    "case",
    "(",
    ")",
    "ä",
    "\u{feff}",
    "é;",
    "E'",
    "U&'",
    "select 1",
    "1e",
    "\t",
    "x",
];
/// What may stand anywhere, for rubbish.
const PARTS: &[&str] = &[
    ";",
    " ",
    "\n",
    "\r\n",
    "'",
    "E'",
    "e'\\'",
    "B'",
    "X'",
    "N'",
    "U&'",
    "U&\"",
    "\"",
    "\"\"",
    "$$",
    "$a$",
    "$1",
    "a$a$",
    "--",
    "/*",
    "*/",
    "(",
    ")",
    "[",
    "]",
    "\\",
    "select ",
    "1",
    "1.",
    "1e5",
    ".5",
    "::",
    "+",
    "-",
    "/",
    "*",
    "commit",
    "begin",
    "atomic",
    "begin atomic",
    "end",
    "case",
    "create",
    "create function f() returns int ",
    "or",
    "replace",
    "procedure",
    "as",
    ",",
    "ä",
    "copy t from stdin",
    "\u{a0}",
    "\u{2028}",
    "\u{b}",
    "\u{c}",
    "savepoint a",
    "create extension x",
    "alter type t add value 'v'",
];
/// Labels that are words of the cutter, and what else may be a label.
const LABELS: &[&str] = &[
    "end",
    "case",
    "begin",
    "atomic",
    "commit",
    "\"a;b\"",
    "\"\"\"\"",
    "u&\"a;b\"",
    "x$$",
    "\"begin atomic\"",
];

/// One text.
pub(crate) fn text(rng: &mut Rng) -> String {
    match rng.u32(..1_000) {
        0 => huge(rng),
        1..200 => (0..rng.usize(1..40)).map(|_| *pick(rng, PARTS)).collect(),
        200..400 => broken(rng),
        _ => valid(rng),
    }
}

/// A text that PostgreSQL takes, whatever its statements then do.
pub(crate) fn valid(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.usize(1..5) {
        text += &gap(rng);
        text += &statement(rng);
        text += &gap(rng);
        text.push(';');
    }
    if rng.bool() { text + &gap(rng) } else { text.trim_end_matches(';').to_owned() + "\n" }
}

/// The same with a few characters lost, doubled or exchanged.
fn broken(rng: &mut Rng) -> String {
    let mut chars: Vec<char> = valid(rng).chars().collect();
    for _ in 0..rng.usize(1..4) {
        if chars.is_empty() {
            break;
        }
        let at = rng.usize(..chars.len());
        match rng.u8(..3) {
            0 => drop(chars.remove(at)),
            1 => chars.insert(at, chars[at]),
            _ => {
                let other = rng.usize(..chars.len());
                chars.swap(at, other);
            }
        }
    }
    chars.into_iter().collect()
}

fn huge(rng: &mut Rng) -> String {
    let many = rng.usize(1..20_000);
    match rng.u8(..4) {
        0 => "(".repeat(many) + &valid(rng) + &")".repeat(many),
        1 => statement(rng) + &"/*".repeat(many) + ";" + &"*/".repeat(many),
        2 => "create function f() returns int begin atomic ".repeat(many / 10) + &"end;".repeat(many / 10),
        _ => pick(rng, PARTS).repeat(many),
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

fn noise(rng: &mut Rng) -> String {
    (0..rng.usize(..6)).map(|_| *pick(rng, NOISE)).collect()
}

/// White space and comments, at least one character.
fn gap(rng: &mut Rng) -> String {
    let mut gap = String::new();
    for _ in 0..rng.usize(..3) {
        gap += &match rng.u8(..4) {
            0 => format!("--{}\n", noise(rng).replace(['\n', '\r'], " ")),
            1 => format!("/*{}*/", noise(rng).replace("*/", "* /").replace("/*", "/ *").replace('/', ";")),
            2 => format!(
                "/* {} /* ; */ {} */",
                noise(rng).replace(['*', '/'], ";"),
                noise(rng).replace(['*', '/'], "'")
            ),
            _ => pick(rng, &["\n", "\t", "\r\n", "  "]).to_string(),
        };
    }
    gap + " "
}

fn literal(rng: &mut Rng) -> String {
    let inside = noise(rng);
    let escaped = || {
        inside.replace('\\', "\\\\").replace('\'', if inside.len().is_multiple_of(2) { "\\'" } else { "''" })
    };
    match rng.u8(..9) {
        0 | 1 => format!("'{}'", inside.replace('\'', "''")),
        2 | 3 => format!("E'{}'", escaped()),
        4 => format!("E'a'\n '{}'", escaped()),
        5 => format!("E'a' --{}\n\t'{}'", noise(rng).replace(['\n', '\r'], ""), escaped()),
        6 => format!("U&'{}'", inside.replace('\'', "''").replace('\\', "\\\\")),
        7 => format!("$${}$$", inside.replace('$', "§")),
        _ => format!("$a${}$a$", inside.replace("$a$", "$A$").trim_end_matches('$')),
    }
}

fn expression(rng: &mut Rng) -> String {
    match rng.u8(..6) {
        0 => format!("({})", literal(rng)),
        1 => format!("case when true then {} end", literal(rng)),
        2 => format!("(select {} /* ; */)", literal(rng)),
        3 => "1 +--;commit\n1".to_owned(),
        4 => "2 */* ; */ 2".to_owned(),
        _ => literal(rng),
    }
}

fn select(rng: &mut Rng) -> String {
    let mut columns = Vec::new();
    for _ in 0..rng.usize(1..3) {
        let label = *pick(rng, LABELS);
        columns.push(match rng.u8(..3) {
            0 => expression(rng),
            1 => format!("{} as {label}", expression(rng)),
            // A keyword is a label without AS.
            _ => format!("(1) {}", pick(rng, &["end", "case", "begin", "commit", "atomic"])),
        });
    }
    format!("select {}", columns.join(","))
}

fn statement(rng: &mut Rng) -> String {
    let word = |rng: &mut Rng, word: &str| {
        let mut word = word.to_owned();
        if rng.bool() {
            word.make_ascii_uppercase();
        }
        word + &gap(rng)
    };
    match rng.u8(..12) {
        0 => word(rng, "commit"),
        1 => word(rng, "rollback"),
        2 => word(rng, "begin"),
        3 => format!("do $x${}$x$", pick(rng, &["begin end", "begin perform 1; end", "begin commit; end"])),
        4 | 5 => {
            let create = pick(rng, &["create", "create or replace"]);
            let head = word(rng, create) + &word(rng, "function");
            let body: String = (0..rng.usize(..3)).map(|_| select(rng) + &gap(rng) + ";" + &gap(rng)).collect();
            format!("{head}pg_temp.f() returns text {}{}{body}select '1'; end", word(rng, "begin"), word(rng, "atomic"))
        }
        6 => format!("create function pg_temp.g() returns text return {}", expression(rng)),
        7 => "create temp table if not exists t (a text); create or replace rule r as on insert to t do also (delete from t; \
              select 1)"
            .to_owned(),
        _ => select(rng),
    }
}
