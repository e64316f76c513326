//! Shows the events of an operation while it runs, and listens to signals and answers.
//!
//! It must not know how events come here (`follower`) or what happens afterwards (`command/settle.rs`).

use std::{collections::VecDeque, time::Duration};

use model::{
    event::{Accepted, EventKind},
    fault::{Fault, Reason},
    plan::Plan,
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use wire::Received;

use super::follower::Step;
use crate::{
    api::Api,
    confirm::{self, Choice},
    gateway::{Line, Runner},
    render::Screen,
    signals::{Signal, Signals},
};

/// How the watching ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// With the operation's last event.
    Finished(Box<Received>),
    /// It was accepted, and nobody wanted more.
    Accepted(Uuid),
    /// The call was refused, or there was never contact: nothing was started.
    Failed(Fault),
    /// Contact was lost for good: what became of the operation is not known.
    Lost(Fault),
    /// By a signal; the operation goes on.
    Detached(Signal),
}

/// What was learnt of the operation.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Its id.
    pub(crate) operation: Option<Uuid>,
    /// Its first event.
    pub(crate) accepted: Option<Accepted>,
    /// Its plan.
    pub(crate) plan: Option<Plan>,
    /// It waits for its turn.
    pub(crate) waits: bool,
}

impl Seen {
    fn absorb(&mut self, event: &Received) {
        self.operation = Some(event.operation);
        match &event.kind {
            Some(EventKind::Accepted(it)) => self.accepted = Some(it.clone()),
            Some(EventKind::Queued(_)) => self.waits = true,
            Some(EventKind::LockAcquired { .. }) => self.waits = false,
            Some(EventKind::Planned { plan }) => self.plan = Some((**plan).clone()),
            _ => {}
        }
    }
}

/// The command that executes a plan.
pub(crate) type Execute<'a> = Box<dyn Fn(&Plan) -> String + Send + 'a>;

/// The line that says what an accepted operation is about to change.
pub(crate) type Announce<'a> = Box<dyn Fn(&Accepted) -> String + Send + 'a>;

/// Watches one operation.
pub(crate) struct Watch<'a> {
    /// Where it is shown.
    pub(crate) screen: &'a mut Screen,
    /// For a cancel.
    pub(crate) api: &'a Api,
    /// What happens.
    pub(crate) steps: mpsc::Receiver<Step>,
    /// Who interrupts.
    pub(crate) signals: &'a mut Signals,
    /// End with the first event.
    pub(crate) detach: bool,
    /// Show a plan whole, not in one line: the command that executes it.
    pub(crate) execute: Option<Execute<'a>>,
    /// Say first what is about to be changed.
    pub(crate) announce: Option<Announce<'a>>,
    /// The command of a migration tool, to be offered once the operation is accepted.
    pub(crate) tool: Option<String>,
    /// The tool, once it is offered.
    pub(crate) runner: Option<Runner>,
}

struct State<'a, 'b> {
    it: &'b mut Watch<'a>,
    seen: Seen,
    /// Events held back while a question is open, so that they do not write over it.
    held: VecDeque<Received>,
    question: Option<oneshot::Receiver<Option<String>>>,
}

impl Watch<'_> {
    /// Watches to the end.
    pub(crate) async fn run(mut self) -> (Ending, Seen) {
        let mut state = State { it: &mut self, seen: Seen::default(), held: VecDeque::new(), question: None };
        let ending = loop {
            let ending = tokio::select! {
                step = state.it.steps.recv() => state.step(step),
                signal = state.it.signals.next() => state.signal(signal),
                line = answered(&mut state.question) => state.answer(line).await,
                line = printed(&mut state.it.runner) => state.printed(line),
            };
            if let Some(ending) = ending {
                break ending;
            }
        };
        state.question = None;
        state.flush();
        let seen = state.seen;
        self.screen.rest();
        (ending, seen)
    }
}

impl State<'_, '_> {
    fn step(&mut self, step: Option<Step>) -> Option<Ending> {
        match step {
            Some(Step::Event(event)) => return self.event(*event),
            Some(Step::Lost(fault)) => self.it.screen.warn(&format!("contact lost, re-attaching: {fault}")),
            Some(Step::Attached) => self.it.screen.say("attached again"),
            Some(Step::Failed(fault)) => return Some(Ending::Failed(fault)),
            Some(Step::GivenUp(fault)) => return Some(Ending::Lost(fault)),
            None => {
                let fault = Fault::new(Reason::ContactLost, "the operation was no longer followed");
                return Some(Ending::Lost(fault));
            }
        }
        None
    }

