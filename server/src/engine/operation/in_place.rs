//! The work of each verb inside the work transaction, and its commit.

use model::{
    event::{EventKind, Progress},
    fault::{Fault, Reason},
    finding, flag_roles,
    operation::Verb,
    plan::{Observation, Plan, count, schemas_to_reset},
    profile::{Scope, SessionRule},
    validation::Validation,
};

use super::{
    commit::{Change, Worked},
    lifecycle::{Done, Run},
    phased::{chain_completed, revision_applied},
    telling::Telling,
};
use crate::postgres::{
    catalog::{
        deferred_triggers,
        observe::{self, Look},
        publications::PublishedTable,
        sessions,
    },
    change::{
        place_extensions, record_version,
        replay::{self, ReplayTarget},
        reset::{self, Reset},
        set_aside,
        transaction::Work,
    },
    control::{kept_schemas::Intent, operations, targets},
    lock::{fence, lease::LockSession},
    session::identity::Identity,
};

/// How many differences are named in one line; the report has all.
const NAMED: usize = 10;

impl Run {
    pub(in crate::engine) async fn execute(&self, lock: &LockSession) -> Result<Done, Fault> {
        match (self.request.verb, self.request.scope) {
            (Verb::Undo, _) => return self.undo(lock).await,
            (_, Some(Scope::Database)) => return self.replace_database(lock).await,
            (Verb::Migrate, _) if self.request.allow_phased && !self.request.dry_run => {
                return self.migrate_phased(lock).await;
            }
            _ => {}
        }
        let target = self.work_options();
        if !lock.shared {
            self.guarded(fence::pass(&target, lock)).await?;
        }
        let mut work = self.guarded(Work::begin(&target, lock, self.work_context())).await?;
        let worked = self.guarded(self.work(&mut work, lock)).await;
        self.end_work(work, lock, worked).await
    }

    async fn work(&self, work: &mut Work, lock: &LockSession) -> Result<Worked, Fault> {
        self.begin_work(work, lock).await?;
        match self.request.verb {
            Verb::Validate => self.validate(work, lock).await.map(|(summary, _)| Worked::Read(summary)),
            _ => self.change(work, lock).await,
        }
    }

    /// Makes sure that the session is in the right cluster, and tells the control database of it.
    pub(in crate::engine) async fn begin_work(
        &self,
        work: &mut Work,
        lock: &LockSession,
    ) -> Result<(), Fault> {
        let identity = targets::same_cluster(&self.engine.control, work.own().await?).await?;
        operations::set_work_pid(&mut *lock.connection().await, self.owner, work.pid()).await?;
        match self.request.reads_only() {
            true => Ok(()),
            false => self.enrolled(&identity).await,
        }
    }

    /// Under the lock: the database that is there now is the enrolled one, or enrolls itself where its profile says so.
    pub(in crate::engine) async fn enrolled(&self, identity: &Identity) -> Result<(), Fault> {
        if !self.target.profile.self_enroll {
            return self.engine.may_change(&self.request, &self.target).await;
        }
        if !self.request.verb.is_destructive() {
            return Ok(());
        }
        let by = format!("self ({})", self.target.profile.name);
        Ok(targets::enroll(&self.engine.control, self.target.database(), identity, &by).await?)
    }

    /// Creates the extensions that the chains require.
    pub(in crate::engine) async fn create_extensions(&self, work: &mut Work) -> Result<(), Fault> {
        place_extensions::create(work, &self.chains.extensions(&self.target.matrix)).await
    }

