//! Whether a plan comes to anything.

use super::Plan;
use crate::profile::Scope;

impl Plan {
    /// The real run would change something, where nothing refuses it.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.scope == Some(Scope::Database)
            || !self.schemas.is_empty()
            || self.brings_back.is_some()
            || self.brings_back_schemas.is_some()
            || !self.created_schemas.is_empty()
            || !self.created_extensions.is_empty()
            || !self.extension_moves.is_empty()
            || self.chains.iter().any(|chain| !chain.revisions.is_empty())
    }
}
