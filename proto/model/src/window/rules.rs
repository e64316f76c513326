//! What may be reserved: lengths, starts and reasons against the rules of the target's profile.

use std::time::Duration;

use jiff::Timestamp;

use super::{Change, NOTICE, Window, limits, signed};
use crate::{
    duration::format_duration,
    fault::{Fault, Reason},
    profile::{Profile, WindowRule},
};

/// The rules of one target about windows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The target's name.
    pub target: String,
    /// The profile's name.
    pub profile: String,
    /// Whether changing the target needs a window of one's own.
    pub window: WindowRule,
    /// The longest window.
    pub max_window: Duration,
    /// How many windows one principal may have, the active one and those to come; `None`: any number.
    pub max_windows: Option<u64>,
    /// How much time they may cover together.
    pub max_reserved: Duration,
    /// How far ahead a window must be reserved.
    pub lead_time: Duration,
}

/// When a window is to begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// Now.
    Now,
    /// At this point in time.
    At(Timestamp),
    /// So long from now, by the database's clock.
    In(Duration),
}

/// A window that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reservation {
    /// When it begins.
    pub start: Start,
    /// How long it is.
    pub duration: Duration,
    /// Why.
    pub reason: String,
}

impl Rules {
    /// Those of a target with this profile.
    #[must_use]
    pub fn of(target: &str, profile: &Profile) -> Self {
        Self {
            target: target.to_owned(),
            profile: profile.name.clone(),
            window: profile.window,
            max_window: profile.max_window,
            max_windows: profile.max_windows,
            max_reserved: profile.reserved_limit(),
            lead_time: profile.lead_time,
        }
    }

    /// Changing the target needs a window of one's own.
    #[must_use]
    pub fn required(&self) -> bool {
        self.window == WindowRule::Required
    }

    /// The range that a reservation asks for, where the rules allow it.
    ///
    /// # Errors
    /// `INVALID_REQUEST`: what is wrong with it.
    pub fn place(&self, asked: &Reservation, now: Timestamp) -> Result<(Timestamp, Timestamp), Fault> {
        check_reason(&asked.reason)?;
        if asked.duration.is_zero() {
            return Err(wrong("a window must be longer than nothing")
                .hint("say how long: --for 45m")
                .with("field", "duration"));
        }
        let starts_at = match asked.start {
            Start::Now => now,
            Start::At(at) => at,
            Start::In(ahead) => later(now, ahead)?,
        };
        if starts_at < now {
            return Err(wrong(format!(
                "the window would begin at {starts_at:.0}, which is past: the database's clock says {now:.0}"
            ))
            .hint("leave --start out to begin now, or name a later time")
            .with("field", "starts_at"));
        }
        if starts_at > later(now, limits::AHEAD)? {
            let ahead = format_duration(limits::AHEAD);
            return Err(wrong(format!(
                "the window would begin at {starts_at:.0}, more than {ahead} from now"
            ))
            .hint("check the date")
            .with("field", "starts_at"));
        }
        if starts_at < later(now, self.lead_time)? {
            let lead = format_duration(self.lead_time);
            return Err(self
                .wrong(format!("windows are reserved at least {lead} ahead"))
                .hint(format!("begin it later: --start +{lead}"))
                .with("field", "starts_at"));
        }
        self.check_length(asked.duration)?;
        Ok((starts_at, later(starts_at, asked.duration)?))
    }

    /// Whether a window may be made to end at another time.
    ///
    /// # Errors
    /// `INVALID_REQUEST`: what is wrong with it.
    pub fn extend(&self, window: &Window, ends_at: Timestamp, now: Timestamp) -> Result<(), Fault> {
        if window.is_past(now) {
            return Err(wrong(format!("window {} has ended; it cannot be extended", window.id))
                .hint("reserve a new one")
                .with("window", window.id));
        }
        if ends_at <= now || ends_at <= window.starts_at {
            return Err(wrong(format!(
                "the window would end at {ends_at:.0}, which is not after {:.0}",
                now.max(window.starts_at)
            ))
            .hint("to end it now: resetctl window release")
            .with("field", "ends_at")
            .with("window", window.id));
        }
        self.check_length(ends_at.duration_since(window.starts_at).unsigned_abs())
    }

