//! What an operation needs to know, and to tell the ledger, of schemas that are set aside.

use jiff::Timestamp;
use model::{
    fault::Fault,
    operation::Verb,
    plan::{Observation, Plan, count},
    retained::{self, Retained},
};

use super::lifecycle::Run;
use crate::postgres::{
    catalog::aside,
    change::{discard, transaction::Work},
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
    /// What is not the daemon's any more is somebody's, and lost with the database.
    pub(in crate::engine) async fn own_schemas(&self, work: &mut Work) -> Result<Vec<String>, Fault> {
        let whole = self.target.matrix.of_database();
        let mut own: Vec<String> = whole.managed_schemas().into_iter().map(str::to_owned).collect();
        if self.target.profile.keep_previous.is_zero() {
            return Ok(own);
        }
        for set in kept_schemas::named(&self.engine.control.pool, self.target.database()).await? {
            if discard::check(work.own().await?, &set).await?.is_none() {
                own.extend(set.body.names());
            }
        }
        Ok(own)
    }

    /// Until when what is set aside now is kept.
    pub(in crate::engine) async fn keep_until(&self, lock: &LockSession) -> Result<Timestamp, Fault> {
        let keep = self.target.profile.keep_previous;
        Ok(kept_schemas::deadline(&mut *lock.connection().await, keep).await?)
    }

    /// What other operations set aside and goes with this one, because the profile keeps only so much.
    pub(in crate::engine) async fn add_schema_limits(
        &self,
        work: &mut Work,
        observed: &mut Observation,
        plan: &mut Plan,
    ) -> Result<(), Fault> {
        if !plan.sets_aside() {
            return Ok(());
        }
        let comes_back = plan.brings_back_schemas.as_ref().map(|set| set.operation);
        let mut returnable =
            kept_schemas::returnable(&self.engine.control.pool, observed.database_oid).await?;
        returnable.retain(|set| Some(set.operation) != comes_back);
        let mut kept = Vec::new();
        for set in returnable {
            let found = aside::look(work.own().await?, &set.known()).await?;
            let bytes: i64 = found.iter().filter_map(|f| f.size).map(|size| size.bytes).sum();
            kept.push(Retained {
                what: count(set.body.names().len(), "schema"),
                operation: set.operation,
                until: set.expires_at,
                bytes: Some(bytes.unsigned_abs()),
            });
        }
        let newest: i64 = plan.schemas.iter().map(|s| s.bytes).sum();
        let early = retained::ending_early(kept, Some(newest.unsigned_abs()), self.keep_limits());
        for (it, limit) in early {
            plan.findings.push(retained::finding(&it, &limit));
            observed.ends_early.push(it.operation);
        }
        Ok(())
    }

    /// What the ledger has to know of what is set aside.
    pub(in crate::engine) fn intent(
        &self,
        observed: &Observation,
        body: Body,
        expires_at: Timestamp,
    ) -> Intent {
        Intent {
            database: self.target.database().to_owned(),
            database_oid: observed.database_oid,
            by_undo: self.request.verb == Verb::Undo,
            body,
            expires_at,
            ends_early: observed.ends_early.clone(),
        }
    }
}
