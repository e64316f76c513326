//! The rules for a class of targets: three built-in profiles and one table of their keys, used to parse them, to show
//! them and to test them. Must not know TOML, files or the command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::authorization::Role;
use crate::duration::format_duration;

mod keys;
mod values;
pub use keys::KEYS;

/// Defines an enum of words: its serde names, `ALL`, `Display` and `FromStr` are one list.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// Every value as it is written.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The value as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }

        impl FromStr for $name {
            type Err = SettingError;
            fn from_str(text: &str) -> Result<Self, SettingError> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(SettingError::word(text, Self::WORDS)) }
            }
        }
    };
}

words! {
    /// What a reset replaces.
    Scope {
        /// The managed schemas, in one transaction.
        ManagedSchemas = "managed-schemas",
        /// The whole database: built aside, swapped in.
        Database = "database",
    }
}
words! {
    /// Whether changing a target needs a reservation of one's own.
    WindowRule {
        /// No, but a foreign window keeps everybody else out.
        Optional = "optional",
        /// Yes.
        Required = "required",
    }
}
words! {
    /// What happens to sessions in the way of a swap (scope database).
    SessionRule {
        /// They are terminated.
        Terminate = "terminate",
        /// Idle ones are terminated; others refuse the operation.
        IdleOnly = "idle-only",
        /// Any session refuses the operation.
        Refuse = "refuse",
    }
}
words! {
    /// What a client does that has nowhere to write its report.
    ReportRule {
        /// It says so and goes on.
        Warn = "warn",
        /// It does not start.
        Error = "error",
    }
}
words! {
    /// The profiles that need no configuration.
    Builtin {
        /// One engineer's own machine.
        Local = "local",
        /// A database several engineers share.
        SharedDev = "shared-dev",
        /// The rehearsal of a release.
        Staging = "staging",
    }
}

/// The rules for a class of targets, complete: every key has its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// The name in the configuration.
    pub name: String,
    /// The built-in profile it is or extends.
    pub base: Builtin,
    /// The scopes a reset may have.
    pub scopes: Vec<Scope>,
    /// When set, `--scope` is mandatory off a terminal; see [`Profile::scope_without_flag`].
    pub default_scope: Option<Scope>,
    /// Whether one's own window is needed.
    pub window: WindowRule,
    /// The longest window.
    pub max_window: Duration,
    /// How many windows one principal may have on a target, the active one and those to come; `None`: any number.
    pub max_windows: Option<u64>,
    /// How much time they may cover together; see [`Profile::reserved_limit`].
    pub max_reserved: Option<Duration>,
    /// How far ahead a window must be reserved.
    pub lead_time: Duration,
    /// How long an operation that waits keeps its place while nobody watches it.
    pub unwatched_wait_limit: Duration,
    /// What happens to sessions in the way of a swap.
    pub sessions: SessionRule,
    /// How long the previous database is kept for undo; zero keeps none.
    pub keep_previous: Duration,
    /// How many previous databases are kept at most, the newest first.
    pub keep_count: Option<u64>,
    /// How many bytes they may take together, the newest excepted.
    pub keep_bytes: Option<u64>,
    /// Extensions that a replaced database gets again where they stood, with their version.
    pub preserve_extensions: Vec<String>,
    /// How long events and reports are kept.
    pub keep_operations: Duration,
    /// What a client without a writable report path does.
    pub report: ReportRule,
    /// Whether the first destructive operation enrolls the target itself.
    pub self_enroll: bool,
    /// Whether every destructive operation is refused.
    pub protected: bool,
    /// Whether an engineer may send chains of their own.
    pub client_chains: bool,
    /// A run sows the chains' seeds once the target is valid.
    pub seeds: bool,
    /// How long DDL waits for locks in the target, in total.
    pub lock_wait_limit: Duration,
    /// More estimated rows than this go only with the plan's digest.
    pub max_rows: Option<u64>,
    /// More bytes than this go only with the plan's digest.
    pub max_bytes: Option<u64>,
    /// Who may reset a database whose name contains `prod`.
    pub role_production_name: Role,
    /// Who may have sessions in the way terminated.
    pub role_terminate_sessions: Role,
    /// Who may let objects outside the managed schemas go.
    pub role_outside_digest: Role,
    /// Who may send chains of their own.
    pub role_client_chains: Role,
}

/// How many of the longest windows one principal may reserve, where `max_reserved` says nothing.
const LONGEST_WINDOWS: u32 = 5;

/// What kind of value a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A duration; whether zero is one.
    Duration {
        /// Whether `0s` is accepted.
        zero: bool,
    },
    /// A whole number, or `none`.
    Count,
    /// A duration that is not zero, or `auto`: what follows from other keys.
    DurationOrAuto,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One or more of these words, each once, separated by commas.
    Words(&'static [&'static str]),
    /// Any number of names, each once, separated by commas.
    Names,
}

