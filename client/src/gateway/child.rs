//! The tool's process: what it finds in its environment, what it prints, how it ends.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use model::tool::{Exit, OUTPUT_BYTES, tail};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{self, Command},
    sync::mpsc,
};
use uuid::Uuid;

use crate::api::ToolStart;

/// The longest line that is shown whole.
const LINE: usize = 4 * 1024;
/// How long what was printed last may take to arrive: somebody else may hold the pipe open.
const REST: Duration = Duration::from_secs(1);

/// What leads somewhere else, or is the client's own business, is not the tool's to see.
const TAKEN_AWAY: &[&str] = &[
    "RESETCTL_TOKEN",
    "RESETCTL_TOKEN_FILE",
    "RESETCTL_KEY",
    "PGHOSTADDR",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PGPASSFILE",
    "PGOPTIONS",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGREQUIRESSL",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "PGSSLNEGOTIATION",
    "PGKRBSRVNAME",
    "PGREQUIREPEER",
    "PGTARGETSESSIONATTRS",
    "PGREPLICATION",
];

/// Where a tool is led to.
pub(super) struct Preset<'a> {
    pub(super) operation: Uuid,
    pub(super) port: u16,
    pub(super) start: &'a ToolStart,
}

impl Preset<'_> {
    fn variables(&self) -> Vec<(&'static str, String)> {
        let ToolStart { user, password, database, schema } = self.start;
        let port = self.port;
        let name = encoded(database);
        let url = format!("postgresql://{}:{password}@127.0.0.1:{port}/{name}", encoded(user));
        let jdbc = format!("jdbc:postgresql://127.0.0.1:{port}/{name}?sslmode=disable");
        vec![
            ("DATABASE_URL", url),
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", port.to_string()),
            ("PGUSER", user.clone()),
            ("PGPASSWORD", password.clone()),
            ("PGDATABASE", database.clone()),
            ("PGSSLMODE", "disable".to_owned()),
            ("PGGSSENCMODE", "disable".to_owned()),
            ("RESETD_SCHEMA", schema.clone()),
            ("RESETD_OPERATION", self.operation.to_string()),
            ("JDBC_DATABASE_URL", jdbc.clone()),
            ("JDBC_DATABASE_USERNAME", user.clone()),
            ("JDBC_DATABASE_PASSWORD", password.clone()),
            ("FLYWAY_URL", jdbc.clone()),
            ("FLYWAY_USER", user.clone()),
            ("FLYWAY_PASSWORD", password.clone()),
            ("LIQUIBASE_COMMAND_URL", jdbc),
            ("LIQUIBASE_COMMAND_USERNAME", user.clone()),
            ("LIQUIBASE_COMMAND_PASSWORD", password.clone()),
        ]
    }
}

/// A name as a part of a URL.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The process; it is killed when this is dropped.
pub(super) struct Child {
    process: process::Child,
    lines: mpsc::Receiver<String>,
    ended: Option<ExitStatus>,
    output: String,
    /// What must not be in the output.
    password: String,
}

impl Child {
    /// Starts a command line in a shell.
    pub(super) fn spawn(command: &str, preset: &Preset<'_>) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).envs(preset.variables());
        for name in TAKEN_AWAY {
            shell.env_remove(name);
        }
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = shell.spawn()?;
        let (tell, lines) = mpsc::channel(64);
        if let Some(out) = process.stdout.take() {
            tokio::spawn(read(out, tell.clone()));
        }
        if let Some(err) = process.stderr.take() {
            tokio::spawn(read(err, tell));
        }
        let password = preset.start.password.clone();
        Ok(Self { process, lines, ended: None, output: String::new(), password })
    }

