//! A report for GitHub Actions: annotations, as workflow commands, and the job's summary, as Markdown. Pure.
//!
//! Everything of a report may be hostile: a command ends with its line, and Markdown holds HTML.

use std::path::Path;

use model::{
    fault::Status,
    report::{Report, RevisionEntry},
    text::visible,
    validation::Validation,
};

/// GitHub shows so many annotations of one level and step.
const ANNOTATIONS: usize = 10;
/// How many rows a list of the summary has.
const ROWS: usize = 50;
/// How many of the slowest revisions are named.
const SLOWEST: usize = 5;

/// The workflow commands, one a line. `folders` are where the revisions' files may lie, as seen from the working folder, and
/// `is_file` says whether one does.
pub(crate) fn annotations(
    report: &Report,
    folders: &[&Path],
    is_file: impl Fn(&Path) -> bool,
) -> Vec<String> {
    let title = title(report);
    if report.status == Status::Ok {
        return vec![command("notice", &[("title", &title)], &format!("{title}: {}", times(report)))];
    }
    let mut found = Vec::new();
    if let Some(it) = report.error_detail.as_ref().filter(|_| report.status == Status::Error) {
        let mut text = format!("{}: {}", it.reason, it.message);
        text.extend(it.statement.iter().map(|statement| format!("\nstatement: {statement}")));
        text.extend(it.hint.iter().map(|hint| format!("\nwhat to do: {hint}")));
        let there = it.file.as_ref().and_then(|file| {
            let path = folders.iter().map(|folder| folder.join(file)).find(|path| is_file(path));
            path.map(|path| path.display().to_string())
        });
        let line = it.line.map(|line| line.to_string());
        let mut at = vec![("title", title.as_str())];
        match (&there, &line, &it.file) {
            (Some(file), Some(line), _) => at.extend([("file", file.as_str()), ("line", line.as_str())]),
            (Some(file), None, _) => at.push(("file", file.as_str())),
            (None, line, Some(file)) => {
                let line = line.as_ref().map(|line| format!(":{line}")).unwrap_or_default();
                text = format!("{file}{line}: {text}");
            }
            (None, _, None) => {}
        }
        found.push(command("error", &at, &text));
    }
    let differences = report.details.validation.as_ref().map(differences).unwrap_or_default();
    let room = ANNOTATIONS - found.len();
    let shown = if differences.len() > room { room - 1 } else { differences.len() };
    let one = |text: &String| command("error", &[("title", title.as_str())], text);
    found.extend(differences.iter().take(shown).map(one));
    if differences.len() > shown {
        let text =
            format!("and {} more differences, all in the summary and the report", differences.len() - shown);
        found.push(command("error", &[("title", title.as_str())], &text));
    }
    if found.is_empty() {
        let text = report.error.clone().unwrap_or_else(|| "see the report".to_owned());
        found.push(command("error", &[("title", title.as_str())], &text));
    }
    found
}

/// The job's summary; it ends with an empty line, for what comes after it.
pub(crate) fn summary(report: &Report) -> String {
    let mark = match report.status {
        Status::Ok => "✅",
        Status::Failed => "❌",
        Status::Error => "⛔",
    };
    let mut lines = vec![format!("### {mark} {}", markdown(&title(report))), String::new()];
    lines.push("| | |".to_owned());
    lines.push("| --- | --- |".to_owned());
    let mut row = |name: &str, value: String| lines.push(format!("| {name} | {} |", markdown(&value)));
    row("result", report.outcome.map_or(report.status.as_str(), |it| it.as_str()).to_owned());
    if let Some(it) = &report.error_detail {
        row("reason", it.reason.clone());
        row("what happened", it.message.clone());
        if let Some(file) = &it.file {
            row("where", format!("{file}{}", it.line.map(|line| format!(":{line}")).unwrap_or_default()));
        }
        if let Some(hint) = &it.hint {
            row("what to do", hint.clone());
        }
    }
    row("times", times(report));
    if let Some(operation) = report.operation {
        row("operation", operation.to_string());
    }
    for (key, value) in &report.labels {
        row("label", format!("{key}={value}"));
    }
    lines.push(String::new());
    let differences = report.details.validation.as_ref().map(differences).unwrap_or_default();
    list(&mut lines, "Differences", &differences);
    let slowest: Vec<String> = slowest(&report.revisions)
        .iter()
        .map(|it| format!("{} {} in {}: {:.1} ms", it.chain, it.revision, it.schema, it.duration_ms))
        .collect();
    list(&mut lines, "Slowest revisions", &slowest);
    lines.join("\n") + "\n"
}

fn list(lines: &mut Vec<String>, title: &str, all: &[String]) {
    if all.is_empty() {
        return;
    }
    lines.extend([format!("**{title}**"), String::new()]);
    lines.extend(all.iter().take(ROWS).map(|text| format!("- {}", markdown(text))));
    if all.len() > ROWS {
        lines.push(format!("- and {} more, all in the report", all.len() - ROWS));
    }
    lines.push(String::new());
}

