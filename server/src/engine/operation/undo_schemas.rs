//! Undo in place: the schemas that were set aside take their names again, in one transaction.

use model::{
    event::EventKind,
    fault::Fault,
    finding::Finding,
    flag_roles,
    plan::{Observation, Plan, ReturningSchema, ReturningSchemas, count},
    profile::SessionRule,
};

use super::{
    commit::{Change, Worked},
    lifecycle::{Done, Run},
};
use crate::postgres::{
    catalog::{
        aside::{self, Found},
        database,
        observe::{self, Look},
        sessions, structure,
    },
    change::{
        exchange_schemas::{self, Exchanged},
        reset::Reset,
        transaction::Work,
    },
    control::{
        kept_schemas::{self, KeptSchemas},
        plans, retained,
    },
    lock::{fence, lease::LockSession},
};

impl Run {
    /// What an undo brings back, where that is schemas: what the named operation set aside, or the last one.
    pub(in crate::engine) async fn next_schemas(&self) -> Result<Option<KeptSchemas>, Fault> {
        let (pool, database) = (&self.engine.control.pool, self.target.database());
        let Some(oid) = database::oid(pool, database).await? else { return Ok(None) };
        let Some(kept) = kept_schemas::next(pool, oid, self.request.undoes).await? else { return Ok(None) };
        let swapped_later = match self.request.undoes {
            Some(_) => None,
            None => retained::next(pool, database, None).await?.filter(|it| it.kept_at > kept.kept_at),
        };
        Ok(swapped_later.is_none().then_some(kept))
    }

    /// Exchanges the schemas that serve for those that are kept.
    pub(in crate::engine) async fn undo_schemas(
        &self,
        lock: &LockSession,
        kept: &KeptSchemas,
    ) -> Result<Done, Fault> {
        let target = self.target.url.connect_options();
        if !lock.shared {
            self.guarded(fence::pass(&target, lock)).await?;
        }
        let mut work = self.guarded(Work::begin(&target, lock, self.work_context())).await?;
        let worked = self.guarded(self.work_undo(&mut work, lock, kept)).await;
        self.end_work(work, lock, worked).await
    }

