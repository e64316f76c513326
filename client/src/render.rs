//! The screen: the only place that prints. Data goes to stdout, progress and talk to stderr.
//!
//! It must not decide anything about operations.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;
use model::{
    event::{Blocker, EventKind, Finished},
    fault::Fault,
    finding::Severity,
    plan::{Plan, Refusal},
    text::{visible, visible_coloured, visible_lines},
};
use serde_json::Value;
use wire::Received;

use crate::{
    args::ProgressMode,
    environment::Environment,
    io::{Io, Keyboard},
};

pub(crate) mod admin;
pub(crate) mod board;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod kept;
pub(crate) mod listing;
mod outcome;
mod plan;
mod surroundings;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod window;

use event::Weight;
use text::Paint;

/// What is not a terminal is never wrapped or shortened.
const UNBOUNDED: usize = 1_000_000;
/// In a log, what only moves is told this often.
const SELDOM: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Tty,
    Plain,
    Json,
    Quiet,
}

/// The screen of one client.
pub(crate) struct Screen {
    io: Io,
    mode: Mode,
    bar: Option<ProgressBar>,
    /// What moved last in a log, and when that was printed.
    last_moving: Option<(String, Instant)>,
    /// Who was in the way when a terminal was told last.
    blockers: Vec<String>,
}

impl Screen {
    pub(crate) fn new(io: Io) -> Self {
        let mode = if io.stderr_is_terminal { Mode::Tty } else { Mode::Plain };
        Self { io, mode, bar: None, last_moving: None, blockers: Vec::new() }
    }

    /// Chooses how progress is shown.
    pub(crate) fn progress(&mut self, mode: ProgressMode) {
        self.mode = match mode {
            ProgressMode::Auto if self.io.stderr_is_terminal => Mode::Tty,
            ProgressMode::Auto | ProgressMode::Plain => Mode::Plain,
            ProgressMode::Tty => Mode::Tty,
            ProgressMode::Json => Mode::Json,
            ProgressMode::Quiet => Mode::Quiet,
        };
    }

