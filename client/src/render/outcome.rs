//! How something ended, for a person: what happened, where, what to do, and where the report is. Pure.

use model::{
    event::Finished,
    fault::{Fault, Reason},
    operation::Outcome,
    plan::Refusal,
};

use super::text::{Paint, wrap};

/// The lines of a fault: what happened, where, what to do, and the command that explains it.
pub(crate) fn fault(fault: &Fault, title: &str, width: usize, paint: Paint) -> Vec<String> {
    let mut lines = headline("✗ ", &format!("{title}: {}", fault.reason), width, |line| paint.red(line));
    lines.extend(happened(fault, width));
    lines.extend(place(fault, width));
    if let Some(hint) = fault.hint.as_deref().filter(|h| !h.is_empty()) {
        lines.extend(wrap("  what to do:    ", hint, width));
    }
    lines.extend(wrap("  more:          ", &format!("resetctl explain {}", fault.reason), width));
    lines
}

/// What happened; several findings are a list.
fn happened(fault: &Fault, width: usize) -> Vec<String> {
    let several = fault.metadata.get("findings").is_some_and(|n| n != "1");
    match fault.message.split_once(": ").filter(|_| several) {
        None => wrap("  what happened: ", &fault.message, width),
        Some((first, findings)) => {
            let mut lines = wrap("  what happened: ", &format!("{first}:"), width);
            lines.extend(findings.split("; ").flat_map(|it| wrap("    - ", it, width)));
            lines
        }
    }
}

/// The same fault where its findings stand above, each with what to do: they are not said twice.
pub(crate) fn without_findings(fault: &Fault) -> Fault {
    let Some((first, _)) = fault.message.split_once(": ") else { return fault.clone() };
    let mut short =
        Fault { message: format!("{first}, named above with what to do"), hint: None, ..fault.clone() };
    short.metadata.remove("findings");
    short
}

/// The lines of an operation's end.
pub(crate) fn finished(
    end: &Finished,
    title: &str,
    refusal: Option<&Refusal>,
    width: usize,
    paint: Paint,
) -> Vec<String> {
    match (&end.error, refusal) {
        (Some(error), _) => fault(error, &format!("{title} {}", phrase(end.outcome)), width, paint),
        (None, Some(refusal)) => refused(refusal, title, width, paint),
        (None, None) => {
            let text = format!("{title} {}: {}", phrase(end.outcome), end.summary);
            headline("✓ ", &text, width, |line| paint.green(line))
        }
    }
}

/// The first lines of an end, in its colour.
fn headline(mark: &str, text: &str, width: usize, paint: impl Fn(&str) -> String) -> Vec<String> {
    wrap(mark, text, width).iter().map(|line| paint(line)).collect()
}

/// A dry run that did what it was asked for, and found that the real one would not be let through.
fn refused(refusal: &Refusal, title: &str, width: usize, paint: Paint) -> Vec<String> {
    let first = format!("{title}: a real run would be refused: {}", refusal.reason);
    let mut lines = headline("! ", &first, width, |line| paint.yellow(line));
    // The plan above has its findings, each with what to do.
    let by_findings = matches!(refusal.reason, Reason::PreflightFailed | Reason::NotTransactional);
    let text = match refusal.text.split_once(": ").filter(|_| by_findings) {
        Some((first, _)) => format!("{first}, named in the plan above"),
        None => refusal.text.clone(),
    };
    lines.extend(wrap("  why:           ", &text, width));
    lines.extend(wrap("  more:          ", &format!("resetctl explain {}", refusal.reason), width));
    lines
}

fn phrase(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Differences => "found differences",
        Outcome::Refused => "was refused",
        Outcome::Cancelled => "was cancelled",
        Outcome::Abandoned => "was abandoned",
    }
}

fn place(fault: &Fault, width: usize) -> Vec<String> {
    let sql = &fault.sql;
    let mut parts = Vec::new();
    if let Some(file) = &sql.file {
        let line = sql.line.map(|l| format!(":{l}")).unwrap_or_default();
        parts.push(format!("{file}{line}"));
    }
    parts.extend(sql.schema.iter().map(|s| format!("in schema {s}")));
    parts.extend(sql.sqlstate.iter().map(|s| format!("SQLSTATE {s}")));
    let mut lines = Vec::new();
    if !parts.is_empty() {
        lines.extend(wrap("  where:         ", &parts.join(", "), width));
    }
    if let Some(statement) = &sql.statement {
        lines.extend(wrap("  statement:     ", statement, width));
    }
    lines
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use model::fault::{SqlSite, Status};

    use super::*;

    fn failed() -> Finished {
        let error = Fault::new(
            Reason::RevisionFailed,
            "relation \"a\" already exists, so revision core_002 could not be applied",
        )
        .hint("fix the statement and try again; nothing changed")
        .at(SqlSite {
            sqlstate: Some("42P07".into()),
            schema: Some("general".into()),
            file: Some("core/core_002.sql".into()),
            line: Some(14),
            statement: Some("CREATE TABLE a (\n  id int\n)".into()),
        });
        Finished {
            outcome: Outcome::Failed,
            status: Status::Error,
            summary: "failed".into(),
            report_sha256: String::new(),
            error: Some(error),
        }
    }

    #[test]
    fn a_failure_says_what_where_and_what_to_do() {
        for width in [60, 80, 120] {
            let lines = finished(&failed(), "run of staging", None, width, Paint(false));
            assert!(lines.iter().all(|l| measure_text_width(l) <= width), "{width}: {lines:#?}");
            let text = lines.join("\n");
            for part in [
                "run of staging failed: REVISION_FAILED",
                "core/core_002.sql:14",
                "SQLSTATE 42P07",
                "CREATE TABLE a ( id int )",
                "what to do:",
                "resetctl explain REVISION_FAILED",
            ] {
                assert!(text.contains(part), "{part} in\n{text}");
            }
        }
    }

    #[test]
    fn several_findings_are_a_list_and_said_once() {
        let message = "preflight found 2 errors: role app: may not; schema general: is locked";
        let it = Fault::new(Reason::PreflightFailed, message).hint("grant it").with("findings", 2);
        let lines = fault(&it, "run", 80, Paint(false));
        assert_eq!(
            lines[1..4],
            [
                "  what happened: preflight found 2 errors:",
                "    - role app: may not",
                "    - schema general: is locked"
            ]
        );
        let again = fault(&without_findings(&it), "run", 80, Paint(false)).join("\n");
        assert!(again.contains("found 2 errors, named above") && !again.contains("role app"), "{again}");
    }

    #[test]
    fn a_success_is_one_line() {
        let end =
            Finished { outcome: Outcome::Succeeded, summary: "6 schemas".into(), error: None, ..failed() };
        assert_eq!(
            finished(&end, "run of staging", None, 80, Paint(false)),
            ["✓ run of staging succeeded: 6 schemas"]
        );
    }
}
