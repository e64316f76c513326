//! The faults, and how each one strikes.

use std::time::Duration;

use model::lock::LockKey;
use resetd::embedded::StopMode;
use tokio::time::Instant;

use super::{Lane, Mode};
use crate::{Running, Signal};

/// How long a delayed connection is held up.
const DELAY: Duration = Duration::from_secs(2);

/// What strikes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fault {
    /// `kill -9` of the daemon, and a new one in its place.
    Kill,
    /// SIGSTOP of the daemon; its sessions that hold locks end, as the server ends them when the host is gone; another
    /// daemon takes over; then it wakes up.
    Stop,
    /// The backend that holds the lock is terminated.
    LockBackend,
    /// The backends that work in the target are terminated.
    WorkBackend,
    /// The connections to the target go silent.
    Swallow,
    /// The connections to the target are held up.
    Delay,
    /// The connections to the target are broken off.
    Reset,
    /// PostgreSQL restarts, fast.
    RestartFast,
    /// PostgreSQL restarts, immediate: as after a crash.
    RestartImmediate,
    /// `kill -9` of the client.
    Client,
    /// A cancel, through the other daemon.
    Cancel,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Kill,
        Self::Stop,
        Self::LockBackend,
        Self::WorkBackend,
        Self::Swallow,
        Self::Delay,
        Self::Reset,
        Self::RestartFast,
        Self::RestartImmediate,
        Self::Client,
        Self::Cancel,
    ];

    /// A name for tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill daemon",
            Self::Stop => "stop daemon",
            Self::LockBackend => "end lock backend",
            Self::WorkBackend => "end work backend",
            Self::Swallow => "target silent",
            Self::Delay => "target delayed",
            Self::Reset => "target reset",
            Self::RestartFast => "restart fast",
            Self::RestartImmediate => "restart immediate",
            Self::Client => "kill client",
            Self::Cancel => "cancel",
        }
    }

    /// It strikes the whole server.
    #[must_use]
    pub fn restarts(self) -> bool {
        matches!(self, Self::RestartFast | Self::RestartImmediate)
    }

    /// The session that holds the lock lives on.
    pub(crate) fn spares_the_lock(self) -> bool {
        !self.restarts() && !matches!(self, Self::Kill | Self::Stop | Self::LockBackend)
    }

    /// It strikes by the proxy: whether it did is known only when something comes by.
    pub(crate) fn by_proxy(self) -> bool {
        matches!(self, Self::Swallow | Self::Delay | Self::Reset)
    }
}

/// Backends that work for operations outside the control database.
pub(crate) const WORKERS: &str = "SELECT pid FROM pg_stat_activity
    WHERE application_name LIKE 'resetd % op=%' AND backend_type = 'client backend'
      AND datname NOT LIKE 'crash_control%' AND application_name LIKE 'resetd TARGET op=%'";

/// Asks for a cancel: the reason of the refusal, if it was refused.
pub(crate) async fn cancel(mut api: crate::Api, id: String) -> Result<(), String> {
    let request = wire::v1::CancelOperationRequest { operation: id, reason: "a test".to_owned() };
    let refused = match api.operations.cancel_operation(request).await {
        Ok(_) => return Ok(()),
        Err(status) => status,
    };
    Err(wire::decode_status(&refused).map_or_else(|| refused.to_string(), |fault| fault.reason.to_string()))
}

impl Lane {
    pub(crate) async fn workers(&self) -> Vec<i32> {
        let rows = self.server_rows(&WORKERS.replace("TARGET", &self.target.name)).await;
        rows.iter().map(|row| row[0].parse().expect("a pid")).collect()
    }

    async fn terminate(&self, pids: &[i32]) -> usize {
        let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let sql = format!(
            "SELECT pid FROM unnest('{{{}}}'::int[]) pid WHERE pg_terminate_backend(pid)",
            list.join(",")
        );
        self.server_rows(&sql).await.len()
    }

    /// The backends that hold advisory locks in the control database: the target's, the operation's, the daemon's.
    async fn lockers(&self, of_target: bool) -> Vec<i32> {
        let (high, low) = LockKey::target(&self.target.database).halves();
        let key = if of_target { format!("AND classid = {high} AND objid = {low}") } else { String::new() };
        let sql = format!(
            "SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted {key}
                AND database = (SELECT oid FROM pg_database WHERE datname = '{}')",
            self.target.control
        );
        self.server_rows(&sql).await.iter().map(|row| row[0].parse().expect("a pid")).collect()
    }

    /// Strikes; `false` when there was nothing to be struck.
    pub(crate) async fn strike(&mut self, fault: Fault, client: &Running) -> bool {
        match fault {
            Fault::Kill => {
                let Some(daemon) = self.first.take() else { return false };
                daemon.kill().await;
                true
            }
            Fault::Stop => {
                self.first_daemon().pause().await;
                let mine = self.proxy.control_pids();
                let mut lockers = self.lockers(false).await;
                lockers.retain(|pid| mine.contains(pid));
                // The daemon's own and the operation's.
                self.terminate(&lockers).await == lockers.len() && lockers.len() >= 2
            }
            Fault::LockBackend => {
                let holders = self.lockers(true).await;
                holders.len() == 1 && self.terminate(&holders).await == 1
            }
            Fault::WorkBackend => {
                let workers = self.workers().await;
                !workers.is_empty() && self.terminate(&workers).await == workers.len()
            }
            Fault::Swallow | Fault::Delay | Fault::Reset => {
                self.proxy.set(match fault {
                    Fault::Swallow => Mode::Swallow,
                    Fault::Delay => Mode::Delay(Instant::now() + DELAY),
                    _ => Mode::Reset,
                });
                true
            }
            Fault::RestartFast => self.site.restart(StopMode::Fast).await,
            Fault::RestartImmediate => self.site.restart(StopMode::Immediate).await,
            Fault::Client => {
                client.signal(Signal::SIGKILL);
                true
            }
            Fault::Cancel => {
                let id = std::fs::read_to_string(self.hold("held")).expect("it was held");
                // It may have to wait for the transaction that stores the event.
                self.cancel = Some(tokio::spawn(cancel(self.second.api().await, id)));
                true
            }
        }
    }
}