    /// A person is there to be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.io.interactive && matches!(self.mode, Mode::Tty | Mode::Plain)
    }

    pub(crate) fn keyboard(&self) -> Keyboard {
        self.io.keyboard.clone()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.io.environment
    }

    /// Help and version go to stdout, a wrong command line to stderr.
    pub(crate) fn usage(&mut self, text: &clap::builder::StyledStr, help: bool) {
        let colour = !self.io.environment.no_color;
        let (to, colour) = match help {
            true => (&mut self.io.stdout, colour && self.io.stdout_width.is_some()),
            false => (&mut self.io.stderr, colour && self.io.stderr_is_terminal),
        };
        // A closed terminal cannot be told anything.
        let _ = if colour { write!(to, "{}", text.ansi()) } else { write!(to, "{text}") };
        let _ = to.flush();
    }

    /// Data, to stdout.
    ///
    /// # Errors
    /// It could not be written; a reader that closed the pipe wanted no more, and is no error.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.io.stdout.write_all(bytes).and_then(|()| self.io.stdout.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    /// A report, to stdout: exactly its bytes, but that a terminal gets nothing hidden of those of an older daemon.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub(crate) fn report(&mut self, bytes: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.io.stdout_width.is_some() => self.data(model::text::json(text).as_bytes()),
            _ => self.data(bytes),
        }
    }

    /// What is shown in place where stdout is a terminal, as large as it is now; else the line of the change.
    ///
    /// # Errors
    /// It could not be written.
    pub(crate) fn board(
        &mut self,
        lines: impl Fn(usize) -> Vec<String>,
        change: Option<&str>,
    ) -> io::Result<()> {
        if self.io.stdout_width.is_none() {
            return change.map_or(Ok(()), |change| self.data(format!("{change}\n").as_bytes()));
        }
        let (rows, columns) = console::Term::stdout().size();
        let mut lines = lines(usize::from(columns));
        lines.truncate(usize::from(rows).saturating_sub(1).max(1));
        let text: String = lines.iter().map(|line| format!("{}\x1b[K\n", visible(line))).collect();
        self.data(format!("\x1b[H{text}\x1b[J").as_bytes())
    }

    /// The zone in which a person reads clocks.
    pub(crate) fn zone(&self) -> TimeZone {
        self.io.environment.zone.clone().unwrap_or(TimeZone::UTC)
    }

    /// The columns that data may take.
    pub(crate) fn data_width(&self) -> usize {
        self.io.stdout_width.unwrap_or(UNBOUNDED)
    }

    /// Talk, where somebody may listen.
    pub(crate) fn say(&mut self, text: &str) {
        self.talk("CLIENT", Severity::Info, text);
    }

    /// A warning.
    pub(crate) fn warn(&mut self, text: &str) {
        self.talk("CLIENT", Severity::Warning, text);
    }

    /// A warning that even `quiet` shows.
    pub(crate) fn alarm(&mut self, text: &str) {
        self.talk("CLIENT", Severity::Error, text);
    }

    fn talk(&mut self, code: &str, severity: Severity, text: &str) {
        let (paint, width) = (self.paint(), self.width());
        match self.mode {
            Mode::Json => self.json(&event::json_talk(code, severity, text)),
            Mode::Quiet if severity != Severity::Error => {}
            _ => {
                let first = match severity {
                    Severity::Info => "",
                    Severity::Warning | Severity::Error => "warning: ",
                };
                let paint =
                    |line: &String| if first.is_empty() { paint.dim(line) } else { paint.yellow(line) };
                let lines = text::wrap(first, text, width).iter().map(paint).collect();
                self.lines(lines);
            }
        }
    }

    /// A question; the answer comes from the keyboard.
    pub(crate) fn ask(&mut self, question: &str) {
        self.rest();
        // A closed terminal cannot be asked: its input ends as well.
        let _ = write!(self.io.stderr, "{}", visible_lines(question));
        let _ = self.io.stderr.flush();
    }

    /// A line that a migration tool printed.
    pub(crate) fn output(&mut self, line: &str) {
        match self.mode {
            Mode::Json => self.json(&event::json_talk("TOOL_OUTPUT", Severity::Info, line)),
            Mode::Quiet => {}
            Mode::Plain | Mode::Tty => {
                let line = self.paint().dim(&format!("  | {}", visible(line)));
                self.lines(vec![line]);
            }
        }
    }

    /// An event that is not the last.
    pub(crate) fn event(&mut self, event: &Received) {
        match (self.mode, event::weight(event)) {
            (Mode::Json, _) => self.json(&event::json(event)),
            (Mode::Quiet, _) | (_, Weight::Silent) => {}
            (Mode::Plain, Weight::Milestone) => self.lines(vec![event::plain(event)]),
            (Mode::Plain, Weight::Moving) => self.seldom(event),
            (Mode::Tty, Weight::Milestone) => {
                self.milestone(event);
                self.moving(event);
            }
            (Mode::Tty, Weight::Moving) => {
                if self.is_news(event) {
                    self.milestone(event);
                }
                self.moving(event);
            }
        }
    }

    /// A line of its own on a terminal, with its details below.
    fn milestone(&mut self, event: &Received) {
        let (mark, text) = event::tty(event, self.paint());
        let mut lines = text::wrap(&mark, &text, self.width());
        let details = event::details(event);
        lines.extend(details.iter().flat_map(|detail| text::wrap("  ", detail, self.width())));
        self.lines(lines);
    }

    /// Other sessions are in the way than before: who they were is still to be seen when the operation has failed.
    fn is_news(&mut self, event: &Received) -> bool {
        let Some(EventKind::Blocked { blockers, .. }) = &event.kind else { return false };
        let now: Vec<String> = blockers.iter().map(Blocker::object).collect();
        let news = now != self.blockers;
        self.blockers = now;
        news
    }

    /// A whole plan, with the command that executes it.
    pub(crate) fn plan(&mut self, plan: &Plan, execute: &str) {
        if matches!(self.mode, Mode::Tty | Mode::Plain) {
            let lines = plan::lines(plan, execute, self.width(), self.paint());
            self.lines(lines);
        }
    }

    /// The last event; with what would refuse the real run, where it was a dry run.
    pub(crate) fn finished(&mut self, event: &Received, title: &str, refusal: Option<&Refusal>) {
        self.rest();
        let (width, paint) = (self.width(), self.paint());
        let lines = match &event.kind {
            _ if self.mode == Mode::Json => return self.json(&event::json(event)),
            Some(EventKind::Finished(end)) if self.silenced(end) => return,
            Some(EventKind::Finished(end)) => outcome::finished(end, title, refusal, width, paint),
            _ => text::wrap("", &event.text, width),
        };
        self.lines(lines);
    }

    fn silenced(&self, end: &Finished) -> bool {
        self.mode == Mode::Quiet && end.error.is_none()
    }

    /// What went wrong without an operation's end.
    pub(crate) fn fault(&mut self, title: &str, fault: &Fault) {
        self.rest();
        match self.mode {
            Mode::Json => {
                let hint = fault.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
                let text = format!("{title}: {fault}{hint}");
                self.json(&event::json_talk(fault.reason.name(), Severity::Error, &text));
            }
            _ => self.lines(outcome::fault(fault, title, self.width(), self.paint())),
        }
    }

    /// Takes the bar away.
    pub(crate) fn rest(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn moving(&mut self, event: &Received) {
        let bar = self.bar.get_or_insert_with(new_bar);
        match &event.kind {
            Some(EventKind::Progress(it)) if it.total > 0 => {
                bar.set_style(style("{spinner} {elapsed:>4} {bar:16} {pos}/{len} {wide_msg}"));
                bar.set_length(it.total);
                bar.set_position(it.done);
                bar.set_message(text::clean(&format!("{}: {}", it.phase, it.current)));
            }
            _ => {
                bar.set_style(style("{spinner} {elapsed:>4} {wide_msg}"));
                bar.set_message(text::clean(&event.text));
            }
        }
    }

    /// The same thing again is told now and then, so that a log shows life; another thing at once.
    fn seldom(&mut self, event: &Received) {
        let phase = match &event.kind {
            Some(EventKind::Progress(it)) => it.phase.clone(),
            _ => event.text.clone(),
        };
        if self.last_moving.as_ref().is_some_and(|(what, at)| *what == phase && at.elapsed() < SELDOM) {
            return;
        }
        self.last_moving = Some((phase, Instant::now()));
        self.lines(vec![event::plain(event)]);
    }

    fn json(&mut self, value: &Value) {
        self.lines(vec![text::json(value)]);
    }

    fn lines(&mut self, lines: Vec<String>) {
        let stderr = &mut self.io.stderr;
        let mut write = || {
            for line in &lines {
                // A closed terminal cannot be told anything; the operation and its report do not depend on it.
                let _ = writeln!(stderr, "{}", visible_coloured(line));
            }
            let _ = stderr.flush();
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn paint(&self) -> Paint {
        Paint(self.mode == Mode::Tty && self.io.stderr_is_terminal && !self.io.environment.no_color)
    }

    fn width(&self) -> usize {
        self.io.stderr_width.unwrap_or(UNBOUNDED)
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests;