    async fn change(&self, work: &mut Work, lock: &LockSession) -> Result<Worked, Fault> {
        let inside = self.begin_inside(work, lock).await?;
        if !self.request.dry_run {
            work.assign_transaction().await?;
            self.hold_versions(work).await?;
        }
        let (observed, mut plan) = self.plan(work, lock).await?;
        self.foresee_inside(lock, &mut plan).await?;
        self.foresee(&mut plan).await?;
        self.keep_plan(lock, &plan, &observed).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        if self.request.dry_run {
            let text = EventKind::Planned { plan: Box::new(plan) }.text();
            return Ok(Worked::Read(format!("dry run, nothing changed; {text}")));
        }
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(self.tell_moved(lock, refusal, &plan, &observed).await);
        }
        if !plan.outside.is_empty() {
            flag_roles::outside(&self.target.profile, self.role)?;
        }
        let mut summary = Vec::new();
        let (mut aside, mut published) = (None, Vec::new());
        if self.request.verb.resets() {
            (aside, published) = self.reset(work, lock, &plan, &observed).await?;
            summary.push(format!("{} reset", count(plan.schemas.len(), "schema")));
        }
        if self.request.verb.migrates() {
            let applied = self.migrate(work, lock, &plan, &observed).await?;
            set_aside::publish(work, &published).await?;
            summary.push(format!("{} applied", count(applied, "revision")));
        }
        if let Some(inside) = &inside {
            summary.push(self.fill_inside(work, lock, inside, &observed).await?);
        }
        let managed = self.target.matrix.managed_schemas();
        place_extensions::refuse_in(work, &managed).await?;
        let mut validated = None;
        if self.request.verb.validates() {
            let (valid, validation) = self.validate_and_seed(work, lock, &observed).await?;
            summary.push(valid);
            validated = Some(validation);
        }
        Ok(Worked::Change(Box::new(Change { summary: summary.join(", "), validated, aside })))
    }

    /// Nobody else moves the versions that are planned on, before they are looked at.
    pub(in crate::engine) async fn hold_versions(&self, work: &mut Work) -> Result<(), Fault> {
        if !self.request.verb.migrates() {
            return Ok(());
        }
        let dropped = schemas_to_reset(&self.request, &self.target.matrix);
        let managed = self.target.matrix.managed_schemas().into_iter().map(str::to_owned);
        let stay: Vec<String> = managed.filter(|schema| !dropped.contains(schema)).collect();
        match stay.is_empty() {
            true => Ok(()),
            false => record_version::hold(work, &stay).await,
        }
    }

    pub(in crate::engine) async fn plan(
        &self,
        work: &mut Work,
        lock: &LockSession,
    ) -> Result<(Observation, Plan), Fault> {
        let matrix = &self.target.matrix;
        let reset = schemas_to_reset(&self.request, matrix);
        let chains = self.request.verb.migrates().then_some(&self.chains);
        let aside = self.names_aside().await?;
        let look = Look {
            reset: &reset,
            chains,
            changes: true,
            aside: &aside,
            replaces_tables: self.request.verb.migrates(),
            ..Look::of(matrix)
        };
        let mut observed = observe::observe(work.own().await?, &look).await?;
        observed.keep_previous_seconds = self.target.profile.keep_previous.as_secs();
        let (pool, own) = (&self.engine.control.pool, &lock.application_name);
        observed.sessions = sessions::of(pool, observed.database_oid, SessionRule::Refuse, own).await?;
        self.add_activity(&mut observed).await?;
        let mut plan = Plan::compute(&self.request, self.target.database(), matrix, &self.chains, &observed);
        self.add_schema_limits(work, &mut observed, &mut plan).await?;
        Ok((observed, plan))
    }

    async fn reset(
        &self,
        work: &mut Work,
        lock: &LockSession,
        plan: &Plan,
        observed: &Observation,
    ) -> Result<(Option<Intent>, Vec<PublishedTable>), Fault> {
        let total = plan.schemas.len() as u64;
        let doing = if plan.sets_aside() { "sets the schemas aside" } else { "drops the schemas" };
        self.progress("reset", 0, total, doing);
        let keep_until = self.keep_until(lock).await?;
        let how = Reset {
            plan,
            operation: self.owner.operation,
            keep_until,
            aside: &self.names_aside().await?,
            replaces_tables: self.request.verb.migrates(),
        };
        let done = reset::managed_schemas(work, &self.target.url.connect_options(), &how).await?;
        for schema in done.schemas {
            self.emit(lock, EventKind::SchemaReset(schema)).await?;
        }
        for finding in done.findings {
            self.emit(lock, EventKind::FindingReported { finding }).await?;
        }
        Ok((done.aside.map(|body| self.intent(observed, body, keep_until)), done.published))
    }

    async fn migrate(
        &self,
        work: &mut Work,
        lock: &LockSession,
        plan: &Plan,
        observed: &Observation,
    ) -> Result<usize, Fault> {
        if !self.request.verb.resets() {
            place_extensions::move_out(work, &plan.extension_moves).await?;
        }
        reset::create_missing(work, &plan.created_schemas).await?;
        self.create_extensions(work).await?;
        let total: usize = plan.chains.iter().map(|c| c.revisions.len()).sum();
        let (mut applied, mut telling) = (0, Telling::default());
        for planned in &plan.chains {
            let path = self.search_path(&planned.schema);
            let owner = observed.schema(&planned.schema).and_then(|s| s.owner.as_deref());
            let place = ReplayTarget {
                schema: &planned.schema,
                search_path: &path,
                owner,
                role: self.replay_role(planned, owner),
            };
            let chain = self.planned_chain(planned)?;
            let mut before = planned.from.as_deref();
            for revision in chain.pending(before) {
                let current = format!("{} in {}", revision.id, planned.schema);
                self.progress("migrate", applied as u64, total as u64, &current);
                let applies = replay::apply(work, &place, before, revision);
                let took = self.beside(lock, &mut telling, applies).await?;
                telling.push(revision_applied(planned, revision, took));
                before = Some(&revision.id);
                applied += 1;
            }
            telling.push(chain_completed(planned));
        }
        self.beside(lock, &mut telling, replay::leave(work)).await?;
        self.tell(lock, &mut telling).await?;
        Ok(applied)
    }

    /// The schema first, then the matrix's suffix, then where extensions live.
    pub(in crate::engine) fn search_path<'a>(&'a self, schema: &'a str) -> Vec<&'a str> {
        let matrix = &self.target.matrix;
        let mut path = vec![schema];
        let rest = matrix.search_path_suffix.iter().chain([&matrix.extensions_schema]);
        for name in rest.map(String::as_str) {
            if !path.contains(&name) {
                path.push(name);
            }
        }
        path
    }

    pub(in crate::engine) async fn validate(
        &self,
        work: &mut Work,
        lock: &LockSession,
    ) -> Result<(String, Validation), Fault> {
        let matrix = &self.target.matrix.of_database();
        let mut observed = observe::observe(work.own().await?, &Look::of(matrix)).await?;
        observed.findings.extend(deferred_triggers::of(work.own().await?, &matrix.managed_schemas()).await?);
        for finding in &observed.findings {
            self.emit(lock, EventKind::FindingReported { finding: finding.clone() }).await?;
        }
        // Without every version nothing is known of the target.
        if let Some(refusal) = finding::refusal(&observed.findings) {
            return Err(refusal);
        }
        let validation = Validation::compute(matrix, &self.chains, &observed);
        self.emit(lock, EventKind::Validated { validation: Box::new(validation.clone()) }).await?;
        if validation.is_ok() {
            let s = &validation.summary;
            let valid = format!(
                "valid: {}, {}, {}",
                count(s.schemas_checked, "schema"),
                count(s.tables_checked, "table"),
                count(s.revisions_checked, "revision")
            );
            return Ok((valid, validation));
        }
        let after = if self.request.verb == Verb::Validate { "" } else { "; everything was rolled back" };
        Err(Fault::new(
            Reason::ValidationDifferences,
            format!("the target is not what its matrix says{after}: {}", validation.differences(NAMED)),
        )
        .hint("the report's details.validation.missing has all of it; `run` brings the target there; `migrate` only what is pending"))
    }

    pub(in crate::engine) fn progress(&self, phase: &str, done: u64, total: u64, current: &str) {
        self.live.tell(EventKind::Progress(Progress {
            phase: phase.to_owned(),
            done,
            total,
            current: current.to_owned(),
        }));
    }
}
