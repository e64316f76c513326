//! Scope database: a new database is built aside and validated while the old one serves, then takes its name in one
//! transaction. A failure before that never touches the old one.

use std::pin::Pin;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use model::{
    event::{ChainCompleted, EventKind, RevisionApplied},
    fault::{Fault, Reason},
    finding::Finding,
    operation::Verb,
    plan::{Observation, ObservedSchema, Plan, PlannedChain, count},
    profile::SessionRule,
};

use super::{
    ending,
    run::{Done, Run},
};
use crate::{
    config::DatabaseUrl,
    postgres::{
        barrier,
        catalog::{self, Look},
        databases::{self, DatabaseRow},
        kept,
        lock::LockSession,
        operations,
        replay::{self, Place},
        reset, sessions,
        swap::{self, Swap},
        targets,
        work::Work,
    },
};

/// The migration of one schema, under way.
type Fill<'a> = Pin<Box<dyn Future<Output = Result<usize, Fault>> + Send + 'a>>;

/// Schemas migrated at the same time when the caller leaves it to the daemon.
const JOBS: usize = 4;
/// The most schemas migrated at the same time.
const MOST_JOBS: usize = 16;

impl Run {
    /// Reset and run of the whole database.
    pub(super) async fn replace_database(&self, lock: &LockSession) -> Result<Done, Fault> {
        let row = databases::row(&mut *lock.connection().await, self.target.database()).await?;
        if row.is_some() && !lock.shared {
            self.guarded(barrier::pass(&self.target.url.connect_options(), &lock.application_name)).await?;
        }
        let plan = self.guarded(self.plan_database(lock, row.as_ref())).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        if self.request.dry_run {
            let text = EventKind::Planned { plan: Box::new(plan) }.text();
            return Ok(Done::Read(format!("dry run, nothing changed; {text}")));
        }
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(refusal);
        }
        let name = self.generated("new");
        let done = self.build_and_swap(lock, row.as_ref(), &plan, &name).await;
        if let Err(fault) = &done
            && fault.reason != Reason::OutcomeUnknown
        {
            self.sweep(lock, &name).await;
        }
        self.engine.janitor.notify_one();
        done
    }

    /// A short name that is this operation's own, whatever the database is called.
    pub(super) fn generated(&self, kind: &str) -> String {
        let id = self.owner.operation.simple().to_string();
        format!("resetd_{kind}_{}", &id[id.len() - 16..])
    }

    pub(super) fn session_rule(&self) -> SessionRule {
        match self.request.terminate_sessions {
            true => SessionRule::Terminate,
            false => self.target.profile.sessions,
        }
    }

    /// Drops what was built; what cannot be dropped now is dropped by whoever recovers or by the next start.
    async fn sweep(&self, lock: &LockSession, name: &str) {
        if let Err(fault) = databases::drop_generated(&mut *lock.connection().await, name).await {
            tracing::warn!(%fault, name, "the database built aside is not dropped yet");
        }
    }

    async fn plan_database(&self, lock: &LockSession, row: Option<&DatabaseRow>) -> Result<Plan, Fault> {
        let matrix = &self.target.matrix;
        let mut observed = match row {
            Some(_) => self.observe_database(lock).await?,
            None => Observation {
                schemas: matrix
                    .managed_schemas()
                    .into_iter()
                    .map(|name| ObservedSchema { name: name.to_owned(), ..ObservedSchema::default() })
                    .collect(),
                ..Observation::default()
            },
        };
        observed.findings.extend(databases::preflight(&mut *lock.connection().await, row).await?);
        observed.keep_previous_seconds = self.target.profile.keep_previous.as_secs();
        if let Some(row) = row {
            let rule = self.session_rule();
            observed.sessions = sessions::of(&self.engine.control.pool, row.oid, rule).await?;
            observed
                .findings
                .extend(observed.sessions.iter().filter(|s| !s.would_end).map(|s| in_the_way(s, rule)));
            if self.target.profile.keep_previous.is_zero() {
                observed.findings.push(cannot_be_undone(self.target.database()));
            }
        }
        Ok(Plan::compute(&self.request, self.target.database(), matrix, &self.chains, &observed))
    }

    async fn observe_database(&self, lock: &LockSession) -> Result<Observation, Fault> {
        let matrix = &self.target.matrix;
        let mut work = Work::begin(&self.target.url.connect_options(), lock, self.work_context()).await?;
        let look = Look { matrix, reset: &[], chains: None, changes: false };
        let observed = async {
            let identity = targets::same_cluster(&self.engine.control, &mut work.connection).await?;
            if !self.request.dry_run && self.target.profile.self_enroll {
                let by = format!("self ({})", self.target.profile.name);
                targets::enroll(&self.engine.control, self.target.database(), &identity, &by).await?;
            }
            let mut observed = catalog::observe(&mut work.connection, &look).await?;
            observed.outside =
                databases::lost_with_it(&mut work.connection, &matrix.managed_schemas()).await?;
            if self.request.verb.migrates() {
                observed.findings.extend(catalog::extensions(&mut work.connection, &self.chains).await?);
            }
            Ok(observed)
        }
        .await;
        // The swap must not find a session of the daemon's own in its way.
        work.roll_back().await;
        observed
    }

    async fn build_and_swap(
        &self,
        lock: &LockSession,
        row: Option<&DatabaseRow>,
        plan: &Plan,
        name: &str,
    ) -> Result<Done, Fault> {
        self.progress("build", 0, 0, "creates the new database");
        let oid = {
            let mut connection = lock.connection().await;
            operations::set_build_database(&mut connection, self.owner, name).await?;
            databases::create_aside(&mut connection, name, row).await?
        };
        let mut summary = vec!["database replaced".to_owned()];
        if self.request.verb == Verb::Run {
            let url = self.target.url.with_database(name);
            let applied = self.fill(lock, &url, plan).await?;
            summary.push(format!("{} applied", count(applied, "revision")));
            let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
            let valid = async {
                reset::refuse_extensions_in(&mut work, &self.target.matrix.managed_schemas()).await?;
                self.validate(&mut work, lock).await
            }
            .await;
            work.roll_back().await;
            summary.push(valid?);
        }
        self.emit(lock, EventKind::DatabaseBuilt { database: name.to_owned(), oid }).await?;
        self.swap(lock, (name, oid), false, &summary.join(", ")).await
    }

    /// Creates the schemas and replays every chain, schemas side by side.
    async fn fill(&self, lock: &LockSession, url: &DatabaseUrl, plan: &Plan) -> Result<usize, Fault> {
        let matrix = &self.target.matrix;
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        let schemas: Vec<String> = matrix.managed_schemas().into_iter().map(str::to_owned).collect();
        let extensions: Vec<&str> = self.chains.chains.iter().flat_map(|c| c.extensions()).collect();
        reset::create_missing(&mut work, &schemas).await?;
        reset::create_extensions(&mut work, &extensions, &matrix.extensions_schema).await?;
        work.commit().await?;
        let jobs = match self.request.jobs as usize {
            0 => JOBS,
            jobs => jobs.min(MOST_JOBS),
        };
        let mut applied = 0;
        // A chain may build on one that comes before it in the matrix, never on its like in another schema.
        for chain in &matrix.chains {
            let planned = plan.chains.iter().filter(|p| p.chain == chain.name);
            let fills: Vec<Fill<'_>> =
                planned.map(|p| Box::pin(self.fill_schema(lock, url, p)) as Fill<'_>).collect();
            let counts: Vec<usize> = stream::iter(fills).buffer_unordered(jobs).try_collect().await?;
            applied += counts.iter().sum::<usize>();
        }
        Ok(applied)
    }

    async fn fill_schema(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        planned: &PlannedChain,
    ) -> Result<usize, Fault> {
        let path = self.search_path(&planned.schema);
        let place = Place { schema: &planned.schema, search_path: &path, owner: None };
        let chain = self
            .chains
            .get(&planned.chain)
            .ok_or_else(|| Fault::new(Reason::Internal, "a planned chain is gone"))?;
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        work.assign_transaction().await?;
        let mut before = None;
        for revision in &chain.revisions {
            self.progress("migrate", 0, 0, &format!("{} in {}", revision.id, planned.schema));
            let bare = chain
                .transaction_obstacles()
                .iter()
                .any(|o| o.revision == revision.id && o.needs_no_transaction());
            let took = match bare {
                true => replay::apply_bare(&mut work, lock, &place, before, revision).await?,
                false => {
                    let took = replay::apply(&mut work, &place, before, revision).await?;
                    work.renew(lock).await?;
                    took
                }
            };
            let event = RevisionApplied {
                schema: planned.schema.clone(),
                chain: chain.name.clone(),
                revision: revision.id.clone(),
                checksum: revision.checksum.clone(),
                statements: u32::try_from(revision.statements.len()).unwrap_or(u32::MAX),
                duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            };
            self.emit(lock, EventKind::RevisionApplied(event)).await?;
            before = Some(revision.id.as_str());
        }
        work.commit().await?;
        let event = ChainCompleted {
            schema: planned.schema.clone(),
            chain: planned.chain.clone(),
            head: planned.to.clone(),
            applied: planned.revisions.clone(),
        };
        self.emit(lock, EventKind::ChainCompleted(event)).await?;
        Ok(chain.revisions.len())
    }

    /// Swaps and writes the end; learns what happened where the commit's answer does not come.
    pub(super) async fn swap(
        &self,
        lock: &LockSession,
        incoming: (&str, u32),
        undo: bool,
        summary: &str,
    ) -> Result<Done, Fault> {
        self.live.interrupt.check()?;
        let kept_name = self.generated("kept");
        let swap = Swap {
            owner: self.owner,
            database: self.target.database(),
            incoming,
            undo,
            kept_name: &kept_name,
            keep: self.target.profile.keep_previous,
            rule: self.session_rule(),
            lock_pid: lock.pid,
        };
        let make = |events: &[_], at| ending::make(events, at, Ok(summary));
        let pool = &self.engine.control.pool;
        let swapped = swap::swap(&mut *lock.connection().await, pool, &swap, &make).await;
        match swapped {
            Ok(()) => Ok(Done::Finished),
            Err(fault) if fault.reason == Reason::OutcomeUnknown => self.learn_swap(lock.pid, fault).await,
            Err(fault) => Err(fault),
        }
    }

    /// The end is in the swap's own transaction: where it is written, the swap happened; where the backend is gone and it
    /// is not, it did not.
    async fn learn_swap(&self, pid: i32, failed: Fault) -> Result<Done, Fault> {
        let pool = &self.engine.control.pool;
        tracing::warn!(operation = %self.owner.operation, fault = %failed, "the swap's answer did not arrive; its truth is asked for");
        loop {
            let lives = operations::backend_lives(pool, pid).await;
            match (operations::get(pool, self.owner.operation).await, lives) {
                (Ok(Some(operation)), _) if operation.end.is_some() => return Ok(Done::Finished),
                (Ok(_), Ok(false)) => return Err(Fault { reason: Reason::CommitFailed, ..failed }),
                (Ok(_), Ok(true)) => operations::end_backend(pool, pid).await,
                _ => tracing::warn!("whether the swap happened cannot be asked now"),
            }
            if self.engine.ended().is_cancelled() {
                return Err(failed);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// Brings the previous database back, by the same swap.
    pub(super) async fn undo(&self, lock: &LockSession) -> Result<Done, Fault> {
        let pool = &self.engine.control.pool;
        let database = self.target.database();
        let row = databases::row(&mut *lock.connection().await, database).await?;
        if row.is_some() && !lock.shared {
            self.guarded(barrier::pass(&self.target.url.connect_options(), &lock.application_name)).await?;
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
        let kept = kept::claim(pool, database, self.request.undoes, self.owner.operation).await?;
        let summary = format!("the database of before operation {} is back", kept.operation);
        let done = self.swap(lock, (&kept.name, kept.oid), true, &summary).await;
        if let Err(fault) = &done
            && fault.reason != Reason::OutcomeUnknown
        {
            kept::give_back(pool, self.owner.operation).await?;
        }
        self.engine.janitor.notify_one();
        done
    }

    async fn plan_undo(&self, lock: &LockSession, row: Option<&DatabaseRow>) -> Result<Plan, Fault> {
        let mut observed = Observation { database_oid: row.map_or(0, |r| r.oid), ..Observation::default() };
        observed.keep_previous_seconds = self.target.profile.keep_previous.as_secs();
        observed.findings.extend(databases::preflight(&mut *lock.connection().await, row).await?);
        if let Some(row) = row {
            let rule = self.session_rule();
            observed.sessions = sessions::of(&self.engine.control.pool, row.oid, rule).await?;
            observed
                .findings
                .extend(observed.sessions.iter().filter(|s| !s.would_end).map(|s| in_the_way(s, rule)));
        }
        let matrix = &self.target.matrix;
        Ok(Plan::compute(&self.request, self.target.database(), matrix, &self.chains, &observed))
    }
}

fn in_the_way(session: &model::plan::PlannedSession, rule: SessionRule) -> Finding {
    Finding::error(
        "SESSION_IN_THE_WAY",
        format!("session {} of {} ({})", session.pid, session.user, session.application_name),
        format!("is {} and the profile's `sessions = \"{rule}\"` does not end it", session.state),
        "ask its owner, end it, or use --terminate-sessions",
    )
}

fn cannot_be_undone(database: &str) -> Finding {
    Finding::warning(
        "CANNOT_BE_UNDONE",
        format!("database {database}"),
        "the previous database is not kept: this cannot be undone",
        "`keep_previous` in the profile says how long one is kept",
    )
}
