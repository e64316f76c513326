//! Scope database: a new database is built aside and validated while the old one serves, then takes its name in one
//! transaction. A failure before that never touches the old one.

use std::pin::Pin;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use model::{
    event::EventKind,
    fault::{Fault, Reason},
    finding::Finding,
    matrix::Matrix,
    operation::Verb,
    plan::{Observation, ObservedSchema, Plan, PlannedSession, count},
    profile::SessionRule,
};
use tokio::sync::Mutex;

use super::{
    ending,
    lifecycle::{Done, Run},
};
use crate::{
    config::DatabaseUrl,
    postgres::{
        catalog::{
            database::{self, DatabaseRow},
            extensions,
            observe::{self, Look},
            preflight, sessions,
        },
        change::{place_extensions, reset, transaction::Work},
        control::{operations, targets},
        lock::{fence, lease::LockSession},
        session::backend,
        swap::{
            built,
            exchange::{self, Swap},
            preserved_extensions::{self, Preserved},
        },
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
    pub(in crate::engine) async fn replace_database(&self, lock: &LockSession) -> Result<Done, Fault> {
        let row = database::row(&mut *lock.connection().await, self.target.database()).await?;
        if row.is_some() && !lock.shared {
            self.guarded(fence::pass(&self.target.url.connect_options(), lock)).await?;
        }
        let (observed, mut plan, preserved) = self.guarded(self.plan_database(lock, row.as_ref())).await?;
        self.foresee(&mut plan).await?;
        self.keep_plan(lock, &plan, &observed).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        if self.request.dry_run {
            let text = EventKind::Planned { plan: Box::new(plan) }.text();
            return Ok(Done::Read(format!("dry run, nothing changed; {text}")));
        }
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(self.tell_moved(lock, refusal, &plan, &observed).await);
        }
        for session in plan.sessions.iter().filter(|s| s.would_end) {
            self.emit(lock, EventKind::FindingReported { finding: ends(session) }).await?;
        }
        let name = self.generated("new");
        let done = self.build_and_swap(lock, row.as_ref(), &plan, &preserved, &name).await;
        if let Err(fault) = &done
            && fault.reason != Reason::OutcomeUnknown
        {
            self.sweep(lock).await;
        }
        done
    }

    /// A short name that is this operation's own, whatever the database is called.
    pub(in crate::engine) fn generated(&self, kind: &str) -> String {
        let id = self.owner.operation.simple().to_string();
        format!("resetd_{kind}_{}", &id[id.len() - 16..])
    }

    pub(in crate::engine) fn session_rule(&self) -> SessionRule {
        match self.request.terminate_sessions {
            true => SessionRule::Terminate,
            false => self.target.profile.sessions,
        }
    }

    /// Drops what was built; what cannot be dropped now is dropped by whoever recovers or by the next start.
    async fn sweep(&self, lock: &LockSession) {
        if let Err(fault) = built::sweep(&mut *lock.connection().await, self.owner.operation).await {
            tracing::warn!(%fault, "the database built aside is not dropped yet");
        }
    }

    async fn plan_database(
        &self,
        lock: &LockSession,
        row: Option<&DatabaseRow>,
    ) -> Result<(Observation, Plan, Preserved), Fault> {
        let matrix = &self.target.matrix;
        let (mut observed, preserved) = match row {
            Some(_) => self.observe_database(lock).await?,
            None => (nothing_there(matrix), Preserved::default()),
        };
        self.observe_swap(lock, row, &mut observed).await?;
        if let Some(row) = row {
            observed
                .findings
                .extend(preflight::room::findings(&mut *lock.connection().await, row.oid).await?);
        }
        if row.is_some() && self.target.profile.keep_previous.is_zero() {
            observed.findings.push(cannot_be_undone(self.target.database()));
        }
        self.add_activity(&mut observed).await?;
        let plan = Plan::compute(&self.request, self.target.database(), matrix, &self.chains, &observed);
        Ok((observed, plan, preserved))
    }

    /// What a swap needs and meets: rights, sessions, what cannot follow.
    pub(in crate::engine) async fn observe_swap(
        &self,
        lock: &LockSession,
        row: Option<&DatabaseRow>,
        observed: &mut Observation,
    ) -> Result<(), Fault> {
        observed.findings.extend(preflight::of_swap(&mut *lock.connection().await, row).await?);
        observed.keep_previous_seconds = self.target.profile.keep_previous.as_secs();
        let Some(row) = row else { return Ok(()) };
        let rule = self.session_rule();
        observed.sessions =
            sessions::of(&self.engine.control.pool, row.oid, rule, &lock.application_name).await?;
        let staying = observed.sessions.iter().filter(|s| !s.would_end);
        observed.findings.extend(staying.map(|s| in_the_way(s, rule)));
        Ok(())
    }

    async fn observe_database(&self, lock: &LockSession) -> Result<(Observation, Preserved), Fault> {
        let matrix = &self.target.matrix;
        let mut work = Work::begin(&self.target.url.connect_options(), lock, self.work_context()).await?;
        let look = Look { matrix, reset: &[], chains: None, changes: false };
        let observed = async {
            let identity = targets::same_cluster(&self.engine.control, &mut work.connection).await?;
            if !self.request.dry_run {
                self.enrolled(&identity).await?;
            }
            let mut observed = observe::observe(&mut work.connection, &look).await?;
            observe::count_inside(&mut work.connection, &mut observed).await?;
            let managed = matrix.managed_schemas();
            let named = &self.target.profile.preserve_extensions;
            let (preserved, obstacles) =
                preserved_extensions::observe(&mut work.connection, named, &managed).await?;
            let (outside, told) = database::lost_with_it(&mut work.connection, &managed, named).await?;
            observed.outside = outside;
            observed.findings.extend(obstacles.into_iter().chain(told));
            if self.request.verb.migrates() {
                let required = extensions::required(&mut work.connection, matrix, &self.chains).await?;
                observed.findings.extend(required);
            }
            Ok((observed, preserved))
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
        preserved: &Preserved,
        name: &str,
    ) -> Result<Done, Fault> {
        self.progress("build", 0, 0, "creates the new database");
        let oid = built::create(&mut *lock.connection().await, self.owner, name, row).await?;
        let mut summary = vec!["database replaced".to_owned()];
        let url = self.target.url.with_database(name);
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        preserved_extensions::create(&mut work, preserved).await?;
        work.commit().await?;
        if self.request.verb == Verb::Run {
            let applied = self.fill(lock, &url, plan).await?;
            summary.push(format!("{} applied", count(applied, "revision")));
            let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
            let valid = async {
                place_extensions::refuse_in(&mut work, &self.target.matrix.managed_schemas()).await?;
                self.validate(&mut work, lock).await
            }
            .await;
            work.roll_back().await;
            summary.push(valid?);
        }
        self.emit(lock, EventKind::DatabaseBuilt { database: name.to_owned(), oid }).await?;
        self.swap(lock, row, (name, oid), false, &summary.join(", ")).await
    }

    /// Creates the schemas and replays every chain, schemas side by side.
    async fn fill(&self, lock: &LockSession, url: &DatabaseUrl, plan: &Plan) -> Result<usize, Fault> {
        let matrix = &self.target.matrix;
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        let schemas: Vec<String> = matrix.managed_schemas().into_iter().map(str::to_owned).collect();
        let extensions: Vec<&str> = self.chains.chains.iter().flat_map(|c| c.extensions()).collect();
        reset::create_missing(&mut work, &schemas).await?;
        place_extensions::create(&mut work, &extensions, &matrix.extensions_schema).await?;
        work.commit().await?;
        let jobs = match self.request.jobs as usize {
            0 => JOBS,
            jobs => jobs.min(MOST_JOBS),
        };
        let mut applied = 0;
        let alone = Mutex::new(());
        // A chain may build on one that comes before it in the matrix, never on its like in another schema.
        for chain in &matrix.chains {
            let planned = plan.chains.iter().filter(|p| p.chain == chain.name);
            let fills: Vec<Fill<'_>> = planned
                .map(|p| Box::pin(self.step_through(lock, url, p, None, &alone)) as Fill<'_>)
                .collect();
            let counts: Vec<usize> = stream::iter(fills).buffer_unordered(jobs).try_collect().await?;
            applied += counts.iter().sum::<usize>();
        }
        Ok(applied)
    }

    /// Swaps and writes the end; learns what happened where the commit's answer does not come.
    pub(in crate::engine) async fn swap(
        &self,
        lock: &LockSession,
        outgoing: Option<&DatabaseRow>,
        incoming: (&str, u32),
        undo: bool,
        summary: &str,
    ) -> Result<Done, Fault> {
        self.live.interrupt.check()?;
        let kept_name = self.generated("kept");
        let swap = Swap {
            owner: self.owner,
            database: self.target.database(),
            outgoing: outgoing.map(|row| row.oid),
            incoming,
            undo,
            kept_name: &kept_name,
            keep: self.target.profile.keep_previous,
            rule: self.session_rule(),
            own: &lock.application_name,
            lock_pid: lock.pid,
            window_guard: &self.window_guard,
        };
        let make = |events: &[_], at| ending::make(events, at, Ok(summary));
        let pool = &self.engine.control.pool;
        let swapped = exchange::swap(&mut *lock.connection().await, pool, &swap, &make).await;
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
            let lives = backend::lives(pool, pid).await;
            match (operations::get(pool, self.owner.operation).await, lives) {
                (Ok(Some(operation)), _) if operation.end.is_some() => return Ok(Done::Finished),
                (Ok(_), Ok(false)) => return Err(Fault { reason: Reason::LockLost, ..failed }),
                (Ok(_), Ok(true)) => backend::terminate(pool, pid).await,
                _ => tracing::warn!("whether the swap happened cannot be asked now"),
            }
            if self.engine.ended().is_cancelled() {
                return Err(failed);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }
}

/// What is observed of a database that is not there.
fn nothing_there(matrix: &Matrix) -> Observation {
    let absent = |name: &str| ObservedSchema { name: name.to_owned(), ..ObservedSchema::default() };
    Observation {
        schemas: matrix.managed_schemas().into_iter().map(absent).collect(),
        ..Observation::default()
    }
}

fn in_the_way(session: &PlannedSession, rule: SessionRule) -> Finding {
    let hint = match session.state.as_str() {
        "unknown" => {
            "its state is hidden from the daemon's role: GRANT pg_read_all_stats to it, or use --terminate-sessions"
        }
        _ => "ask its owner, end it, or use --terminate-sessions",
    };
    Finding::error(
        "SESSION_IN_THE_WAY",
        format!("session {} of {} ({})", session.pid, session.user, session.application_name),
        format!("is {} and the profile's `sessions = \"{rule}\"` does not end it", session.state),
        hint,
    )
}

fn ends(session: &PlannedSession) -> Finding {
    Finding::warning(
        "SESSION_ENDS",
        format!("session {} of {} ({})", session.pid, session.user, session.application_name),
        format!("is {} and is ended by the swap", session.state),
        "its client connects again and meets the new database",
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
