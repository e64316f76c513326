//! Building a database aside: what the old one's gives it, the schemas and extensions, then revision by revision, while
//! the old one serves.

use std::pin::Pin;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use model::{
    event::EventKind,
    fault::Fault,
    finding::Finding,
    matrix::Cell,
    operation::Verb,
    plan::{Observation, Plan, PlannedChain, count},
};
use tokio::sync::Mutex;

use super::{
    exchange::Exchange,
    lifecycle::{Done, Run},
    turns::Turns,
};
use crate::{
    config::DatabaseUrl,
    postgres::{
        catalog::{database::DatabaseRow, database_properties},
        change::{place_extensions, transaction::Work},
        lock::lease::LockSession,
        swap::{built, carried::Carried, databases, terminate},
    },
};

/// The migration of one schema, under way.
type Fill<'a> = Pin<Box<dyn Future<Output = Result<usize, Fault>> + Send + 'a>>;

/// Schemas migrated at the same time when the caller leaves it to the daemon: side by side is faster, and only as good as the
/// recognition of what all schemas share.
const JOBS: usize = 1;
/// The most schemas migrated at the same time.
const MOST_JOBS: usize = 16;

/// What is built.
pub(super) struct Build<'a> {
    /// The generated name.
    pub(super) name: &'a str,
    /// The database that serves.
    pub(super) old: Option<&'a DatabaseRow>,
    pub(super) plan: &'a Plan,
    pub(super) observed: &'a Observation,
    pub(super) carried: &'a Carried,
}

/// The row of the database that is built, as it was seen last: what revisions make of it is told.
pub(in crate::engine) struct RowWatch(Mutex<(DatabaseRow, String)>);

impl RowWatch {
    /// The database.
    pub(super) async fn oid(&self) -> u32 {
        self.0.lock().await.0.oid
    }

    /// Whether the row is another one than was told.
    pub(super) async fn differs(&self, fingerprint: Option<&str>) -> bool {
        let told = self.0.lock().await;
        fingerprint.is_some_and(|it| it != told.1)
    }
}

impl Run {
    pub(super) async fn build_and_swap(&self, lock: &LockSession, build: &Build<'_>) -> Result<Done, Fault> {
        self.progress("build", 0, 0, "creates the new database");
        let watch = self.create_aside(lock, build).await?;
        let url = self.target.url.with_database(build.name);
        let mut summary = vec!["database replaced".to_owned()];
        self.prepare_database(lock, &url, build).await?;
        self.tell_row(lock, &watch, "the bootstrap scripts").await?;
        if self.request.verb == Verb::Run {
            let applied = self.fill(lock, &url, build, &watch).await?;
            summary.push(format!("{} applied", count(applied, "revision")));
            if let Some(tool) = &self.request.tool {
                self.fill_with(lock, tool, (&url, build), &watch).await?;
                summary.push(format!("filled by {}", tool.program));
            }
            let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
            work.assign_transaction().await?;
            let oid = watch.0.lock().await.0.oid;
            let valid = async {
                // Nobody else is in it from here to the swap: what is swapped in is what is validated.
                let (context, own) = (self.work_context(), &lock.application_name);
                terminate::close(&mut *lock.connection().await, &context, (build.name, oid), &work, own)
                    .await?;
                place_extensions::refuse_in(&mut work, &self.target.matrix.managed_schemas()).await?;
                self.validate_and_seed(&mut work, lock, build.observed).await
            }
            .await;
            match valid {
                Ok((valid, _)) => {
                    summary.push(valid);
                    work.commit().await?;
                }
                Err(fault) => {
                    work.roll_back().await;
                    return Err(fault);
                }
            }
        }
        self.tell_row(lock, &watch, "the revisions").await?;
        let (built, _) = watch.0.into_inner();
        let database = build.name.to_owned();
        self.emit(lock, EventKind::DatabaseBuilt { database, oid: built.oid }).await?;
        if build.old.is_some() {
            self.guarded(self.still_as_planned(lock, build.plan)).await?;
        }
        let exchange = Exchange {
            outgoing: build.old,
            incoming: (build.name, built.oid),
            built: Some(&built),
            ends_early: &build.observed.ends_early,
            summary: &summary.join(", "),
        };
        self.swap(lock, &exchange).await
    }

