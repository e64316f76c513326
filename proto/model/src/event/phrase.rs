//! One small phrase for each kind of event. They go over the wire, so that an old client can show new kinds.

use std::time::Duration;

use super::{
    Accepted, Blocker, ChainCompleted, DatabaseSwapped, EventKind, Finished, Progress, Queued,
    RevisionApplied, SchemaReset, SchemaReturned, ToolStarted,
};
use crate::{
    fault::Reason,
    plan::{Plan, Refusal, count},
    profile::Scope,
    tool::ToolEnded,
    validation::Validation,
};

pub(super) fn of(kind: &EventKind) -> String {
    match kind {
        EventKind::Accepted(it) => accepted(it),
        EventKind::Queued(it) => queued(it),
        EventKind::LockAcquired { shared: true, .. } => "acquired shared lock".to_owned(),
        EventKind::LockAcquired { shared: false, .. } => "acquired exclusive lock".to_owned(),
        EventKind::Planned { plan } => planned(plan),
        EventKind::FindingReported { finding } => format!("{}: {}", finding.object, finding.message),
        EventKind::SchemaReset(it) => schema_reset(it),
        EventKind::SchemaReturned(it) => schema_returned(it),
        EventKind::RevisionApplied(it) => revision_applied(it),
        EventKind::ChainCompleted(it) => chain_completed(it),
        EventKind::Validated { validation } => validated(validation),
        EventKind::CommitPrepared { transaction_id } => format!("commits transaction {transaction_id}"),
        EventKind::CancelRequested { principal, reason } => cancel_requested(principal, reason),
        EventKind::DatabaseBuilt { database, oid } => format!("built {database} aside (oid {oid})"),
        EventKind::DatabaseSwapped(it) => database_swapped(it),
        EventKind::ToolStarted(it) => tool_started(it),
        EventKind::ToolConnected { application_name } => tool_connected(application_name),
        EventKind::ToolEnded(it) => tool_ended(it),
        EventKind::Finished(it) => finished(it),
        EventKind::Progress(it) => progress(it),
        EventKind::Blocked { waiting, blockers } => blocked(waiting, blockers),
        EventKind::Heartbeat => "goes on".to_owned(),
    }
}

fn accepted(it: &Accepted) -> String {
    let dry = if it.dry_run { " (dry run)" } else { "" };
    let scope = it.scope.map(|s| format!(", scope {s}")).unwrap_or_default();
    format!("{} of {}{scope}{dry}, asked by {}", it.verb.as_str(), it.target, it.principal)
}

fn queued(it: &Queued) -> String {
    let holder = it.holder.as_ref().map(|h| format!(", locked by {}", h.phrase())).unwrap_or_default();
    let window = it.window.as_ref().map(|w| format!(", reserved by {}", w.phrase())).unwrap_or_default();
    format!("queued (position {}){holder}{window}", it.position.saturating_add(1))
}

fn planned(plan: &Plan) -> String {
    let mut parts = Vec::new();
    if plan.scope == Some(Scope::Database) && plan.schemas.is_empty() {
        parts.push("swap the previous database back".to_owned());
    } else if let Some(set) = &plan.brings_back_schemas {
        parts.push(format!("bring {} back", count(set.schemas.len(), "schema")));
    } else if !plan.schemas.is_empty() {
        let tables: u64 = plan.schemas.iter().map(|s| s.tables).sum();
        let tables = usize::try_from(tables).unwrap_or(usize::MAX);
        parts.push(match plan.scope {
            Some(Scope::Database) => format!("replace the whole database, with {}", count(tables, "table")),
            _ if plan.sets_aside() => {
                format!(
                    "recreate {}, set {} aside",
                    count(plan.schemas.len(), "schema"),
                    count(tables, "table")
                )
            }
            _ => format!("recreate {}, drop {}", count(plan.schemas.len(), "schema"), count(tables, "table")),
        });
    }
    if !plan.created_schemas.is_empty() {
        parts.push(format!("create {}", count(plan.created_schemas.len(), "schema")));
    }
    let revisions: usize = plan.chains.iter().map(|c| c.revisions.len()).sum();
    if !plan.chains.is_empty() {
        parts.push(format!("apply {}", count(revisions, "revision")));
    }
    if !plan.outside.is_empty() {
        parts.push(format!("lose {} outside", count(plan.outside.len(), "object")));
    }
    let refusal = plan.refusal.as_ref().map(|it| format!(" — refused: {}", why(it))).unwrap_or_default();
    let parts = if parts.is_empty() { "nothing to change".to_owned() } else { parts.join(", ") };
    format!("plan: {parts}{refusal}")
}

