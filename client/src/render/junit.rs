//! A report as JUnit XML, for dashboards: the operation, its revisions and its validation as suites of test cases. Pure.
//!
//! It keeps to the strictest schema in use (Windy Road's, which Jenkins and Ant go by): the order of elements, every attribute
//! that it wants, and no `skipped` count. It must not know where the document goes.

use std::fmt::Write as _;

use model::{
    fault::Status,
    report::{ErrorDetail, Report},
    text::is_hidden,
    validation::Validation,
};

/// What became of a test case.
enum End {
    Passed,
    Failed { kind: String, message: String, text: String },
    Errored { kind: String, message: String, text: String },
}

struct Case {
    class: String,
    name: String,
    seconds: f64,
    end: End,
}

/// The whole document.
pub(crate) fn document(report: &Report) -> String {
    let mut suites = vec![("operation", vec![operation(report)])];
    if !report.revisions.is_empty() {
        suites.push(("revisions", revisions(report)));
    }
    if let Some(validation) = &report.details.validation {
        suites.push(("validation", validated(report, validation)));
    }
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for (id, (name, cases)) in suites.iter().enumerate() {
        suite(&mut out, report, id, name, cases);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, report: &Report, id: usize, name: &str, cases: &[Case]) {
    let count = |wanted: fn(&End) -> bool| cases.iter().filter(|case| wanted(&case.end)).count();
    let failures = count(|end| matches!(end, End::Failed { .. }));
    let errors = count(|end| matches!(end, End::Errored { .. }));
    let seconds: f64 = cases.iter().map(|case| case.seconds).sum();
    // The schema's time has neither a zone nor a fraction.
    let at = report.timings.started_at.unwrap_or(report.generated_at).strftime("%Y-%m-%dT%H:%M:%S");
    line(
        out,
        2,
        &format!(
            "<testsuite id=\"{id}\" name={} package=\"resetctl\" timestamp=\"{at}\" hostname=\"localhost\" \
             tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\">",
            quoted(name),
            cases.len()
        ),
    );
    properties(out, report);
    cases.iter().for_each(|case| test_case(out, case));
    line(out, 4, "<system-out></system-out>");
    line(out, 4, "<system-err></system-err>");
    line(out, 2, "</testsuite>");
}

/// What the operation was, so that two reports are told apart.
fn properties(out: &mut String, report: &Report) {
    line(out, 4, "<properties>");
    let mut property = |name: &str, value: &str| {
        line(out, 6, &format!("<property name={} value={}/>", quoted(name), quoted(value)));
    };
    property("target", &report.target);
    property("command", &report.command);
    if let Some(operation) = report.operation {
        property("operation", &operation.to_string());
    }
    for (chain, fingerprint) in &report.chains {
        property(&format!("chain.{chain}"), fingerprint);
    }
    for (key, value) in &report.labels {
        property(&format!("label.{key}"), value);
    }
    line(out, 4, "</properties>");
}

fn test_case(out: &mut String, case: &Case) {
    let head = format!(
        "<testcase classname={} name={} time=\"{:.3}\"",
        quoted(&case.class),
        quoted(&case.name),
        case.seconds
    );
    let (element, kind, message, text) = match &case.end {
        End::Passed => return line(out, 4, &format!("{head}/>")),
        End::Failed { kind, message, text } => ("failure", kind, message, text),
        End::Errored { kind, message, text } => ("error", kind, message, text),
    };
    line(out, 4, &format!("{head}>"));
    let body = escaped(text, true);
    line(out, 6, &format!("<{element} type={} message={}>{body}</{element}>", quoted(kind), quoted(message)));
    line(out, 4, "</testcase>");
}

/// The operation as a whole: green only where the client ends with 0.
fn operation(report: &Report) -> Case {
    let detail = report.error_detail.as_ref();
    let kind = detail.map_or_else(|| report.status.as_str().to_uppercase(), |it| it.reason.clone());
    let message = detail.map(|it| it.message.clone()).or_else(|| report.error.clone());
    let message = message.unwrap_or_else(|| "see the suite `validation`".to_owned());
    let text = detail.map(happened).unwrap_or_default();
    let end = match report.status {
        Status::Ok => End::Passed,
        Status::Failed => End::Failed { kind, message, text },
        Status::Error => End::Errored { kind, message, text },
    };
    let dry = if report.details.dry_run { " (dry run)" } else { "" };
    let seconds = report.timings.total_ms.map_or(0.0, |ms| seconds_of(ms as f64));
    Case {
        class: class(report, "operation"),
        name: format!("{}{dry} of {}", report.command, report.target),
        seconds,
        end,
    }
}

/// Where it happened and what to do, a line each.
fn happened(it: &ErrorDetail) -> String {
    let mut lines = Vec::new();
    if let Some(file) = &it.file {
        lines.push(format!("{file}{}", it.line.map(|line| format!(":{line}")).unwrap_or_default()));
    }
    lines.extend(it.schema.iter().map(|schema| format!("schema: {schema}")));
    lines.extend(it.sqlstate.iter().map(|state| format!("SQLSTATE: {state}")));
    lines.extend(it.statement.iter().map(|statement| format!("statement: {statement}")));
    lines.extend(it.hint.iter().map(|hint| format!("what to do: {hint}")));
    lines.push(format!("more: resetctl explain {}", it.reason));
    lines.join("\n")
}

fn revisions(report: &Report) -> Vec<Case> {
    let case = |it: &model::report::RevisionEntry| Case {
        class: class(report, &it.schema),
        name: format!("{} {}", it.chain, it.revision),
        seconds: seconds_of(it.duration_ms),
        // That it was applied is what is told; what became of the operation, its own case says.
        end: End::Passed,
    };
    report.revisions.iter().map(case).collect()
}

fn validated(report: &Report, it: &Validation) -> Vec<Case> {
    let case = |schema: &str, name: String, good: bool, wrong: &str, text: String| Case {
        class: class(report, schema),
        end: match good {
            true => End::Passed,
            false => End::Failed {
                kind: wrong.to_owned(),
                message: format!("{name}: {text}"),
                text: String::new(),
            },
        },
        name,
        seconds: 0.0,
    };
    let missing = || "it is missing".to_owned();
    let schemas = it.schema_results.iter().map(|check| {
        case(&check.schema, format!("schema {}", check.schema), check.exists, "MISSING_SCHEMA", missing())
    });
    let tables = it.table_checks.iter().map(|check| {
        let name = format!("table {} ({})", check.table, check.group);
        case(&check.schema, name, check.exists, "MISSING_TABLE", missing())
    });
    let heads = it.revision_checks.iter().map(|check| {
        let there = if check.versions.is_empty() { "nothing".to_owned() } else { check.versions.join(", ") };
        let text = format!("alembic_version has {there}");
        let name = format!("revision {}", check.expected_revision);
        case(&check.schema, name, check.present, "MISSING_REVISION", text)
    });
    let unknown = it.unknown_revisions.iter().map(|text| {
        let (schema, revision) = text.split_once(':').unwrap_or(("", text));
        let why = "no chain of the schema knows it".to_owned();
        case(schema, format!("unknown revision {revision}"), false, "UNKNOWN_REVISION", why)
    });
    schemas.chain(tables).chain(heads).chain(unknown).collect()
}

/// Dashboards group by it, dot by dot.
fn class(report: &Report, part: &str) -> String {
    format!("{}.{}", report.target, part)
}

fn seconds_of(ms: f64) -> f64 {
    (ms / 1000.0).max(0.0)
}

fn line(out: &mut String, indent: usize, text: &str) {
    // A String takes everything.
    let _ = writeln!(out, "{:indent$}{text}", "");
}

/// An attribute's value, in its quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, false))
}

