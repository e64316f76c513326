//! An operation as it runs: lines that stay, a bar that moves, a menu over it, and a sign of life in a log.

use std::time::{Duration, Instant};

use console::measure_text_width;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{
    event::{Blocker, EventKind},
    finding::Severity,
};
use wire::Received;

use super::{
    Mode, Screen,
    event::{self, Weight},
    text,
    tree::Branch,
};

/// How often a second the bar is drawn at most.
const REDRAWS: u8 = 10;
/// In a log, what only moves is told this often.
const SELDOM: Duration = Duration::from_secs(10);
/// A log is not silent for longer than this while something goes on.
const SILENCE: Duration = Duration::from_secs(15);

impl Screen {
    /// What a person may choose by a key while the output goes on; none: nothing any more.
    pub(crate) fn menu(&mut self, menu: Option<&str>) {
        self.menu = menu.map(str::to_owned);
        match (menu, self.mode) {
            (None, _) => self.rest(),
            (Some(_), Mode::Tty) => {
                self.show_menu();
            }
            (Some(menu), _) => self.ask(&format!("\n{menu}\n")),
        }
    }

    fn show_menu(&mut self) -> bool {
        let Some(menu) = self.menu.clone() else { return false };
        let bar = self.bar.get_or_insert_with(new_bar);
        bar.set_style(style("{wide_msg}"));
        bar.set_message(menu);
        bar.tick();
        true
    }

    /// Called now and then while an operation is followed: a log that was silent for long gets a line, and so does a terminal
    /// on which nothing can move.
    pub(crate) fn still(&mut self) {
        let moves = self.mode == Mode::Tty && !self.io.environment.colours.dumb;
        if moves || matches!(self.mode, Mode::Json | Mode::Quiet) || self.spoke.elapsed() < SILENCE {
            return;
        }
        let Some((doing, since)) = &self.doing else { return };
        let time = model::duration::format_duration(Duration::from_secs(since.elapsed().as_secs()));
        self.lines(vec![format!(
            "{:.3} still running, {time} after: {}",
            jiff::Timestamp::now(),
            text::clean(doing)
        )]);
    }

    /// An event that is not the last.
    pub(crate) fn event(&mut self, event: &Received) {
        let mut event = event.clone();
        if self.mode != Mode::Json {
            event.text = self.local(&event.text);
            if let Some(EventKind::Accepted(_)) = &event.kind {
                event.text = format!("{}, operation {}", event.text, event.operation);
            }
        }
        let event = &event;
        if let Some(EventKind::FindingReported { finding }) = &event.kind
            && finding.severity == Severity::Error
            && matches!(self.mode, Mode::Tty | Mode::Plain)
        {
            self.errors_found += 1;
        }
        if event::weight(event) != Weight::Silent {
            self.doing = Some((event.text.clone(), Instant::now()));
        }
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
        if let Some(branches) = self.tree.grow(event) {
            let lines = branches.iter().flat_map(|it| self.branch(it)).collect();
            return self.lines(lines);
        }
        let (mark, text) = event::tty(event, self.paint());
        let mut lines = text::wrap(&mark, &text, self.width());
        let details = event::details(event);
        lines.extend(details.iter().flat_map(|detail| text::wrap("  ", detail, self.width())));
        self.lines(lines);
    }

    /// A line of the tree; its time stands right behind it, where there is room.
    fn branch(&self, it: &Branch) -> Vec<String> {
        let paint = self.paint();
        let mark = if it.done { paint.green("✓") } else { paint.dim("·") };
        let mark = format!("{}{mark} ", "  ".repeat(it.depth));
        let mut lines = text::wrap(&mark, &it.text, self.width());
        if it.time.is_empty() {
            return lines;
        }
        let room =
            lines.last().map_or(0, |line| measure_text_width(line)) + 2 + it.time.len() <= self.width();
        match lines.last_mut().filter(|_| room) {
            Some(last) => *last = format!("{last}  {}", paint.dim(&it.time)),
            None => lines.push(format!("{}{}", " ".repeat(measure_text_width(&mark)), paint.dim(&it.time))),
        }
        lines
    }

    /// Other sessions are in the way than before: who they were is still to be seen when the operation has failed.
    fn is_news(&mut self, event: &Received) -> bool {
        let Some(EventKind::Blocked { blockers, .. }) = &event.kind else { return false };
        let now: Vec<String> = blockers.iter().map(Blocker::object).collect();
        let news = now != self.blockers;
        self.blockers = now;
        news
    }

    fn moving(&mut self, event: &Received) {
        if self.show_menu() {
            return;
        }
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
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