/// Why a plan is refused; what its findings say is not said again.
fn why(refusal: &Refusal) -> &str {
    match refusal.reason {
        Reason::PreflightFailed | Reason::NotTransactional => {
            refusal.text.split_once(": ").map_or(&refusal.text, |(first, _)| first)
        }
        _ => &refusal.text,
    }
}

fn schema_reset(it: &SchemaReset) -> String {
    let tables = usize::try_from(it.tables_before).unwrap_or(usize::MAX);
    match (it.existed_before, &it.kept_as) {
        (true, Some(name)) => {
            format!("{}: set aside with {} as {name}, recreated", it.schema, count(tables, "table"))
        }
        (true, None) => format!("{}: dropped with {}, recreated", it.schema, count(tables, "table")),
        (false, _) => format!("{}: created", it.schema),
    }
}

fn schema_returned(it: &SchemaReturned) -> String {
    let tables = usize::try_from(it.tables).unwrap_or(usize::MAX);
    let kept = match &it.kept_as {
        Some(name) => format!("; what served is set aside as {name}"),
        None => String::new(),
    };
    match &it.came_from {
        Some(_) => format!("{}: back with {}{kept}", it.schema, count(tables, "table")),
        None => format!("{}: was not there, and is not{kept}", it.schema),
    }
}

fn revision_applied(it: &RevisionApplied) -> String {
    let took = Duration::from_micros(it.duration_us);
    let statements = count(it.statements as usize, "statement");
    format!("{}: applied {} ({statements}, {} ms)", it.schema, it.revision, took.as_millis())
}

fn chain_completed(it: &ChainCompleted) -> String {
    match it.applied.len() {
        0 => format!("{}: {} was at {} already", it.schema, it.chain, it.head),
        _ => format!("{}: {} is at {}", it.schema, it.chain, it.head),
    }
}

fn validated(it: &Validation) -> String {
    let s = &it.summary;
    let checked = format!(
        "{}, {}, {}",
        count(s.schemas_checked, "schema"),
        count(s.tables_checked, "table"),
        count(s.revisions_checked, "revision")
    );
    match it.is_ok() {
        true => format!("validated: {checked}, nothing missing"),
        false => format!("validated: {checked}; {}", it.differences(5)),
    }
}

fn cancel_requested(principal: &str, reason: &str) -> String {
    match reason {
        "" => format!("{principal} requested cancellation"),
        reason => format!("{principal} requested cancellation: {reason}"),
    }
}

fn database_swapped(it: &DatabaseSwapped) -> String {
    let kept =
        it.kept_as.as_ref().map(|name| format!(", the previous one is kept as {name}")).unwrap_or_default();
    let unavailable = it.unavailable_us.div_ceil(1000);
    format!("{}: swapped in (oid {}){kept}; unavailable for {unavailable} ms", it.database, it.new_oid)
}

fn tool_started(it: &ToolStarted) -> String {
    let commit = match (&it.tool.commit, it.tool.clean) {
        (Some(commit), Some(false)) => format!(", changed since commit {commit}"),
        (Some(commit), _) => format!(", of commit {commit}"),
        (None, _) => String::new(),
    };
    format!("{} may begin, as role {}{commit}", it.tool.program, it.role)
}

fn tool_connected(application_name: &str) -> String {
    match application_name {
        "" => "the migration tool has connected".to_owned(),
        name => format!("the migration tool has connected as {name}"),
    }
}

fn tool_ended(it: &ToolEnded) -> String {
    let how = match (it.exit.code, it.exit.signal) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "could not be run".to_owned(),
    };
    let statements = usize::try_from(it.statements).unwrap_or(usize::MAX);
    let connections = count(it.connections as usize, "connection");
    format!("the migration tool {how}: {}, {connections}", count(statements, "statement"))
}

fn finished(it: &Finished) -> String {
    match &it.error {
        Some(fault) => format!("{}: {}", fault.reason, it.summary),
        None => it.summary.clone(),
    }
}

fn progress(it: &Progress) -> String {
    match it.total {
        0 => format!("{}: {}", it.phase, it.current),
        total => format!("{}: {}/{total} {}", it.phase, it.done, it.current),
    }
}

fn blocked(waiting: &str, blockers: &[Blocker]) -> String {
    let who: Vec<String> = blockers.iter().take(3).map(blocker).collect();
    let more = blockers.len().saturating_sub(who.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{waiting} waits for {}{more}", who.join(", "))
}

fn blocker(it: &Blocker) -> String {
    if !it.gid.is_empty() {
        return it.object();
    }
    let open = it.since.map(|at| format!(", transaction since {at:.0}")).unwrap_or_default();
    let query = it.query_since.map(|at| format!(", query since {at:.0}")).unwrap_or_default();
    let state = if it.state.is_empty() { "state hidden" } else { &it.state };
    format!("pid {} {} ({}, {state}{open}{query})", it.pid, it.user, it.application_name)
}
