//! How a request becomes an operation: joined when it was made before, refused when it may not be, else recorded and
//! spawned apart from the call.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    audit::Decision,
    authorization::Authorization,
    chain::ChainSet,
    event::{Accepted, EventKind},
    fault::{Fault, Reason},
    guard,
    lock::{Holder, application_name},
    operation::{Request, Wait},
    plan::count,
    profile::ReportRule,
    window::Rules,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{fill_inside, lifecycle::Run};
use crate::{
    engine::{Engine, Target},
    postgres::{
        change::control_schema,
        control::{
            journal::Owner,
            keys::{self, Bound},
            operations::{self, NewOperation},
            targets::{self, Enrolment},
            ticket::Ticket,
            window_guard::{WindowGuard, WindowStatus},
        },
        lock::{
            lease::{LockSession, ReleaseDeadline},
            queue::{self, Entry, QueueOutcome},
        },
    },
};

impl Engine {
    /// Creates or joins the operation of a request. When this returns, the operation lives by itself.
    ///
    /// # Errors
    /// A refusal; then no operation exists.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        request: Request,
        authorization: &Authorization,
        asked: Decision,
    ) -> Result<Uuid, Fault> {
        // Apart from the call: a caller that goes away between the lock and the record leaves nothing half-done. Reading
        // their chains, before that, is given up.
        let gone = CancellationToken::new();
        let _caller = gone.clone().drop_guard();
        let (engine, authorization) = (Arc::clone(self), authorization.clone());
        let accepting =
            self.operations.spawn(async move { engine.accept(request, &authorization, asked, &gone).await });
        accepting.await.map_err(|e| Fault::new(Reason::Internal, format!("accepting the operation: {e}")))?
    }

    /// What is refused before it is an operation is on record with its reason; what becomes one, before it does.
    async fn accept(
        self: Arc<Self>,
        request: Request,
        authorization: &Authorization,
        asked: Decision,
        gone: &CancellationToken,
    ) -> Result<Uuid, Fault> {
        let target = request.target.clone();
        match Arc::clone(&self).admit(request, authorization, &asked, gone).await {
            Err(fault) => Err(self.of_target(&target, self.refused(asked, fault).await)),
            admitted => admitted,
        }
    }

    /// With what a report says of the target, where there is one.
    fn of_target(&self, name: &str, fault: Fault) -> Fault {
        let Ok(target) = self.target(name) else { return fault };
        let fault = fault.with("target_db", target.database());
        match &target.env_var {
            Some(variable) => fault.with("target_env_var", variable),
            None => fault,
        }
    }

    async fn admit(
        self: Arc<Self>,
        request: Request,
        authorization: &Authorization,
        asked: &Decision,
        gone: &CancellationToken,
    ) -> Result<Uuid, Fault> {
        let principal = authorization.principal().to_string();
        if let Some(id) = self.joined(&request, &principal).await? {
            self.record(Decision { operation: Some(id), ..asked.clone() }).await?;
            return Ok(id);
        }
        if self.closing.is_cancelled() {
            return Err(Fault::new(
                Reason::ShuttingDown,
                "the daemon is shutting down and takes no new operations",
            )
            .hint("try again when it is back"));
        }
        control_schema::is_current(&self.control).await?;
        let target = fill_inside::managed(&request, self.target(&request.target)?);
        let guarded = guard::check(request, target.database(), &target.profile, &target.matrix)?;
        let request = guarded.request().clone();
        self.check_enrolment(&request, &target).await?;
        let window_guard = WindowGuard {
            database: target.database().to_owned(),
            rules: Rules::of(&target.name, &target.profile),
            principal: principal.clone(),
        };
        let changes = (!request.reads_only()).then(|| window_guard.clone());
        if let Some(window_guard) = &changes {
            self.check_windows(window_guard, request.wait).await?;
        }
        let chains = self.chains(&request, &target, &principal, gone).await?;
        let id = Uuid::now_v7();
        self.record(Decision { operation: Some(id), ..asked.clone() }).await?;
        let owner = Owner { operation: id, instance: self.instance };
        let accepted = self.accepted(&request, &target, authorization, &chains);
        let ticket = Ticket {
            owner,
            database: target.database().to_owned(),
            application_name: application_name(&target.name, id, &principal),
            shared: request.reads_only(),
            window_guard: changes,
        };
        let new = NewOperation {
            ticket: &ticket,
            request: &request,
            principal: &principal,
            auth_method: authorization.principal().kind.auth_method(),
            lock_pid: None,
        };
        let lock = match request.wait {
            Wait::No => match self.locked(new, accepted).await? {
                Some(lock) => Some(lock),
                None => return self.must_join(&request, &principal).await,
            },
            _ => {
                let mut connection = self.control.pool.acquire().await.map_err(|e| {
                    Fault::new(
                        Reason::ControlUnavailable,
                        format!("the control database does not answer: {e}"),
                    )
                })?;
                if !operations::record(&mut connection, &new, vec![accepted]).await? {
                    drop(connection);
                    return self.must_join(&request, &principal).await;
                }
                None
            }
        };
        let live = self.live.enter(id);
        let backends = Arc::default();
        let role = authorization.role();
        let filled = request.tool.is_some() && !request.dry_run;
        let tool = filled.then(|| self.await_tool(id, &principal));
        let engine = Arc::clone(&self);
        let run = Run {
            engine,
            owner,
            request,
            target,
            chains,
            live,
            ticket,
            window_guard,
            role,
            backends,
            noticed: Arc::default(),
            tool,
        };
        self.operations.spawn(run.live(lock));
        Ok(id)
    }

    /// The operation that this request made before, if it did.
    async fn joined(&self, request: &Request, principal: &str) -> Result<Option<Uuid>, Fault> {
        let Some((id, hash, by)) = operations::by_request_id(&self.control.pool, request.request_id).await?
        else {
            return Ok(None);
        };
        if hash == request.hash() && by == principal {
            return Ok(Some(id));
        }
        Err(Fault::new(
            Reason::RequestIdConflict,
            format!("request id {} was used before for another request", request.request_id),
        )
        .hint("make a new UUID for each request")
        .with("request_id", request.request_id))
    }

    async fn must_join(&self, request: &Request, principal: &str) -> Result<Uuid, Fault> {
        self.joined(request, principal).await?.ok_or_else(|| {
            Fault::new(Reason::Internal, "an operation of this request id was there and is gone")
                .hint("try again")
        })
    }

    /// Takes the lock at once and records the operation on the connection that holds it; `None`: the same request was
    /// recorded by somebody else meanwhile.
    async fn locked(&self, new: NewOperation<'_>, accepted: EventKind) -> Result<Option<LockSession>, Fault> {
        let lock = LockSession::open(&self.control, new.ticket).await?;
        let began = self.begin(&lock, new, accepted).await;
        if matches!(began, Ok(true)) {
            return Ok(Some(lock));
        }
        lock.release().await;
        began.map(|_| None)
    }

    /// `false`: the same request was recorded by somebody else.
    async fn begin(
        &self,
        lock: &LockSession,
        new: NewOperation<'_>,
        accepted: EventKind,
    ) -> Result<bool, Fault> {
        let ticket = new.ticket;
        let mut patience = ReleaseDeadline::default();
        // Who waits for nothing is told soon, and sooner where their own limit is shorter.
        let limit = new.request.timeout.map_or(keys::MOMENT, |limit| limit.min(keys::MOMENT));
        let bound = Bound { limit, interrupt: None };
        loop {
            let events =
                vec![accepted.clone(), EventKind::LockAcquired { shared: ticket.shared, pid: lock.pid }];
            let place = match queue::take(lock, ticket, Entry::New(new, events), bound).await? {
                QueueOutcome::Granted => return Ok(true),
                QueueOutcome::Joined => return Ok(false),
                QueueOutcome::Not(place) => place,
            };
            let holder = lock.holder(&self.control.pool).await?;
            // Asked after the holder was read: who holds the target by this very request recorded it before.
            if operations::by_request_id(&self.control.pool, new.request.request_id).await?.is_some() {
                return Ok(false);
            }
            if let Some(refusal) =
                ticket.window_guard.as_ref().and_then(|window_guard| window_guard.refusal(&place.verdict))
            {
                return Err(refusal);
            }
            let target = &new.request.target;
            if let Some(holder) = &place.queue_held_by {
                return Err(holder.refusal(&format!("the queue of target {target}")).with("target", target));
            }
            if place.next > 0 && holder.is_none() {
                return Err(locked_by(
                    target,
                    &format!("{} that came before", count(place.next as usize, "operation")),
                ));
            }
            if place.next > 0 || !patience.is_worth_it(holder.as_ref()).await {
                return Err(locked_by_holder(target, holder));
            }
        }
    }

    /// What windows refuse at once: with `--wait` only what no time brings.
    async fn check_windows(&self, window_guard: &WindowGuard, wait: Wait) -> Result<(), Fault> {
        let WindowStatus { now, verdict } = window_guard.standing(&self.control.pool).await?;
        let passes = match wait {
            Wait::No => false,
            Wait::Forever => verdict.passes(),
            Wait::AtMost(limit) => {
                let limit = jiff::SignedDuration::try_from(limit).unwrap_or(jiff::SignedDuration::MAX);
                verdict.passes_by(now.checked_add(limit).unwrap_or(jiff::Timestamp::MAX))
            }
        };
        match window_guard.refusal(&verdict).filter(|_| !passes) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// Whether a request may change the target as it is enrolled.
    ///
    /// # Errors
    /// `TARGET_NOT_ENROLLED`.
    pub(in crate::engine) async fn check_enrolment(
        &self,
        request: &Request,
        target: &Target,
    ) -> Result<(), Fault> {
        if request.reads_only() || target.profile.self_enroll {
            return Ok(());
        }
        self.may_change(request, target).await
    }

    /// What is destructive, or runs the caller's own SQL, needs an enrolled target; whatever changes it at least one that
    /// is not another database than the enrolled one.
    ///
    /// # Errors
    /// `TARGET_NOT_ENROLLED`.
    pub(in crate::engine) async fn may_change(
        &self,
        request: &Request,
        target: &Target,
    ) -> Result<(), Fault> {
        let says_what = request.verb.is_destructive() || !request.client_chains.is_empty();
        match targets::enrolment(&self.control, target.database()).await? {
            Enrolment::Never if !says_what => Ok(()),
            enrolment => as_enrolled(target, enrolment),
        }
    }

    /// The database of a target is the one that was enrolled.
    ///
    /// # Errors
    /// `TARGET_NOT_ENROLLED`.
    pub(in crate::engine) async fn must_be_enrolled(&self, target: &Target) -> Result<(), Fault> {
        as_enrolled(target, targets::enrolment(&self.control, target.database()).await?)
    }

    fn accepted(
        &self,
        request: &Request,
        target: &Target,
        authorization: &Authorization,
        chains: &ChainSet,
    ) -> EventKind {
        let fingerprints: BTreeMap<String, String> =
            chains.chains.iter().map(|c| (c.name.clone(), c.fingerprint())).collect();
        EventKind::Accepted(Accepted {
            verb: request.verb,
            target: target.name.clone(),
            database: target.database().to_owned(),
            // What an undo brings back is known with its plan.
            scope: request.scope,
            dry_run: request.dry_run,
            principal: authorization.principal().to_string(),
            auth_method: authorization.principal().kind.auth_method().to_owned(),
            labels: request.labels.clone(),
            instance: self.instance,
            version: crate::VERSION.to_owned(),
            chains: fingerprints,
            client_chains: !request.client_chains.is_empty(),
            phased: request.allow_phased,
            report_required: target.profile.report == ReportRule::Error,
            target_env_var: target.env_var.clone(),
        })
    }
}

