//! Scope database, filled by a migration tool of the caller's: begun when the new database is ready for it, followed to its
//! end, and what it made taken over. Whatever goes wrong, the database aside is dropped.

use std::{sync::Arc, time::Duration};

use model::{
    event::{EventKind, ToolStarted},
    fault::{Fault, Reason},
    tool::{Exit, Tool, ToolEnded},
};
use tokio::sync::watch;

use super::{
    build::{Build, RowWatch},
    lifecycle::Run,
    tools::{Place, Stage},
};
use crate::{
    config::DatabaseUrl,
    postgres::{
        catalog::database::DatabaseRow,
        change::transaction::Work,
        gateway::{
            Gateway, Inside, Seen, Told, prepared,
            role::{self, Lent, ToolRole, Wanted},
        },
        lock::lease::LockSession,
    },
};

/// How long a caller may take to offer the tool when everything is ready for it.
const OFFER: Duration = Duration::from_secs(30);
/// How often a tool's progress is told.
const TELL: Duration = Duration::from_millis(500);

impl Run {
    /// Whether there can be a safe role for the tool, where one is asked for.
    ///
    /// # Errors
    /// `GATEWAY_ROLE`.
    pub(super) async fn tool_role_is_safe(
        &self,
        lock: &LockSession,
        row: Option<&DatabaseRow>,
    ) -> Result<(), Fault> {
        if self.request.tool.is_none() {
            return Ok(());
        }
        let wanted = Wanted {
            named: self.target.tool_url.as_ref().map(DatabaseUrl::user),
            owner: row.map_or(self.target.url.user(), |row| &row.owner),
            role: self.target.url.user(),
        };
        Gateway::can_reach(&self.login_url().connect_options())?;
        role::check(&mut *lock.connection().await, &wanted).await
    }

    /// How a tool's role gets to the server.
    fn login_url(&self) -> &DatabaseUrl {
        self.target.tool_url.as_ref().unwrap_or(&self.target.url)
    }

