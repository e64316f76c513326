//! What an operation needs to know, and to tell the ledger, of schemas that are set aside.

use jiff::Timestamp;
use model::{fault::Fault, operation::Verb, plan::Plan};

use super::lifecycle::Run;
use crate::postgres::{
    control::kept_schemas::{self, Body, Intent},
    lock::lease::LockSession,
};

impl Run {
    /// The names of schemas that are set aside in the target, where the profile keeps any.
    pub(in crate::engine) async fn names_aside(&self) -> Result<Vec<String>, Fault> {
        let pool = &self.engine.control.pool;
        if self.target.profile.keep_previous.is_zero() {
            return Ok(Vec::new());
        }
        let kept = kept_schemas::named(pool, self.target.database()).await?;
        Ok(kept.iter().flat_map(|set| set.body.names()).collect())
    }

    /// The managed schemas, and those that are set aside: a database that is kept takes them along, and brings them back.
    pub(in crate::engine) async fn own_schemas(&self) -> Result<Vec<String>, Fault> {
        let whole = self.target.matrix.of_database();
        let managed = whole.managed_schemas().into_iter().map(str::to_owned);
        Ok(managed.chain(self.names_aside().await?).collect())
    }

    /// Until when what is set aside now is kept.
    pub(in crate::engine) async fn keep_until(&self, lock: &LockSession) -> Result<Timestamp, Fault> {
        let keep = self.target.profile.keep_previous;
        Ok(kept_schemas::deadline(&mut *lock.connection().await, keep).await?)
    }

    /// What the ledger has to know of what is set aside.
    pub(in crate::engine) fn intent(&self, plan: &Plan, body: Body, expires_at: Timestamp) -> Intent {
        Intent {
            database: self.target.database().to_owned(),
            database_oid: plan.database_oid,
            by_undo: self.request.verb == Verb::Undo,
            body,
            expires_at,
        }
    }
}
