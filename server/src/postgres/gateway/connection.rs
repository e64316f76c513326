//! One connection of a tool, from its startup packet to its end. Bytes are passed on as they come, each side no faster than the
//! other one takes them.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::Instant,
};

use super::{
    Gateway, Inside, MOST_CONNECTIONS,
    frame::{self, Borders, Message, fatal},
    inside,
    login::{self, Refused},
    startup::{self, Opening, Startup},
    watch::{self, Statements},
};
use crate::postgres::session::relay::{Bytes, ServerStream};

/// How much is passed on at a time.
const CHUNK: usize = 32 * 1024;
/// The largest message that a tool may send.
const LARGEST: u64 = 64 * 1024 * 1024;
/// How long a connection may take to begin.
const BEGINNING: Duration = Duration::from_secs(20);
/// How long a session may wait for its tool, and a tool may not take what it asked for.
const IDLE: Duration = Duration::from_secs(600);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long the server may take to end a session whose tool has gone.
const ENDING: Duration = Duration::from_secs(5);

/// Takes itself out of what is open.
struct Open<'a>(&'a Gateway);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.seen.send_modify(|seen| seen.open -= 1);
    }
}

impl Gateway {
    /// Serves one connection, until it ends or the gateway is closed.
    pub(crate) fn serve(self: &Arc<Self>, stream: impl Bytes + 'static) {
        let gateway = Arc::clone(self);
        self.connections.spawn(async move {
            let closed = gateway.closed.clone();
            tokio::select! {
                biased;
                () = closed.cancelled() => {}
                ended = gateway.connection(stream) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a connection of a migration tool broke");
                    }
                }
            }
        });
    }

    fn enter(&self) -> Option<Open<'_>> {
        let mut entered = false;
        self.seen.send_modify(|seen| {
            entered = seen.open < MOST_CONNECTIONS;
            seen.open += u32::from(entered);
        });
        // Only what was entered goes out again.
        entered.then(|| Open(self))
    }

    async fn connection(&self, mut tool: impl Bytes) -> io::Result<()> {
        let begun = tokio::time::timeout(BEGINNING, self.begin(&mut tool)).await;
        let Some((server, _open)) = begun.map_err(|_| io::ErrorKind::TimedOut)?? else { return Ok(()) };
        match &self.inside {
            Some(inside) => self.share(inside, tool, server).await,
            None => self.session(tool, server).await,
        }
    }

    /// A session within the operation's transaction: its own one says how it would be, and is closed again.
    async fn share(&self, inside: &Inside, mut tool: impl Bytes, mut server: ServerStream) -> io::Result<()> {
        let Some(key) = self.parameters(&mut tool, &mut server).await? else { return Ok(()) };
        let number = inside.number();
        self.keys().insert(key, number.cast_signed());
        let wanted = inside::settings_of(server).await?;
        inside.session(number, tool, wanted).await;
        self.keys().remove(&key);
        Ok(())
    }

    /// A session, once the tool has proved itself and the server has let it in; `None`: there is none.
    async fn begin(&self, tool: &mut impl Bytes) -> io::Result<Option<(ServerStream, Open<'_>)>> {
        let said = match startup::read(tool).await? {
            Opening::Session(said) => said,
            Opening::Cancel(key) => {
                self.cancel(key).await;
                return Ok(None);
            }
        };
        let refusal = match said.refusal(&self.told) {
            Some(refusal) => Some(refusal),
            None => said.prove(tool, &self.told).await?,
        };
        if let Some(refusal) = refusal {
            return refuse(tool, &refusal).await.map(|()| None);
        }
        let Some(open) = self.enter() else {
            let text = format!("a migration tool may have {MOST_CONNECTIONS} connections at a time");
            return refuse(tool, &fatal("53300", &text, "")).await.map(|()| None);
        };
        match self.log_in(&said).await {
            Ok(server) => {
                tool.write_all(&Message::new(b'R', vec![0; 4]).encode()).await?;
                self.seen.send_modify(|seen| {
                    if seen.connections == 0 {
                        seen.application_name = said.application_name().chars().take(63).collect();
                    }
                    seen.connections += 1;
                });
                Ok(Some((server, open)))
            }
            Err(why) => {
                let refusal = match why {
                    Refused::Server(said) => said,
                    Refused::Lost(text) => {
                        fatal("08006", &format!("PostgreSQL cannot be reached: {text}"), "")
                    }
                };
                let error = watch::error(&refusal.body, None);
                tracing::warn!(
                    sqlstate = error.sqlstate,
                    message = error.message,
                    "a migration tool was not let in"
                );
                self.seen.send_modify(|seen| seen.last_error = Some(error));
                refuse(tool, &refusal).await.map(|()| None)
            }
        }
    }

    async fn log_in(&self, said: &Startup) -> Result<ServerStream, Refused> {
        let database = self.login.get_database().unwrap_or_default();
        let packet = said.rewritten(self.login.get_username(), database, self.search_path.as_deref());
        login::open(&self.login, &packet).await
    }

    async fn session(&self, mut tool: impl Bytes, mut server: ServerStream) -> io::Result<()> {
        let Some(key) = self.parameters(&mut tool, &mut server).await? else { return Ok(()) };
        let (statements, waits) = (Mutex::new(Statements::default()), Waits::default());
        let (mut from_tool, mut to_tool) = tokio::io::split(tool);
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let ended = {
            let answers = self.answers(&mut from_server, &mut to_tool, &statements, &waits);
            tokio::pin!(answers);
            tokio::select! {
                biased;
                answered = &mut answers => answered.map(|()| None),
                why = waits.too_long() => Ok(Some(why)),
                asked = self.asked(&mut from_tool, &mut to_server, &statements, &waits) => match asked {
                    // The tool has gone: what it sent last is done, and the server ends the session.
                    Ok(None) => match tokio::time::timeout(ENDING, &mut answers).await {
                        Ok(answered) => answered.map(|()| None),
                        Err(_) => Ok(None),
                    },
                    other => other,
                },
            }
        };
        self.keys().remove(&key);
        if let Ok(Some(why)) = &ended {
            to_tool.write_all(&why.encode()).await?;
            to_tool.shutdown().await?;
        }
        login::leave(from_server.unsplit(to_server)).await;
        ended.map(|_| ())
    }

    /// Passes on what a session begins with, up to its first readiness; gives the key of its cancels.
    async fn parameters(
        &self,
        tool: &mut impl Bytes,
        server: &mut ServerStream,
    ) -> io::Result<Option<(i32, i32)>> {
        let mut key = None;
        loop {
            let mut said = frame::read(server).await?;
            if said.kind == b'K'
                && let Some(pid) = said.body.first_chunk().map(|pid| i32::from_be_bytes(*pid))
            {
                // The server's own secret stays here.
                let secret = getrandom::u32().map_err(io::Error::other)?.cast_signed();
                said.body = [pid.to_be_bytes(), secret.to_be_bytes()].concat();
                self.keys().insert((pid, secret), pid);
                key = Some((pid, secret));
            }
            tool.write_all(&said.encode()).await?;
            match said.kind {
                b'Z' => {
                    tool.flush().await?;
                    return Ok(key);
                }
                b'E' => {
                    let error = watch::error(&said.body, None);
                    self.seen.send_modify(|seen| seen.last_error = Some(error));
                    tool.shutdown().await?;
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    /// What the tool sends; a message that ends its session where it sends too much at once.
    async fn asked(
        &self,
        tool: &mut (impl AsyncRead + Unpin),
        server: &mut (impl AsyncWrite + Unpin),
        statements: &Mutex<Statements>,
        waits: &Waits,
    ) -> io::Result<Option<Message>> {
        let (mut borders, mut chunk) = (Borders::new(LARGEST), vec![0; CHUNK]);
        loop {
            let read = tool.read(&mut chunk).await?;
            if read == 0 {
                server.shutdown().await?;
                return Ok(None);
            }
            waits.for_server();
            let ended = |kind: u8, kept: &[u8]| locked(statements).asked(kind, kept, &self.seen);
            if borders.feed(&chunk[..read], watch::keep, ended).is_err() {
                let text = format!("a message may have at most {} MiB", LARGEST / 1024 / 1024);
                return Ok(Some(fatal("54000", &text, "")));
            }
            server.write_all(&chunk[..read]).await?;
            server.flush().await?;
        }
    }

    async fn answers(
        &self,
        server: &mut (impl AsyncRead + Unpin),
        tool: &mut (impl AsyncWrite + Unpin),
        statements: &Mutex<Statements>,
        waits: &Waits,
    ) -> io::Result<()> {
        let (mut borders, mut chunk) = (Borders::new(u64::MAX), vec![0; CHUNK]);
        loop {
            let read = server.read(&mut chunk).await?;
            if read == 0 {
                return tool.shutdown().await;
            }
            let mut ready = false;
            let ended = |kind: u8, kept: &[u8]| {
                ready = kind == b'Z';
                locked(statements).answered(kind, kept, &self.seen);
            };
            if borders.feed(&chunk[..read], watch::keep_of_server, ended).is_err() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            waits.writes(true);
            tool.write_all(&chunk[..read]).await?;
            tool.flush().await?;
            waits.writes(false);
            if ready {
                waits.for_tool();
            }
        }
    }
}

fn locked(statements: &Mutex<Statements>) -> std::sync::MutexGuard<'_, Statements> {
    statements.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn refuse(tool: &mut impl Bytes, why: &Message) -> io::Result<()> {
    tool.write_all(&why.encode()).await?;
    tool.shutdown().await
}

/// Whether a session waits for its tool, and since when.
struct Waits {
    since: Mutex<Instant>,
    for_tool: AtomicBool,
    writes: AtomicBool,
}

impl Default for Waits {
    fn default() -> Self {
        let since = Mutex::new(Instant::now());
        Self { since, for_tool: AtomicBool::new(true), writes: AtomicBool::new(false) }
    }
}

impl Waits {
    fn begin(&self, what: &AtomicBool, waits: bool) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        what.store(waits, Ordering::SeqCst);
    }

    fn for_tool(&self) {
        self.begin(&self.for_tool, true);
    }

    fn for_server(&self) {
        self.begin(&self.for_tool, false);
    }

    fn writes(&self, writes: bool) {
        self.begin(&self.writes, writes);
    }

    /// Ends when a tool has let its session wait for too long. A statement may run for as long as it takes.
    async fn too_long(&self) -> Message {
        loop {
            tokio::time::sleep(LOOK).await;
            let waits = self.for_tool.load(Ordering::SeqCst) || self.writes.load(Ordering::SeqCst);
            let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
            if waits && since.elapsed() >= IDLE {
                let text = format!("the session was idle for {} s", IDLE.as_secs());
                return fatal("57P05", &text, "");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_who_waits_for_the_tool_is_idle() {
        let waits = Waits::default();
        waits.for_server();
        assert!(tokio::time::timeout(IDLE * 3, waits.too_long()).await.is_err(), "a statement runs");
        waits.for_tool();
        let message = tokio::time::timeout(IDLE * 2, waits.too_long()).await.expect("it is idle");
        assert!(String::from_utf8_lossy(&message.body).contains("57P05"));
        waits.for_server();
        waits.writes(true);
        assert!(
            tokio::time::timeout(IDLE * 2, waits.too_long()).await.is_ok(),
            "it does not take what it asked for"
        );
    }
}
