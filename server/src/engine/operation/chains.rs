//! The chains that a request is about, read in turns: each principal has so many at once, and everybody together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use model::{
    chain::ChainSet,
    fault::{Fault, Reason},
    operation::{Request, Verb},
    profile::Scope,
};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    chains,
    engine::{Engine, Target},
    postgres::control::grammar,
};

/// The turns of one principal.
const EACH: usize = 2;
/// The turns of everybody together.
const ALL: usize = 8;

/// Who reads chains now.
pub(in crate::engine) struct Readings {
    all: Arc<Semaphore>,
    each: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Readings {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), each: Mutex::default() }
    }
}

/// A turn, given back when it is dropped.
struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Readings {
    /// Waits for a turn of this principal, in the order of coming.
    ///
    /// # Errors
    /// Never: nobody closes the turns.
    async fn turn(&self, principal: &str) -> Result<Turn, AcquireError> {
        let own = self.of(principal).acquire_owned().await?;
        let all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Turn { _own: own, _all: all })
    }

    fn of(&self, principal: &str) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = each.get(principal).and_then(Weak::upgrade) {
            return turns;
        }
        // Who reads nothing any more is forgotten.
        each.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(EACH));
        each.insert(principal.to_owned(), Arc::downgrade(&turns));
        turns
    }
}

impl Engine {
    /// The chains of a request, for as long as its caller waits for them.
    ///
    /// # Errors
    /// `CHAINS_INVALID`, `CHAINS_DIFFER`; the caller went away.
    pub(super) async fn chains(
        &self,
        request: &Request,
        target: &Target,
        principal: &str,
        gone: &CancellationToken,
    ) -> Result<ChainSet, Fault> {
        let read = async {
            let turn = self.readings.turn(principal).await;
            let _turn = turn.map_err(|e| Fault::new(Reason::Internal, format!("reading the chains: {e}")))?;
            self.read_chains(request, target, gone).await
        };
        tokio::select! {
            biased;
            read = read => read,
            () = gone.cancelled() => Err(Fault::new(
                Reason::Cancelled,
                "the caller went away while the chains were read; nothing was begun",
            )
            .hint("send it again")),
        }
    }

    async fn read_chains(
        &self,
        request: &Request,
        target: &Target,
        gone: &CancellationToken,
    ) -> Result<ChainSet, Fault> {
        let (files, gone) = (request.client_chains.clone(), gone.clone());
        let chains = match files.is_empty() {
            true => chains::from_disk(self.migrations.clone(), &target.matrix, gone).await,
            false => chains::from_request(files, &target.matrix, gone).await,
        };
        // A reset or an undo replays nothing: chains that cannot be read do not stop it, unless the caller pins them.
        let mut chains = match chains {
            Err(_) if !replays(request.verb) && request.expect_chains.is_none() => ChainSet::default(),
            chains => chains?,
        };
        if request.verb.resets() && request.scope == Some(Scope::Database) {
            let scripts = target.matrix.bootstrap.as_ref();
            chains.bootstrap = chains::scripts(&target.matrix, "bootstrap", scripts).await?;
        }
        match target.profile.seeds && request.verb == Verb::Run {
            true => {
                let scripts = target.matrix.seeds.as_ref();
                chains.seeds = chains::scripts(&target.matrix, "seeds", scripts).await?;
            }
            false => chains.chains.iter_mut().for_each(|chain| chain.seeds.clear()),
        }
        if request.expect_chains.is_some() {
            let shelf = chains::shelf(self.migrations.clone()).await;
            chains::expect(&chains, request.expect_chains.as_deref(), &shelf)?;
        }
        if request.verb.migrates() {
            let faults = grammar::faults(&self.control.pool, &chains).await?;
            if !faults.is_empty() {
                return Err(chains::invalid(&target.matrix, &faults));
            }
        }
        Ok(chains)
    }
}

/// The verb cannot do its work without chains.
fn replays(verb: Verb) -> bool {
    verb.migrates() || verb.validates()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_principal_waits_for_its_own_turns_and_nobody_elses() {
        let readings = Readings::default();
        let mut taken = Vec::new();
        for _ in 0..EACH {
            taken.push(readings.turn("a").await.expect("a turn"));
        }
        let mut waits = Box::pin(readings.turn("a"));
        assert!(waits.as_mut().now_or_never().is_none());
        let others = readings.turn("b").now_or_never().expect("at once");
        assert!(readings.each.lock().expect("whole").len() == 2);
        drop(taken.pop());
        drop((waits.await.expect("a turn"), others, taken));
        drop(readings.turn("c").await);
        assert!(readings.each.lock().expect("whole").len() == 1, "who is done is forgotten");
    }
}
