//! What plans are compared with: plans that were shown before, and what was written since the last operation.

use model::{
    authorization::Role,
    fault::{Fault, Reason},
    plan::{self, Observation, Plan, Refusal},
    retained::{Limits, Retained},
};

use super::lifecycle::Run;
use crate::postgres::{
    control::{plans, retained},
    lock::lease::LockSession,
};

impl Run {
    /// Keeps a plan under its digest, so that whoever sends the digest later can be told what moved.
    pub(in crate::engine) async fn keep_plan(
        &self,
        lock: &LockSession,
        plan: &Plan,
        observed: &Observation,
    ) -> Result<(), Fault> {
        let identity = plan.identity(&self.chains, observed);
        let keep = self.target.profile.keep_operations;
        Ok(plans::keep(&mut *lock.connection().await, self.owner.operation, plan, &identity, keep).await?)
    }

    /// Adds to a `PLAN_CHANGED` what moved since the approved plan was shown.
    pub(in crate::engine) async fn tell_moved(
        &self,
        lock: &LockSession,
        refusal: Fault,
        plan: &Plan,
        observed: &Observation,
    ) -> Fault {
        let Some(approved) =
            self.request.plan_digest.as_deref().filter(|_| refusal.reason == Reason::PlanChanged)
        else {
            return refusal;
        };
        match plans::identity(&mut *lock.connection().await, approved).await {
            Ok(Some(known)) => plan::tell_moved(refusal, &known, &plan.identity(&self.chains, observed)),
            Ok(None) => refusal.with("moved", "not known: that plan is not kept here"),
            Err(fault) => {
                tracing::warn!(%fault, "the approved plan cannot be read");
                refusal
            }
        }
    }

    /// A dry run tells of what would refuse the real run before it had a plan, too: role, enrolment and windows as they are
    /// now.
    pub(in crate::engine) async fn foresee(&self, plan: &mut Plan) -> Result<(), Fault> {
        if !self.request.dry_run || plan.refusal.is_some() {
            return Ok(());
        }
        let destructive = self.request.verb.is_destructive();
        let refusal = if destructive && self.role.is_some_and(|role| role < Role::Resetter) {
            let text = format!(
                "{} may plan this, and needs the role resetter to do it",
                self.window_guard.principal
            );
            Some(Fault::new(Reason::PermissionDenied, text))
        } else {
            self.foreseen().await?
        };
        plan.refusal = refusal.map(|fault| Refusal { reason: fault.reason, text: fault.message });
        Ok(())
    }

    async fn foreseen(&self) -> Result<Option<Fault>, Fault> {
        if !self.target.profile.self_enroll {
            match self.engine.may_change(&self.request, &self.target).await {
                Err(refusal) if refusal.reason == Reason::TargetNotEnrolled => return Ok(Some(refusal)),
                checked => checked?,
            }
        }
        let standing = self.window_guard.standing(&self.engine.control.pool).await?;
        Ok(self.window_guard.refusal(&standing.verdict))
    }

    /// How much was written to the target since its last operation, and how much may go unasked.
    pub(in crate::engine) async fn add_activity(&self, observed: &mut Observation) -> Result<(), Fault> {
        let pool = &self.engine.control.pool;
        observed.activity = plans::activity(pool, self.target.database()).await?;
        observed.max_rows = self.target.profile.max_rows;
        observed.max_bytes = self.target.profile.max_bytes;
        Ok(())
    }

    /// The kept databases that go with this swap, because the profile keeps only so many.
    pub(in crate::engine) async fn add_limits(
        &self,
        outgoing: Option<u32>,
        observed: &mut Observation,
    ) -> Result<(), Fault> {
        let (pool, profile) = (&self.engine.control.pool, &self.target.profile);
        let limits = self.keep_limits();
        let mut kept = retained::returnable(pool, self.target.database()).await?;
        kept.retain(|it| observed.brings_back.as_ref().is_none_or(|r| r.oid != it.oid));
        let outgoing = outgoing.filter(|_| !profile.keep_previous.is_zero());
        let oids: Vec<u32> = kept.iter().map(|it| it.oid).chain(outgoing).collect();
        let sizes = match limits.bytes {
            Some(_) => retained::sizes(pool, &oids).await?,
            None => Vec::new(),
        };
        let bytes = |oid: u32| sizes.iter().find(|(of, _)| *of == oid).map(|(_, bytes)| *bytes);
        let kept = kept.into_iter().map(|it| Retained {
            bytes: bytes(it.oid),
            what: format!("database {}", it.name),
            operation: it.operation,
            until: it.expires_at,
        });
        let newest = outgoing.map(|oid| bytes(oid).unwrap_or_default());
        for (it, limit) in model::retained::ending_early(kept.collect(), newest, limits) {
            observed.findings.push(model::retained::finding(&it, &limit));
            observed.ends_early.push(it.operation);
        }
        Ok(())
    }

    /// How much the profile keeps: of databases, and of sets of schemas.
    pub(in crate::engine) fn keep_limits(&self) -> Limits {
        Limits { count: self.target.profile.keep_count, bytes: self.target.profile.keep_bytes }
    }

    /// From here on, what is written counts for the next plan.
    pub(in crate::engine) async fn set_baseline(&self) {
        if let Err(fault) = plans::set_baseline(&self.engine.control.pool, self.target.database()).await {
            tracing::warn!(%fault, "how much was written so far is not remembered");
        }
    }
}
