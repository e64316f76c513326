//! What is seen of a tool's statements as their bytes go by: how many, what runs, and the last error. Nothing here changes
//! what goes by.

use std::collections::HashMap;

use model::{text_limit, tool::ServerError};
use tokio::sync::watch::Sender;

use super::{Seen, frame};

/// How much of a statement is kept, in bytes.
pub(super) const STATEMENT: usize = 500;
/// How much of an error is kept.
pub(super) const ERROR: usize = 4096;
/// The most prepared statements whose text is remembered.
const REMEMBERED: usize = 256;

/// The statements of one session.
#[derive(Default)]
pub(super) struct Statements {
    /// By the name of a prepared statement: its text.
    prepared: HashMap<Vec<u8>, String>,
    /// By the name of a portal: the text of its statement, where it is known.
    portals: HashMap<Vec<u8>, Option<String>>,
    /// What was asked for last; `None` where that is not known.
    current: Option<String>,
}

/// How much of a message of the tool's is wanted.
pub(super) fn keep(kind: u8) -> usize {
    match kind {
        b'Q' | b'P' => STATEMENT,
        b'B' | b'E' => 256,
        _ => 0,
    }
}

/// How much of a message of PostgreSQL's is wanted.
pub(super) fn keep_of_server(kind: u8) -> usize {
    match kind {
        b'E' => ERROR,
        _ => 0,
    }
}

impl Statements {
    /// A message of the tool's went by.
    pub(super) fn asked(&mut self, kind: u8, kept: &[u8], seen: &Sender<Seen>) {
        let mut texts = frame::texts(kept);
        match kind {
            b'Q' => self.runs(texts.next().map(shown), seen),
            b'P' => {
                let (name, text) = (texts.next().unwrap_or_default(), texts.next().map(shown));
                if let Some(text) = text
                    && (self.prepared.len() < REMEMBERED || self.prepared.contains_key(name))
                {
                    self.prepared.insert(name.to_vec(), text);
                } else {
                    self.prepared.remove(name);
                }
                // Where it cannot be parsed, this is what failed.
                self.current = self.prepared.get(name).cloned();
            }
            b'B' => {
                let (portal, name) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
                let text = self.prepared.get(name).cloned();
                self.current.clone_from(&text);
                if self.portals.len() >= REMEMBERED {
                    self.portals.clear();
                }
                self.portals.insert(portal.to_vec(), text);
            }
            b'E' => {
                let portal = texts.next().unwrap_or_default();
                self.runs(self.portals.get(portal).cloned().flatten(), seen);
            }
            _ => {}
        }
    }

    fn runs(&mut self, text: Option<String>, seen: &Sender<Seen>) {
        self.current.clone_from(&text);
        seen.send_modify(|seen| {
            seen.statements += 1;
            seen.current = text;
        });
    }

    /// A message of PostgreSQL's went by.
    pub(super) fn answered(&self, kind: u8, kept: &[u8], seen: &Sender<Seen>) {
        if kind != b'E' {
            return;
        }
        let error = error(kept, self.current.clone());
        seen.send_modify(|seen| seen.last_error = Some(error));
    }
}

/// An error as PostgreSQL sent it.
pub(super) fn error(body: &[u8], statement: Option<String>) -> ServerError {
    let field = |kind: u8| {
        let found = frame::texts(body).find(|text| text.first() == Some(&kind));
        found.map(|text| shown(&text[1..])).unwrap_or_default()
    };
    ServerError { sqlstate: field(b'C'), message: field(b'M'), statement }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text_limit::cut(text.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_with(code: &str) -> Vec<u8> {
        format!("SERROR\0VERROR\0C{code}\0Mno such table\0\0").into_bytes()
    }

    #[test]
    fn the_statement_of_an_error_is_the_one_that_ran() {
        let (mut it, seen) = (Statements::default(), Sender::new(Seen::default()));
        it.asked(b'P', b"s1\0SELECT $1\0\0\0", &seen);
        it.asked(b'P', b"s2\0INSERT INTO t VALUES ($1)\0\0\0", &seen);
        it.asked(b'B', b"\0s1\0\0\0", &seen);
        it.asked(b'E', b"\0\0\0\0\0", &seen);
        it.answered(b'E', &error_with("42P01"), &seen);
        let last = seen.borrow().last_error.clone().expect("an error");
        assert_eq!((last.sqlstate.as_str(), last.statement.as_deref()), ("42P01", Some("SELECT $1")));
        assert_eq!(last.message, "no such table");
        it.asked(b'Q', b"DROP TABLE x\0", &seen);
        it.answered(b'E', &error_with("42704"), &seen);
        assert_eq!(
            seen.borrow().last_error.as_ref().and_then(|e| e.statement.clone()).as_deref(),
            Some("DROP TABLE x")
        );
        assert_eq!(seen.borrow().statements, 2);
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let (mut it, seen) = (Statements::default(), Sender::new(Seen::default()));
        it.asked(b'B', b"\0never prepared here\0\0\0", &seen);
        it.asked(b'E', b"\0\0\0\0\0", &seen);
        it.answered(b'E', &error_with("26000"), &seen);
        assert_eq!(seen.borrow().last_error.as_ref().and_then(|e| e.statement.clone()), None);
    }
}
