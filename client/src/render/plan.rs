//! A plan, readable at a glance: totals first, then every schema, everything outside in full, findings, whether it would
//! be refused, the digest, and the command that executes exactly this plan. Pure.

use jiff::tz::TimeZone;
use model::{
    fault::Reason,
    finding::{Finding, Severity},
    plan::{Plan, PlannedChain, PlannedSchema, PlannedSession, ReturningSchema, ReturningSchemas},
    profile::Scope,
};

use super::{
    surroundings,
    table::{self, left, right},
    text::{Paint, bytes, clean, count, number, wrap},
};
use crate::time_spec::format_time;

/// The plan's lines.
pub(crate) fn lines(plan: &Plan, execute: &str, zone: &TimeZone, width: usize, paint: Paint) -> Vec<String> {
    let title = wrap("", &format!("Plan for {}", title(plan)), width);
    let mut lines: Vec<String> = title.iter().map(|line| paint.bold(line)).collect();
    lines.extend(totals(plan, zone, width, paint));
    lines.extend(schemas(plan, width, paint));
    lines.extend(outside(plan, width, paint));
    lines.extend(surroundings::lines(plan, width, paint));
    lines.extend(sessions(plan, width, paint));
    lines.extend(chains(plan, width, paint));
    lines.extend(findings(&plan.findings, width, paint));
    if let Some(refusal) = &plan.refusal {
        lines.push(String::new());
        // What its findings say is not said again.
        let by_findings = matches!(refusal.reason, Reason::PreflightFailed | Reason::NotTransactional);
        let why = match by_findings && !plan.findings.is_empty() {
            true => " by the findings above".to_owned(),
            false => format!(": {}", refusal.text),
        };
        let text = format!("A real run would be refused: {}{why}", refusal.reason);
        lines.extend(wrap("", &text, width).iter().map(|l| paint.yellow(l)));
    }
    lines.push(String::new());
    lines.push(format!("Digest {}", clean(&plan.digest)));
    if plan.refusal.as_ref().is_some_and(|refusal| !passes_with_the_digest(refusal.reason)) {
        lines.extend(wrap("", "It cannot be executed as things are; fix what is named above first.", width));
        return lines;
    }
    lines.push("To execute exactly this plan:".to_owned());
    // Not wrapped: it is to be copied.
    lines.push(format!("  {}", clean(execute)));
    lines
}

/// The digest approves what would be lost, and nothing else.
fn passes_with_the_digest(reason: Reason) -> bool {
    matches!(reason, Reason::BlastRadius | Reason::DataLimit)
}

fn title(plan: &Plan) -> String {
    let scope = plan.scope.map(|s| format!(", scope {s}")).unwrap_or_default();
    format!("{} (database {}{scope})", plan.target, plan.database)
}

fn totals(plan: &Plan, zone: &TimeZone, width: usize, paint: Paint) -> Vec<String> {
    let mut all = Vec::new();
    if !plan.schemas.is_empty() {
        all.push(dropped(plan));
        all.extend(surroundings::kinds(plan));
    }
    all.extend(surroundings::totals(plan, zone));
    if !plan.created_schemas.is_empty() {
        all.push(format!("creates {}", plan.created_schemas.join(", ")));
    }
    if !plan.chains.is_empty() {
        let pending: usize = plan.chains.iter().map(|c| c.revisions.len()).sum();
        all.push(format!("applies {}", count(pending as i128, "revision")));
    }
    if let Some(it) = &plan.brings_back {
        all.push(format!(
            "brings back {} (oid {}), which operation {} took away at {}",
            it.name,
            it.oid,
            it.operation,
            format_time(it.kept_since, zone)
        ));
        all.push(format!(
            "what was written since {} goes with the database that serves now",
            format_time(it.kept_since, zone)
        ));
    }
    all.extend(plan.brings_back_schemas.as_ref().map(|set| returning(set, zone)));
    all.extend(keeps(plan));
    if all.is_empty() && plan.outside.is_empty() {
        all.push("changes nothing".to_owned());
    }
    let mut lines: Vec<String> = all.iter().flat_map(|text| wrap("  ", text, width)).collect();
    if !plan.outside.is_empty() {
        let lost =
            format!("loses {} outside the managed schemas", count(plan.outside.len() as i128, "object"));
        lines.extend(wrap("  ", &lost, width).iter().map(|line| paint.red(line)));
    }
    if let Some(data_limit) = &plan.data_limit {
        lines.extend(wrap("  ", &format!("drops {data_limit}"), width).iter().map(|line| paint.red(line)));
    }
    lines
}

/// How long what is there now is kept.
fn keeps(plan: &Plan) -> Option<String> {
    if plan.scope.is_none() || plan.schemas.iter().all(|s| !s.exists) && plan.scope != Some(Scope::Database) {
        return None;
    }
    let what = match plan.scope {
        Some(Scope::Database) => ("the previous database", "brings it back"),
        _ => ("the previous schemas", "brings them back"),
    };
    Some(match plan.keep_previous_seconds {
        0 => "keeps nothing: it cannot be undone".to_owned(),
        seconds => {
            let time = model::duration::format_duration(std::time::Duration::from_secs(seconds));
            format!("keeps {} for {time}: `resetctl undo` {}", what.0, what.1)
        }
    })
}

