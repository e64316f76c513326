//! One child process of an embedded cluster: started, watched, ended.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::account::Account;
use super::directory::open_plain;
use super::{EmbeddedError, StopMode};

const POLL: Duration = Duration::from_millis(10);
/// How long each signal may take before a harder one follows.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much of the log an error shows.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 * 1024;

/// What to start.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) log: PathBuf,
}

#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    disposable: bool,
}

impl Server {
    /// The shell opens the log as the account, so that root writes into no folder of somebody else; `exec` keeps the
    /// process id ours.
    pub(super) fn spawn(account: &Account, launch: &Launch, disposable: bool) -> Result<Self, EmbeddedError> {
        let mut command = account.command("/bin/sh");
        command.args(["-c", "umask 077; log=$1; shift; exec \"$0\" \"$@\" >>\"$log\" 2>&1"]);
        command.arg(&launch.program).arg(&launch.log).args(&launch.arguments);
        let child = command.spawn().map_err(|source| EmbeddedError::Spawn {
            program: launch.program.clone(),
            user: account.name().to_owned(),
            source,
        })?;
        Ok(Self { child, disposable })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits, without a limit, until it ends by itself.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, EmbeddedError> {
        loop {
            let state = self.child.try_wait();
            match state.map_err(|source| EmbeddedError::Control { pid: self.pid(), source })? {
                Some(status) => return Ok(status),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Connects until the server answers, ends, or the limit is over.
    pub(super) async fn ready(
        &mut self,
        connect: &PgConnectOptions,
        limit: Duration,
        log: &Path,
        log_start: u64,
    ) -> Result<(), EmbeddedError> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.exited() {
                return Err(EmbeddedError::Ended {
                    status,
                    log: log.to_owned(),
                    tail: log_tail(log, log_start),
                });
            }
            let refused = match attempt(connect).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if begin.elapsed() > limit {
                let tail = log_tail(log, log_start);
                return Err(EmbeddedError::NotReady { limit, log: log.to_owned(), tail, source: refused });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends it with the mode's signal, and with harder ones when that is ignored.
    pub(super) async fn stop(&mut self, mode: StopMode) -> Result<(), EmbeddedError> {
        for signal in signals(mode) {
            self.signal(*signal)?;
            if tokio::time::timeout(PATIENCE, self.ended()).await.is_ok_and(|ended| ended.is_ok()) {
                return Ok(());
            }
            tracing::warn!(pid = self.pid(), %signal, "the embedded PostgreSQL did not end in time");
        }
        Err(EmbeddedError::NotStopped { pid: self.pid() })
    }

    /// Only while the child is not reaped, so that the number is surely its own.
    fn signal(&mut self, signal: Signal) -> Result<(), EmbeddedError> {
        if self.exited().is_some() {
            return Ok(());
        }
        let pid = self.pid();
        let number = i32::try_from(pid)
            .map_err(|error| EmbeddedError::Control { pid, source: std::io::Error::other(error) })?;
        kill(Pid::from_raw(number), signal)
            .map_err(|error| EmbeddedError::Control { pid, source: error.into() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mode = if self.disposable { StopMode::Immediate } else { StopMode::Fast };
        for signal in signals(mode) {
            if self.exited().is_some() || self.signal(*signal).is_err() {
                return;
            }
            let begin = Instant::now();
            while self.exited().is_none() && begin.elapsed() < PATIENCE {
                std::thread::sleep(POLL);
            }
        }
    }
}

fn signals(mode: StopMode) -> &'static [Signal] {
    match mode {
        StopMode::Fast => &[Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL],
        StopMode::Immediate => &[Signal::SIGQUIT, Signal::SIGKILL],
    }
}

async fn attempt(connect: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let answer = tokio::time::timeout(Duration::from_secs(5), connect.connect()).await;
    let connection: PgConnection =
        answer.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))?;
    connection.close().await
}

/// Where the log ends now; what follows is the next start's.
pub(super) fn log_length(log: &Path) -> u64 {
    std::fs::symlink_metadata(log).map_or(0, |file| file.len())
}

/// The last lines of the log after a position.
pub(super) fn log_tail(log: &Path, start: u64) -> String {
    let begin = start.max(log_length(log).saturating_sub(TAIL_BYTES));
    let mut bytes = Vec::new();
    let read = open_plain(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(begin))?;
        file.take(TAIL_BYTES).read_to_end(&mut bytes)
    });
    match read {
        Ok(0) => "(nothing)".to_owned(),
        Ok(_) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.trim_end().lines().collect();
            lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
        }
        Err(error) => format!("(the log cannot be read: {error})"),
    }
}
