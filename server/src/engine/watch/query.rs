//! What can be asked about operations and targets, and the small changes that are no operation: cancel and enrolment.

use model::{
    audit::Decision,
    authorization::Authorization,
    cancellation::Cancellation,
    event::EventKind,
    fault::{Fault, Reason},
    operation::{Operation, State},
    target::{KeptDatabase, KeptSchemas, TargetStatus},
};
use uuid::Uuid;

use crate::{
    chains::{self, Shelf},
    engine::{Engine, Target},
    postgres::{
        change::control_schema,
        control::{
            cancel, kept_schemas,
            operations::{self, Filter},
            retained::Kept,
            targets, window_guard,
        },
        lock::conflict,
    },
};

/// How many windows to come are shown of a target.
const NEXT: usize = 5;

/// Cuts what was read, one more than asked for, to a page; whether more comes after it.
pub(in crate::engine) fn page<T>(mut all: Vec<T>, most: i64) -> (Vec<T>, bool) {
    let size = usize::try_from(most).unwrap_or(usize::MAX);
    let more = all.len() > size;
    all.truncate(size);
    (all, more)
}

/// A page of operations.
pub(crate) struct Page {
    pub(crate) operations: Vec<Operation>,
    pub(crate) next: Option<Uuid>,
}

fn shown(kept: Kept) -> KeptDatabase {
    KeptDatabase { name: kept.name, operation: kept.operation, until: kept.expires_at }
}

fn shown_schemas(kept: kept_schemas::KeptSchemas) -> KeptSchemas {
    KeptSchemas {
        operation: kept.operation,
        names: kept.body.names(),
        until: kept.expires_at,
        left_because: kept.left_because,
    }
}

/// What an enrolment is asked with.
pub(crate) struct Enrolment<'a> {
    pub(crate) target: &'a str,
    /// The database's name, typed by a person.
    pub(crate) confirmation: &'a str,
}

impl Engine {
    /// One operation.
    ///
    /// # Errors
    /// `OPERATION_NOT_FOUND`.
    pub(crate) async fn operation(&self, id: Uuid) -> Result<Operation, Fault> {
        operations::get(&self.control.pool, id).await?.ok_or_else(|| {
            Fault::new(Reason::OperationNotFound, format!("there is no operation {id}"))
                .hint("`resetctl operations list` shows them")
                .with("operation", id)
        })
    }

    /// Operations of some targets, newest first.
    pub(crate) async fn operations(
        &self,
        targets: Vec<String>,
        before: Option<Uuid>,
        active_only: bool,
        most: i64,
    ) -> Result<Page, Fault> {
        let filter = Filter { targets, before, active_only, most: most + 1 };
        let (operations, more) = page(operations::list(&self.control.pool, &filter).await?, most);
        let next = operations.last().filter(|_| more).map(|o| o.id);
        Ok(Page { operations, next })
    }

    /// Whether a principal may cancel an operation now.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`; the control database does not answer.
    pub(crate) async fn may_cancel(
        &self,
        operation: &Operation,
        authorization: &Authorization,
    ) -> Result<(), Fault> {
        let principal = authorization.principal().to_string();
        let asked = Cancellation {
            operation: operation.id,
            owner: &operation.principal,
            principal: &principal,
            role: authorization.role(),
            window: None,
        };
        if !asked.depends_on_window() {
            return asked.check();
        }
        let (database, target) = (&operation.database, &operation.target);
        let (now, windows) = window_guard::coming(&self.control.pool, database, target).await?;
        let window = windows.iter().find(|window| window.is_active(now));
        Cancellation { window, ..asked }.check()
    }

