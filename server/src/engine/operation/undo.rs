//! Undo: what an operation took away comes back. A database by the same swap; schemas see `undo_schemas`.

use model::{
    event::EventKind,
    fault::Fault,
    plan::{Observation, Plan, Returning},
};

use super::{
    exchange::Exchange,
    lifecycle::{Done, Run},
};
use crate::postgres::{
    catalog::database::{self, DatabaseRow},
    control::retained,
    lock::{fence, lease::LockSession},
};

impl Run {
    /// Brings back what the named operation took away, or what was taken away last.
    pub(in crate::engine) async fn undo(&self, lock: &LockSession) -> Result<Done, Fault> {
        match self.next_schemas().await? {
            Some(kept) => self.undo_schemas(lock, &kept).await,
            None => self.undo_database(lock).await,
        }
    }

    /// Brings the previous database back, by the same swap.
    async fn undo_database(&self, lock: &LockSession) -> Result<Done, Fault> {
        let database = self.target.database();
        let row = database::row(&mut *lock.connection().await, database).await?;
        if row.is_some() && !lock.shared {
            self.guarded(fence::pass(&self.target.url.connect_options(), lock)).await?;
        }
        let (observed, mut plan) = self.plan_undo(lock, row.as_ref()).await?;
        self.foresee(&mut plan).await?;
        self.keep_plan(lock, &plan, &observed).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        self.engine.check_enrolment(&self.request, &self.target).await?;
        if self.request.dry_run {
            return Ok(Done::Read(match &plan.brings_back {
                Some(kept) => format!("dry run, nothing changed; {} would come back", kept.name),
                None => "dry run, nothing changed; no previous database is kept".to_owned(),
            }));
        }
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(self.tell_moved(lock, refusal, &plan, &observed).await);
        }
        // The one that the plan names; where it names none, claiming one says so.
        let wanted = plan.brings_back.as_ref().map(|r| r.operation).or(self.request.undoes);
        let by = self.owner.operation;
        let kept = retained::claim(&mut *lock.connection().await, database, wanted, by).await?;
        let summary = format!("the database of before operation {} is back", kept.operation);
        let exchange = Exchange {
            outgoing: row.as_ref(),
            incoming: (&kept.name, kept.oid),
            built: None,
            ends_early: &observed.ends_early,
            summary: &summary,
        };
        self.swap(lock, &exchange).await
    }

    async fn plan_undo(
        &self,
        lock: &LockSession,
        row: Option<&DatabaseRow>,
    ) -> Result<(Observation, Plan), Fault> {
        let mut observed = Observation { database_oid: row.map_or(0, |r| r.oid), ..Observation::default() };
        let pool = &self.engine.control.pool;
        let next = retained::next(pool, self.target.database(), self.request.undoes).await?;
        observed.brings_back = next.map(|kept| Returning {
            name: kept.name,
            oid: kept.oid,
            operation: kept.operation,
            kept_since: kept.kept_at,
            kept_until: kept.expires_at,
        });
        self.observe_swap(lock, row, &mut observed).await?;
        let matrix = &self.target.matrix;
        let plan = Plan::compute(&self.request, self.target.database(), matrix, &self.chains, &observed);
        Ok((observed, plan))
    }
}