/// A row of the table of keys. Values are text: `yes`, `8h`, `required`, `managed-schemas, database`.
pub struct Key {
    /// The name in the configuration.
    pub name: &'static str,
    /// What it decides, in half a sentence.
    pub meaning: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// The value in `local`, `shared-dev` and `staging`.
    pub defaults: [&'static str; 3],
    set: fn(&mut Profile, &str) -> Result<(), SettingError>,
    get: fn(&Profile) -> String,
}

/// Why a text is not a value of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Not one of the words.
    #[error("{found:?} is not one of {}", allowed.join(", "))]
    Word {
        /// What was written.
        found: String,
        /// What may be written.
        allowed: Vec<&'static str>,
    },
    /// Nothing where at least one is needed.
    #[error("the list is empty")]
    EmptyList,
    /// The same word again.
    #[error("{0:?} is listed twice")]
    Repeated(String),
    /// Not a duration.
    #[error(transparent)]
    Duration(#[from] crate::duration::DurationError),
    /// Not a count.
    #[error("{0:?} is neither none nor a whole number such as 1000000, 500k, 20M or 2G")]
    Count(String),
    /// A limit that would keep nothing.
    #[error("0 would keep nothing: that is keep_previous = \"0s\"")]
    KeepsNothing,
    /// A duration of zero where something is needed.
    #[error("the duration may not be zero")]
    Zero,
}

impl SettingError {
    fn word(found: &str, allowed: &[&'static str]) -> Self {
        Self::Word { found: found.to_owned(), allowed: allowed.to_vec() }
    }
}

impl Key {
    /// The key of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Writes a value into a profile; the profile is unchanged when the text is no value.
    pub fn set(&self, profile: &mut Profile, text: &str) -> Result<(), SettingError> {
        (self.set)(profile, text)
    }

    /// The value in a profile, as [`Key::set`] reads it.
    pub fn get(&self, profile: &Profile) -> String {
        (self.get)(profile)
    }
}

impl Profile {
    /// The built-in profile of this name, if there is one.
    pub fn builtin(name: &str) -> Option<Self> {
        name.parse().ok().map(Self::of)
    }

    /// A built-in profile as it is without any configuration.
    pub fn of(base: Builtin) -> Self {
        let mut profile = Self::blank(base);
        for key in KEYS {
            let set = key.set(&mut profile, key.defaults[base as usize]);
            set.expect("a test proves that every default of the table is a value");
        }
        profile
    }

    /// Whether it is, or extends, `local`: an engineer's own machine.
    pub fn is_local(&self) -> bool {
        self.base == Builtin::Local
    }

    /// This profile under another name: what `extends` starts from.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// The scope of a reset without `--scope`: always the managed schemas where nobody can be asked; where the profile
    /// has a `default_scope`, the caller must be at a terminal, else `None`: the flag is mandatory.
    pub fn scope_without_flag(&self, at_terminal: bool) -> Option<Scope> {
        (self.default_scope.is_none() || at_terminal).then_some(Scope::ManagedSchemas)
    }

    /// How much time one principal may have reserved on a target: `max_reserved`, or so many windows of the longest kind.
    #[must_use]
    pub fn reserved_limit(&self) -> Duration {
        self.max_reserved.unwrap_or(self.max_window.saturating_mul(LONGEST_WINDOWS))
    }

    /// What is wrong between keys, each as one sentence with the key it is about.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        match self.default_scope {
            Some(scope) if !self.scopes.contains(&scope) => {
                vec![("default_scope", format!("default_scope {:?} is not among the scopes", scope.as_str()))]
            }
            _ => Vec::new(),
        }
    }

    fn blank(base: Builtin) -> Self {
        Self {
            name: base.as_str().to_owned(),
            base,
            scopes: Vec::new(),
            default_scope: None,
            window: WindowRule::Required,
            max_window: Duration::ZERO,
            max_windows: None,
            max_reserved: None,
            lead_time: Duration::ZERO,
            unwatched_wait_limit: Duration::ZERO,
            sessions: SessionRule::Refuse,
            keep_previous: Duration::ZERO,
            keep_count: None,
            keep_bytes: None,
            preserve_extensions: Vec::new(),
            keep_operations: Duration::ZERO,
            report: ReportRule::Error,
            self_enroll: false,
            protected: true,
            client_chains: false,
            seeds: false,
            lock_wait_limit: Duration::ZERO,
            max_rows: None,
            max_bytes: None,
            role_production_name: Role::Admin,
            role_terminate_sessions: Role::Admin,
            role_outside_digest: Role::Admin,
            role_client_chains: Role::Admin,
        }
    }
}

#[cfg(test)]
mod tests;