    fn event(&mut self, event: Received) -> Option<Ending> {
        self.seen.absorb(&event);
        if let Some(command) = self.it.tool.take() {
            self.it.runner = Some(Runner::start(self.it.api.clone(), event.operation, command));
        }
        if event.exit_code.is_some() {
            self.question = None;
            self.flush();
            return Some(Ending::Finished(Box::new(event)));
        }
        let accepted = self.it.detach.then_some(Ending::Accepted(event.operation));
        match self.question.is_some() {
            true => self.held.push_back(event),
            false => self.show(&event),
        }
        accepted
    }

    fn show(&mut self, event: &Received) {
        if let (Some(EventKind::Accepted(accepted)), Some(announce)) = (&event.kind, &self.it.announce) {
            self.it.screen.say(&announce(accepted));
        }
        self.it.screen.event(event);
        if let (Some(EventKind::Planned { plan }), Some(execute)) = (&event.kind, &self.it.execute) {
            self.it.screen.plan(plan, &execute(plan));
        }
    }

    fn flush(&mut self) {
        while let Some(event) = self.held.pop_front() {
            self.show(&event);
        }
    }

    fn printed(&mut self, line: Line) -> Option<Ending> {
        match line {
            Line::Output(line) => self.it.screen.output(&line),
            Line::Failed(fault) => self.it.screen.warn(&format!("the migration tool: {fault}")),
        }
        None
    }

    /// An operation without its tool comes to nothing: it is followed until the daemon has said so. Whoever is in a hurry
    /// interrupts once more.
    fn interrupted(&mut self) -> bool {
        let ended = self.it.runner.take().is_some();
        if ended {
            self.it.screen.warn("interrupted: the migration tool is ended, and nothing will be changed");
        }
        ended
    }

    fn signal(&mut self, signal: Signal) -> Option<Ending> {
        if self.interrupted() {
            return None;
        }
        let ask = signal == Signal::Interrupt && self.it.screen.can_ask() && self.question.is_none();
        if !ask {
            if self.question.take().is_some() {
                self.it.screen.ask("\n");
            }
            return Some(Ending::Detached(signal));
        }
        self.ask();
        None
    }

    fn ask(&mut self) {
        self.it.screen.ask("\nthe operation goes on: [d]etach, [c]ancel it, [k]eep watching? ");
        self.question = Some(self.it.screen.keyboard().line());
    }

    async fn answer(&mut self, line: Option<String>) -> Option<Ending> {
        match confirm::choice(line.as_deref()) {
            Some(Choice::Detach) => return Some(Ending::Detached(Signal::Interrupt)),
            Some(Choice::Cancel) => self.cancel().await,
            Some(Choice::Watch) => {}
            None => {
                self.ask();
                return None;
            }
        }
        self.flush();
        None
    }

    async fn cancel(&mut self) {
        let Some(operation) = self.seen.operation else {
            return self.it.screen.warn("not accepted yet: there is nothing to cancel");
        };
        let limit = Duration::from_secs(10);
        let asked =
            tokio::time::timeout(limit, self.it.api.cancel_operation(operation, "asked at the terminal"));
        match asked.await {
            Ok(Ok(_)) => self.it.screen.say("asked the daemon to cancel it"),
            Ok(Err(fault)) => self.it.screen.warn(&format!("not cancelled: {fault}")),
            Err(_) => self.it.screen.warn("not cancelled: the daemon did not answer in 10 s"),
        }
    }
}

/// The next line of a tool; never where none runs.
async fn printed(runner: &mut Option<Runner>) -> Line {
    match runner {
        Some(runner) => runner.line().await,
        None => std::future::pending().await,
    }
}

/// The answer to an open question; never when none is open.
async fn answered(question: &mut Option<oneshot::Receiver<Option<String>>>) -> Option<String> {
    let Some(open) = question else { return std::future::pending().await };
    let line = open.await.ok().flatten();
    *question = None;
    line
}
