//! Operations, targets and the daemon as tables and lines. Pure.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use model::{
    operation::{Operation, State},
    target::TargetStatus,
};
use wire::Received;

use super::{
    table::{self, left, right, whole},
    text::{clean, count},
    window::brief,
};
use crate::{
    api::Daemon,
    time_spec::{distance, format_time, localised},
};

/// What the operations that run said last, by target.
pub(crate) type Progress = BTreeMap<String, Received>;

/// The characters of a fingerprint that people are shown: `sha256:` and 12 digits.
const SHORT: usize = 19;

/// A table of operations.
pub(crate) fn operations(all: &[Operation], zone: &TimeZone, width: usize) -> Vec<String> {
    let now = Timestamp::now();
    let columns = [
        whole("ID"),
        left("VERB", 0),
        left("TARGET", 0),
        left("STATE", 0),
        left("AGE", 1),
        left("CREATED", 6),
        right("TOOK", 4),
        left("PRINCIPAL", 3),
        left("SUMMARY", 5),
    ];
    let row = |it: &Operation| {
        vec![
            it.id.to_string(),
            verb(it),
            it.target.clone(),
            ended(it),
            distance(it.created_at, now),
            time(Some(it.created_at), zone),
            took(it),
            it.principal.clone(),
            it.end.as_ref().map(|e| e.summary.clone()).unwrap_or_default(),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

/// One operation in full.
pub(crate) fn operation(it: &Operation, zone: &TimeZone) -> Vec<String> {
    let time = |at| time(at, zone);
    let labels: Vec<String> = it.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let end = it.end.as_ref();
    let pairs = [
        ("id", it.id.to_string()),
        ("verb", verb(it)),
        ("target", format!("{} (database {})", it.target, it.database)),
        ("scope", it.scope.map(|s| s.to_string()).unwrap_or_default()),
        ("state", ended(it)),
        ("reason", end.and_then(|e| e.reason).map(|r| r.to_string()).unwrap_or_default()),
        ("summary", end.map(|e| e.summary.clone()).unwrap_or_default()),
        ("exit code", end.map(|e| e.exit_code().to_string()).unwrap_or_default()),
        ("principal", format!("{} ({})", it.principal, it.auth_method)),
        ("labels", labels.join(", ")),
        ("created", time(Some(it.created_at))),
        ("started", time(it.started_at)),
        ("finished", time(end.map(|e| e.at))),
        ("events", it.last_sequence.to_string()),
        ("report", end.map(|e| e.report_sha256.clone()).unwrap_or_default()),
        ("undo until", time(it.undoable_until)),
        ("request", it.request_id.to_string()),
    ];
    pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| format!("{k:<10} {}", clean(v))).collect()
}

/// A table of targets.
pub(crate) fn targets(all: &[TargetStatus], zone: &TimeZone, width: usize) -> Vec<String> {
    let columns = [
        left("TARGET", 0),
        left("DATABASE", 1),
        left("PROFILE", 2),
        left("STATE", 0),
        right("QUEUE", 3),
        left("WINDOW", 4),
        left("LAST", 5),
    ];
    let row = |it: &TargetStatus| {
        vec![
            it.name.clone(),
            it.database.clone(),
            it.profile.clone(),
            holding(it),
            it.queue.len().to_string(),
            it.window
                .as_ref()
                .map(|w| format!("{} until {}", w.principal, time(Some(w.ends_at), zone)))
                .unwrap_or_default(),
            it.last.as_ref().map(|l| format!("{} {}", verb(l), ended(l))).unwrap_or_default(),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

/// The daemon and what goes on with targets.
pub(crate) fn status(
    daemon: &Daemon,
    targets: &[TargetStatus],
    progress: &Progress,
    zone: &TimeZone,
) -> Vec<String> {
    let since = daemon.started_at.map(|at| format!(", since {}", time(Some(at), zone))).unwrap_or_default();
    let mut lines = vec![
        format!("daemon     resetd {}{since} (instance {})", clean(&daemon.version), clean(&daemon.instance)),
        format!("cluster    PostgreSQL {}", clean(&daemon.postgres)),
        format!("you are    {}", clean(&daemon.principal)),
    ];
    for chain in &daemon.chains {
        let what = match chain.fault.as_str() {
            "" => {
                let revisions = count(chain.revisions, "revision");
                format!("at {}, {revisions}, {}", chain.head, short(&chain.fingerprint))
            }
            fault => format!("FAULTY: {fault}"),
        };
        let what = if chain.replayed { what } else { format!("{what}; not replayed: in no target's matrix") };
        lines.push(format!("chain      {}: {}", clean(&chain.name), clean(&what)));
    }
    for target in targets {
        lines.push(String::new());
        lines.extend(target_lines(target, progress.get(&target.name), zone));
    }
    lines
}

fn target_lines(it: &TargetStatus, progress: Option<&Received>, zone: &TimeZone) -> Vec<String> {
    let mut lines =
        vec![format!("target     {} (database {}, profile {})", it.name, it.database, it.profile)];
    let flags = [(it.protected, "protected"), (!it.enrolled, "not enrolled")];
    let flags: Vec<&str> = flags.into_iter().filter(|(on, _)| *on).map(|(_, what)| what).collect();
    if !flags.is_empty() {
        lines.push(format!("           {}", flags.join(", ")));
    }
    match &it.holder {
        Some(holder) => lines.push(format!("lock       {}", localised(&holder.phrase(), zone))),
        None => lines.push("lock       free".to_owned()),
    }
    if let Some(event) = progress {
        let text = localised(&event.text, zone);
        lines.push(format!("now        {text} ({})", distance(event.at, Timestamp::now())));
    }
    for (n, waiting) in it.queue.iter().enumerate() {
        let since = time(Some(waiting.created_at), zone);
        lines.push(format!(
            "queue {:<4} {} by {} since {since} ({})",
            n + 1,
            verb(waiting),
            waiting.principal,
            waiting.id
        ));
    }
    if let Some(window) = &it.window {
        lines.push(format!("window     {}", brief(window, zone)));
    }
    lines.extend(it.next_windows.iter().map(|window| format!("next       {}", brief(window, zone))));
    for kept in &it.kept {
        let until = time(Some(kept.until), zone);
        lines.push(format!("kept       {} of operation {} until {until}", clean(&kept.name), kept.operation));
    }
    lines.extend(it.warnings.iter().map(|warning| format!("warning    {}", clean(warning))));
    for kept in &it.kept_schemas {
        let until = time(Some(kept.until), zone);
        let what = match &kept.left_because {
            Some(why) => format!("left: {why}"),
            None => format!("until {until}"),
        };
        lines.push(format!("kept       {} schemas of operation {} {what}", kept.names.len(), kept.operation));
    }
    if let Some(last) = &it.last {
        let now = Timestamp::now();
        let at = last.end.as_ref().map_or(last.created_at, |e| e.at);
        lines.push(format!(
            "last       {} by {} {} {}, {} ({})",
            verb(last),
            last.principal,
            ended(last),
            distance(at, now),
            format_time(at, zone),
            last.id
        ));
    }
    lines.iter().map(|line| clean(line)).collect()
}

pub(super) fn verb(it: &Operation) -> String {
    format!("{}{}", it.verb.as_str(), if it.dry_run { " (dry run)" } else { "" })
}

pub(super) fn ended(it: &Operation) -> String {
    it.end.as_ref().map_or_else(|| it.state.as_str().to_owned(), |end| end.outcome.as_str().to_owned())
}

pub(super) fn holding(it: &TargetStatus) -> String {
    match &it.holder {
        Some(holder) => holder.verb.map_or("locked", model::operation::Verb::as_str).to_owned(),
        None if it.protected => "protected".to_owned(),
        None if !it.enrolled => "not enrolled".to_owned(),
        None => "free".to_owned(),
    }
}

fn time(at: Option<Timestamp>, zone: &TimeZone) -> String {
    at.map(|at| format_time(at, zone)).unwrap_or_default()
}

/// The beginning of a fingerprint: enough to compare by eye; JSON has all of it.
fn short(fingerprint: &str) -> &str {
    fingerprint.get(..SHORT).unwrap_or(fingerprint)
}

fn took(it: &Operation) -> String {
    let Some((from, end)) = it.started_at.zip(it.end.as_ref()) else {
        let still = if it.state == State::Waiting { "waits" } else { "" };
        return still.to_owned();
    };
    format!("{:.1} s", end.at.duration_since(from).as_secs_f64())
}
