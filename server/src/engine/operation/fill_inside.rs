//! Scope managed-schemas, filled by a migration tool of the caller's, within the operation's own transaction. The tool is
//! there and connected before anything is locked; what it does is taken back with everything else.

use std::sync::Arc;

use model::{
    event::ToolStarted,
    fault::{Fault, Reason},
    operation::{Request, Verb},
    plan::{Observation, Plan, Refusal},
    profile::Scope,
    tool::Tool,
};

use super::{
    fill_with::{Teller, left, lost},
    lifecycle::Run,
    tools::{Place, Stage},
};
use crate::{
    engine::Target,
    postgres::{
        catalog::outside,
        change::transaction::Work,
        gateway::{Gateway, Told, role},
        lock::lease::LockSession,
        session::{backend, connect::TargetOptions},
    },
};

/// A tool that has connected and waits.
pub(super) struct Waiting<'a> {
    tool: &'a Tool,
    place: &'a Place,
    gateway: Arc<Gateway>,
    teller: tokio::sync::Mutex<Teller>,
}

/// The target as an operation has it: where a tool fills schemas within it, these are managed as well, and an undo brings them
/// back.
pub(super) fn managed(request: &Request, target: &Arc<Target>) -> Arc<Target> {
    let inside = request.tool.is_some() && request.scope != Some(Scope::Database);
    match (inside || request.verb == Verb::Undo) && target.matrix.tool.is_some() {
        true => Arc::new(Target { matrix: target.matrix.of_database(), ..Target::clone(target) }),
        false => Arc::clone(target),
    }
}

impl Run {
    fn fills_inside(&self) -> bool {
        self.request.tool.is_some() && self.request.scope != Some(Scope::Database)
    }

    /// How the work session connects: where a tool shares it, its bytes are to be read.
    pub(super) fn work_options(&self) -> TargetOptions {
        let options = self.target.url.connect_options();
        match self.fills_inside() {
            true => Gateway::readable(options),
            false => options,
        }
    }

    /// What would be refused of the tool, in a plan.
    pub(super) async fn foresee_inside(&self, lock: &LockSession, plan: &mut Plan) -> Result<(), Fault> {
        if !self.fills_inside() || !self.request.dry_run || plan.refusal.is_some() {
            return Ok(());
        }
        if let Err(fault) = self.may_fill_inside(lock).await {
            plan.refusal = Some(Refusal { reason: fault.reason, text: fault.message });
        }
        Ok(())
    }

    async fn may_fill_inside(&self, lock: &LockSession) -> Result<(), Fault> {
        Gateway::can_reach(&self.target.url.connect_options())?;
        role::check_inside(&mut *lock.connection().await, self.target.url.user()).await
    }

    /// Lets the tool begin, and waits for its first connection; `None`: there is none.
    pub(super) async fn begin_inside(
        &self,
        work: &Work,
        lock: &LockSession,
    ) -> Result<Option<Waiting<'_>>, Fault> {
        let (Some(tool), Some(held)) = (&self.request.tool, &self.tool) else { return Ok(None) };
        self.may_fill_inside(lock).await?;
        let user = self.target.url.user().to_owned();
        let schemas = self.target.matrix.tool.as_ref().map(|it| it.schemas.as_slice()).unwrap_or_default();
        let schema = schemas.first().map_or("", String::as_str);
        let told = Told::new(&user, self.target.database(), schema);
        let (login, control) = (self.work_options(), self.engine.control.pool.clone());
        let gateway =
            Gateway::inside(told, login, work.pid(), &self.target.matrix.search_path_suffix, control);
        let place = &*held.place;
        // Whoever waits for a tool is silent for as long as it takes.
        let _rest = self.backends.rest();
        self.start_tool(lock, ToolStarted { tool: tool.clone(), role: user }, place, &gateway).await?;
        let (mut stage, mut seen, mut teller) = (place.stage(), gateway.seen(), Teller::default());
        let connected = async { seen.wait_for(|seen| seen.connections > 0).await.is_ok() };
        let ended = tokio::select! {
            biased;
            why = self.live.interrupt.raised() => return Err(why),
            true = connected => None,
            ended = left(&mut stage) => Some(ended),
        };
        match ended {
            None => {}
            Some(Stage::Ended(exit)) => {
                self.tell_end(lock, tool, &gateway, exit).await?;
                return Err(Fault::new(Reason::Internal, "a tool that never connected has succeeded"));
            }
            Some(_) => {
                return Err(lost(
                    "the caller of the migration tool went away before it connected".to_owned(),
                ));
            }
        }
        self.tell_tool(lock, &mut gateway.seen(), &mut teller).await?;
        Ok(Some(Waiting { tool, place, gateway, teller: tokio::sync::Mutex::new(teller) }))
    }

    /// Lets the tool's statements into the transaction, to its end.
    pub(super) async fn fill_inside(
        &self,
        work: &mut Work,
        lock: &LockSession,
        waiting: &Waiting<'_>,
        observed: &Observation,
    ) -> Result<String, Fault> {
        let managed = self.target.matrix.managed_schemas();
        let before = outside::look(work.own().await?, &managed).await?;
        let told = waiting.gateway.told();
        let owner = observed.schema(&told.schema).and_then(|schema| schema.owner.clone());
        let filled = self.share(work, lock, waiting, owner.filter(|owner| *owner != told.user)).await;
        if let Err(fault) = filled {
            // What still runs would go on until the server looks.
            backend::terminate(&self.engine.control.pool, work.pid()).await;
            waiting.place.shut();
            waiting.gateway.close().await;
            return Err(fault);
        }
        work.is_still_ours("the migration tool").await?;
        before.is_still(&outside::look(work.own().await?, &managed).await?)?;
        Ok(format!("filled by {}", waiting.tool.program))
    }

    async fn share(
        &self,
        work: &mut Work,
        lock: &LockSession,
        waiting: &Waiting<'_>,
        owner: Option<String>,
    ) -> Result<(), Fault> {
        let Waiting { tool, place, gateway, teller } = waiting;
        let Some(inside) = gateway.transaction() else {
            return Err(Fault::new(Reason::Internal, "the tool has no transaction to work in"));
        };
        inside.open(work.lend().await?, owner).await?;
        let _rest = self.backends.rest();
        let exit = self.follow_tool(lock, place, gateway, &mut *teller.lock().await).await?;
        place.shut();
        gateway.close().await;
        let finished = inside.finish().await;
        // That decides, not how the tool ended.
        inside.check()?;
        self.tell_end(lock, tool, gateway, exit).await?;
        finished
    }
}
