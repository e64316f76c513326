//! The pages that people read about reasons and exit codes agree with the one table of reasons.

use std::{collections::BTreeSet, fs, path::PathBuf};

use model::{
    fault::{Code, Reason},
    operation::limits,
};

const HEADINGS: [&str; 3] = ["## What happened", "## What it means for your data", "## What to do"];

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn page(reason: Reason) -> String {
    let path = docs().join("faults").join(format!("{reason}.md"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `FAILED_PRECONDITION`, as the gRPC specification writes it.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// What is wrong with a reason's page.
fn problems(reason: Reason, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let facts = format!(
        "gRPC code {} · exit code {} · report status {}",
        code_name(reason.code()),
        reason.exit_code(),
        reason.status().as_str()
    );
    let mut problems = Vec::new();
    for (at, expected) in [(0, format!("# {reason}")), (2, reason.meaning().to_owned()), (4, facts)] {
        if lines.get(at) != Some(&expected.as_str()) {
            problems.push(format!("line {} should be `{expected}`", at + 1));
        }
    }
    let headings: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("## ")).collect();
    if headings != HEADINGS {
        problems.push(format!("the headings are {headings:?}"));
    }
    let bare = |heading: &&&str| {
        lines.iter().skip_while(|line| *line != *heading).nth(1).is_none_or(|l| l.is_empty())
    };
    problems.extend(HEADINGS.iter().filter(bare).map(|heading| format!("nothing below `{heading}`")));
    if !(8..=25).contains(&lines.len()) {
        problems.push(format!("{} lines", lines.len()));
    }
    let wide = lines.iter().filter(|line| line.chars().count() > 100);
    problems.extend(wide.map(|line| format!("wider than 100: `{line}`")));
    problems
}

#[test]
fn every_reason_has_a_page_that_agrees_with_the_table() {
    let mut found = Vec::new();
    for reason in Reason::ALL {
        found.extend(
            problems(*reason, &page(*reason)).into_iter().map(|problem| format!("{reason}.md: {problem}")),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_page_is_without_a_reason() {
    let pages: BTreeSet<String> = fs::read_dir(docs().join("faults"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let reasons: BTreeSet<String> = Reason::ALL.iter().map(|reason| format!("{reason}.md")).collect();
    let strangers: Vec<_> = pages.difference(&reasons).collect();
    assert!(strangers.is_empty(), "no reason has these pages: {strangers:?}");
}

#[test]
fn a_page_that_disagrees_is_found() {
    let good = page(Reason::TargetLocked);
    assert_eq!(problems(Reason::TargetLocked, &good), Vec::<String>::new());
    let spoiled = [
        ("# TARGET_LOCKED", "# TARGETLOCKED"),
        ("ABORTED", "UNAVAILABLE"),
        ("exit code 9", "exit code 4"),
        ("status error", "status failed"),
        ("## What to do", "## To do"),
        ("Another operation holds the target's lock.\n\ngRPC", "Somebody is there.\n\ngRPC"),
    ];
    for (from, to) in spoiled {
        assert!(good.contains(from), "{from}");
        assert!(!problems(Reason::TargetLocked, &good.replacen(from, to, 1)).is_empty(), "{from} → {to}");
    }
}

#[test]
fn the_page_of_limits_names_them() {
    let text = page(Reason::LimitExceeded).split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        format!("{} MiB", limits::REQUEST_BYTES / 1024 / 1024),
        format!("{} chain files", limits::CHAIN_FILES),
        format!("{} labels", limits::LABELS),
        format!("{} bytes for a label's key and {} for its value", limits::LABEL_KEY, limits::LABEL_VALUE),
    ] {
        assert!(text.contains(&expected), "{expected}");
    }
}

/// The rows of the tables of `docs/exit-codes.md`, cell by cell.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines()
        .filter(|line| line.starts_with("| "))
        .map(cells)
        .filter(|row| row[0].parse::<u8>().is_ok())
        .collect()
}

/// The constants of `model::fault::exit`, read from its text: a constant cannot list its neighbours.
fn constants() -> BTreeSet<(String, String)> {
    let source = include_str!("../src/fault.rs");
    let constant = |line: &str| {
        let (name, value) = line.trim().strip_prefix("pub const ")?.split_once(": u8 = ")?;
        Some((value.trim_end_matches(';').to_owned(), name.to_owned()))
    };
    source.lines().filter_map(constant).collect()
}

#[test]
fn the_page_of_exit_codes_has_every_code_under_its_name() {
    let text = fs::read_to_string(docs().join("exit-codes.md")).unwrap();
    let listed = rows(&text).into_iter().filter(|row| row.len() == 5);
    let listed: BTreeSet<_> = listed.map(|row| (row[0].clone(), row[1].clone())).collect();
    assert!(constants().len() >= 14, "fault.rs is not read any more");
    assert_eq!(listed, constants());
}

#[test]
fn the_page_of_exit_codes_has_every_reason_at_its_code() {
    let text = fs::read_to_string(docs().join("exit-codes.md")).unwrap();
    let mut listed = BTreeSet::new();
    for row in rows(&text).into_iter().filter(|row| row.len() == 2) {
        listed.extend(row[1].split(", ").map(|reason| (row[0].clone(), reason.to_owned())));
    }
    let table = Reason::ALL.iter().map(|reason| (reason.exit_code().to_string(), reason.name().to_owned()));
    assert_eq!(listed, table.collect());
}