    async fn work_undo(
        &self,
        work: &mut Work,
        lock: &LockSession,
        kept: &KeptSchemas,
    ) -> Result<Worked, Fault> {
        self.begin_work(work, lock).await?;
        if !self.request.dry_run {
            work.assign_transaction().await?;
        }
        let names_aside = self.names_aside().await?;
        let (observed, mut plan) = self.plan_undo_schemas(work, lock, kept, &names_aside).await?;
        self.foresee(&mut plan).await?;
        self.keep_plan(lock, &plan, &observed).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        self.engine.check_enrolment(&self.request, &self.target).await?;
        let schemas = count(kept.body.schemas.len(), "schema");
        if self.request.dry_run {
            let would = format!(
                "dry run, nothing changed; {schemas} of before operation {} would come back",
                kept.operation
            );
            return Ok(Worked::Read(would));
        }
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(self.tell_moved(lock, refusal, &plan, &observed).await);
        }
        if !plan.outside.is_empty() {
            flag_roles::outside(&self.target.profile, self.role)?;
        }
        kept_schemas::claim(&mut *lock.connection().await, kept.operation, self.owner.operation).await?;
        self.progress("undo", 0, kept.body.schemas.len() as u64, "brings the schemas back");
        let keep_until = self.keep_until(lock).await?;
        let how = Reset {
            plan: &plan,
            operation: self.owner.operation,
            keep_until,
            aside: &names_aside,
            replaces_tables: true,
        };
        let target = self.target.url.connect_options();
        let Exchanged { schemas: returned, aside } =
            exchange_schemas::exchange(work, &target, &how, kept).await?;
        for schema in returned {
            self.emit(lock, EventKind::SchemaReturned(schema)).await?;
        }
        let summary = format!("{schemas} of before operation {} back", kept.operation);
        let aside = aside.map(|body| self.intent(&observed, body, keep_until));
        Ok(Worked::Change(Box::new(Change { summary, validated: None, aside })))
    }

    async fn plan_undo_schemas(
        &self,
        work: &mut Work,
        lock: &LockSession,
        kept: &KeptSchemas,
        names_aside: &[String],
    ) -> Result<(Observation, Plan), Fault> {
        let matrix = &self.target.matrix;
        let names: Vec<String> = kept.body.schemas.iter().map(|s| s.schema.clone()).collect();
        let look = Look {
            reset: &names,
            changes: true,
            histories: false,
            aside: names_aside,
            replaces_tables: true,
            ..Look::of(matrix)
        };
        let mut observed = observe::observe(work.own().await?, &look).await?;
        observed.keep_previous_seconds = self.target.profile.keep_previous.as_secs();
        let (pool, own) = (&self.engine.control.pool, &lock.application_name);
        observed.sessions = sessions::of(pool, observed.database_oid, SessionRule::Refuse, own).await?;
        observed.activity = plans::activity(pool, self.target.database()).await?;
        let found = aside::look(work.own().await?, &kept.known()).await?;
        observed.findings.extend(self.in_the_way_of_undo(work, kept, &found, names_aside).await?);
        observed.brings_back_schemas = Some(returning(kept, &found));
        let mut plan = Plan::compute(&self.request, self.target.database(), matrix, &self.chains, &observed);
        self.add_schema_limits(work, &mut observed, &mut plan).await?;
        Ok((observed, plan))
    }

    /// Why what is kept cannot come back: it is not what it was, or others have to come back first.
    async fn in_the_way_of_undo(
        &self,
        work: &mut Work,
        kept: &KeptSchemas,
        found: &[Found],
        names_aside: &[String],
    ) -> Result<Vec<Finding>, Fault> {
        let mut findings: Vec<Finding> = Vec::new();
        let asides = kept.body.schemas.iter().filter_map(|s| s.aside.as_ref());
        for (aside, why) in asides.zip(found).filter_map(|(a, f)| f.why_not.as_ref().map(|why| (a, why))) {
            findings.push(changed(&aside.name, why));
        }
        if findings.is_empty() {
            let oids: Vec<u32> = found.iter().map(|f| f.oid).collect();
            let now = structure::of(work.own().await?, &oids).await?;
            if let Some(what) = structure::difference(&kept.body.structure, &now) {
                findings.push(changed(
                    &kept.body.names().join(", "),
                    &format!("changed since it was set aside: {what}"),
                ));
            }
        }
        let (publications, roles) = kept.body.needs();
        let missing = aside::missing(work.own().await?, &publications, &roles).await?;
        findings.extend(missing.into_iter().map(|what| {
            Finding::error(
                "UNDO_NEEDS",
                what,
                "is not there any more: what comes back was in it, or gave it rights",
                "make it again, then undo",
            )
        }));
        let managed = self.target.matrix.managed_schemas();
        let strangers = kept.body.schemas.iter().filter(|s| !managed.contains(&s.schema.as_str()));
        findings.extend(strangers.map(|s| {
            Finding::error(
                "NOT_MANAGED",
                format!("schema {}", s.schema),
                "was managed when it was set aside, and is not any more",
                "put it into the matrix again, then undo",
            )
        }));
        if let Some(later) = kept_schemas::later(&self.engine.control.pool, kept).await? {
            findings.push(Finding::error(
                "UNDO_ORDER",
                format!("operation {later}"),
                "came later: the newest is undone first",
                format!("resetctl undo {later}, then this one"),
            ));
        }
        let own = kept.body.names();
        let others: Vec<String> = names_aside.iter().filter(|name| !own.contains(name)).cloned().collect();
        if findings.is_empty() && !others.is_empty() {
            let hanging = aside::hanging(work.own().await?, &others).await?;
            let tied =
                hanging.into_iter().filter(|object| own.iter().any(|name| object.contains(name.as_str())));
            findings.extend(tied.map(|object| {
                Finding::error(
                    "UNDO_ORDER",
                    object,
                    "hangs on schemas that are set aside themselves",
                    "`resetctl kept list` shows which operations set them aside: undo the newest first",
                )
            }));
        }
        Ok(findings)
    }
}

fn changed(name: &str, why: &str) -> Finding {
    Finding::error(
        "KEPT_CHANGED",
        format!("schema {name}"),
        format!("is not what was set aside: {why}"),
        "make it what it was, or take from it what you need by hand; it is not brought back and not dropped like this",
    )
}

fn returning(kept: &KeptSchemas, found: &[Found]) -> ReturningSchemas {
    let schema = |it: &kept_schemas::KeptSchema| {
        let oid = it.aside.as_ref().map(|aside| aside.oid);
        let size = found.iter().find(|f| Some(f.oid) == oid).and_then(|f| f.size).unwrap_or_default();
        ReturningSchema {
            schema: it.schema.clone(),
            kept_as: it.aside.as_ref().map(|aside| aside.name.clone()),
            oid,
            tables: size.tables,
            estimated_rows: size.estimated_rows,
            bytes: size.bytes,
        }
    };
    ReturningSchemas {
        operation: kept.operation,
        kept_since: kept.kept_at,
        kept_until: kept.expires_at,
        schemas: kept.body.schemas.iter().map(schema).collect(),
    }
}
