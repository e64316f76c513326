//! Operations, targets and the daemon as JSON for scripts; the keys are public. Pure.

use model::{lock::Holder, operation::Operation, target::TargetStatus, window::Window};
use serde_json::{Value, json};

use super::listing::Progress;
use crate::api::Daemon;

/// One operation.
pub(crate) fn operation(it: &Operation) -> Value {
    let end = it.end.as_ref();
    json!({
        "id": it.id,
        "request_id": it.request_id,
        "verb": it.verb,
        "target": it.target,
        "database": it.database,
        "scope": it.scope,
        "dry_run": it.dry_run,
        "principal": it.principal,
        "auth_method": it.auth_method,
        "labels": it.labels,
        "state": it.state,
        "outcome": end.map(|e| e.outcome),
        "reason": end.and_then(|e| e.reason),
        "summary": end.map(|e| &e.summary),
        "exit_code": end.map(model::operation::End::exit_code),
        "report_sha256": end.map(|e| &e.report_sha256),
        "last_sequence": it.last_sequence,
        "created_at": it.created_at,
        "started_at": it.started_at,
        "finished_at": end.map(|e| e.at),
    })
}

/// One target.
pub(crate) fn target(it: &TargetStatus) -> Value {
    json!({
        "name": it.name,
        "database": it.database,
        "profile": it.profile,
        "matrix": it.matrix,
        "managed_schemas": it.managed_schemas,
        "enrolled": it.enrolled,
        "protected": it.protected,
        "holder": it.holder.as_ref().map(holder),
        "queue": it.queue.iter().map(operation).collect::<Vec<_>>(),
        "window": it.window.as_ref().map(window),
        "next_windows": it.next_windows.iter().map(window).collect::<Vec<_>>(),
        "last_operation": it.last.as_ref().map(operation),
        "warnings": it.warnings,
    })
}

/// One window.
pub(crate) fn window(it: &Window) -> Value {
    let now = jiff::Timestamp::now();
    json!({
        "id": it.id,
        "target": it.target,
        "principal": it.principal,
        "reason": it.reason,
        "state": super::window::state(it, now).replace(' ', "-"),
        "starts_at": it.starts_at,
        "ends_at": it.ends_at,
        "released_at": it.released_at,
        "etag": it.etag,
    })
}

/// The daemon and its targets.
pub(crate) fn status(daemon: &Daemon, targets: &[TargetStatus], progress: &Progress) -> Value {
    json!({
        "version": daemon.version,
        "instance": daemon.instance,
        "postgres_version": daemon.postgres,
        "principal": daemon.principal,
        "started_at": daemon.started_at,
        "chains": daemon.chains.iter().map(|c| json!({
            "name": c.name,
            "fingerprint": c.fingerprint,
            "head": c.head,
            "revisions": c.revisions,
            "fault": (!c.fault.is_empty()).then_some(&c.fault),
            "replayed": c.replayed,
        })).collect::<Vec<_>>(),
        "chains_fingerprint": daemon
            .chains
            .iter()
            .all(|c| c.fault.is_empty())
            .then(|| model::chain::set_fingerprint(daemon.fingerprints())),
        "progress": progress.iter().map(|(name, it)| (name.clone(), super::event::json(it))).collect::<serde_json::Map<_, _>>(),
        "targets": targets.iter().map(target).collect::<Vec<_>>(),
    })
}

fn holder(it: &Holder) -> Value {
    json!({
        "operation": it.operation,
        "verb": it.verb,
        "principal": it.principal,
        "since": it.since,
        "pid": it.pid,
        "user": it.user,
        "application_name": it.application_name,
    })
}
