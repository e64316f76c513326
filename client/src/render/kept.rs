//! What undo can bring back, as a table and as JSON for scripts; the keys are public. Pure.

use jiff::{Timestamp, tz::TimeZone};
use model::target::TargetStatus;
use serde_json::{Value, json as object};
use uuid::Uuid;

use super::table::{self, left, whole};
use crate::time_spec::format_time;

/// One row: operation, scope, names, until when, and why it is left.
type Row<'a> = (Uuid, &'static str, Vec<&'a str>, Timestamp, Option<&'a str>);

fn rows(it: &TargetStatus) -> Vec<Row<'_>> {
    let schemas = it.kept_schemas.iter().map(|k| {
        let names = k.names.iter().map(String::as_str).collect();
        (k.operation, "managed-schemas", names, k.until, k.left_because.as_deref())
    });
    let databases = it.kept.iter().map(|k| (k.operation, "database", vec![k.name.as_str()], k.until, None));
    schemas.chain(databases).collect()
}

/// A table of everything that is kept.
pub(crate) fn lines(all: &[TargetStatus], zone: &TimeZone, width: usize) -> Vec<String> {
    let columns = [
        left("TARGET", 0),
        whole("OPERATION"),
        left("SCOPE", 0),
        left("UNTIL", 0),
        left("WHAT", 3),
        left("LEFT BECAUSE", 1),
    ];
    let row = |target: &TargetStatus, (operation, scope, names, until, left): Row<'_>| {
        vec![
            target.name.clone(),
            operation.to_string(),
            scope.to_owned(),
            format_time(until, zone),
            names.join(", "),
            left.unwrap_or_default().to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> =
        all.iter().flat_map(|target| rows(target).into_iter().map(move |it| row(target, it))).collect();
    table::layout(&columns, &rows, width)
}

/// What is kept of one target.
pub(crate) fn json(it: &TargetStatus) -> Vec<Value> {
    let value = |(operation, scope, names, until, left): Row<'_>| {
        object!({
            "target": it.name,
            "operation": operation,
            "scope": scope,
            "names": names,
            "kept_until": until,
            "left_because": left,
        })
    };
    rows(it).into_iter().map(value).collect()
}
