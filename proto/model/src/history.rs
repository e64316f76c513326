//! What the rows of `alembic_version` in one schema say against the chains replayed there.
//!
//! A revision is present when it is a head or an ancestor of one; the table holds heads only.
//! This module must not know how the rows were read.

use crate::chain::Chain;
use crate::revision::Revision;

/// The rows of `alembic_version` in one schema; none when there is no such table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// `version_num` of each row.
    pub versions: Vec<String>,
}

impl History {
    /// A history of these rows.
    pub fn new(versions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { versions: versions.into_iter().map(Into::into).collect() }
    }

    /// The newest row that belongs to the chain.
    pub fn head_of<'a>(&self, chain: &'a Chain) -> Option<&'a Revision> {
        let newest = self.versions.iter().filter_map(|version| chain.position(version)).max();
        newest.map(|at| &chain.revisions[at])
    }

    /// Whether a revision of the chain is present: a row, or an ancestor of one.
    pub fn has(&self, chain: &Chain, revision: &str) -> bool {
        let head = self.head_of(chain).and_then(|head| chain.position(&head.id));
        chain.position(revision).is_some_and(|at| head.is_some_and(|head| at <= head))
    }

    /// Rows that belong to none of the chains, in the order of the table.
    pub fn unknown(&self, chains: &[&Chain]) -> Vec<String> {
        let known = |version: &&String| chains.iter().any(|chain| chain.position(version).is_some());
        self.versions.iter().filter(|version| !known(version)).cloned().collect()
    }

    /// Rows of the chain that are not its newest: Alembic keeps one row per chain, so somebody wrote these by hand.
    pub fn stale(&self, chain: &Chain) -> Vec<String> {
        let head = self.head_of(chain).map(|head| head.id.as_str());
        let stale = |version: &&String| chain.position(version).is_some() && Some(version.as_str()) != head;
        self.versions.iter().filter(stale).cloned().collect()
    }

    /// What is still to be replayed.
    pub fn pending<'a>(&self, chain: &'a Chain) -> &'a [Revision] {
        chain.pending(self.head_of(chain).map(|head| head.id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(name: &str, ids: &[&str]) -> Chain {
        let mut before = "none";
        let mut files = Vec::new();
        for id in ids {
            let text = format!("-- revision: {id}\n-- revises: {before}\nselect 1;");
            files.push((format!("{name}/{id}.sql"), text.into_bytes()));
            before = id;
        }
        Chain::assemble(name, files).expect("a chain")
    }

    #[test]
    fn rows_are_read_against_the_chains() {
        let core = chain("core", &["c1", "c2", "c3"]);
        let memory = chain("memory", &["m1"]);
        // rows, head of core, present of core, pending of core, unknown, stale
        type Case<'a> =
            (&'a [&'a str], Option<&'a str>, &'a [&'a str], &'a [&'a str], &'a [&'a str], &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            (&[], None, &[], &["c1", "c2", "c3"], &[], &[]),
            (&["c1"], Some("c1"), &["c1"], &["c2", "c3"], &[], &[]),
            (&["m1", "c2"], Some("c2"), &["c1", "c2"], &["c3"], &[], &[]),
            (&["c3", "m1"], Some("c3"), &["c1", "c2", "c3"], &[], &[], &[]),
            (&["c3", "c1"], Some("c3"), &["c1", "c2", "c3"], &[], &[], &["c1"]),
            (&["zz", "m1"], None, &[], &["c1", "c2", "c3"], &["zz"], &[]),
            (&["zz", "c1", "aa"], Some("c1"), &["c1"], &["c2", "c3"], &["zz", "aa"], &[]),
        ];
        for (rows, head, present, pending, unknown, stale) in cases {
            let history = History::new(rows.iter().copied());
            assert_eq!(history.head_of(&core).map(|revision| revision.id.as_str()), *head, "{rows:?}");
            for id in ["c1", "c2", "c3", "m1", "zz"] {
                assert_eq!(history.has(&core, id), present.contains(&id), "{rows:?} {id}");
            }
            let ids: Vec<&str> = history.pending(&core).iter().map(|revision| revision.id.as_str()).collect();
            assert_eq!(ids, *pending, "{rows:?}");
            assert_eq!(history.unknown(&[&core, &memory]), *unknown, "{rows:?}");
            assert_eq!(history.stale(&core), *stale, "{rows:?}");
        }
    }
}