    /// Lets the tool fill the new database.
    pub(super) async fn fill_with(
        &self,
        lock: &LockSession,
        tool: &Tool,
        (url, build): (&DatabaseUrl, &Build<'_>),
        watch: &RowWatch,
    ) -> Result<(), Fault> {
        let Some(held) = &self.tool else {
            return Err(Fault::new(Reason::Internal, "nobody waits for the migration tool"));
        };
        let owner = build.old.map_or(self.target.url.user(), |old| &old.owner);
        let role = self.tool_role(lock).await?;
        role::hand_over(&mut *lock.connection().await, build.name, &role.name).await?;
        let schemas = self.target.matrix.tool.as_ref().map(|it| it.schemas.clone()).unwrap_or_default();
        let lent = self.lend(lock, url, &schemas, &role.name).await?;
        let gateway = self.gateway(&role, build.name, &schemas);
        let started = ToolStarted { tool: tool.clone(), role: role.name.clone() };
        let mut teller = Teller::default();
        let ended = match self.start_tool(lock, started, &held.place, &gateway).await {
            Ok(()) => self.follow_tool(lock, &held.place, &gateway, &mut teller).await,
            Err(fault) => Err(fault),
        };
        held.place.shut();
        gateway.close().await;
        let prepared = prepared::roll_back(&url.connect_options()).await;
        if let Err(fault) = &prepared {
            tracing::warn!(operation = %self.owner.operation, %fault, "the migration tool left something behind");
        }
        self.tell_end(lock, tool, &gateway, ended?).await?;
        prepared?;
        role::end_sessions(&self.engine.control.pool, &role.name).await?;
        self.take_over(lock, url, (&lent, &role, owner)).await?;
        self.tell_row(lock, watch, "the migration tool").await
    }

    async fn tool_role(&self, lock: &LockSession) -> Result<ToolRole, Fault> {
        if let Some(url) = &self.target.tool_url {
            return Ok(ToolRole { name: url.user().to_owned(), password: None });
        }
        let name = self.generated("tool");
        let mut connection = lock.connection().await;
        role::make(&mut connection, self.owner.operation, &name, self.target.url.user()).await
    }

    async fn lend(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        schemas: &[String],
        role: &str,
    ) -> Result<Vec<Lent>, Fault> {
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        match role::lend_schemas(&mut work, schemas, role).await {
            Ok(lent) => work.commit().await.map(|()| lent),
            Err(fault) => {
                work.roll_back().await;
                Err(fault)
            }
        }
    }

    fn gateway(&self, role: &ToolRole, database: &str, schemas: &[String]) -> Arc<Gateway> {
        let schema = schemas.first().map_or("public", String::as_str);
        let told = Told::new(&role.name, self.target.database(), schema);
        let login = self.login_url().with_database(database).connect_options();
        let suffix = &self.target.matrix.search_path_suffix;
        Gateway::new(told, (login, role), suffix, self.engine.control.pool.clone())
    }

    /// Tells how the tool ended.
    ///
    /// # Errors
    /// `TOOL_FAILED`: it did not succeed.
    pub(super) async fn tell_end(
        &self,
        lock: &LockSession,
        tool: &Tool,
        gateway: &Gateway,
        exit: Exit,
    ) -> Result<(), Fault> {
        let seen = gateway.seen().borrow().clone();
        let ended = ToolEnded {
            exit,
            connections: seen.connections,
            statements: seen.statements,
            last_error: seen.last_error,
        };
        self.emit(lock, EventKind::ToolEnded(Box::new(ended.clone()))).await?;
        ended.fault(tool).map_or(Ok(()), Err)
    }

    /// Waits for the tool, and lets it begin.
    pub(super) async fn start_tool(
        &self,
        lock: &LockSession,
        started: ToolStarted,
        place: &Place,
        gateway: &Arc<Gateway>,
    ) -> Result<(), Fault> {
        self.progress("tool", 0, 0, "waits for the migration tool");
        let mut offers = place.stage();
        let offered = async { offers.wait_for(|stage| *stage != Stage::Absent).await.is_ok() };
        tokio::select! {
            offered = tokio::time::timeout(OFFER, offered) => {
                if !offered.unwrap_or_default() {
                    let text = format!("nobody brought the migration tool within {} s", OFFER.as_secs());
                    return Err(lost(text));
                }
            }
            why = self.live.interrupt.raised() => return Err(why),
        }
        self.emit(lock, EventKind::ToolStarted(started)).await?;
        place.open(Arc::clone(gateway));
        Ok(())
    }

    /// Tells what the tool does, until it has ended.
    pub(super) async fn follow_tool(
        &self,
        lock: &LockSession,
        place: &Place,
        gateway: &Gateway,
        told: &mut Teller,
    ) -> Result<Exit, Fault> {
        let (mut stage, mut seen) = (place.stage(), gateway.seen());
        loop {
            tokio::select! {
                biased;
                why = self.live.interrupt.raised() => return Err(why),
                ended = left(&mut stage) => {
                    return match ended {
                        Stage::Ended(exit) => Ok(exit),
                        _ => Err(lost("the caller of the migration tool went away before it ended".to_owned())),
                    };
                }
                () = poisoned(gateway) => gateway.transaction().map_or(Ok(()), Inside::check)?,
                () = told.due() => self.tell_tool(lock, &mut seen, told).await?,
            }
        }
    }

    /// Tells what is new of it.
    pub(super) async fn tell_tool(
        &self,
        lock: &LockSession,
        seen: &mut watch::Receiver<Seen>,
        told: &mut Teller,
    ) -> Result<(), Fault> {
        if !seen.has_changed().unwrap_or_default() {
            return Ok(());
        }
        let now = seen.borrow_and_update().clone();
        if now.connections > 0 && !told.connected {
            told.connected = true;
            let application_name = now.application_name.clone();
            self.emit(lock, EventKind::ToolConnected { application_name }).await?;
        }
        let current = now.current.unwrap_or_else(|| "a prepared statement".to_owned());
        self.progress("tool", now.statements, 0, &format!("{} statements: {current}", now.statements));
        Ok(())
    }

    async fn take_over(
        &self,
        lock: &LockSession,
        url: &DatabaseUrl,
        (lent, role, owner): (&[Lent], &ToolRole, &str),
    ) -> Result<(), Fault> {
        let mut work = Work::begin(&url.connect_options(), lock, self.work_context()).await?;
        match role::take_back(&mut work, lent, &role.name, owner).await {
            Ok(()) => work.commit().await?,
            Err(fault) => {
                work.roll_back().await;
                return Err(fault);
            }
        }
        match role.password {
            Some(_) => role::drop_made(&mut *lock.connection().await, &role.name).await,
            None => Ok(()),
        }
    }
}

/// Fires when the transaction that the tool works in cannot go on.
async fn poisoned(gateway: &Gateway) {
    match gateway.transaction() {
        Some(inside) => inside.is_poisoned().await,
        None => std::future::pending().await,
    }
}

/// What came after the tool was offered.
pub(super) async fn left(stage: &mut watch::Receiver<Stage>) -> Stage {
    let left = stage.wait_for(|stage| *stage != Stage::Offered).await;
    left.map_or(Stage::Lost, |stage| stage.clone())
}

/// When a tool's progress is told next.
pub(super) struct Teller {
    next: tokio::time::Interval,
    connected: bool,
}

impl Default for Teller {
    fn default() -> Self {
        Self { next: tokio::time::interval(TELL), connected: false }
    }
}

impl Teller {
    pub(super) async fn due(&mut self) {
        self.next.tick().await;
    }
}

pub(super) fn lost(what: String) -> Fault {
    Fault::new(Reason::GatewayLost, what).hint("nothing is left of what it did; run it again")
}
