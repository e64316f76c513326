//! Scope database: a new database is built aside and validated while the old one serves, then takes its name in one
//! transaction. A failure before that never touches the old one.

use model::{
    blast,
    event::EventKind,
    fault::{Fault, Reason},
    finding::Finding,
    matrix::Matrix,
    plan::{Observation, ObservedSchema, Plan, PlannedSession, Refusal, count},
    profile::SessionRule,
};

use super::{
    build::Build,
    lifecycle::{Done, Run},
};
use crate::postgres::{
    catalog::{
        database::{self, DatabaseRow},
        extensions,
        observe::{self, Look},
        preflight, sessions,
        shared_objects::{self, SharedObjects},
    },
    change::transaction::Work,
    control::targets,
    lock::{fence, lease::LockSession},
    swap::{
        built,
        carried::{self, Carried},
        preserved_extensions::KeptExtensions,
    },
};

impl Run {
    /// Reset and run of the whole database.
    pub(in crate::engine) async fn replace_database(&self, lock: &LockSession) -> Result<Done, Fault> {
        let row = database::row(&mut *lock.connection().await, self.target.database()).await?;
        if row.is_some() && !lock.shared {
            self.guarded(fence::pass(&self.target.url.connect_options(), lock)).await?;
        }
        let (observed, mut plan, carried) = self.guarded(self.plan_database(lock, row.as_ref())).await?;
        let role = self.tool_role_is_safe(lock, row.as_ref()).await;
        if let Err(fault) = &role
            && self.request.dry_run
            && plan.refusal.is_none()
        {
            plan.refusal = Some(Refusal { reason: fault.reason, text: fault.message.clone() });
        }
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
        role?;
        for session in plan.sessions.iter().filter(|s| s.would_end) {
            self.emit(lock, EventKind::FindingReported { finding: ends(session) }).await?;
        }
        let name = self.generated("new");
        let build =
            Build { name: &name, old: row.as_ref(), plan: &plan, observed: &observed, carried: &carried };
        let shared = shared_objects::look(&self.engine.control.pool, &self.generated("tool")).await?;
        match self.build_and_swap(lock, &build).await {
            Err(fault) if fault.reason != Reason::OutcomeUnknown => {
                self.sweep(lock).await;
                Err(self.tell_what_stays(lock, fault, &shared).await)
            }
            done => done,
        }
    }

    /// A database that is dropped takes no role along: what the build changed in the cluster is told, and how to remove it.
    async fn tell_what_stays(&self, lock: &LockSession, mut fault: Fault, before: &SharedObjects) -> Fault {
        let stays = match shared_objects::look(&self.engine.control.pool, &self.generated("tool")).await {
            Ok(now) => before.changes_until(&now),
            Err(failed) => {
                tracing::warn!(fault = %failed, "what the build changed in the cluster is not known");
                return fault;
            }
        };
        if stays.is_empty() {
            return fault;
        }
        let said = format!(
            "what was built is dropped, and {} to roles and tablespaces stay: the report's findings say how to remove them",
            count(stays.len(), "change")
        );
        const ROLLED_BACK: &str = "everything was rolled back";
        fault.message = fault.message.replace(ROLLED_BACK, "what was built is dropped");
        fault.hint = Some(match fault.hint {
            Some(hint) if hint.contains(ROLLED_BACK) => hint.replace(ROLLED_BACK, &said),
            Some(hint) => format!("{hint}; {said}"),
            None => said,
        });
        for finding in stays {
            if let Err(failed) = self.record_done(lock, EventKind::FindingReported { finding }).await {
                tracing::warn!(fault = %failed, "what the build changed in the cluster is not on record");
            }
        }
        fault
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
    ) -> Result<(Observation, Plan, Carried), Fault> {
        let matrix = &self.target.matrix.of_database();
        let (mut observed, carried) = match row {
            Some(_) => self.observe_database(lock).await?,
            None => (nothing_there(matrix), Carried::default()),
        };
        observed.schema_properties = carried.pieces();
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
        Ok((observed, plan, carried))
    }

