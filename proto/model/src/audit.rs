//! The audit record: what is written down about a decision, and the chain of hashes that ties the records together.
//!
//! It must not know where records are kept, nor how a decision was reached.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{authorization::Principal, fault::Reason, text, token};

mod repeats;
mod seal;
mod verify;

pub use repeats::{Admission, Repeats};
pub use seal::SealKey;
pub use verify::{AuditVerdict, Break, Verifier, Wrong};

/// Longer texts are cut: a caller chooses some of them.
const LONGEST: usize = 500;

/// One decision, before it has a place in the record.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Who asked, where that was proved.
    pub principal: Option<Principal>,
    /// From where: a socket or an address.
    pub peer: String,
    /// The full name of the method, `resetd.v1.Service/Method`.
    pub method: String,
    /// The target, where there is one.
    pub target: Option<String>,
    /// It was allowed.
    pub allowed: bool,
    /// Why it was not.
    pub reason: Option<Reason>,
    /// The operation, where there is one.
    pub operation: Option<Uuid>,
    /// What else there is to say: which token, an admin's reason. Never a secret, never SQL.
    pub detail: Option<String>,
}

impl Decision {
    /// What was asked for only looks. The contract names such methods `Get…`, `List…`, `Watch…` and `Verify…`.
    #[must_use]
    pub fn reads(&self) -> bool {
        let name = self.method.rsplit('/').next().unwrap_or_default();
        ["Get", "List", "Watch", "Verify"].iter().any(|first| name.starts_with(first))
    }

    /// Whoever asked must be refused when this cannot be written: it was allowed, and it changes something.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.allowed && !self.reads()
    }
}

/// What a record says. Its canonical text is the JSON of these fields in this order.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// 1, 2, 3… without gaps.
    pub sequence: u64,
    /// When, by the control database's clock.
    pub at: Timestamp,
    /// `kind:name`, where it was proved.
    pub principal: Option<String>,
    /// How it was proved.
    #[serde(alias = "proof")]
    pub auth_method: Option<String>,
    /// From where.
    pub peer: String,
    /// The method asked for.
    pub method: String,
    /// The target, where there is one.
    pub target: Option<String>,
    /// It was allowed.
    pub allowed: bool,
    /// Why it was not; a name of the table of reasons, perhaps of a newer version.
    pub reason: Option<String>,
    /// The operation, where there is one.
    pub operation: Option<Uuid>,
    /// What else there is to say.
    pub detail: Option<String>,
    /// How many decisions this record stands for: more than one where identical ones followed within a minute.
    pub count: u64,
}

impl Record {
    /// A decision in its place.
    #[must_use]
    pub fn of(decision: &Decision, count: u64, sequence: u64, at: Timestamp) -> Self {
        let text = |text: &str| presentable(text).into_owned();
        Self {
            sequence,
            at,
            principal: decision.principal.as_ref().map(|p| text(&p.to_string())),
            auth_method: decision.principal.as_ref().map(|p| p.kind.auth_method().to_owned()),
            peer: text(&decision.peer),
            method: text(&decision.method),
            target: decision.target.as_deref().map(text),
            allowed: decision.allowed,
            reason: decision.reason.map(|r| r.name().to_owned()),
            operation: decision.operation,
            detail: decision.detail.as_deref().map(text),
            count,
        }
    }

    /// What a canonical text says; `None` when it is none.
    #[must_use]
    pub fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// The canonical text: what is hashed and kept.
    #[must_use]
    pub fn body(&self) -> String {
        // A struct of texts, numbers and times always has a JSON text.
        text::json(&serde_json::to_string(self).unwrap_or_default()).into_owned()
    }
}

/// A text as it may stand in the record: no token, not too long.
fn presentable(text: &str) -> Cow<'_, str> {
    let text = token::redacted(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => text,
    }
}

/// A record as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chained {
    /// Its place.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// The canonical text.
    pub body: String,
    /// SHA-256 over the hash before it and the text, as hex.
    pub hash: String,
    /// The seal of the hash, where the daemon that wrote it has a key.
    pub seal: Option<String>,
}

impl Chained {
    /// The record as one line of JSON, with its hash.
    #[must_use]
    pub fn line(&self) -> String {
        let open = self.body.strip_suffix('}').unwrap_or(&self.body);
        format!("{open},\"hash\":\"{}\"}}", self.hash)
    }
}

/// The end of a chain: the last place that is taken, and its hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The last sequence; 0 where nothing was written.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    /// The end of a chain without records.
    #[must_use]
    pub fn genesis() -> Self {
        Self { sequence: 0, hash: digest(&["resetd audit record, version 1"]) }
    }

    /// Chains one more decision to the end, which moves on.
    pub fn chain(&mut self, decision: &Decision, count: u64, at: Timestamp) -> Chained {
        let sequence = self.sequence + 1;
        let body = Record::of(decision, count, sequence, at).body();
        *self = Self { sequence, hash: link(&self.hash, &body) };
        Chained { sequence, at, body, hash: self.hash.clone(), seal: None }
    }

    /// Reads `SEQUENCE:HASH`, as `Display` writes it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (sequence, hash) = text.trim().split_once(':')?;
        let sequence = sequence.parse().ok().filter(|_| crate::is_hex_sha256(hash))?;
        Some(Self { sequence, hash: hash.to_owned() })
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

/// The hash of a record.
fn link(before: &str, body: &str) -> String {
    digest(&[before, "\n", body])
}

fn digest(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part.as_bytes()));
    crate::hex(&hasher.finalize())
}

#[cfg(test)]
mod tests;
