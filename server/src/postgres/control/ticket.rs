//! What wants to begin on a target: by it the lock is asked for, the place in the queue kept, and the operation recorded.

use super::{journal::Owner, window_guard::WindowGuard};

/// What wants to begin.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) owner: Owner,
    pub(crate) database: String,
    /// What its lock session is called.
    pub(crate) application_name: String,
    pub(crate) shared: bool,
    /// `None`: no window keeps it from beginning.
    pub(crate) window_guard: Option<WindowGuard>,
}

impl Ticket {
    /// Of something that changes the target and asks no window: it takes up what was left.
    pub(crate) fn exclusive(owner: Owner, database: &str, application_name: String) -> Self {
        Self { owner, database: database.to_owned(), application_name, shared: false, window_guard: None }
    }
}