    /// What a swap needs and meets: rights, sessions, what cannot follow, what is kept no longer.
    pub(in crate::engine) async fn observe_swap(
        &self,
        lock: &LockSession,
        row: Option<&DatabaseRow>,
        observed: &mut Observation,
    ) -> Result<(), Fault> {
        observed
            .findings
            .extend(preflight::of_swap(&mut *lock.connection().await, row, self.target.url.user()).await?);
        observed.keep_previous_seconds = self.target.profile.keep_previous.as_secs();
        self.add_limits(row.map(|row| row.oid), observed).await?;
        let Some(row) = row else { return Ok(()) };
        let rule = self.session_rule();
        observed.sessions =
            sessions::of(&self.engine.control.pool, row.oid, rule, &lock.application_name).await?;
        let staying = observed.sessions.iter().filter(|s| !s.would_end);
        observed.findings.extend(staying.map(|s| in_the_way(s, rule)));
        Ok(())
    }

    async fn observe_database(&self, lock: &LockSession) -> Result<(Observation, Carried), Fault> {
        let matrix = &self.target.matrix;
        let mut work = Work::begin(&self.target.url.connect_options(), lock, self.work_context()).await?;
        let whole = &matrix.of_database();
        let look = Look { histories: false, ..Look::of(whole) };
        let observed = async {
            let identity = targets::same_cluster(&self.engine.control, work.own().await?).await?;
            if !self.request.dry_run {
                self.enrolled(&identity).await?;
            }
            let mut observed = observe::observe(work.own().await?, &look).await?;
            observe::count_inside(work.own().await?, &mut observed).await?;
            let own = self.own_schemas(&mut work).await?;
            let kept = self.kept_extensions();
            let migrates = self.request.verb.migrates();
            let (carried, obstacles) = carried::observe(work.own().await?, matrix, &kept, migrates).await?;
            let (outside, told) = database::lost_with_it(work.own().await?, &own, &kept.names()).await?;
            observed.outside = outside;
            observed.findings.extend(obstacles.into_iter().chain(told));
            if migrates {
                let required = extensions::required(work.own().await?, matrix, &self.chains).await?;
                observed.findings.extend(required);
                let bootstrap = matrix.bootstrap.is_some();
                let roles = preflight::replay_as::findings(work.own().await?, matrix, bootstrap).await?;
                observed.findings.extend(roles);
            }
            Ok((observed, carried))
        }
        .await;
        // The swap must not find a session of the daemon's own in its way.
        work.roll_back().await;
        observed
    }

    /// Extensions that come back where they are: those that the profile names, and those that chains require.
    fn kept_extensions(&self) -> KeptExtensions {
        let required = match self.request.verb.migrates() {
            true => self.chains.extensions(&self.target.matrix),
            false => Vec::new(),
        };
        KeptExtensions {
            preserved: self.target.profile.preserve_extensions.clone(),
            required: required.into_iter().map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// What was planned of the old database is still so: what came to it meanwhile would be lost, and nobody was told.
    pub(in crate::engine) async fn still_as_planned(
        &self,
        lock: &LockSession,
        plan: &Plan,
    ) -> Result<(), Fault> {
        let there = database::oid(&self.engine.control.pool, self.target.database()).await?;
        if there != Some(plan.database_oid) {
            // The swap refuses another database, whatever is in it.
            return Ok(());
        }
        let (matrix, kept) = (&self.target.matrix, self.kept_extensions());
        let mut work = Work::begin(&self.target.url.connect_options(), lock, self.work_context()).await?;
        let seen = async {
            let pieces = carried::read_again(work.own().await?, matrix, &kept).await?;
            let own = self.own_schemas(&mut work).await?;
            let (outside, _) = database::lost_with_it(work.own().await?, &own, &kept.names()).await?;
            Ok::<_, Fault>((pieces, outside))
        }
        .await;
        work.roll_back().await;
        let (pieces, outside) = seen?;
        let moved = [
            blast::properties_difference(&plan.schema_properties, &pieces),
            blast::difference(&plan.outside, &outside),
        ];
        let moved: Vec<String> = moved.into_iter().flatten().collect();
        if moved.is_empty() {
            return Ok(());
        }
        Err(Fault::new(
            Reason::PlanChanged,
            format!(
                "database {} was changed while the new one was built: {}",
                self.target.database(),
                moved.join(", ")
            ),
        )
        .hint("nothing was swapped; read a new --dry-run, and run it again"))
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
