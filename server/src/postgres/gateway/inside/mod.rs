//! A migration tool within the operation's own transaction: its connections share the work session, one unit at a time.
//!
//! Transactions of the tool's are savepoints (`model::sql::frames`), statements are sent by the protocol that takes no second one, and
//! whatever ends a transaction never reaches the server. What cannot be expressed so ends the operation: nothing is committed yet,
//! so that this is always right. It must not know operations, nor what the tool is for.

mod backend;
mod batch;
mod messages;
mod settings;
mod simple;
mod tool;
mod turn;

use std::{
    io,
    sync::{
        Mutex as StdMutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use model::{
    fault::{Fault, Reason},
    sql::frames::Session,
};
use sqlx::PgPool;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Seen,
    frame::{self, Message},
    login, watch as watched,
};
use crate::postgres::session::{
    backend as backends,
    relay::{Bytes, Lent, Return, ServerStream},
};
use backend::Backend;
use settings::Settings;
use tool::{Own, Tool};
use turn::Turn;

/// How long a tool may let its session wait.
const IDLE: Duration = Duration::from_secs(600);
/// How often a cancel is sent to a statement whose tool is gone.
const AGAIN: Duration = Duration::from_millis(250);
/// From here on any commit but the operation's own is refused by the server: it cannot empty a table that another one refers to.
const LATCH: &str = "CREATE TEMP TABLE resetd_latch (id int PRIMARY KEY) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE resetd_latch_of (id int REFERENCES resetd_latch)";

/// Why the operation cannot go on: what happened cannot be expressed in one transaction, or the session broke.
#[derive(Debug)]
struct Poison(String);

impl From<io::Error> for Poison {
    fn from(error: io::Error) -> Self {
        Self(format!("the way to PostgreSQL broke: {error}"))
    }
}

/// How far the shared session is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// What comes before the tool is not done.
    Waiting,
    Open,
    Over,
}

/// The operation's transaction as the tool's connections share it.
pub(crate) struct Inside {
    stage: watch::Sender<Stage>,
    turn: Mutex<Option<Turn>>,
    /// What gives the session back to the operation.
    lent: StdMutex<Option<Return>>,
    base: OnceLock<Settings>,
    poison: StdMutex<Option<String>>,
    poisoned: CancellationToken,
    last: AtomicU32,
    /// Whose unit runs; 0: nobody's.
    running: AtomicU32,
    pid: i32,
    control: PgPool,
    /// The role that statements begin as, where it is not the login role.
    role: OnceLock<String>,
    seen: watch::Sender<Seen>,
}

