//! Lengths of time as people write them: `8h`, `30d`, `1h30m`, `500ms`. Used by the configuration and the command
//! line. Must not know any clock: this is text and arithmetic only.

use std::time::Duration;

/// The longest duration that is accepted: a hundred years, so that adding it to a timestamp cannot overflow.
const LONGEST_MS: u64 = 36_525 * DAY;
const DAY: u64 = 86_400_000;

/// The units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing but white space.
    #[error("a duration may not be empty")]
    Empty,
    /// A number without a unit, a unit without a number, an unknown unit, or units out of order.
    #[error("{0:?} is not a duration such as 8h, 30d, 45m, 90s, 500ms or 1h30m")]
    Malformed(String),
    /// More than a hundred years.
    #[error("{0:?} is longer than 36525d")]
    TooLong(String),
}

/// Reads `8h`, `30d`, `45m`, `90s`, `500ms` and sums such as `1h30m`: whole numbers, each unit at most once, the longest
/// first. `0s` is a duration; a bare number is not.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(DurationError::Empty);
    }
    let malformed = || DurationError::Malformed(trimmed.to_owned());
    let too_long = || DurationError::TooLong(trimmed.to_owned());
    let (mut rest, mut total, mut next_unit) = (trimmed, 0_u64, 0);
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| c.is_ascii_alphabetic());
        let index = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
        if number.is_empty() || index < next_unit {
            return Err(malformed());
        }
        let amount = number.parse::<u64>().ok().and_then(|n| n.checked_mul(UNITS[index].1));
        total = amount.and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
        (rest, next_unit) = (after, index + 1);
    }
    if total > LONGEST_MS { Err(too_long()) } else { Ok(Duration::from_millis(total)) }
}

/// Writes a duration so that [`parse_duration`] reads the same back. Days are used from a week upwards: people say `24h`
/// and `72h`, but `30d`. What is finer than a millisecond is left out.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let skipped = usize::from(rest < 7 * DAY);
    let mut text = String::new();
    for (name, length) in &UNITS[skipped..] {
        let (amount, left) = (rest / length, rest % length);
        if amount > 0 {
            text.push_str(&format!("{amount}{name}"));
        }
        rest = left;
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Splits where `keep` first says no.
fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !keep(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_back() {
        for (text, millis, back) in [
            ("8h", 8 * 3_600_000, "8h"),
            ("30d", 30 * DAY, "30d"),
            ("45m", 45 * 60_000, "45m"),
            ("90s", 90_000, "1m30s"),
            ("500ms", 500, "500ms"),
            ("1h30m", 5_400_000, "1h30m"),
            (" 24h ", DAY, "24h"),
            ("3d", 3 * DAY, "72h"),
            ("7d12h", 7 * DAY + DAY / 2, "7d12h"),
            ("0s", 0, "0s"),
            ("1h500ms", 3_600_500, "1h500ms"),
        ] {
            let parsed = parse_duration(text);
            assert_eq!(parsed, Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(millis)), back, "{text}");
            assert_eq!(parse_duration(back), parsed, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["8", "h", "8 h", "8x", "-8h", "1.5h", "30m1h", "1h1h", "8H", "٣h"] {
            assert_eq!(parse_duration(text), Err(DurationError::Malformed(text.into())), "{text}");
        }
        assert_eq!(parse_duration("  "), Err(DurationError::Empty));
        for text in ["36526d", "99999999999999999999999h", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), Err(DurationError::TooLong(text.into())), "{text}");
        }
    }
}
