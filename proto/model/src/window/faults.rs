//! What is said when a window stands in the way.

use jiff::Timestamp;

use super::{Change, Edge, Rules, Verdict, Window};
use crate::{
    duration::format_duration,
    fault::{Fault, Reason},
};

/// How many overlapping windows are named in one message; the list has all of them.
const NAMED: usize = 10;
/// How long a window the hint asks for.
const USUAL: std::time::Duration = std::time::Duration::from_secs(45 * 60);

/// What an admin does about somebody else's window.
pub const FORCE_HINT: &str = "only its owner may; an admin releases it with --force --reason TEXT";

impl Verdict {
    /// The refusal, where it is one.
    #[must_use]
    pub fn refusal(&self, rules: &Rules, principal: &str) -> Option<Fault> {
        match self {
            Self::Free(_) => None,
            Self::Held(window) => Some(held(rules, window)),
            Self::Required(next) => Some(required(rules, principal, next.as_ref())),
            Self::NoneOfOnesOwn(window) => Some(required_beside(rules, principal, window)),
        }
    }

    /// Time passes this by: it can be waited for.
    #[must_use]
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Required(None) | Self::NoneOfOnesOwn(_))
    }

    /// Waiting until `limit` can help: it is not for a window that begins only then, or never.
    #[must_use]
    pub fn passes_by(&self, limit: Timestamp) -> bool {
        self.passes() && !matches!(self, Self::Required(Some(next)) if next.starts_at >= limit)
    }

    /// The window that has to end, or to begin, before the principal may go on.
    #[must_use]
    pub fn in_the_way(&self) -> Option<&Window> {
        match self {
            Self::Held(window) | Self::NoneOfOnesOwn(window) | Self::Required(Some(window)) => Some(window),
            Self::Free(_) | Self::Required(None) => None,
        }
    }
}

impl Edge {
    /// What is said of an operation that reached the edge.
    #[must_use]
    pub fn refusal(&self, rules: &Rules, principal: &str) -> Fault {
        match self {
            Self::Foreign(window) => held(rules, window),
            Self::Own(..) => required(rules, principal, None),
        }
    }
}

impl Rules {
    pub(super) fn beside_fault(&self, change: &Change) -> Fault {
        let Change { operation, verb, principal, committing } = change;
        let (what, hint) = match committing {
            true => ("commits now", "try again in a moment".to_owned()),
            false => (
                "runs now",
                format!(
                    "let the window begin later (--start +10m): its start is then that operation's deadline; \
                     or watch it: resetctl operations watch {operation}"
                ),
            ),
        };
        Fault::new(
            Reason::WindowConflict,
            format!(
                "on target {} a {} by {principal} {what} (operation {operation})",
                self.target,
                verb.as_str()
            ),
        )
        .hint(hint)
        .with("target", &self.target)
        .with("holder", principal)
        .with("operation", operation)
    }

    /// The command that reserves a window of one's own.
    #[must_use]
    pub fn reserve_command(&self) -> String {
        let length = format_duration(USUAL.min(self.max_window));
        let start = match self.lead_time.is_zero() {
            true => String::new(),
            false => format!(" --start +{}", format_duration(self.lead_time)),
        };
        format!("resetctl --target {} window reserve --for {length}{start} --reason TEXT", self.target)
    }
}

fn held(rules: &Rules, window: &Window) -> Fault {
    let Window { principal, ends_at, reason, id, .. } = window;
    Fault::new(
        Reason::WindowHeld,
        format!("target {} is reserved by {principal} until {ends_at:.0}: {reason}", rules.target),
    )
    .hint(format!("talk to {principal}, queue with --wait, or come back after its end"))
    .with("target", &rules.target)
    .with("holder", principal)
    .with("until", ends_at)
    .with("why", reason)
    .with("window", id)
}

fn required(rules: &Rules, principal: &str, next: Option<&Window>) -> Fault {
    let Rules { target, profile, .. } = rules;
    let next_one = next.map(|w| format!("; the next begins at {:.0}", w.starts_at)).unwrap_or_default();
    let fault = Fault::new(
        Reason::WindowRequired,
        format!(
            "target {target} requires an active window (profile {profile}), and {principal} has none now{next_one}"
        ),
    )
    .hint(format!("reserve one: {}", rules.reserve_command()))
    .with("target", target)
    .with("profile", profile);
    match next {
        Some(window) => fault.with("window", window.id).with("starts_at", window.starts_at),
        None => fault,
    }
}

/// A window of one's own is required, and somebody else's has to end before one can begin.
fn required_beside(rules: &Rules, principal: &str, other: &Window) -> Fault {
    let fault = required(rules, principal, None);
    let Window { principal: holder, ends_at, reason, .. } = other;
    let message = format!("{}; {holder} has reserved it until {ends_at:.0}: {reason}", fault.message);
    let hint = format!(
        "reserve one that begins when theirs has ended: resetctl --target {} window reserve --start {ends_at:.0} --for {} --reason TEXT",
        rules.target,
        format_duration(USUAL.min(rules.max_window))
    );
    Fault { message, ..fault }.hint(hint).with("holder", holder).with("until", ends_at)
}

/// A reservation or extension overlaps these.
#[must_use]
pub fn overlaps(rules: &Rules, windows: &[Window]) -> Fault {
    let named: Vec<String> = windows.iter().take(NAMED).map(Window::phrase).collect();
    let more = match windows.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let what = match windows.is_empty() {
        true => "a window that is just gone; try again".to_owned(),
        false => format!("{}{more}", named.join("; ")),
    };
    let fault = Fault::new(Reason::WindowConflict, format!("target {}: it overlaps {what}", rules.target))
        .hint(format!("see what is free: resetctl --target {} window list", rules.target))
        .with("target", &rules.target)
        .with("overlapping", windows.len());
    match windows.first() {
        Some(first) => {
            fault.with("window", first.id).with("holder", &first.principal).with("until", first.ends_at)
        }
        None => fault,
    }
}