    /// Whether a principal that has these windows may have another one, or the same one longer, from `starts_at` to
    /// `ends_at`. What is past of a window does not count.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED`, naming the key.
    pub fn bounded(
        &self,
        others: &[Window],
        (starts_at, ends_at): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<(), Fault> {
        let others: Vec<&Window> = others.iter().filter(|window| !window.is_past(now)).collect();
        let limit = |what: String, hint: String| {
            let text = format!("profile {} of target {}: {what}", self.profile, self.target);
            Err(Fault::new(Reason::LimitExceeded, text).hint(hint).with("target", &self.target))
        };
        let way = format!("release one (resetctl --target {} window list shows them)", self.target);
        let count = others.len() as u64 + 1;
        if let Some(most) = self.max_windows.filter(|most| count > *most) {
            return limit(
                format!(
                    "you have {} already, and may have {most}",
                    crate::plan::count(others.len(), "window")
                ),
                format!("{way}, or wait for its end; an admin can raise `max_windows`"),
            );
        }
        let rest = |from: Timestamp, to: Timestamp| to.duration_since(from.max(now)).unsigned_abs();
        let reserved: Duration = others.iter().map(|window| rest(window.starts_at, window.ends_at)).sum();
        if reserved + rest(starts_at, ends_at) <= self.max_reserved {
            return Ok(());
        }
        let (reserved, most) = (whole(reserved), format_duration(self.max_reserved));
        limit(
            format!("with the {reserved} that you have reserved it would be more than {most} together"),
            format!("ask for less, or {way}; an admin can raise `max_reserved`"),
        )
    }

    /// Whether a window of `principal` may begin at `starts_at` beside the changes that run now. One that runs is told its
    /// deadline in time, or the window is refused.
    ///
    /// # Errors
    /// `WINDOW_CONFLICT`, naming the operation.
    pub fn beside(
        &self,
        changes: &[Change],
        principal: &str,
        starts_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let soon = starts_at < later(now, NOTICE)?;
        let others = changes.iter().filter(|c| c.principal != principal);
        match others.into_iter().find(|c| c.committing || soon) {
            None => Ok(()),
            Some(change) => Err(self.beside_fault(change)),
        }
    }

    fn check_length(&self, length: Duration) -> Result<(), Fault> {
        if length <= self.max_window {
            return Ok(());
        }
        let (length, most) = (format_duration(length), format_duration(self.max_window));
        Err(self
            .wrong(format!("a window of {length} is longer than the {most} that are allowed"))
            .hint("ask for less, or extend it while it lasts; an admin can raise `max_window`")
            .with("field", "duration"))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Fault {
        wrong(format!("profile {} of target {}: {what}", self.profile, self.target))
            .with("target", &self.target)
            .with("profile", &self.profile)
    }
}

/// A duration to the second, for reading.
fn whole(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs()))
}

/// A reason is needed wherever somebody else will read it.
///
/// # Errors
/// `INVALID_REQUEST`.
pub(super) fn check_reason(reason: &str) -> Result<(), Fault> {
    if reason.trim().is_empty() {
        return Err(wrong("the window's reason is empty; others will read it")
            .hint("say why: --reason TEXT")
            .with("field", "reason"));
    }
    if reason.chars().count() > limits::REASON {
        return Err(wrong(format!("the reason is longer than {} characters", limits::REASON))
            .hint("say it shorter")
            .with("field", "reason"));
    }
    Ok(())
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Reason::InvalidRequest, what)
}

fn later(at: Timestamp, by: Duration) -> Result<Timestamp, Fault> {
    at.checked_add(signed(by)).map_err(|_| wrong("the time is out of range").hint("check the date"))
}
