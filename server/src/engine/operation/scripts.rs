//! Scripts that are no revisions: bootstrap files, first in a new database, and seeds, last in a valid one.

use model::{
    event::EventKind,
    fault::Fault,
    finding::Finding,
    plan::{Observation, ObservedSchema, count},
    revision::Revision,
    validation::Validation,
};

use super::lifecycle::Run;
use crate::postgres::{
    change::{
        place_extensions,
        replay::{self, ReplayTarget},
        transaction::Work,
    },
    lock::lease::LockSession,
};

impl Run {
    /// Runs what sets up a new database, as one session would.
    pub(super) async fn bootstrap(&self, work: &mut Work) -> Result<(), Fault> {
        let role = self.target.matrix.bootstrap.as_ref().and_then(|it| it.role.as_deref());
        let place = ReplayTarget { schema: "public", search_path: &["public"], owner: None, role };
        for script in &self.chains.bootstrap {
            self.progress("bootstrap", 0, 0, &script.file);
            replay::run_script(work, &place, script).await?;
        }
        Ok(())
    }

    /// Validates, sows the seeds where there are any, and validates again: what they did may not have harmed it.
    pub(super) async fn validate_and_seed(
        &self,
        work: &mut Work,
        lock: &LockSession,
        observed: &Observation,
    ) -> Result<(String, Validation), Fault> {
        let valid = self.validate(work, lock).await?;
        let sown = self.sow(work, lock, observed).await?;
        if sown == 0 {
            return Ok(valid);
        }
        place_extensions::refuse_in(work, &self.target.matrix.managed_schemas()).await?;
        let (valid, validation) = self.validate(work, lock).await?;
        Ok((format!("{} sown, {valid}", count(sown, "seed")), validation))
    }

    async fn sow(&self, work: &mut Work, lock: &LockSession, observed: &Observation) -> Result<usize, Fault> {
        let mut sown = 0;
        for (chain, schema) in self.target.matrix.cells() {
            let scripts = self.chains.get(&chain.name).map(|it| it.seeds.as_slice()).unwrap_or_default();
            let path = self.search_path(schema);
            let owner = observed.schema(schema).and_then(ObservedSchema::owner);
            let role = chain.replay_as.as_deref().or(owner);
            let place = ReplayTarget { schema, search_path: &path, owner, role };
            for script in scripts {
                let object = format!("{} in {schema}", script.file);
                self.sow_one(work, lock, &place, script, (object, sown)).await?;
                sown += 1;
            }
        }
        let matrix = &self.target.matrix;
        // Those of the matrix have no schema of their own: they name it, or find what all share.
        let path = self.search_path(matrix.search_path_suffix.first().unwrap_or(&matrix.extensions_schema));
        let role = matrix.seeds.as_ref().and_then(|seeds| seeds.role.as_deref());
        for script in &self.chains.seeds {
            let schema = path.first().copied().unwrap_or_default();
            let place = ReplayTarget { schema, search_path: &path, owner: None, role };
            self.sow_one(work, lock, &place, script, (script.file.clone(), sown)).await?;
            sown += 1;
        }
        if sown > 0 {
            replay::leave(work).await?;
        }
        Ok(sown)
    }

    async fn sow_one(
        &self,
        work: &mut Work,
        lock: &LockSession,
        place: &ReplayTarget<'_>,
        script: &Revision,
        (object, sown): (String, usize),
    ) -> Result<(), Fault> {
        self.progress("seeds", sown as u64, 0, &object);
        let took = replay::run_script(work, place, script).await?;
        let done = Finding::info(
            "SEEDED",
            object,
            format!("{} in {} ms", count(script.statements.len(), "statement"), took.as_millis()),
            "seeds are to be written so that they can be run again",
        );
        self.emit(lock, EventKind::FindingReported { finding: done }).await
    }
}