fn returning(set: &ReturningSchemas, zone: &TimeZone) -> String {
    let sum = |of: fn(&ReturningSchema) -> i128| set.schemas.iter().map(of).sum::<i128>();
    format!(
        "brings back {} of before operation {} (set aside at {}): {}, about {}, {}",
        count(set.schemas.iter().filter(|s| s.oid.is_some()).count() as i128, "schema"),
        set.operation,
        format_time(set.kept_since, zone),
        count(sum(|s| s.tables.into()), "table"),
        count(sum(|s| s.estimated_rows.max(0).into()), "row"),
        bytes(set.schemas.iter().map(|s| s.bytes.max(0)).fold(0, i64::saturating_add)),
    )
}

fn dropped(plan: &Plan) -> String {
    let sum = |of: fn(&PlannedSchema) -> i128| plan.schemas.iter().map(of).sum::<i128>();
    let verb = match plan.scope {
        Some(Scope::Database) => "replaces the whole database, in it",
        _ if plan.sets_aside() => "sets aside",
        _ => "drops",
    };
    format!(
        "{verb} {}: {}, {}, about {}, {}",
        count(plan.schemas.iter().filter(|s| s.exists).count() as i128, "schema"),
        count(sum(|s| s.tables.into()), "table"),
        count(sum(|s| s.objects.into()), "object"),
        count(sum(|s| s.estimated_rows.max(0).into()), "row"),
        bytes(plan.schemas.iter().map(|s| s.bytes.max(0)).fold(0, i64::saturating_add)),
    )
}

fn schemas(plan: &Plan, width: usize, paint: Paint) -> Vec<String> {
    if plan.schemas.is_empty() {
        return Vec::new();
    }
    let columns = [
        left("SCHEMA", 0),
        left("OWNER", 3),
        right("TABLES", 0),
        right("OBJECTS", 4),
        right("ROWS (EST.)", 2),
        right("SIZE", 1),
    ];
    let row = |s: &PlannedSchema| match s.exists {
        true => vec![
            s.schema.clone(),
            s.owner.clone().unwrap_or_default(),
            number(s.tables),
            number(s.objects),
            number(s.estimated_rows.max(0)),
            bytes(s.bytes),
        ],
        false => {
            vec![s.schema.clone(), "(not there)".to_owned(), "-".into(), "-".into(), "-".into(), "-".into()]
        }
    };
    let rows: Vec<Vec<String>> = plan.schemas.iter().map(row).collect();
    let mut lines = vec![String::new()];
    for (n, line) in table::layout(&columns, &rows, width.saturating_sub(2)).into_iter().enumerate() {
        lines.push(format!("  {}", if n == 0 { paint.dim(&line) } else { line }));
    }
    lines
}

fn outside(plan: &Plan, width: usize, paint: Paint) -> Vec<String> {
    if plan.outside.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), paint.red("Outside the managed schemas, lost as well:")];
    let described = plan.outside.iter().map(|object| {
        let owner = object.owner.as_ref().map(|owner| format!("of {owner}"));
        let rows = object.estimated_rows.map(|rows| format!("about {}", count(i128::from(rows), "row")));
        let more: Vec<String> = owner.into_iter().chain(rows).collect();
        let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
        format!("{object}{more}")
    });
    lines.extend(described.flat_map(|object| wrap("  - ", &object, width)));
    lines
}