    /// The next line that it prints; `None`: it has ended, and has printed what it had.
    pub(super) async fn line(&mut self) -> Option<String> {
        if self.ended.is_none() {
            tokio::select! {
                biased;
                line = self.lines.recv() => if let Some(line) = line {
                    return Some(self.kept(&line));
                },
                status = self.process.wait() => self.ended = status.ok(),
            }
        }
        // Both pipes may be closed before it ends, and held open by others after it.
        if self.ended.is_none() {
            self.ended = self.process.wait().await.ok();
        }
        let line = tokio::time::timeout(REST, self.lines.recv()).await.ok().flatten()?;
        Some(self.kept(&line))
    }

    fn kept(&mut self, line: &str) -> String {
        let line = line.replace(&self.password, model::secret::REDACTED);
        self.output.push_str(&line);
        self.output.push('\n');
        if self.output.len() > 2 * OUTPUT_BYTES {
            self.output = tail(&self.output, OUTPUT_BYTES).to_owned();
        }
        line
    }

    /// How it ended.
    pub(super) async fn exit(mut self) -> io::Result<Exit> {
        let status = match self.ended {
            Some(status) => status,
            None => self.process.wait().await?,
        };
        let output = tail(&self.output, OUTPUT_BYTES).to_owned();
        Ok(Exit { code: status.code(), signal: status.signal(), output })
    }
}

/// Cuts what is printed into lines, none longer than is shown.
async fn read(mut from: impl AsyncRead + Unpin, tell: mpsc::Sender<String>) {
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; LINE]);
    loop {
        let read = from.read(&mut chunk).await.unwrap_or(0);
        buffer.extend_from_slice(&chunk[..read]);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n' || *byte == b'\r') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            if !line.is_empty() && tell.send(line).await.is_err() {
                return;
            }
        }
        if !buffer.is_empty() && (read == 0 || buffer.len() >= LINE) {
            let line = String::from_utf8_lossy(&std::mem::take(&mut buffer)).into_owned();
            if tell.send(line).await.is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> ToolStart {
        let word = |text: &str| text.to_owned();
        ToolStart { user: word("tool"), password: word("once"), database: word("a b"), schema: word("app") }
    }

    async fn run(command: &str) -> (Vec<String>, Exit) {
        let start = start();
        let preset = Preset { operation: Uuid::nil(), port: 7, start: &start };
        let mut child = Child::spawn(command, &preset).expect("a shell");
        let mut lines = Vec::new();
        while let Some(line) = child.line().await {
            lines.push(line);
        }
        (lines, child.exit().await.expect("an end"))
    }

    #[tokio::test]
    async fn a_tool_is_led_to_the_port_and_never_shows_its_password() {
        let (lines, exit) =
            run("echo $DATABASE_URL; echo $FLYWAY_URL; echo $RESETD_SCHEMA $PGPASSWORD >&2").await;
        assert_eq!(exit.code, Some(0));
        assert!(lines.contains(&"postgresql://tool:[redacted]@127.0.0.1:7/a%20b".to_owned()), "{lines:?}");
        assert!(
            lines.contains(&"jdbc:postgresql://127.0.0.1:7/a%20b?sslmode=disable".to_owned()),
            "{lines:?}"
        );
        assert!(lines.contains(&"app [redacted]".to_owned()), "{lines:?}");
    }

    #[tokio::test]
    async fn its_exit_code_its_signal_and_the_end_of_its_output_are_known() {
        let (_, exit) = run("printf 'one\\ntwo'; exit 3").await;
        assert_eq!((exit.code, exit.output.as_str()), (Some(3), "one\ntwo\n"));
        let (_, exit) = run("kill -9 $$").await;
        assert_eq!((exit.code, exit.signal), (None, Some(9)));
        let (_, exit) = run("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done").await;
        assert!(exit.output.len() <= OUTPUT_BYTES && exit.output.ends_with("line 2999\n"));
    }

    #[tokio::test]
    async fn a_grandchild_that_holds_the_pipe_does_not_hold_the_end() {
        let (lines, exit) = run("sleep 30 & echo done").await;
        assert_eq!((lines, exit.code), (vec!["done".to_owned()], Some(0)));
    }
}
