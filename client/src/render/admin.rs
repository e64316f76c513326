//! Tokens and audit records as tables and as JSON for scripts; the keys are public. Pure.

use jiff::tz::TimeZone;
use model::{
    audit::{AuditVerdict, Record},
    token::Entry,
};
use serde_json::{Value, json};

use super::table::{self, left, right, whole};
use crate::time_spec::format_time;

/// A table of tokens.
pub(crate) fn tokens(all: &[Entry], zone: &TimeZone, width: usize) -> Vec<String> {
    let columns = [
        whole("ID"),
        left("NAME", 0),
        left("STATE", 0),
        left("EXPIRES", 1),
        left("LAST USED", 2),
        left("CREATED", 4),
        left("BY", 3),
    ];
    let row = |it: &Entry| {
        vec![
            it.id.clone(),
            it.name.clone(),
            it.state().to_owned(),
            format_time(it.expires_at, zone),
            it.last_used_at.map_or_else(|| "never".to_owned(), |at| format_time(at, zone)),
            format_time(it.created_at, zone),
            it.created_by.clone(),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

/// A token, without its secret.
pub(crate) fn token(it: &Entry) -> Value {
    json!({
        "id": it.id,
        "name": it.name,
        "state": it.state(),
        "created_at": it.created_at,
        "created_by": it.created_by,
        "expires_at": it.expires_at,
        "last_used_at": it.last_used_at,
        "revoked_at": it.revoked_at,
        "revoked_by": (!it.revoked_by.is_empty()).then_some(&it.revoked_by),
    })
}

/// A table of audit records.
pub(crate) fn records(all: &[(Record, String)], zone: &TimeZone, width: usize) -> Vec<String> {
    let columns = [
        right("NO", 0),
        left("TIME", 2),
        left("PRINCIPAL", 0),
        left("METHOD", 0),
        left("TARGET", 1),
        left("DECISION", 0),
        left("FROM", 5),
        left("DETAIL", 3),
        whole("OPERATION"),
    ];
    let row = |(it, _): &(Record, String)| {
        vec![
            it.sequence.to_string(),
            format_time(it.at, zone),
            it.principal.clone().unwrap_or_else(|| "-".to_owned()),
            it.method.rsplit('/').next().unwrap_or_default().to_owned(),
            it.target.clone().unwrap_or_default(),
            decision(it),
            it.peer.clone(),
            it.detail.clone().unwrap_or_default(),
            it.operation.map(|id| id.to_string()).unwrap_or_default(),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

fn decision(it: &Record) -> String {
    match (&it.reason, it.allowed) {
        // Its text is no record any more.
        _ if it.method.is_empty() => "UNREADABLE".to_owned(),
        (_, true) => "allowed".to_owned(),
        (Some(reason), false) => reason.clone(),
        (None, false) => "denied".to_owned(),
    }
}

/// An audit record with its hash.
pub(crate) fn record((it, hash): &(Record, String)) -> Value {
    json!({
        "sequence": it.sequence,
        "at": it.at,
        "principal": it.principal,
        "auth_method": it.auth_method,
        "peer": it.peer,
        "method": it.method,
        "target": it.target,
        "allowed": it.allowed,
        "reason": it.reason,
        "operation": it.operation,
        "detail": it.detail,
        "count": it.count,
        "hash": hash,
    })
}

/// What a verification found.
pub(crate) fn verdict(it: &AuditVerdict) -> Value {
    json!({
        "records": it.records,
        "intact": it.broken.is_none(),
        "first_broken_sequence": it.broken.as_ref().map(|b| b.sequence),
        "wrong": it.broken.as_ref().map(|b| b.wrong.as_str()),
        "text": it.broken.as_ref().map(|b| &b.text),
        "head": it.head.to_string(),
        "guard": it.guard,
    })
}