fn title(report: &Report) -> String {
    let dry = if report.details.dry_run { " (dry run)" } else { "" };
    let end = match report.outcome {
        Some(outcome) => outcome.as_str(),
        None if report.status == Status::Ok => "succeeded",
        None => "not done",
    };
    format!("{}{dry} of {}: {end}", report.command, report.target)
}

fn times(report: &Report) -> String {
    let it = &report.timings;
    let all = it.phases().into_iter().chain([("in all", it.total_ms)]);
    let known: Vec<String> = all.filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms} ms"))).collect();
    if known.is_empty() { "not known".to_owned() } else { known.join(", ") }
}

fn differences(it: &Validation) -> Vec<String> {
    let missing = |noun: &str, names: Vec<String>| {
        names.into_iter().map(|name| format!("missing {noun} {name}")).collect::<Vec<_>>()
    };
    let unknown = it.unknown_revisions.iter().map(|name| format!("unknown revision {name}"));
    [
        missing("schema", it.missing.schema_names()),
        missing("table", it.missing.table_names()),
        missing("revision", it.missing.revision_names()),
        unknown.collect(),
    ]
    .concat()
}

/// The slowest first.
pub(crate) fn slowest(revisions: &[RevisionEntry]) -> Vec<&RevisionEntry> {
    let mut all: Vec<&RevisionEntry> = revisions.iter().collect();
    all.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms));
    all.truncate(SLOWEST);
    all
}

/// A workflow command: what it would act on is written as it wants it.
fn command(level: &str, properties: &[(&str, &str)], text: &str) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
    format!("::{level} {}::{}", properties.join(","), data(text))
}

fn data(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| visible(line).replace('%', "%25")).collect();
    lines.join("%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Plain text in a cell of a table: no Markdown, no HTML, no line break, no address or name that becomes a link.
fn markdown(text: &str) -> String {
    let text = visible(&text.replace(['\n', '\r', '\t'], " ")).into_owned();
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.replace("://", "&#58;//")
}

#[cfg(test)]
mod tests {
    use model::{
        fault::{Fault, Reason, SqlSite},
        operation::Verb,
        validation::{Missing, TableCheck},
    };

    use super::*;

    fn report() -> Report {
        Report::new(Verb::Run, "staging", "2026-01-02T03:04:05Z".parse().expect("a time"))
    }

    fn failed(file: &str) -> Report {
        let site = SqlSite { file: Some(file.into()), line: Some(14), ..SqlSite::default() };
        let fault =
            Fault::new(Reason::RevisionFailed, "100% wrong\n::error::pwned").hint("mend, it").at(site);
        report().refused(None, false, &fault)
    }

    #[test]
    fn an_annotation_stands_at_its_file_and_line() {
        let folders = [Path::new("elsewhere"), Path::new("migrations")];
        let there = |path: &Path| path == Path::new("migrations/core/core_002.sql");
        let found = annotations(&failed("core/core_002.sql"), &folders, there);
        let [line] = &found[..] else { panic!("{found:?}") };
        assert!(line.contains("file=migrations/core/core_002.sql,line=14::REVISION_FAILED"), "{line}");
        assert!(line.ends_with("100%25 wrong%0A::error::pwned%0Awhat to do: mend, it"), "{line}");
        assert!(!line.contains('\n'), "one command is one line: {line}");
        // A file that is not in the checkout is named in the text.
        let found = annotations(&failed("core/a,b:c.sql"), &folders, |_| false);
        assert!(!found[0].contains("file=") && found[0].contains("::core/a,b:c.sql:14: "), "{found:?}");
        let found = annotations(&failed("core/a,b:c.sql"), &folders, |_| true);
        assert!(found[0].contains("file=elsewhere/core/a%2Cb%3Ac.sql,line=14::"), "{found:?}");
    }

    #[test]
    fn more_differences_than_github_shows_are_counted() {
        let tables = (0..30).map(|n| TableCheck {
            schema: "general".into(),
            table: format!("t{n}"),
            group: "core".into(),
            exists: false,
        });
        let missing = Missing { tables: tables.collect(), ..Missing::default() };
        let mut report = report();
        report.status = Status::Failed;
        report.details.validation = Some(Validation { missing, ..Validation::default() });
        let found = annotations(&report, &[], |_| false);
        assert_eq!(found.len(), ANNOTATIONS, "{found:#?}");
        assert!(found[0].ends_with("::missing table general.t0"), "{found:?}");
        assert!(found[9].contains("and 21 more differences"), "{found:?}");
        assert_eq!(summary(&report).matches("- missing table").count(), 30);
    }

    #[test]
    fn a_summary_holds_no_markdown_and_no_html_but_its_own() {
        let fault = Fault::new(Reason::Internal, "<img src=x> | `a` [x](https://evil) @all\n# big \u{202e}");
        let text = summary(&report().refused(None, false, &fault));
        let row = text.lines().find(|line| line.starts_with("| what happened")).expect("a row");
        assert_eq!(
            row,
            "| what happened | &lt;img src=x&gt; \\| \\`a\\` \\[x\\]\\(https&#58;//evil\\) &#64;all \\# big \\\\u\\{202e\\} |"
        );
    }
}
