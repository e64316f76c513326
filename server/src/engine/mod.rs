//! The way of an operation: accepted, locked, planned, guarded, executed, ended. It emits events and never shows them.
//!
//! It must not know the wire, gRPC or the driver: requests come in as the model's types, work is done by `postgres`.

pub(crate) mod admin;
mod background;
mod operation;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use model::{
    audit::SealKey,
    authorization::{Policy, Subject},
    fault::{Fault, Reason},
    matrix::Matrix,
    profile::Profile,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    audit_lines::AuditLines,
    config::DatabaseUrl,
    ledger::Ledger,
    postgres::control::{notify::Wakeups, pool::Control},
};
use operation::{chains::Readings, registry::Live, tools::Tools};

pub(crate) use admin::{force_unlock::Force, windows::ReleaseRequest};
pub(crate) use operation::tools::Offer;
pub(crate) use watch::query::Enrolment;

/// How long cancelled operations and background tasks may take to end.
const LAST_WAIT: Duration = Duration::from_secs(15);

/// A database that this daemon may touch.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: DatabaseUrl,
    /// The environment variable that the URL comes from, where one holds it.
    pub(crate) env_var: Option<String>,
    pub(crate) profile: Profile,
    pub(crate) matrix: Matrix,
    /// As whom migration tools connect; `None`: the daemon makes a role for each.
    pub(crate) tool_url: Option<DatabaseUrl>,
}

impl Target {
    pub(crate) fn database(&self) -> &str {
        self.url.database()
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject { target: self.name.clone(), local: self.profile.is_local() }
    }
}

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) control: Control,
    pub(crate) targets: Vec<Target>,
    pub(crate) migrations: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) instance: Uuid,
    pub(crate) audit: AuditLines,
}

/// The engine of one daemon.
pub(crate) struct Engine {
    pub(crate) control: Control,
    pub(crate) targets: Vec<Arc<Target>>,
    pub(crate) migrations: PathBuf,
    pub(crate) policy: Policy,
    pub(crate) instance: Uuid,
    pub(crate) started_at: Timestamp,
    recorder: background::audit::Recorder,
    /// The key by which audit records are sealed.
    seal_key: Option<SealKey>,
    readings: Readings,
    live: Live,
    tools: Tools,
    wakeups: Wakeups,
    /// No new operations from here on.
    closing: CancellationToken,
    /// Everything ends from here on.
    end: CancellationToken,
    /// Something may have had its time.
    janitor: tokio::sync::Notify,
    operations: TaskTracker,
    background: TaskTracker,
}

impl Engine {
    /// Starts an engine: listens for news, recovers what earlier daemons left.
    pub(crate) async fn start(parts: Parts) -> Result<Arc<Self>, Fault> {
        let started_at = parts.control.now().await?;
        let (recorder, decisions) = background::audit::Recorder::new();
        let seal_key = parts.audit.key().cloned();
        let ledger = Ledger { control: parts.control.clone(), lines: parts.audit };
        let engine = Arc::new(Self {
            control: parts.control,
            targets: parts.targets.into_iter().map(Arc::new).collect(),
            migrations: parts.migrations,
            policy: parts.policy,
            instance: parts.instance,
            started_at,
            recorder,
            seal_key,
            readings: Readings::default(),
            live: Live::default(),
            tools: Tools::default(),
            wakeups: Wakeups::default(),
            closing: CancellationToken::new(),
            end: CancellationToken::new(),
            janitor: tokio::sync::Notify::new(),
            operations: TaskTracker::new(),
            background: TaskTracker::new(),
        });
        background::recovery::enter(&engine).await?;
        let listening = engine.wakeups.clone().listen(engine.control.clone(), engine.end.clone());
        engine.background.spawn(listening);
        engine.background.spawn(background::recovery::keep_recovering(Arc::clone(&engine)));
        engine.background.spawn(background::audit::keep_recording(Arc::clone(&engine), decisions, ledger));
        engine.background.spawn(background::janitor::keep_clean(Arc::clone(&engine)));
        Ok(engine)
    }

    /// Takes no new operations, waits for running ones at most `grace`, cancels the rest, and ends every stream.
    pub(crate) async fn shut_down(&self, grace: Duration) {
        self.closing.cancel();
        self.operations.close();
        if tokio::time::timeout(grace, self.operations.wait()).await.is_err() {
            tracing::warn!("operations still run after {} s; they are cancelled", grace.as_secs());
            self.live.interrupt_all(
                &Fault::new(Reason::Cancelled, "the operation was cancelled: the daemon was shut down")
                    .hint("nothing was changed; run it again when the daemon is back"),
            );
            // What does not end now is left to whoever recovers it.
            if tokio::time::timeout(LAST_WAIT, self.operations.wait()).await.is_err() {
                tracing::warn!("operations do not end; the next daemon takes them up");
            }
        }
        self.end.cancel();
        self.background.close();
        if tokio::time::timeout(LAST_WAIT, self.background.wait()).await.is_err() {
            tracing::warn!("background tasks do not end; the daemon ends without them");
        }
    }

    /// Fires when every stream must end.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.end
    }

    /// All targets as far as permission goes.
    pub(crate) fn subjects(&self) -> Vec<Subject> {
        self.targets.iter().map(|t| t.subject()).collect()
    }

    /// The target of a name; the only one where none is named.
    pub(crate) fn target(&self, name: &str) -> Result<&Arc<Target>, Fault> {
        if name.is_empty() {
            return match self.targets.as_slice() {
                [only] => Ok(only),
                _ => Err(Fault::new(
                    Reason::InvalidRequest,
                    "the daemon has several targets and none was named",
                )
                .hint("name one with --target NAME; `resetctl targets` lists them")
                .with("field", "target")),
            };
        }
        self.targets.iter().find(|t| t.name == name).ok_or_else(|| {
            Fault::new(Reason::TargetNotFound, format!("the daemon has no target `{name}`"))
                .hint("`resetctl targets` lists them")
                .with("target", name)
        })
    }
}
