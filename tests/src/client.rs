//! The real `resetctl`, and what came of it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::Child,
    task::JoinHandle,
};

use crate::{eventually, process, soon};

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// What came of a client.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line.
    pub line: String,
    /// The exit code; 128 and the signal where one ended it.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Progress and talk.
    pub stderr: String,
    /// Where the report was to go.
    pub report_path: Option<PathBuf>,
    report: Option<Value>,
}

impl Output {
    /// It ended with this code.
    ///
    /// # Panics
    /// It ended with another one; everything it said is shown.
    #[track_caller]
    pub fn expect(&self, code: u8) -> &Self {
        assert_eq!(self.code, i32::from(code), "{self}");
        self
    }

    /// The report.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    #[must_use]
    pub fn report(&self) -> &Value {
        self.report.as_ref().unwrap_or_else(|| panic!("no report\n{self}"))
    }

    /// Whether a report was written.
    #[must_use]
    pub fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// What is at a JSON pointer of the report.
    ///
    /// # Panics
    /// Nothing is there, not even null.
    #[track_caller]
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.report().pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in the report\n{self}"))
    }

    /// The text at a JSON pointer of the report.
    ///
    /// # Panics
    /// There is no text.
    #[track_caller]
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_else(|| panic!("{pointer} is no text\n{self}"))
    }

    /// The list at a JSON pointer of the report.
    ///
    /// # Panics
    /// There is no list.
    #[track_caller]
    #[must_use]
    pub fn list(&self, pointer: &str) -> &Vec<Value> {
        self.at(pointer).as_array().unwrap_or_else(|| panic!("{pointer} is no list\n{self}"))
    }

    /// The list at a JSON pointer of the report, where null is an empty one.
    ///
    /// # Panics
    /// There is neither.
    #[track_caller]
    #[must_use]
    pub fn list_or_empty(&self, pointer: &str) -> &[Value] {
        if self.at(pointer).is_null() { &[] } else { self.list(pointer) }
    }

    /// It was refused or failed for this reason, and report and exit code agree with the table of reasons.
    ///
    /// # Panics
    /// It was not.
    #[track_caller]
    pub fn refused(&self, reason: &str) -> &Self {
        let row: model::fault::Reason = reason.parse().expect("a reason of the table");
        self.expect(row.exit_code());
        assert_eq!(self.text("/error_detail/reason"), reason, "{self}");
        assert_eq!(self.text("/status"), row.status().as_str(), "{self}");
        assert!(!self.text("/error_detail/message").is_empty(), "{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, code, stdout, stderr, .. } = self;
        write!(
            f,
            "resetctl {line}\nexit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n--- report\n"
        )?;
        match &self.report {
            Some(report) => write!(f, "{report:#}"),
            None => f.write_str("none"),
        }
    }
}

/// A client that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    report_path: Option<PathBuf>,
    stdout: Ear,
    stderr: Ear,
}

/// Listens to one stream of a client.
#[derive(Debug)]
pub(crate) struct Ear {
    heard: Arc<Mutex<String>>,
    listens: JoinHandle<()>,
}

impl Ear {
    fn on(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        Self::listening(|text| async move {
            let mut lines = BufReader::new(stream);
            let mut line = String::new();
            // By lines with their ends, so that nothing is added to what was written.
            while lines.read_line(&mut line).await.expect("a stream of text") > 0 {
                text.lock().expect("nobody panics with it").push_str(&line);
                line.clear();
            }
        })
    }

    /// Listens by a task that writes down what it hears.
    pub(crate) fn listening<F: Future<Output = ()> + Send + 'static>(
        listen: impl FnOnce(Arc<Mutex<String>>) -> F,
    ) -> Self {
        let heard = Arc::new(Mutex::new(String::new()));
        let listens = tokio::spawn(listen(Arc::clone(&heard)));
        Self { heard, listens }
    }

    pub(crate) fn heard(&self) -> String {
        self.heard.lock().expect("nobody panics with it").clone()
    }

    pub(crate) async fn all(self) -> String {
        self.listens.await.expect("a stream of text is read to its end");
        self.heard.lock().expect("nobody panics with it").clone()
    }
}

/// Verbs that make a report.
const REPORTING: &[&str] = &["reset", "run", "migrate", "validate", "undo", "watch"];

impl Running {
    /// Starts `resetctl` in `folder`. Where the caller says nothing about the report, it goes to a path of its own.
    pub(crate) fn start(folder: &Path, server: &str, words: &[&str]) -> Self {
        Self::start_with(folder, &[("RESETCTL_SERVER", server)], words)
    }

    /// Starts `resetctl` in `folder`, which is its home as well, with these variables.
    pub(crate) fn start_with(folder: &Path, env: &[(&str, &str)], words: &[&str]) -> Self {
        let mut command = process::command(process::binary("resetctl"));
        command.current_dir(folder).env("HOME", folder).envs(env.iter().copied());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = |flag: &str| words.iter().any(|word| word.starts_with(flag));
        let mut report_path = None;
        if words.iter().any(|word| REPORTING.contains(word)) && !said("--report-path") && !said("--detach") {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("reports/{number}.json"));
            command.arg("--report-path").arg(&path);
            report_path = Some(path);
        }
        let mut child = command.spawn().expect("resetctl can be run");
        let stdout = Ear::on(child.stdout.take().expect("a pipe"));
        let stderr = Ear::on(child.stderr.take().expect("a pipe"));
        Self { child, line: words.join(" "), report_path, stdout, stderr }
    }

    /// What it said on stderr until now.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.heard()
    }

    /// Waits until it prints these words on stdout.
    pub async fn printed(&self, words: &str) {
        eventually(&format!("resetctl {} prints `{words}`", self.line), || async {
            self.stdout.heard().contains(words)
        })
        .await;
    }

    /// Waits until it says these words on stderr.
    pub async fn said(&self, words: &str) {
        eventually(&format!("resetctl {} says `{words}`", self.line), || async {
            self.stderr().contains(words)
        })
        .await;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    /// Waits for its end.
    pub async fn finish(mut self) -> Output {
        use std::os::unix::process::ExitStatusExt as _;
        let status = soon(&format!("the end of resetctl {}", self.line), self.child.wait()).await;
        let status = status.expect("a child can be waited for");
        let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).expect("a code or a signal");
        let (stdout, stderr) = (self.stdout.all().await, self.stderr.all().await);
        let bytes = self.report_path.as_ref().and_then(|path| std::fs::read(path).ok());
        let report = bytes.map(|bytes| serde_json::from_slice(&bytes).expect("a report is JSON"));
        Output { line: self.line, code, stdout, stderr, report_path: self.report_path, report }
    }
}

/// The finding of a code in the plan.
///
/// # Panics
/// There is none.
#[track_caller]
pub fn finding<'a>(out: &'a Output, code: &str) -> &'a Value {
    let found = out.list("/plan/findings").iter().find(|f| f["code"] == code);
    found.unwrap_or_else(|| panic!("no finding {code}\n{out}"))
}