/// The database of a target is the one that was enrolled, by what is on record.
fn as_enrolled(target: &Target, enrolment: Enrolment) -> Result<(), Fault> {
    let (name, database) = (&target.name, target.database());
    let (what, hint) = match enrolment {
        Enrolment::This => return Ok(()),
        Enrolment::Never => (
            format!("target {name} (database {database}) was never enrolled in this cluster"),
            format!("an admin enrolls it once: resetctl target enroll {name} --confirm-database {database}"),
        ),
        Enrolment::Another => (
            format!(
                "database {database} is not the one that was enrolled as target {name}: it was replaced, and not by a swap"
            ),
            format!(
                "make sure that it is the one you mean; an admin then enrolls it: resetctl target enroll {name} \
                 --confirm-database {database}"
            ),
        ),
    };
    Err(Fault::new(Reason::TargetNotEnrolled, what).hint(hint).with("target", name))
}

fn locked_by(target: &str, who: &str) -> Fault {
    Fault::new(Reason::TargetLocked, format!("target {target} is locked by {who}"))
        .hint("wait for it with --wait[=DURATION], or watch it with `resetctl operations watch`")
        .with("target", target)
}

fn locked_by_holder(target: &str, holder: Option<Holder>) -> Fault {
    match holder {
        None => locked_by(target, "another session"),
        Some(holder) => holder.refusal(&format!("target {target}")).with("target", target),
    }
}
