//! Points in time as people write and read them: in their own zone, while everything that is stored is UTC.
//!
//! Pure: what time it is and which zone holds come in as values.

use std::time::Duration;

use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};
use model::{
    duration::parse_duration,
    fault::{Fault, Reason},
};

/// What was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TimeSpec {
    /// `+10m`: so long from now.
    In(Duration),
    /// A point in time.
    At(Timestamp),
}

/// Reads `+10m`, `14:00` (the next time the clock shows it), `2026-03-29 14:00` and RFC 3339.
///
/// # Errors
/// It is none of these, or a time that the zone's clocks skip.
pub(crate) fn parse(flag: &str, text: &str, now: Timestamp, zone: &TimeZone) -> Result<TimeSpec, Fault> {
    if let Some(ahead) = text.strip_prefix('+') {
        let ahead = parse_duration(ahead).map_err(|e| wrong(flag, &e.to_string()))?;
        return Ok(TimeSpec::In(ahead));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(TimeSpec::At(at));
    }
    // A civil time: a suffix would be a zone, which a point in time has already been read with.
    let civil = !text.contains(['Z', 'z', '[']);
    if let (true, Some(time)) = (civil && !text.contains('-'), clock(text)) {
        let today = now.to_zoned(zone.clone()).date();
        for day in [Some(today), today.tomorrow().ok()].into_iter().flatten() {
            if let Some(at) = after(flag, day.to_datetime(time), now, zone)? {
                return Ok(TimeSpec::At(at));
            }
        }
    }
    if let (true, Ok(at)) = (civil && text.contains('-'), text.parse::<DateTime>()) {
        let at = after(flag, at, Timestamp::MIN, zone)?;
        return at.map(TimeSpec::At).ok_or_else(|| wrong(flag, "is out of range"));
    }
    Err(wrong(flag, &format!("`{text}` is no time")))
}

/// `14:00` and `14:00:30`, nothing less.
fn clock(text: &str) -> Option<Time> {
    text.contains(':').then(|| text.parse().ok()).flatten()
}

/// The first point in time after `now` at which the zone's clocks show this; `None`: they did before.
fn after(flag: &str, at: DateTime, now: Timestamp, zone: &TimeZone) -> Result<Option<Timestamp>, Fault> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    if let AmbiguousOffset::Gap { .. } = ambiguous.offset() {
        let zone = zone.iana_name().unwrap_or("this zone");
        return Err(wrong(flag, &format!("the clocks of {zone} skip {at}")));
    }
    let both = [ambiguous.earlier(), ambiguous.later()];
    Ok(both.into_iter().flatten().find(|at| *at > now))
}

fn wrong(flag: &str, problem: &str) -> Fault {
    Fault::new(Reason::InvalidRequest, format!("{flag}: {problem}")).hint(
        "say +10m, 14:00 (today, or tomorrow when that is past), 2026-03-29 14:00, or 2026-03-29T14:00:00Z",
    )
}

/// Date, time and zone: `2026-03-29 14:00 CEST`, with seconds where there are some.
pub(crate) fn format_time(at: Timestamp, zone: &TimeZone) -> String {
    let local: Zoned = at.to_zoned(zone.clone());
    let format = if local.second() == 0 { "%Y-%m-%d %H:%M %Z" } else { "%Y-%m-%d %H:%M:%S %Z" };
    local.strftime(format).to_string()
}

