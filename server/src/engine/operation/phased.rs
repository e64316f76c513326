//! Revision by revision, each in a transaction of its own: in a database that is built aside, where nothing can be lost,
//! and in a target where the caller allows it because one transaction cannot hold what is pending.

use std::time::Duration;

use super::{
    build::RowWatch,
    lifecycle::{Done, Run},
    telling::Telling,
    turns::{Turn, Turns},
};
use crate::{
    config::DatabaseUrl,
    postgres::{
        change::{
            place_extensions, record_version,
            replay::{self, ReplayTarget, Serving},
            reset,
            transaction::Work,
        },
        control::{commit_deadline::CommitDeadline, window_guard::WindowGuard},
        lock::{fence, lease::LockSession},
        session::failpoint,
    },
};
use model::{
    chain::Chain,
    event::{ChainCompleted, EventKind, RevisionApplied},
    fault::{Fault, Reason},
    history::History,
    plan::{PlannedChain, count},
    revision::Revision,
    sql,
};

impl Run {
    /// Replays what is pending of one chain in one schema and says how many revisions that were. Alone run those that refuse
    /// a transaction, since two that wait for each other's snapshots would never end, and those that write what all share. What
    /// each makes of the database itself is told where it is watched.
    pub(in crate::engine) async fn step_through(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        planned: &PlannedChain,
        owner: Option<&str>,
        (turns, watch): (&Turns, Option<&RowWatch>),
    ) -> Result<usize, Fault> {
        let path = self.search_path(&planned.schema);
        let place = ReplayTarget {
            schema: &planned.schema,
            search_path: &path,
            owner,
            role: self.replay_role(planned, owner),
        };
        let chain = self.planned_chain(planned)?;
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        work.assign_transaction().await?;
        let managed = self.target.matrix.managed_schemas();
        let serving = self.right_in(url).map(|window_guard| Serving { window_guard, managed: &managed });
        let grouping = Grouping::of(chain, turns.are_shared() || serving.is_some());
        if let Some(watch) = watch.filter(|_| grouping.groups) {
            work.watched = Some(watch.oid().await);
        }
        let mut steps = Steps {
            cell: (planned, chain, &place),
            ways: (lock, url, turns),
            serving,
            watch,
            grouping,
            work,
            telling: Telling::default(),
            group: 0,
        };
        let mut before = planned.from.as_deref();
        let pending = chain.pending(before);
        for revision in pending {
            if let Err(fault) = self.step(&mut steps, before, revision).await {
                if let Err(failed) = self.tell(lock, &mut steps.telling).await {
                    tracing::debug!(%fault, %failed, "what was done before a failure is not on record");
                }
                return Err(fault);
            }
            before = Some(&revision.id);
        }
        let Steps { mut work, mut telling, .. } = steps;
        work.until = self.until(url).await?;
        work.commit().await?;
        telling.push(chain_completed(planned));
        self.tell(lock, &mut telling).await?;
        Ok(pending.len())
    }

    /// Replays one revision, and commits it unless others may follow it in its transaction.
    async fn step(
        &self,
        steps: &mut Steps<'_>,
        before: Option<&str>,
        revision: &Revision,
    ) -> Result<(), Fault> {
        let ((planned, chain, _), (lock, url, turns)) = (steps.cell, steps.ways);
        let bare = steps.grouping.bare.contains(&revision.id.as_str());
        let alone = bare || sql::touches_shared(&revision.sql, &self.used_by_others(&planned.schema));
        let turn = self.turn(turns, &mut steps.work, lock, alone).await?;
        if steps.group == 0 {
            // What was planned was committed since, by this daemon or by nobody.
            let versions = record_version::held(&mut steps.work, &planned.schema).await?;
            let history = History { versions };
            if history.head_of(chain).map(|head| head.id.as_str()) != before {
                return Err(moved_on(planned, before, &history));
            }
        }
        self.progress("migrate", 0, 0, &format!("{} in {}", revision.id, planned.schema));
        let (took, turn) = self.apply(steps, turn, before, revision, bare).await?;
        steps.group += revision.statements.len().max(1);
        let changed = match steps.watch {
            Some(watch) if steps.grouping.groups => watch.differs(steps.work.row_seen.as_deref()).await,
            watch => watch.is_some() && turn.is_alone(),
        };
        if !bare && (changed || !steps.grouping.may_go_on(steps.group)) {
            if let Some(serving) = &steps.serving {
                place_extensions::refuse_in(&mut steps.work, serving.managed).await?;
            }
            steps.work.until = self.until(url).await?;
            steps.work.renew(lock).await?;
            steps.group = 0;
        }
        steps.telling.push(revision_applied(planned, revision, took));
        if changed || steps.serving.is_some() {
            self.tell(lock, &mut steps.telling).await?;
        }
        if let Some(watch) = steps.watch.filter(|_| changed) {
            self.tell_row(lock, watch, &format!("{} in {}", revision.id, planned.schema)).await?;
        }
        drop(turn);
        Ok(())
    }

