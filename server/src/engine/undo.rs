//! Undo: the database of before comes back by the same swap that took it away.

use model::{
    event::EventKind,
    fault::Fault,
    plan::{Observation, Plan},
};

use super::run::{Done, Run};
use crate::postgres::{
    barrier,
    databases::{self, DatabaseRow},
    kept,
    lock::LockSession,
};

impl Run {
    /// Brings the previous database back, by the same swap.
    pub(super) async fn undo(&self, lock: &LockSession) -> Result<Done, Fault> {
        let pool = &self.engine.control.pool;
        let database = self.target.database();
        let row = databases::row(&mut *lock.connection().await, database).await?;
        if row.is_some() && !lock.shared {
            self.guarded(barrier::pass(&self.target.url.connect_options(), lock)).await?;
        }
        let plan = self.plan_undo(lock, row.as_ref()).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        if self.request.dry_run {
            let kept = kept::of(pool, database).await?;
            let newest = kept.iter().find(|k| self.request.undoes.is_none_or(|id| id == k.operation));
            return Ok(Done::Read(match newest {
                Some(kept) => format!("dry run, nothing changed; {} would come back", kept.name),
                None => "dry run, nothing changed; no previous database is kept".to_owned(),
            }));
        }
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(refusal);
        }
        let (wanted, by) = (self.request.undoes, self.owner.operation);
        let kept = kept::claim(&mut *lock.connection().await, database, wanted, by).await?;
        let summary = format!("the database of before operation {} is back", kept.operation);
        self.swap(lock, (&kept.name, kept.oid), true, &summary).await
    }

    async fn plan_undo(&self, lock: &LockSession, row: Option<&DatabaseRow>) -> Result<Plan, Fault> {
        let mut observed = Observation { database_oid: row.map_or(0, |r| r.oid), ..Observation::default() };
        self.observe_swap(lock, row, &mut observed).await?;
        Ok(Plan::compute(&self.request, self.target.database(), &self.target.matrix, &self.chains, &observed))
    }
}
