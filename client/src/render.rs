//! The screen: the only place that prints. Data goes to stdout, progress and talk to stderr.
//!
//! It must not decide anything about operations.

use std::{
    io::{self, Write as _},
    time::Instant,
};

use indicatif::ProgressBar;
use jiff::tz::TimeZone;
use model::{
    finding::Severity,
    plan::Plan,
    text::{visible, visible_coloured, visible_lines},
};
use serde_json::Value;

use crate::{
    args::{DataFormat, ProgressMode},
    environment::Environment,
    io::{Io, Keyboard},
};

pub(crate) mod admin;
pub(crate) mod board;
mod closing;
mod colour;
pub(crate) mod contexts;
mod ending;
pub(crate) mod event;
pub(crate) mod github;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod kept;
pub(crate) mod listing;
pub(crate) mod migrations;
mod outcome;
mod plan;
mod progress;
pub(crate) mod reports;
mod surroundings;
pub(crate) mod table;
pub(crate) mod text;
mod tree;
pub(crate) mod window;
pub(crate) mod yaml;

pub use colour::{ColorChoice, Colours};
use text::Paint;

/// What is not a terminal is never wrapped or shortened.
const UNBOUNDED: usize = 1_000_000;

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
    /// The steps as a terminal shows them.
    tree: tree::Tree,
    /// Who was in the way when a terminal was told last.
    blockers: Vec<String>,
    colour: ColorChoice,
    format: DataFormat,
    /// What may be chosen now, by a key.
    menu: Option<String>,
    /// What goes on, as the last event says, and since when.
    doing: Option<(String, Instant)>,
    /// When something was written last.
    spoke: Instant,
    /// How many findings that stop an operation were shown.
    errors_found: usize,
    /// Nobody wants to be asked.
    no_input: bool,
}

impl Screen {
    pub(crate) fn new(io: Io) -> Self {
        let mode = if io.stderr_is_terminal { Mode::Tty } else { Mode::Plain };
        Self {
            io,
            mode,
            bar: None,
            last_moving: None,
            tree: tree::Tree::default(),
            blockers: Vec::new(),
            colour: ColorChoice::Auto,
            format: DataFormat::Table,
            menu: None,
            doing: None,
            spoke: Instant::now(),
            errors_found: 0,
            no_input: false,
        }
    }

    /// Chooses how data is printed.
    pub(crate) fn format(&mut self, format: DataFormat) {
        self.format = format;
    }

    /// Data for scripts is YAML.
    pub(crate) fn is_yaml(&self) -> bool {
        self.format == DataFormat::Yaml
    }

    /// Never asks.
    pub(crate) fn no_input(&mut self) {
        self.no_input = true;
    }

    /// Nobody wants to be asked.
    pub(crate) fn is_mute(&self) -> bool {
        self.no_input
    }

    /// Chooses whether there are colours.
    pub(crate) fn colour(&mut self, choice: ColorChoice) {
        self.colour = choice;
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
        if self.mode == Mode::Json {
            self.json(&event::json_version());
        }
    }

    /// A person is there to be asked.
    pub(crate) fn can_ask(&self) -> bool {
        self.io.interactive && !self.no_input && matches!(self.mode, Mode::Tty | Mode::Plain)
    }

    pub(crate) fn keyboard(&self) -> Keyboard {
        self.io.keyboard.clone()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.io.environment
    }

    /// Help and version go to stdout, a wrong command line to stderr.
    pub(crate) fn usage(&mut self, text: &clap::builder::StyledStr, help: bool) {
        let colours = &self.io.environment.colours;
        let (to, colour) = match help {
            true => (&mut self.io.stdout, colours.on(self.colour, self.io.stdout_width.is_some())),
            false => (&mut self.io.stderr, colours.on(self.colour, self.io.stderr_is_terminal)),
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
        match self.format {
            DataFormat::Wide => UNBOUNDED,
            _ => self.io.stdout_width.unwrap_or(UNBOUNDED),
        }
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

    /// A line of its own, as it is, whatever the mode but JSON.
    pub(crate) fn alone(&mut self, text: &str) {
        match self.mode {
            Mode::Json => self.say(text),
            _ => self.lines(vec![text.to_owned()]),
        }
    }

    /// A whole plan, with the command that executes it: what a question is about, beside the question.
    pub(crate) fn plan(&mut self, plan: &Plan, execute: &str) {
        if matches!(self.mode, Mode::Tty | Mode::Plain) {
            let lines = plan::lines(plan, execute, &self.zone(), self.width(), self.paint());
            self.lines(lines);
        }
    }

    /// A whole plan that was asked for: data.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub(crate) fn plan_data(&mut self, plan: &Plan, execute: &str) -> io::Result<()> {
        let colours = &self.io.environment.colours;
        let paint = Paint(colours.on(self.colour, self.io.stdout_width.is_some()));
        let lines = plan::lines(plan, execute, &self.zone(), self.data_width(), paint);
        let text: String = lines.iter().map(|line| format!("{}\n", visible_coloured(line))).collect();
        match self.bar.clone() {
            Some(bar) => bar.suspend(|| self.data(text.as_bytes())),
            None => self.data(text.as_bytes()),
        }
    }

    /// Takes the bar away.
    pub(crate) fn rest(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn json(&mut self, value: &Value) {
        self.lines(vec![text::json(value)]);
    }

    fn lines(&mut self, lines: Vec<String>) {
        self.spoke = Instant::now();
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
        let terminal = self.mode == Mode::Tty && self.io.stderr_is_terminal;
        Paint(self.mode != Mode::Json && self.io.environment.colours.on(self.colour, terminal))
    }

    /// The columns of the terminal as it is now: somebody may have resized it.
    fn width(&self) -> usize {
        let now = self.io.stderr_is_terminal.then(|| console::Term::stderr().size_checked()).flatten();
        now.map(|(_, columns)| usize::from(columns)).or(self.io.stderr_width).unwrap_or(UNBOUNDED)
    }
}

#[cfg(test)]
mod tests;