/// A text in which each point in time (RFC 3339 in UTC) is said in a zone.
pub(crate) fn localised(text: &str, zone: &TimeZone) -> String {
    let mut out = String::new();
    let mut rest = text;
    // The shortest form has 20 characters, all of them ASCII: `2026-01-02T03:04:05Z`.
    while let Some(at) = rest.find('T') {
        let begin = at.checked_sub(10).filter(|begin| rest.is_char_boundary(*begin));
        let end = rest[at..].find('Z').map(|z| at + z + 1).filter(|end| end - at <= 20);
        let found = begin.zip(end).and_then(|(begin, end)| {
            let time: Timestamp = rest[begin..end].parse().ok()?;
            Some((begin, end, time))
        });
        match found {
            Some((begin, end, time)) => {
                out.push_str(&rest[..begin]);
                out.push_str(&format_time(time, zone));
                rest = &rest[end..];
            }
            None => {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

/// From and until, the day said once where it is the same.
pub(crate) fn range(from: Timestamp, to: Timestamp, zone: &TimeZone) -> String {
    let (a, b) = (from.to_zoned(zone.clone()), to.to_zoned(zone.clone()));
    let until = match a.date() == b.date() && a.offset() == b.offset() {
        true => b.strftime(if b.second() == 0 { "%H:%M %Z" } else { "%H:%M:%S %Z" }).to_string(),
        false => format_time(to, zone),
    };
    format!("{} until {until}", format_time(from, zone))
}

/// How far a point in time is: `in 5m`, `5m ago`, `now`.
pub(crate) fn distance(at: Timestamp, now: Timestamp) -> String {
    let between: SignedDuration = at.duration_since(now);
    let seconds = between.as_secs().unsigned_abs();
    let rounded = match seconds {
        0..60 => seconds,
        60..86_400 => seconds / 60 * 60,
        _ => seconds / 3_600 * 3_600,
    };
    let text = model::duration::format_duration(Duration::from_secs(rounded));
    match (seconds, between.is_negative()) {
        (0, _) => "now".to_owned(),
        (_, false) => format!("in {text}"),
        (_, true) => format!("{text} ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> TimeZone {
        // As POSIX writes it, so that the test needs no data of zones: clocks go forward on the last Sunday of March.
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone")
    }

    fn ts(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn at(text: &str, now: &str) -> Timestamp {
        match parse("--start", text, ts(now), &berlin()) {
            Ok(TimeSpec::At(at)) => at,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_time_of_day_is_the_next_time_the_clock_shows_it() {
        assert_eq!(at("14:00", "2026-01-05T12:00:00Z"), ts("2026-01-05T13:00:00Z"));
        assert_eq!(at("14:00", "2026-01-05T13:00:00Z"), ts("2026-01-06T13:00:00Z"), "now is past");
        assert_eq!(at("00:30", "2026-01-05T22:50:00Z"), ts("2026-01-05T23:30:00Z"), "after midnight");
        assert_eq!(at("00:00", "2026-01-05T22:50:00Z"), ts("2026-01-05T23:00:00Z"), "midnight");
        assert_eq!(at("14:00:30", "2026-01-05T12:00:00Z"), ts("2026-01-05T13:00:30Z"));
    }

    #[test]
    fn clocks_that_change_are_known() {
        // Summer time begins on 29 March 2026 at 02:00, and ends on 25 October at 03:00.
        assert_eq!(at("14:00", "2026-03-28T14:00:00Z"), ts("2026-03-29T12:00:00Z"));
        let fault = parse("--start", "02:30", ts("2026-03-28T22:00:00Z"), &berlin()).expect_err("skipped");
        assert!(fault.message.contains("skip"), "{fault}");
        assert_eq!(at("02:30", "2026-10-24T22:30:00Z"), ts("2026-10-25T00:30:00Z"), "the first of two");
        assert_eq!(at("02:30", "2026-10-25T00:30:00Z"), ts("2026-10-25T01:30:00Z"), "the second of two");
        assert_eq!(format_time(ts("2026-10-25T00:30:00Z"), &berlin()), "2026-10-25 02:30 CEST");
        assert_eq!(format_time(ts("2026-10-25T01:30:00Z"), &berlin()), "2026-10-25 02:30 CET");
        // An hour before to an hour after: the zone is said on both sides.
        let range = range(ts("2026-10-25T00:30:00Z"), ts("2026-10-25T01:30:00Z"), &berlin());
        assert_eq!(range, "2026-10-25 02:30 CEST until 2026-10-25 02:30 CET");
    }

    #[test]
    fn other_forms_are_read_and_the_rest_is_refused() {
        let now = "2026-01-05T12:00:00Z";
        assert_eq!(at("2026-03-29 14:00", now), ts("2026-03-29T12:00:00Z"));
        assert_eq!(at("2026-03-29T14:00", now), ts("2026-03-29T12:00:00Z"));
        assert_eq!(at("2026-03-29T14:00:00Z", now), ts("2026-03-29T14:00:00Z"));
        assert_eq!(at("2026-03-29T14:00:00+05:00", now), ts("2026-03-29T09:00:00Z"));
        let ahead = parse("--start", "+10m", ts(now), &berlin());
        assert_eq!(ahead.ok(), Some(TimeSpec::In(Duration::from_secs(600))));
        for text in ["", "14", "25:00", "-10m", "+", "+x", "tomorrow", "14:00Z", "2026-13-01 10:00"] {
            let fault = parse("--start", text, ts(now), &berlin()).expect_err(text);
            assert!(fault.message.starts_with("--start: ") && fault.hint.is_some(), "{text}: {fault}");
        }
    }

    #[test]
    fn points_in_time_inside_a_text_are_said_in_the_zone() {
        for (text, expected) in [
            ("held until 2026-01-05T13:00:00Z: Tests", "held until 2026-01-05 14:00 CET: Tests"),
            (
                "2026-01-05T13:00:07.123456Z and 2026-07-05T13:00:00Z",
                "2026-01-05 14:00:07 CET and 2026-07-05 15:00 CEST",
            ),
            (
                "übertragen: Target T, ZT 2026-13-05T13:00:00Z",
                "übertragen: Target T, ZT 2026-13-05T13:00:00Z",
            ),
            ("no time", "no time"),
        ] {
            assert_eq!(localised(text, &berlin()), expected);
        }
    }

    #[test]
    fn ranges_and_distances_are_short() {
        let range = |a, b| range(ts(a), ts(b), &berlin());
        assert_eq!(
            range("2026-01-05T13:00:00Z", "2026-01-05T13:45:00Z"),
            "2026-01-05 14:00 CET until 14:45 CET"
        );
        assert_eq!(
            range("2026-01-05T22:30:00Z", "2026-01-05T23:30:00Z"),
            "2026-01-05 23:30 CET until 2026-01-06 00:30 CET"
        );
        let now = ts("2026-01-05T12:00:00Z");
        for (at, text) in [
            ("2026-01-05T12:00:00Z", "now"),
            ("2026-01-05T12:00:45Z", "in 45s"),
            ("2026-01-05T13:30:59Z", "in 1h30m"),
            ("2026-01-05T11:59:00Z", "1m ago"),
            ("2026-01-20T12:10:00Z", "in 15d"),
        ] {
            assert_eq!(distance(ts(at), now), text);
        }
    }
}