/// Text as XML takes it: nothing hidden, nothing that XML forbids, nothing that ends what it stands in.
fn escaped(text: &str, lines: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' if lines => out.push('\n'),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => out.extend(c.escape_unicode()),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use model::{operation::Verb, validation::TableCheck};

    use super::*;

    fn report() -> Report {
        let at = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let mut report = Report::new(Verb::Validate, "staging", at);
        report.status = Status::Ok;
        report
    }

    #[test]
    fn a_report_that_is_good_is_one_green_case() {
        let text = document(&report());
        assert!(text.contains("tests=\"1\" failures=\"0\" errors=\"0\" time=\"0.000\""), "{text}");
        assert!(text.contains("timestamp=\"2026-01-02T03:04:05\""), "{text}");
        assert!(
            text.contains("<testcase classname=\"staging.operation\" name=\"validate of staging\""),
            "{text}"
        );
    }

    #[test]
    fn what_failed_is_red_and_hostile_text_stays_text() {
        let mut report = report();
        report.status = Status::Failed;
        let hostile = "a\"/><script>&amp;]]>\u{1b}[31m\u{0}\u{202e}\u{ffff}";
        report.details.validation = Some(Validation {
            table_checks: vec![TableCheck {
                schema: "general".into(),
                table: hostile.into(),
                group: "core".into(),
                exists: false,
            }],
            unknown_revisions: vec!["general:xx_1".into()],
            ..Validation::default()
        });
        let text = document(&report);
        assert!(text.contains("name=\"validation\" package=\"resetctl\""), "{text}");
        assert!(text.contains("tests=\"2\" failures=\"2\" errors=\"0\""), "{text}");
        assert!(
            text.contains("type=\"MISSING_TABLE\"") && text.contains("type=\"UNKNOWN_REVISION\""),
            "{text}"
        );
        let there = "a&quot;/&gt;&lt;script&gt;&amp;amp;]]&gt;\\u{1b}[31m\\u{0}\\u{202e}\\u{ffff}";
        assert!(text.contains(there) && !text.contains("<script"), "{text}");
    }
}