fn sessions(plan: &Plan, width: usize, paint: Paint) -> Vec<String> {
    if plan.sessions.is_empty() {
        return Vec::new();
    }
    let columns = [
        left("PID", 0),
        left("USER", 0),
        left("APPLICATION", 2),
        left("FROM", 3),
        left("STATE", 0),
        left("ENDS", 0),
    ];
    let row = |s: &PlannedSession| {
        let open = if s.in_transaction && s.state != "idle in transaction" { ", in transaction" } else { "" };
        let age =
            if s.query_age_seconds < 0 { String::new() } else { format!(", {} s", s.query_age_seconds) };
        vec![
            s.pid.to_string(),
            s.user.clone(),
            s.application_name.clone(),
            s.address.clone(),
            format!("{}{open}{age}", s.state),
            if s.would_end { "yes" } else { "no" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = plan.sessions.iter().map(row).collect();
    let mut lines = vec![String::new(), "Connected now:".to_owned()];
    for (n, line) in table::layout(&columns, &rows, width.saturating_sub(2)).into_iter().enumerate() {
        lines.push(format!("  {}", if n == 0 { paint.dim(&line) } else { line }));
    }
    lines
}

fn chains(plan: &Plan, width: usize, paint: Paint) -> Vec<String> {
    let pending: Vec<&PlannedChain> = plan.chains.iter().filter(|c| !c.revisions.is_empty()).collect();
    if pending.is_empty() {
        return Vec::new();
    }
    let columns =
        [left("SCHEMA", 0), left("CHAIN", 0), left("FROM", 2), left("TO", 1), right("REVISIONS", 0)];
    let row = |c: &&PlannedChain| {
        let from = c.from.clone().unwrap_or_else(|| "(none)".to_owned());
        vec![c.schema.clone(), c.chain.clone(), from, c.to.clone(), number(c.revisions.len() as i128)]
    };
    let rows: Vec<Vec<String>> = pending.iter().map(row).collect();
    let mut lines = vec![String::new()];
    for (n, line) in table::layout(&columns, &rows, width.saturating_sub(2)).into_iter().enumerate() {
        lines.push(format!("  {}", if n == 0 { paint.dim(&line) } else { line }));
    }
    lines
}

fn findings(all: &[Finding], width: usize, paint: Paint) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "Findings:".to_owned()];
    for finding in all {
        let text = format!(
            "{} {}: {}: {}",
            finding.severity.as_str(),
            finding.code,
            finding.object,
            finding.message
        );
        let colour = |line: &String| match finding.severity {
            Severity::Error => paint.red(line),
            Severity::Warning => paint.yellow(line),
            Severity::Info => line.clone(),
        };
        lines.extend(wrap("  - ", &text, width).iter().map(colour));
        if !finding.hint.is_empty() {
            lines.extend(wrap("    what to do: ", &finding.hint, width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use console::measure_text_width;
    use model::{blast::OutsideObject, plan::Refusal};

    use super::*;

    fn plan() -> Plan {
        let schema = |name: &str, exists: bool| PlannedSchema {
            schema: name.into(),
            exists,
            owner: exists.then(|| "app_owner".into()),
            tables: 8,
            objects: 40,
            estimated_rows: 1_234_567,
            bytes: 1_572_864,
            ..PlannedSchema::default()
        };
        Plan {
            digest: format!("sha256:{}", "ab".repeat(32)),
            target: "staging".into(),
            database: "butlers_staging".into(),
            database_oid: 1,
            scope: Some(Scope::ManagedSchemas),
            schemas: vec![schema("general", true), schema("relationship", false)],
            outside: (0..30).map(|n| OutsideObject::new("view", &format!("reporting.view_{n}"))).collect(),
            created_schemas: Vec::new(),
            chains: vec![PlannedChain {
                schema: "general".into(),
                chain: "core".into(),
                from: None,
                to: "core_002".into(),
                revisions: vec!["core_001".into(), "core_002".into()],
            }],
            findings: vec![Finding::warning(
                "ROLE",
                "role app",
                "a message that is rather long and goes on and on",
                "do this",
            )],
            refusal: Some(Refusal { reason: Reason::BlastRadius, text: "30 objects would be lost".into() }),
            ..Plan::default()
        }
    }

    #[test]
    fn everything_but_what_is_copied_fits_at_60_80_and_120() {
        let execute = "resetctl reset --plan-digest X";
        for width in [60, 80, 120] {
            let all = lines(&plan(), execute, &TimeZone::UTC, width, Paint(false));
            let long: Vec<&String> =
                all.iter().filter(|l| measure_text_width(l) > width && !l.starts_with("Digest ")).collect();
            assert!(long.is_empty(), "{width}: {long:#?}");
        }
    }

    #[test]
    fn totals_come_first_and_nothing_outside_is_left_out() {
        let text = lines(&plan(), "resetctl run", &TimeZone::UTC, 80, Paint(false)).join("\n");
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in\n{text}"));
        let order = [
            "drops 1 schema: 16 tables",
            "loses 30 objects",
            "SCHEMA",
            "Outside the managed",
            "Findings:",
            "would be refused",
            "Digest sha256:",
            "  resetctl run",
        ];
        assert!(order.windows(2).all(|w| place(w[0]) < place(w[1])), "{text}");
        assert!((0..30).all(|n| text.contains(&format!("view reporting.view_{n}\n"))), "{text}");
    }

    #[test]
    fn what_no_digest_lets_through_is_not_offered() {
        let offered = |reason| {
            let refusal = Some(Refusal { reason, text: "why".into() });
            let all = lines(&Plan { refusal, ..plan() }, "resetctl run", &TimeZone::UTC, 80, Paint(false));
            all.iter().any(|l| l.contains("resetctl run"))
        };
        assert!(offered(Reason::BlastRadius) && offered(Reason::DataLimit));
        assert!(!offered(Reason::PreflightFailed) && !offered(Reason::NothingToUndo));
    }

    #[test]
    fn an_empty_plan_says_so() {
        let empty = Plan {
            schemas: Vec::new(),
            outside: Vec::new(),
            chains: Vec::new(),
            findings: Vec::new(),
            refusal: None,
            scope: None,
            ..plan()
        };
        assert!(
            lines(&empty, "x", &TimeZone::UTC, 80, Paint(false))
                .iter()
                .any(|l| l.trim() == "changes nothing")
        );
    }
}
