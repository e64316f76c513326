//! Targets at a glance, again and again: a table where the terminal shows it in place, else a line for each change. Pure.

use jiff::{Timestamp, tz::TimeZone};
use model::target::TargetStatus;

use super::{
    listing::{Progress, ended, verb},
    table::{self, left, right},
    text::{clean, shorten},
    window::brief,
};
use crate::time_spec::{distance, format_time, localised};

/// The whole board.
pub(crate) fn lines(
    all: &[&TargetStatus],
    progress: &Progress,
    width: usize,
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<String> {
    let columns = [
        left("TARGET", 0),
        left("NOW", 0),
        left("BY", 3),
        left("SINCE", 5),
        right("WAIT", 0),
        left("WINDOW", 1),
        left("UNTIL", 2),
        left("NEXT", 6),
        left("LAST", 4),
    ];
    let row = |it: &&TargetStatus| {
        let holder = it.holder.as_ref();
        let window = it.window.as_ref();
        vec![
            it.name.clone(),
            super::listing::holding(it),
            holder.and_then(|h| h.principal.clone()).unwrap_or_default(),
            holder.and_then(|h| h.since).map(|at| format_time(at, zone)).unwrap_or_default(),
            it.queue.len().to_string(),
            window.map(|w| w.principal.clone()).unwrap_or_else(|| "-".to_owned()),
            window.map(|w| distance(w.ends_at, now)).unwrap_or_default(),
            it.next_windows
                .first()
                .map(|w| format!("{} {}", w.principal, distance(w.starts_at, now)))
                .unwrap_or_default(),
            it.last.as_ref().map(|l| format!("{} {}", verb(l), ended(l))).unwrap_or_default(),
        ]
    };
    let mut lines = table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width);
    for it in all {
        if let Some(event) = progress.get(&it.name) {
            let text = localised(&event.text, zone);
            lines.push(format!("  {}: {text} ({})", it.name, distance(event.at, now)));
        }
        let waiting = it.queue.iter().enumerate();
        lines.extend(waiting.map(|(n, waiting)| {
            format!("  {} {}. {} by {}", it.name, n + 1, verb(waiting), waiting.principal)
        }));
    }
    lines.iter().map(|line| shorten(&clean(line), width)).collect()
}

/// One change, for a log.
pub(crate) fn line(it: &TargetStatus, now: Timestamp, zone: &TimeZone) -> String {
    let mut parts = vec![match &it.holder {
        Some(holder) => holder.phrase(),
        None => super::listing::holding(it),
    }];
    if !it.queue.is_empty() {
        parts.push(format!("{} waiting", it.queue.len()));
    }
    parts.extend(it.window.as_ref().map(|w| format!("window of {}", brief(w, zone))));
    parts.extend(it.next_windows.first().map(|w| format!("next window of {}", brief(w, zone))));
    parts.extend(it.last.as_ref().map(|l| format!("last {} {}", verb(l), ended(l))));
    clean(&format!("{now:.3} {}: {}", it.name, parts.join("; ")))
}
