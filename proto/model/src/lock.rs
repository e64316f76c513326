//! The lock on a target: its keys, who holds it, and how a holder is shown.
//!
//! It must not know how PostgreSQL is asked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    fault::{Fault, Reason},
    operation::Verb,
};

/// A 64-bit advisory lock key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockKey(pub i64);

impl LockKey {
    /// The key of a target, by its *database's* name: two daemons that name one database differently exclude each other.
    #[must_use]
    pub fn target(database: &str) -> Self {
        Self::derive("target", database)
    }

    /// The key that only one operation's lock session holds.
    #[must_use]
    pub fn operation(id: Uuid) -> Self {
        Self::derive("operation", &id.to_string())
    }

    /// The key that a living daemon holds.
    #[must_use]
    pub fn instance(id: Uuid) -> Self {
        Self::derive("instance", &id.to_string())
    }

    /// The key that every living daemon of a control database holds shared.
    #[must_use]
    pub fn control_database() -> Self {
        Self::derive("control", "database")
    }

    /// The key that every living daemon that serves a database holds shared.
    #[must_use]
    pub fn serves(database: &str) -> Self {
        Self::derive("serves", database)
    }

    /// The key under which the control schema is migrated.
    #[must_use]
    pub fn control_schema() -> Self {
        Self::derive("control", "schema")
    }

    /// The key under which it is decided who may change a target: windows, queue and commits, one after the other.
    #[must_use]
    pub fn queue(database: &str) -> Self {
        Self::derive("queue", database)
    }

    /// The key under which it is decided whether one more operation may wait.
    #[must_use]
    pub fn waiters() -> Self {
        Self::derive("control", "waiters")
    }

    /// The key of whoever cleans up.
    #[must_use]
    pub fn janitor() -> Self {
        Self::derive("control", "janitor")
    }

    fn derive(kind: &str, name: &str) -> Self {
        let digest = Sha256::digest(format!("resetd.{kind}:{name}"));
        let mut bytes = [0_u8; 8];
        bytes.copy_from_slice(&digest[..8]);
        Self(i64::from_be_bytes(bytes))
    }

    /// The key as `pg_locks` shows it: `classid` and `objid`.
    #[must_use]
    pub fn halves(self) -> (i64, i64) {
        let bits = u64::from_be_bytes(self.0.to_be_bytes());
        let half = |v: u64| i64::try_from(v & 0xffff_ffff).unwrap_or_default();
        (half(bits >> 32), half(bits))
    }
}

/// Who holds a target's lock.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Holder {
    /// The operation; `None` when the holder is none of this control database.
    pub operation: Option<Uuid>,
    /// What it does.
    pub verb: Option<Verb>,
    /// Who asked for it.
    pub principal: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The backend that holds the lock; 0 where a prepared transaction does.
    pub pid: i32,
    /// The database role that it logged in as.
    #[serde(default)]
    pub user: String,
    /// What that backend calls itself.
    pub application_name: String,
}

impl Holder {
    /// A session that is no operation.
    #[must_use]
    pub fn backend(pid: i32, user: String, application_name: String) -> Self {
        Self { operation: None, verb: None, principal: None, since: None, pid, user, application_name }
    }

    /// The holder in words: `unix:alice (run since 2026-01-02T03:04:05Z, operation …)`.
    #[must_use]
    pub fn phrase(&self) -> String {
        match (&self.operation, self.verb, &self.principal) {
            (Some(id), Some(verb), Some(principal)) => {
                let since = self.since.map(|at| format!(" since {at:.0}")).unwrap_or_default();
                format!("{principal} ({}{since}, operation {id})", verb.as_str())
            }
            _ if self.pid == 0 => "a prepared transaction, which pg_prepared_xacts shows".to_owned(),
            _ => {
                let Self { pid, user, application_name, .. } = self;
                let named = |what: &str, name: &str| match name {
                    "" => String::new(),
                    name => format!("{what} {name}"),
                };
                let said: Vec<String> = [named("user", user), named("application", application_name)]
                    .into_iter()
                    .filter(|said| !said.is_empty())
                    .collect();
                format!("backend {pid} ({})", said.join(", "))
            }
        }
    }

    /// The refusal of what cannot be had while this holds it.
    #[must_use]
    pub fn refusal(&self, what: &str) -> Fault {
        let fault = Fault::new(Reason::TargetLocked, format!("{what} is locked by {}", self.phrase()))
            .with("holder_pid", self.pid);
        let fault = match self.operation {
            Some(id) => fault
                .with("holder_operation", id)
                .hint("wait for it with --wait[=DURATION], or watch it with `resetctl operations watch`"),
            None => fault
                .with("holder_user", &self.user)
                .with("holder_application", &self.application_name)
                .hint("it is no operation: end that session, or let an admin do it: resetctl target unlock"),
        };
        let fault = match &self.principal {
            Some(principal) => fault.with("holder", principal),
            None => fault,
        };
        match self.since {
            Some(since) => fault.with("since", since),
            None => fault,
        }
    }
}

/// What the lock session calls itself, at most 63 bytes: target, operation and principal, for anyone who looks.
#[must_use]
pub fn application_name(target: &str, operation: Uuid, principal: &str) -> String {
    let short = operation.simple().to_string();
    let tail = format!(" op={} by={principal}", &short[short.len() - 12..]);
    let mut name = format!("resetd {target}");
    truncate(&mut name, 63_usize.saturating_sub(tail.len()).max(20));
    name.push_str(&tail);
    truncate(&mut name, 63);
    name
}

fn truncate(text: &mut String, max: usize) {
    while text.len() > max {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_pg_locks() {
        assert_eq!(LockKey(0x0000_0001_0000_0002).halves(), (1, 2));
        assert_eq!(LockKey(-1).halves(), (0xffff_ffff, 0xffff_ffff));
    }

    #[test]
    fn keys_of_different_things_differ() {
        let id = Uuid::from_u128(7);
        assert_ne!(LockKey::operation(id), LockKey::instance(id));
        assert_ne!(LockKey::target("a"), LockKey::target("b"));
    }

    #[test]
    fn who_is_no_operation_is_named_by_backend_user_and_application() {
        let of = |pid, user: &str, name: &str| Holder::backend(pid, user.to_owned(), name.to_owned());
        assert_eq!(of(7, "bob", "psql").phrase(), "backend 7 (user bob, application psql)");
        assert_eq!(of(7, "bob", "").phrase(), "backend 7 (user bob)");
        assert!(of(0, "", "").phrase().contains("prepared transaction"));
        let refusal = of(7, "bob", "psql").refusal("target staging");
        assert!(refusal.message.starts_with("target staging is locked by backend 7"), "{refusal}");
        assert!(refusal.hint.unwrap_or_default().contains("target unlock"));
    }

    #[test]
    fn application_names_fit_whatever_the_target_is_called() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef);
        let name = application_name("staging", id, "unix:alice");
        assert_eq!(name, "resetd staging op=456789abcdef by=unix:alice");
        let long = application_name(&"ü".repeat(60), id, &"x".repeat(80));
        assert!(long.len() <= 63 && long.starts_with("resetd "), "{long}");
    }
}
