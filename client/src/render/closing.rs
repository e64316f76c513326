//! What stands below an operation's end on a terminal: how long it took, what was slow, what can be undone, its id and its
//! report. Pure.

use console::measure_text_width;
use jiff::{Timestamp, tz::TimeZone};
use model::{
    operation::Outcome,
    report::{Report, ResetDetail},
};

use super::{
    github::slowest,
    text::{span, wrap},
};
use crate::time_spec::{distance, format_time};

/// A revision that took less is not slow, in milliseconds.
const SLOW: f64 = 1.0;
/// The columns of the labels.
const LABEL: usize = 12;
/// How many of the slowest are named here.
const NAMED: usize = 3;

/// The lines; `undo` is the command that brings back what is kept.
pub(crate) fn lines(
    report: &Report,
    undo: Option<&str>,
    path: Option<&str>,
    zone: &TimeZone,
    width: usize,
) -> Vec<String> {
    let mut pairs = vec![("took", times(report))];
    let slow: Vec<String> = slowest(&report.revisions)
        .into_iter()
        .filter(|it| it.duration_ms >= SLOW)
        .take(NAMED)
        .map(|it| format!("{} in {} {}", it.revision, it.schema, span(it.duration_ms as i128)))
        .collect();
    pairs.push(("slowest", slow.join(", ")));
    if let (Some(until), Some(undo)) = (kept_until(report), undo) {
        let now = report.generated_at;
        let text = format!("until {} ({}): {undo}", format_time(until, zone), distance(until, now));
        pairs.push(("undo", text));
    }
    pairs.push(("operation", report.operation.map(|id| id.to_string()).unwrap_or_default()));
    pairs.push(("report", path.unwrap_or_default().to_owned()));
    let known = pairs.into_iter().filter(|(_, text)| !text.is_empty());
    known.flat_map(|(label, text)| pair(label, &text, width)).collect()
}

/// A label and its text; where a word has no room beside the label, the text stands below it, and what one copies is whole.
fn pair(label: &str, text: &str, width: usize) -> Vec<String> {
    let label = format!("{label}:");
    let longest = text.split(' ').map(measure_text_width).max().unwrap_or_default();
    if 2 + LABEL + longest <= width {
        return wrap(&format!("  {label:LABEL$}"), text, width);
    }
    let mut lines = vec![format!("  {label}")];
    lines.extend(wrap("    ", text, width));
    lines
}

fn times(report: &Report) -> String {
    let it = &report.timings;
    let Some(total) = it.total_ms else { return String::new() };
    let phases = it.phases();
    let known = phases.iter().filter_map(|(name, ms)| ms.filter(|ms| *ms > 0).map(|ms| (name, ms)));
    let known: Vec<String> = known.map(|(name, ms)| format!("{name} {}", span(i128::from(ms)))).collect();
    let total = span(i128::from(total));
    if known.is_empty() { total } else { format!("{total} ({})", known.join(", ")) }
}

/// Until when what it replaced is kept: the shortest of all. Only a real end that came to something leaves anything.
fn kept_until(report: &Report) -> Option<Timestamp> {
    if report.outcome != Some(Outcome::Succeeded) || report.details.dry_run {
        return None;
    }
    match report.details.reset.as_ref()? {
        ResetDetail::Database(it) => it.kept_as.as_ref().and(it.kept_until),
        ResetDetail::Schemas(all) => {
            all.iter().filter(|it| it.kept_as.is_some()).filter_map(|it| it.kept_until).min()
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{
        operation::Verb,
        report::{ResetEntry, RevisionEntry, Timings},
    };
    use uuid::Uuid;

    use super::*;

    fn report() -> Report {
        let at: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let mut report = Report::new(Verb::Run, "staging", at);
        report.operation = Some(Uuid::from_u128(7));
        report.outcome = Some(Outcome::Succeeded);
        report.timings = Timings { migrate_ms: Some(2_000), total_ms: Some(2_345), ..Timings::default() };
        report.revisions = [("a", 5.0), ("b", 1500.0), ("c", 0.1), ("d", 30.0), ("e", 20.0)]
            .map(|(revision, duration_ms)| RevisionEntry {
                schema: "s".into(),
                chain: "core".into(),
                revision: revision.into(),
                checksum: String::new(),
                statements: 1,
                duration_ms,
                status: "applied".into(),
            })
            .to_vec();
        report.details.reset = Some(ResetDetail::Schemas(vec![ResetEntry {
            scope: "managed-schema".into(),
            schema: "s".into(),
            schema_exists_before: true,
            table_count_before: 1,
            schema_exists_after: true,
            table_count_after: 0,
            status: "reset".into(),
            kept_as: Some("resetd_kept_s".into()),
            kept_until: Some("2026-01-03T03:04:05Z".parse().expect("a time")),
        }]));
        report
    }

    #[test]
    fn the_block_says_how_long_what_was_slow_and_what_can_be_undone() {
        let lines = lines(&report(), Some("resetctl undo 7"), Some("/r.json"), &TimeZone::UTC, 200);
        assert_eq!(lines[0], "  took:       2.3s (migrate 2.0s)");
        assert_eq!(lines[1], "  slowest:    b in s 1.5s, d in s 30ms, e in s 20ms");
        assert!(
            lines[2].starts_with("  undo:       until ") && lines[2].ends_with(": resetctl undo 7"),
            "{lines:?}"
        );
        assert_eq!(lines[3], format!("  operation:  {}", Uuid::from_u128(7)));
        assert_eq!(lines[4], "  report:     /r.json");
        let mut failed = report();
        failed.outcome = Some(Outcome::Failed);
        let text = super::lines(&failed, Some("undo"), None, &TimeZone::UTC, 200).join("\n");
        assert!(!text.contains("undo") && !text.contains("report:"), "{text}");
    }

    #[test]
    fn it_is_read_at_forty_columns() {
        let lines = lines(&report(), Some("resetctl undo 7"), Some("/r.json"), &TimeZone::UTC, 40);
        let whole = Uuid::from_u128(7).to_string();
        assert!(lines.iter().any(|line| line.contains(&whole)), "an id is never cut: {lines:#?}");
        assert!(lines.iter().all(|line| measure_text_width(line) <= 40), "{lines:#?}");
    }
}