fn locked<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inside {
    /// For the session of backend `pid`.
    pub(super) fn new(pid: i32, control: PgPool, seen: watch::Sender<Seen>) -> Self {
        Self {
            stage: watch::Sender::new(Stage::Waiting),
            turn: Mutex::default(),
            lent: StdMutex::default(),
            base: OnceLock::new(),
            poison: StdMutex::default(),
            poisoned: CancellationToken::new(),
            last: AtomicU32::new(0),
            running: AtomicU32::new(0),
            pid,
            control,
            role: OnceLock::new(),
            seen,
        }
    }

    /// Lets the tool's statements in, which begin as `role`.
    ///
    /// # Errors
    /// `GATEWAY_POISONED`: the session cannot be shared.
    pub(crate) async fn open(&self, lent: Lent, role: Option<String>) -> Result<(), Fault> {
        if let Some(role) = role {
            let _first = self.role.set(role);
        }
        let (server, back) = lent.take();
        *locked(&self.lent) = Some(back);
        let mut backend = Backend::new(server);
        let opened = async {
            let base = settings::read(backend.must(settings::IN_FORCE).await?);
            backend.must(LATCH).await?;
            Ok::<_, Poison>(base)
        };
        let base = opened.await.map_err(|poison| fault(&poison.0))?;
        let _first = self.base.set(base);
        *self.turn.lock().await = Some(Turn::new(backend));
        self.stage.send_replace(Stage::Open);
        Ok(())
    }

    /// Gives the session back, once the tool's connections have ended. What they have not committed is taken back.
    ///
    /// # Errors
    /// `GATEWAY_POISONED`.
    pub(crate) async fn finish(&self) -> Result<(), Fault> {
        self.stage.send_replace(Stage::Over);
        let turn = self.turn.lock().await.take();
        self.check()?;
        let Some(turn) = turn else { return Err(fault("the session was never shared")) };
        if turn.busy {
            return Err(fault("the tool ended in the middle of a statement"));
        }
        let lent = locked(&self.lent).take();
        let ended = turn.end().await.map_err(|poison| fault(&poison.0))?;
        match lent {
            Some(lent) => lent.give_back(ended),
            None => return Err(fault("the session was given back already")),
        }
        Ok(())
    }

    /// Why the operation cannot go on, if it cannot.
    ///
    /// # Errors
    /// `GATEWAY_POISONED`.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match locked(&self.poison).as_deref() {
            Some(why) => Err(fault(why)),
            None => Ok(()),
        }
    }

    /// Fires when the operation cannot go on.
    pub(crate) async fn is_poisoned(&self) {
        self.poisoned.cancelled().await;
    }

    fn poison(&self, poison: Poison) {
        tracing::warn!(why = poison.0, "a migration tool's statements cannot go on");
        locked(&self.poison).get_or_insert(poison.0);
        self.poisoned.cancel();
    }

    /// A number for a connection that begins.
    pub(super) fn number(&self) -> Session {
        self.last.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Cancels what this session runs, if it runs something.
    pub(super) async fn cancel(&self, session: Session) {
        if self.running.load(Ordering::SeqCst) == session {
            backends::cancel(&self.control, self.pid).await;
        }
    }

    /// Cancels what runs, whose tool is gone, and waits a moment: one that came too early struck nothing.
    async fn cancel_running(&self) {
        backends::cancel(&self.control, self.pid).await;
        tokio::time::sleep(AGAIN).await;
    }

    async fn waited_too_long(&self) {
        tokio::select! {
            () = tokio::time::sleep(IDLE) => {}
            () = self.poisoned.cancelled() => {}
        }
    }

    /// A message of the tool's, for whoever watches.
    fn tell(&self, own: &mut Own, message: &Message) {
        let kept = &message.body[..message.body.len().min(watched::STATEMENT)];
        own.watched.asked(message.kind, kept, &self.seen);
    }

    /// An error that the tool gets, for whoever watches.
    fn tell_error(&self, own: &Own, message: &Message) {
        own.watched.answered(message.kind, &message.body, &self.seen);
    }

    /// Serves one connection whose own session would have these settings.
    pub(super) async fn session(&self, number: Session, stream: impl Bytes, mut wanted: Settings) {
        let mut tool = Tool::new(stream);
        let mut stage = self.stage.subscribe();
        let stage = tokio::select! {
            () = self.poisoned.cancelled() => Stage::Over,
            now = stage.wait_for(|stage| *stage != Stage::Waiting) => now.map_or(Stage::Over, |stage| *stage),
        };
        wanted.extend(self.role.get().map(|role| ("role".to_owned(), role.clone())));
        let encoding = wanted.get("client_encoding").cloned().unwrap_or_default();
        let base = self.base.get().cloned().unwrap_or_default();
        let mut own = Own::new(number, settings::differing(&base, wanted));
        let ended = match stage {
            Stage::Open => match tool::is_safe(&encoding) {
                Ok(()) => self.units(&mut own, &mut tool).await,
                Err(unsafe_encoding) => Err(unsafe_encoding),
            },
            _ => Ok(()),
        };
        if let Err(poison) = ended {
            self.poison(poison);
        }
        let why = locked(&self.poison).clone();
        let text = why.unwrap_or_else(|| "the operation has ended".to_owned());
        tool.say(&frame::fatal("57P01", &format!("resetd ends this session: {text}"), "")).await;
        tool.flush().await;
    }

    /// Unit after unit, to the end of the connection.
    async fn units<S: Bytes>(&self, own: &mut Own, tool: &mut Tool<S>) -> Result<(), Poison> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.waited_too_long() => None,
                message = tool.read() => message,
            };
            let Some(message) = message else { break };
            self.tell(own, &message);
            // Never given back in the middle of something, except by who is gone: then `busy` stays.
            let mut held = tokio::select! {
                biased;
                () = self.poisoned.cancelled() => return Ok(()),
                held = self.turn.lock() => held,
            };
            let Some(turn) = held.as_mut() else { return Ok(()) };
            if std::mem::replace(&mut turn.busy, true) {
                return Err(Poison(
                    "a connection of the tool's was lost in the middle of a statement".to_owned(),
                ));
            }
            self.running.store(own.session, Ordering::SeqCst);
            let done = self.unit(turn, own, tool, message).await;
            self.running.store(0, Ordering::SeqCst);
            done?;
            turn.busy = false;
            drop(held);
            tool.flush().await;
        }
        let mut held = self.turn.lock().await;
        match held.as_mut() {
            Some(turn) if !turn.busy => turn.gone(own).await,
            _ => Ok(()),
        }
    }

    async fn unit<S: Bytes>(
        &self,
        turn: &mut Turn,
        own: &mut Own,
        tool: &mut Tool<S>,
        message: Message,
    ) -> Result<(), Poison> {
        turn.enter(own).await?;
        match message.kind {
            b'Q' => self.query(turn, own, tool, &message.body).await,
            // What is left of a COPY that failed; and nothing waits to be told.
            b'd' | b'c' | b'f' | b'H' => Ok(()),
            _ => self.batch(turn, own, tool, message).await,
        }
    }
}

/// The settings of a session of the tool's own, which is opened to be asked and closed again.
pub(super) async fn settings_of(mut server: ServerStream) -> io::Result<Settings> {
    use tokio::io::AsyncWriteExt as _;
    server.write_all(&messages::query(settings::IN_FORCE.as_bytes())).await?;
    server.flush().await?;
    let mut rows = Vec::new();
    loop {
        let said = frame::read(&mut server).await?;
        match said.kind {
            b'D' => rows.extend(messages::row(&said.body)),
            b'E' => {
                let error = watched::error(&said.body, None);
                return Err(io::Error::other(error.message));
            }
            b'Z' => break,
            _ => {}
        }
    }
    login::leave(server).await;
    Ok(settings::read(rows))
}

fn fault(why: &str) -> Fault {
    Fault::new(
        Reason::GatewayPoisoned,
        format!("the migration tool cannot go on within the transaction: {why}"),
    )
    .hint("everything was rolled back; use --scope database, where the tool has a database of its own")
}