    /// Replays it in its turn, once more where it failed at others beside or before it.
    async fn apply<'a>(
        &self,
        steps: &mut Steps<'a>,
        mut turn: Turn<'a>,
        before: Option<&str>,
        revision: &Revision,
        bare: bool,
    ) -> Result<(Duration, Turn<'a>), Fault> {
        let ((_, _, place), (lock, url, turns)) = (steps.cell, steps.ways);
        loop {
            steps.work.until = self.until(url).await?;
            steps.work.is_grouped = steps.group > 0;
            let (work, serving) = (&mut steps.work, steps.serving.as_ref());
            let applies = async {
                match bare {
                    true => replay::apply_bare(work, lock, serving, place, before, revision).await,
                    false => replay::apply(work, place, before, revision).await,
                }
            };
            match self.beside(lock, &mut steps.telling, applies).await {
                // It met another one in a catalog: not to be blamed for that, it is done again alone.
                Err(_) if steps.work.collided && !turn.is_alone() => {
                    drop(turn);
                    turn = self.turn(turns, &mut steps.work, lock, true).await?;
                }
                // What is before it in its transaction is in its way.
                Err(_) if steps.work.wants_fresh => {
                    steps.work.renew(lock).await?;
                    steps.group = 0;
                }
                applied => return Ok((applied?, turn)),
            }
        }
    }

    /// Until when a step may be committed. What is built aside nobody sees, and its steps know no window.
    async fn until(&self, url: &DatabaseUrl) -> Result<Option<CommitDeadline>, Fault> {
        match self.right_in(url) {
            Some(window_guard) => Ok(window_guard.for_a_moment(&self.engine.control.pool).await.map(Some)?),
            None => Ok(None),
        }
    }

    /// The right that changes need there: none in a database that is built aside.
    fn right_in(&self, url: &DatabaseUrl) -> Option<&WindowGuard> {
        (url.database() == self.target.database()).then_some(&self.window_guard)
    }

    /// The role that a chain's revisions run as.
    pub(in crate::engine) fn replay_role<'a>(
        &'a self,
        planned: &PlannedChain,
        owner: Option<&'a str>,
    ) -> Option<&'a str> {
        let chain = self.target.matrix.chain(&planned.chain);
        chain.and_then(|chain| chain.replay_as.as_deref()).or(owner)
    }

    /// Schemas that others write as well while this one is migrated.
    fn used_by_others(&self, schema: &str) -> Vec<&str> {
        self.target.matrix.managed_schemas().into_iter().filter(|other| *other != schema).collect()
    }

    /// The chain that a plan names.
    pub(in crate::engine) fn planned_chain(&self, planned: &PlannedChain) -> Result<&Chain, Fault> {
        let chain = self.chains.get(&planned.chain);
        chain.ok_or_else(|| Fault::new(Reason::Internal, "a planned chain is gone"))
    }

    /// `migrate --allow-phased`: what was applied stays, also when a later revision fails.
    pub(in crate::engine) async fn migrate_phased(&self, lock: &LockSession) -> Result<Done, Fault> {
        let options = self.target.url.connect_options();
        self.guarded(fence::pass(&options, lock)).await?;
        let mut work = self.guarded(Work::begin(&options, lock, self.work_context())).await?;
        let prepared = self.guarded(self.prepare_phased(&mut work, lock)).await;
        let (observed, plan) = match prepared {
            Ok(prepared) => {
                work.until = self.until(&self.target.url).await?;
                work.commit().await?;
                failpoint::point(self.owner.operation, "begun").await;
                prepared
            }
            Err(fault) => {
                work.roll_back().await;
                return Err(fault);
            }
        };
        let turns = Turns::of(1);
        let mut applied = 0;
        for planned in &plan.chains {
            let owner = observed.schema(&planned.schema).and_then(|s| s.owner.as_deref());
            let steps = self.step_through(lock, &self.target.url, planned, owner, (&turns, None));
            applied += self.guarded(steps).await?;
        }
        Ok(Done::Read(format!("{} applied, each by itself", count(applied, "revision"))))
    }

    async fn prepare_phased(
        &self,
        work: &mut Work,
        lock: &LockSession,
    ) -> Result<(model::plan::Observation, model::plan::Plan), Fault> {
        self.begin_work(work, lock).await?;
        work.assign_transaction().await?;
        self.hold_versions(work).await?;
        let (observed, plan) = self.plan(work, lock).await?;
        self.keep_plan(lock, &plan, &observed).await?;
        self.emit(lock, EventKind::Planned { plan: Box::new(plan.clone()) }).await?;
        if let Some(refusal) = plan.refusal(self.request.plan_digest.as_deref()) {
            return Err(self.tell_moved(lock, refusal, &plan, &observed).await);
        }
        place_extensions::move_out(work, &plan.extension_moves).await?;
        reset::create_missing(work, &plan.created_schemas).await?;
        self.create_extensions(work).await?;
        Ok((observed, plan))
    }
}