    async fn create_aside(&self, lock: &LockSession, build: &Build<'_>) -> Result<RowWatch, Fault> {
        let mut connection = lock.connection().await;
        built::create(&mut connection, self.owner, build.name, build.old, self.target.url.user()).await?;
        let row = match build.old {
            Some(old) => {
                databases::carry_over(&mut connection, old, build.name, self.target.url.user()).await?
            }
            None => databases::row_of(&mut connection, build.name).await?,
        };
        let fingerprint = database_properties::fingerprint(&mut connection, row.oid).await?;
        Ok(RowWatch(Mutex::new((row, fingerprint))))
    }

    /// Schemas, extensions and default privileges: what is there before the first revision.
    async fn prepare_database(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        build: &Build<'_>,
    ) -> Result<(), Fault> {
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        work.assign_transaction().await?;
        let prepared = self.prepare_database_in(&mut work, build).await;
        let differences = match prepared {
            Ok(differences) => {
                work.commit().await?;
                differences
            }
            Err(fault) => {
                work.roll_back().await;
                return Err(fault);
            }
        };
        for finding in differences {
            self.emit(lock, EventKind::FindingReported { finding }).await?;
        }
        Ok(())
    }

    async fn prepare_database_in(&self, work: &mut Work, build: &Build<'_>) -> Result<Vec<Finding>, Fault> {
        let matrix = &self.target.matrix;
        let differences = build.carried.create(work).await?;
        self.bootstrap(work).await?;
        if self.request.verb == Verb::Run {
            build.carried.create_others(work, &matrix.managed_schemas()).await?;
            self.create_extensions(work).await?;
        }
        build.carried.declare_defaults(work).await?;
        Ok(differences)
    }

    /// Replays every chain, each schema's as its owner: one after the other, or side by side where the caller says so.
    async fn fill(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        build: &Build<'_>,
        watch: &RowWatch,
    ) -> Result<usize, Fault> {
        let jobs = match self.request.jobs as usize {
            0 => JOBS,
            jobs => jobs.min(MOST_JOBS),
        };
        let mut applied = 0;
        let turns = Turns::of(jobs);
        // What needs another cell comes after it: in a later stage, or later in its lane.
        for stage in self.target.matrix.stages() {
            let fills: Vec<Fill<'_>> = stage
                .into_iter()
                .map(|lane| Box::pin(self.fill_lane(lock, url, build, lane, (&turns, watch))) as Fill<'_>)
                .collect();
            let counts: Vec<usize> = stream::iter(fills).buffer_unordered(jobs).try_collect().await?;
            applied += counts.iter().sum::<usize>();
        }
        Ok(applied)
    }

    /// Replays cells one after the other.
    async fn fill_lane(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        build: &Build<'_>,
        lane: Vec<Cell<'_>>,
        (turns, watch): (&Turns, &RowWatch),
    ) -> Result<usize, Fault> {
        let mut applied = 0;
        for (chain, schema) in lane {
            let is_cell = |p: &&PlannedChain| p.chain == chain.name && p.schema == schema;
            for planned in build.plan.chains.iter().filter(is_cell) {
                let owner = build.observed.schema(schema).and_then(|s| s.owner.as_deref());
                applied += self.step_through(lock, url, planned, owner, (turns, Some(watch))).await?;
            }
        }
        Ok(applied)
    }

    /// Tells what changed in the row of the database that is built since it was looked at last.
    pub(super) async fn tell_row(&self, lock: &LockSession, watch: &RowWatch, by: &str) -> Result<(), Fault> {
        let mut seen = watch.0.lock().await;
        let (row, changes) = {
            let mut connection = lock.connection().await;
            let fingerprint = database_properties::fingerprint(&mut connection, seen.0.oid).await?;
            if fingerprint == seen.1 {
                return Ok(());
            }
            seen.1 = fingerprint;
            let row = databases::row_of(&mut connection, &seen.0.name).await?;
            let changes = row.changes_since(&seen.0);
            (row, changes)
        };
        seen.0 = row;
        for change in changes {
            let finding = Finding::info(
                "DATABASE_CHANGED",
                format!("database {}", self.target.database()),
                format!("{change}, by {by}"),
                "the new database has it so; the old one had not",
            );
            self.emit(lock, EventKind::FindingReported { finding }).await?;
        }
        Ok(())
    }
}
