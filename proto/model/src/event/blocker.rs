//! A session, or a prepared transaction, in the way: in words.

use jiff::Timestamp;

use super::Blocker;

impl Blocker {
    /// What it is, by identity.
    #[must_use]
    pub fn object(&self) -> String {
        match self.gid.as_str() {
            "" => format!("session {} of {} ({})", self.pid, self.user, self.application_name),
            gid => format!("prepared transaction {gid} of {}", self.user),
        }
    }

    /// What it does, and since when, as far as that is known.
    #[must_use]
    pub fn doing(&self) -> String {
        let since = |what: &str, at: Option<Timestamp>| {
            at.map(|at| format!("{what} since {at:.0}")).unwrap_or_default()
        };
        if !self.gid.is_empty() {
            return since("prepared", self.since);
        }
        if self.state.is_empty() {
            return "(what it does is hidden from the daemon's role)".to_owned();
        }
        let transaction = since(", transaction open", self.since);
        let query = match (since(", query", self.query_since), self.query.as_str()) {
            (since, "") => since,
            (since, query) => format!("{since}: {query}"),
        };
        format!("{}{transaction}{query}", self.state)
    }
}