/// Somebody else migrates the schema as well.
fn moved_on(planned: &PlannedChain, before: Option<&str>, history: &History) -> Fault {
    let (schema, chain) = (&planned.schema, &planned.chain);
    Fault::new(
        Reason::PlanChanged,
        format!(
            "alembic_version of schema {schema} holds {:?} now, where chain {chain} was to go on from {}: somebody else \
             migrates it",
            history.versions,
            before.unwrap_or("nothing")
        ),
    )
    .hint("see who does, then read a new --dry-run")
    .with("schema", schema)
}

/// The way of one chain through one schema.
struct Steps<'a> {
    cell: (&'a PlannedChain, &'a Chain, &'a ReplayTarget<'a>),
    ways: (&'a LockSession, &'a DatabaseUrl, &'a Turns),
    /// Where it goes on in a target that serves.
    serving: Option<Serving<'a>>,
    watch: Option<&'a RowWatch>,
    grouping: Grouping<'a>,
    work: Work,
    telling: Telling,
    /// Statements that could be committed.
    group: usize,
}

/// How many statements, in round figures, are committed together in a database that is built aside: locks fill the server's table.
const GROUP: usize = 50;

/// Which revisions of a chain go together, and which by themselves.
struct Grouping<'a> {
    /// Those that have to run outside any transaction.
    bare: Vec<&'a str>,
    /// Several may be committed as one.
    groups: bool,
}

impl<'a> Grouping<'a> {
    fn of(chain: &'a Chain, each_alone: bool) -> Self {
        let obstacles = chain.transaction_obstacles();
        let bare = |revision: &&Revision| {
            obstacles.iter().any(|o| o.revision == revision.id && o.needs_no_transaction())
        };
        Self {
            bare: chain.revisions.iter().filter(bare).map(|revision| revision.id.as_str()).collect(),
            groups: !each_alone && obstacles.is_empty(),
        }
    }

    /// Whether another one may follow so many statements in their transaction.
    fn may_go_on(&self, statements: usize) -> bool {
        self.groups && statements < GROUP
    }
}

/// One revision, applied in one schema.
pub(in crate::engine) fn revision_applied(
    planned: &PlannedChain,
    revision: &Revision,
    took: Duration,
) -> EventKind {
    EventKind::RevisionApplied(RevisionApplied {
        schema: planned.schema.clone(),
        chain: planned.chain.clone(),
        revision: revision.id.clone(),
        checksum: revision.checksum.clone(),
        statements: u32::try_from(revision.statements.len()).unwrap_or(u32::MAX),
        duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    })
}

/// One chain, at its head in one schema.
pub(in crate::engine) fn chain_completed(planned: &PlannedChain) -> EventKind {
    EventKind::ChainCompleted(ChainCompleted {
        schema: planned.schema.clone(),
        chain: planned.chain.clone(),
        head: planned.to.clone(),
        applied: planned.revisions.clone(),
    })
}
