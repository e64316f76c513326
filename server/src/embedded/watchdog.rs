//! What ends the server when the daemon cannot: a small shell that reads from a pipe only the daemon holds. The
//! kernel closes the pipe however the daemon dies, and the shell then ends the server and removes what is temporary.
//!
//! Linux's parent-death signal would do it too, but needs unsafe code, and other systems have none.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};

use super::EmbeddedError;
use super::account::Account;

/// `$0` is the folder to remove; the arguments are the signals, softest first. Each line from the daemon is the
/// process to watch now, or empty. A zombie that nobody reaps (a container without an init) counts as ended.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
alive() {
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    case "$(cat "/proc/$pid/stat" 2>/dev/null)" in *') Z '*) return 1 ;; esac
}
for signal in "$@"; do
    alive || break
    kill -s "$signal" "$pid" 2>/dev/null
    tries=0
    while alive && [ "$tries" -lt 300 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
done
rm -rf "$0"
"#;

#[derive(Debug)]
pub(super) struct Watchdog {
    child: Child,
}

impl Watchdog {
    pub(super) fn spawn(account: &Account, folder: &Path, disposable: bool) -> Result<Self, EmbeddedError> {
        let mut command = account.command("/bin/sh");
        command.args(["-c", SCRIPT]).arg(folder).stdin(Stdio::piped());
        if !disposable {
            command.arg("INT");
        }
        command.args(["QUIT", "KILL"]);
        let child = command.spawn().map_err(|source| EmbeddedError::Spawn {
            program: "/bin/sh".into(),
            user: account.name().to_owned(),
            source,
        })?;
        Ok(Self { child })
    }

    /// Says which process to end with the daemon.
    pub(super) fn follow(&mut self, pid: Option<u32>) {
        let line = pid.map(|pid| pid.to_string()).unwrap_or_default();
        let told = self.child.stdin.as_mut().map(|pipe| writeln!(pipe, "{line}"));
        if let Some(Err(error)) = told {
            tracing::warn!(%error, "the watchdog of the embedded PostgreSQL is gone; a killed daemon would leave it running");
        }
    }
}

impl Drop for Watchdog {
    /// By now everything is ended and removed in order, so the shell has nothing left to do.
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait().map(drop)).is_err() {
            tracing::warn!(
                pid = self.child.id(),
                "the watchdog of the embedded PostgreSQL could not be ended"
            );
        }
    }
}