    /// Asks a running operation to end. Asking again changes nothing.
    ///
    /// # Errors
    /// `NOT_CANCELLABLE` once the commit is prepared or the operation has ended otherwise.
    pub(crate) async fn cancel(
        &self,
        id: Uuid,
        authorization: &Authorization,
        reason: &str,
    ) -> Result<Operation, Fault> {
        let reason: String = reason.chars().take(500).collect();
        let event = EventKind::CancelRequested { principal: authorization.principal().to_string(), reason };
        let asked = cancel::request_cancel(&self.control.pool, id, event).await?;
        let operation = self.operation(id).await?;
        let cancelled = operation.end.as_ref().is_some_and(|e| e.reason == Some(Reason::Cancelled));
        // Cancelled without anybody's asking: its daemon was shut down.
        if asked.is_some() || cancelled {
            return Ok(operation);
        }
        let why = match operation.state {
            State::Finished => "has ended",
            _ => "has prepared its commit",
        };
        Err(Fault::new(Reason::NotCancellable, format!("operation {id} {why}"))
            .hint("watch it to see its end: `resetctl operations watch`")
            .with("operation", id))
    }

    /// The report of an ended operation: the bytes that were stored.
    ///
    /// # Errors
    /// `REPORT_NOT_READY` while the operation runs, `OPERATION_NOT_FOUND`.
    pub(crate) async fn report(&self, id: Uuid) -> Result<String, Fault> {
        self.operation(id).await?;
        operations::report(&self.control.pool, id).await?.ok_or_else(|| {
            Fault::new(Reason::ReportNotReady, format!("operation {id} has not ended yet"))
                .hint("watch it to its end, then ask again")
                .with("operation", id)
        })
    }

    /// What is known of a target now.
    pub(crate) async fn view(&self, target: &Target) -> Result<TargetStatus, Fault> {
        let state = targets::state(&self.control, &target.name, target.database()).await?;
        let (now, windows) =
            window_guard::coming(&self.control.pool, target.database(), &target.name).await?;
        let (active, coming): (Vec<_>, Vec<_>) = windows.into_iter().partition(|w| w.is_active(now));
        let mut warnings = state.warnings;
        warnings.extend(conflict::told(&self.control, target.database()).await?);
        warnings.extend(control_schema::is_current(&self.control).await.err().map(|newer| newer.message));
        Ok(TargetStatus {
            name: target.name.clone(),
            database: target.database().to_owned(),
            profile: target.profile.name.clone(),
            matrix: target.matrix.name.clone(),
            managed_schemas: target.matrix.managed_schemas().into_iter().map(str::to_owned).collect(),
            protected: target.profile.protected,
            enrolled: state.enrolled,
            holder: state.holder,
            queue: state.queue,
            window: active.into_iter().next(),
            next_windows: coming.into_iter().take(NEXT).collect(),
            last: state.last,
            kept: state.kept.into_iter().map(shown).collect(),
            warnings,
            kept_schemas: state.kept_schemas.into_iter().map(shown_schemas).collect(),
        })
    }

    /// Records a target's identity.
    ///
    /// # Errors
    /// `CONFIRMATION_MISSING` when the typed name is not the database's; the target cannot be reached.
    pub(crate) async fn enroll(
        &self,
        enrolment: &Enrolment<'_>,
        authorization: &Authorization,
        asked: Decision,
    ) -> Result<TargetStatus, Fault> {
        let target = match self.target(enrolment.target) {
            Ok(target) => target,
            Err(fault) => return Err(self.refused(asked, fault).await),
        };
        if enrolment.confirmation != target.database() {
            let fault = Fault::new(
                Reason::ConfirmationMissing,
                format!("the typed name is not that of the database of target {}", target.name),
            )
            .hint("type the database's name exactly; `resetctl targets` shows it")
            .with("target", &target.name);
            return Err(self.refused(asked, fault).await);
        }
        let detail = Some(format!("enrolls database {}", target.database()));
        self.record(Decision { detail, ..asked }).await?;
        let by = authorization.principal().to_string();
        targets::enroll_now(&self.control, &target.url.connect_options(), target.database(), &by).await?;
        self.view(target).await
    }

    /// Whether the matrix of a target has this chain.
    pub(crate) fn replays(&self, chain: &str) -> bool {
        self.targets.iter().any(|target| target.matrix.chains.iter().any(|it| it.name == chain))
    }

    /// The chains on this daemon's disk now.
    pub(crate) async fn shelf(&self) -> Shelf {
        chains::shelf(self.migrations.clone()).await
    }
}
