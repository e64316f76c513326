//! Decisions that come again and again: which get a record of their own, and which are only counted.
//!
//! A denial has a record at once; identical ones within a minute are counted, and the count is one record more. A read that
//! was allowed has one record an hour. What changes something always has its own. It must not know any clock: the time since
//! the daemon began comes in.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::Decision;
use crate::{
    authorization::{METHODS, PrincipalKind},
    fault::Reason,
};

/// How long identical denials are counted into one record.
const DENIALS: Duration = Duration::from_secs(60);
/// How long a read is known to have been recorded.
const READS: Duration = Duration::from_secs(60 * 60);
/// How many different decisions are remembered; what comes on top is counted together.
const MOST: usize = 1_000;

/// What makes two decisions the same. Only texts that the caller cannot choose at will are in it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
struct Key {
    principal: Option<(PrincipalKind, String)>,
    host: String,
    method: Option<&'static str>,
    target: Option<String>,
    reason: Option<Reason>,
}

#[derive(Debug)]
struct Open {
    first: Decision,
    since: Duration,
    more: u64,
}

/// What becomes of a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// It gets a record.
    Record,
    /// It is counted.
    Count,
}

/// The decisions that may come again.
#[derive(Debug, Default)]
pub struct Repeats {
    open: HashMap<Key, Open>,
}

impl Repeats {
    /// What becomes of a decision at a time. `knows` says whether a target of that name exists.
    pub fn admit(&mut self, it: &Decision, knows: impl Fn(&str) -> bool, now: Duration) -> Admission {
        if it.binds() {
            return Admission::Record;
        }
        let mut key = key(it, knows);
        // A flood of different ones is one of the same.
        if !self.open.contains_key(&key) && self.open.len() >= MOST {
            self.open.retain(|_, open| now < open.since + window(&open.first) || open.more > 0);
            if self.open.len() >= MOST {
                key = Key { host: "(others)".to_owned(), reason: it.reason, ..Key::default() };
            }
        }
        match self.open.get_mut(&key) {
            Some(open) if now < open.since + window(&open.first) => {
                open.more += 1;
                Admission::Count
            }
            // What was counted of it so far is due, and the caller has not fetched it yet.
            Some(open) if open.more > 0 && !it.allowed => {
                open.more += 1;
                Admission::Count
            }
            _ => {
                self.open.insert(key, Open { first: it.clone(), since: now, more: 0 });
                Admission::Record
            }
        }
    }

    /// What was counted and has had its time, with how often it came; with `all`, what has not, too.
    pub fn due(&mut self, now: Duration, all: bool) -> Vec<(Decision, u64)> {
        let mut due = Vec::new();
        self.open.retain(|_, open| {
            let over = all || now >= open.since + window(&open.first);
            if over && open.more > 0 && !open.first.allowed {
                due.push((open.first.clone(), open.more));
            }
            !over
        });
        due
    }
}

fn window(it: &Decision) -> Duration {
    if it.allowed { READS } else { DENIALS }
}

fn key(it: &Decision, knows: impl Fn(&str) -> bool) -> Key {
    let method = METHODS.iter().map(|(name, _)| *name).find(|name| *name == it.method);
    match &it.principal {
        Some(principal) => Key {
            principal: Some((principal.kind, principal.name.clone())),
            host: host(&it.peer),
            method,
            target: it.target.clone().filter(|t| knows(t)),
            reason: it.reason,
        },
        None => Key { host: host(&it.peer), reason: it.reason, ..Key::default() },
    }
}

/// A peer without its port, which is another one at each call.
fn host(peer: &str) -> String {
    match peer.parse::<SocketAddr>() {
        Ok(address) => network(address.ip()),
        Err(_) => peer.to_owned(),
    }
}

/// One machine has as many addresses of an IPv6 network as it likes.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests;
