//! Which previous databases, or sets of schemas, the profile's limits do not keep. Must not know how they are dropped.

use jiff::Timestamp;
use uuid::Uuid;

use crate::finding::Finding;

/// What an operation set aside, a database or schemas, and how much it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Retained {
    /// What it is, in words.
    pub what: String,
    /// The operation that set it aside.
    pub operation: Uuid,
    /// Until when it would be kept.
    pub until: Timestamp,
    /// How much it takes; `None` where that is not known, or does not count.
    pub bytes: Option<u64>,
}

/// How many are kept, and how much they may take together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// How many.
    pub count: Option<u64>,
    /// How many bytes.
    pub bytes: Option<u64>,
}

/// Those that go early, each with the limit that says so: `retained` is in order, the newest first, and `newest` is the one
/// that is about to be set aside, which no limit takes. Once one does not fit, nothing older is kept.
#[must_use]
pub fn ending_early(retained: Vec<Retained>, newest: Option<u64>, limits: Limits) -> Vec<(Retained, String)> {
    let mut count = u64::from(newest.is_some());
    let mut bytes = newest.unwrap_or_default();
    let mut over: Option<String> = None;
    let mut early = Vec::new();
    for it in retained {
        count += 1;
        bytes = bytes.saturating_add(it.bytes.unwrap_or_default());
        let alone = count == 1;
        let too_many =
            limits.count.filter(|limit| count > *limit).map(|limit| format!("keep_count = {limit}"));
        let too_much = limits
            .bytes
            .filter(|limit| bytes > *limit && !alone)
            .map(|limit| format!("keep_bytes = {limit}"));
        over = over.or(too_many).or(too_much);
        if let Some(limit) = &over {
            early.push((it, limit.clone()));
        }
    }
    early
}

/// What the plan says of one that goes early.
#[must_use]
pub fn finding(it: &Retained, limit: &str) -> Finding {
    Finding::warning(
        "KEPT_ENDS_EARLY",
        format!("{} of operation {}", it.what, it.operation),
        format!("kept until {:.0}, and dropped after this operation: {limit}", it.until),
        "an undo that needs it has to come before; or raise the limit in the profile",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(operation: u128, bytes: u64) -> Retained {
        Retained {
            what: "6 schemas".to_owned(),
            operation: Uuid::from_u128(operation),
            until: Timestamp::UNIX_EPOCH,
            bytes: Some(bytes),
        }
    }

    fn early(newest: Option<u64>, count: Option<u64>, bytes: Option<u64>) -> Vec<(u128, String)> {
        let retained = vec![kept(4, 10), kept(3, 50), kept(2, 10), kept(1, 10)];
        let gone = ending_early(retained, newest, Limits { count, bytes });
        gone.into_iter().map(|(it, limit)| (it.operation.as_u128(), limit)).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_never() {
        assert_eq!(early(Some(10), None, None), []);
        let two = "keep_count = 2".to_owned();
        assert_eq!(early(Some(10), Some(2), None), [(3, two.clone()), (2, two.clone()), (1, two.clone())]);
        assert_eq!(early(None, Some(2), None), [(2, two.clone()), (1, two)]);
        assert_eq!(
            early(Some(10), Some(1), None).len(),
            4,
            "the one that is set aside is the one that stays"
        );
        let little = "keep_bytes = 30".to_owned();
        assert_eq!(
            early(Some(10), None, Some(30)),
            [3, 2, 1].map(|it| (it, little.clone())),
            "none after one that does not fit"
        );
        assert_eq!(early(Some(1_000), None, Some(30)).len(), 4);
        assert_eq!(early(None, None, Some(5)).len(), 3, "the newest stays whatever it takes");
        assert_eq!(
            early(Some(10), Some(4), Some(75)),
            [(2, "keep_bytes = 75".to_owned()), (1, "keep_bytes = 75".to_owned())]
        );
    }
}
