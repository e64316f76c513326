//! Windows: who may change a target at a point in time, and until when.
//!
//! Pure: the time is always a value, and it is the database's. Ranges are half-open: a window holds at its start and no
//! longer at its end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod faults;
mod rules;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use faults::{FORCE_HINT, overlaps};
pub use rules::{Reservation, Rules, Start};

/// How far ahead a window must begin while somebody else's change runs: time for that change to learn of its deadline.
pub const NOTICE: Duration = Duration::from_secs(5);

/// What a request about windows may hold.
pub mod limits {
    use std::time::Duration;

    /// The longest reason, in characters.
    pub const REASON: usize = 500;
    /// How far ahead a window may begin.
    pub const AHEAD: Duration = Duration::from_secs(366 * 86_400);
}

/// A reservation of a target by a principal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Window {
    /// Its id.
    pub id: Uuid,
    /// The target's name.
    pub target: String,
    /// Whose it is, `kind:name`.
    pub principal: String,
    /// Why, in their words.
    pub reason: String,
    /// Its start, included.
    pub starts_at: Timestamp,
    /// Its end, excluded.
    pub ends_at: Timestamp,
    /// Changes with every change of the window.
    pub etag: Uuid,
    /// When it was released before its end.
    pub released_at: Option<Timestamp>,
}

impl Window {
    /// It holds at this point in time.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.released_at.is_none() && self.starts_at <= now && now < self.ends_at
    }

    /// It will never hold again.
    #[must_use]
    pub fn is_past(&self, now: Timestamp) -> bool {
        self.released_at.is_some() || self.ends_at <= now
    }

    /// Whether it shares a point in time with a half-open range.
    #[must_use]
    pub fn overlaps(&self, from: Timestamp, to: Timestamp) -> bool {
        self.released_at.is_none() && self.starts_at < to && from < self.ends_at
    }

    /// The window in words: `unix:alice from 2026-01-02T03:00:00Z until 2026-01-02T04:00:00Z: rehearsal`.
    #[must_use]
    pub fn phrase(&self) -> String {
        let Self { principal, starts_at, ends_at, reason, .. } = self;
        format!("{principal} from {starts_at:.0} until {ends_at:.0}: {reason}")
    }
}

/// A change of a target that holds its lock now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The operation.
    pub operation: Uuid,
    /// What it does.
    pub verb: crate::operation::Verb,
    /// Who asked for it.
    pub principal: String,
    /// Its commit is prepared: nothing stops it any more.
    pub committing: bool,
}

/// The point at which the right to change a target ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edge {
    /// Somebody else's window begins.
    Foreign(Window),
    /// One's own window, which is required, ends.
    Own(Window, Timestamp),
}

impl Edge {
    /// When.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Foreign(window) => window.starts_at,
            Self::Own(_, end) => *end,
        }
    }
}

/// Whether a principal may change a target at a point in time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Yes, until the edge, where there is one.
    Free(Option<Edge>),
    /// No: somebody else has reserved it.
    Held(Window),
    /// No: a window of one's own is required, and none is active. The next one of one's own, where there is one.
    Required(Option<Window>),
    /// No: a window of one's own is required, none is reserved, and this one of somebody else is active.
    NoneOfOnesOwn(Window),
}

/// Decides whether `principal` may change a target at `now`, from the target's windows.
#[must_use]
pub fn judge(windows: &[Window], principal: &str, rules: &Rules, now: Timestamp) -> Verdict {
    let foreign = |w: &&Window| w.principal != principal;
    if let Some(held) = windows.iter().filter(foreign).find(|w| w.is_active(now)) {
        let comes = |w: &Window| w.principal == principal && !w.is_past(now);
        return match rules.required() && !windows.iter().any(comes) {
            true => Verdict::NoneOfOnesOwn(held.clone()),
            false => Verdict::Held(held.clone()),
        };
    }
    let coming = windows.iter().filter(foreign).filter(|w| w.released_at.is_none() && w.starts_at > now);
    let foreign = coming.min_by_key(|w| w.starts_at).cloned().map(Edge::Foreign);
    if !rules.required() {
        return Verdict::Free(foreign);
    }
    let own = |w: &&Window| w.principal == principal;
    let Some(active) = windows.iter().filter(own).find(|w| w.is_active(now)) else {
        let next = windows.iter().filter(own).filter(|w| w.released_at.is_none() && w.starts_at > now);
        return Verdict::Required(next.min_by_key(|w| w.starts_at).cloned());
    };
    let own = Edge::Own(active.clone(), end_of_row(windows, active));
    Verdict::Free(Some(foreign.filter(|edge| edge.at() < own.at()).unwrap_or(own)))
}

/// The end of a row of windows of one principal that follow each other without a gap.
fn end_of_row(windows: &[Window], first: &Window) -> Timestamp {
    let mut end = first.ends_at;
    let follows = |w: &&Window, end| {
        w.principal == first.principal && w.released_at.is_none() && w.starts_at == end && w.ends_at > end
    };
    while let Some(next) = windows.iter().find(|w| follows(w, end)) {
        end = next.ends_at;
    }
    end
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
