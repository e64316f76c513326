//! Shows the events of an operation while it runs, and listens to signals and answers.
//!
//! It must not know how events come here (`follower`) or what happens afterwards (`command/settle.rs`).

use std::time::Duration;

use model::{
    event::{Accepted, EventKind},
    fault::{Fault, Reason},
    plan::Plan,
};
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::Received;

use super::follower::Step;
use crate::{
    api::Api,
    args::OnInterrupt,
    confirm::{self, Choice},
    gateway::{Line, Runner},
    io::KeyPress,
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
    /// By a signal at the question: nothing was asked for.
    Aborted(Signal),
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
    /// What an interrupt does; else a person is asked.
    pub(crate) on_interrupt: Option<OnInterrupt>,
    /// End with the first event.
    pub(crate) detach: bool,
    /// Show a plan whole, not in one line: the command that executes it.
    pub(crate) execute: Option<Execute<'a>>,
    /// A plan is what was asked for, and goes to standard output.
    pub(crate) plan_is_data: bool,
    /// Say first what is about to be changed.
    pub(crate) announce: Option<Announce<'a>>,
    /// The command of a migration tool, to be offered once the operation is accepted.
    pub(crate) tool: Option<String>,
    /// The tool, once it is offered.
    pub(crate) runner: Option<Runner>,
}

/// What may be chosen after Ctrl-C.
const MENU: &str = "the operation goes on: [d]etach, [c]ancel it, [k]eep watching?";
/// How often a silent log is looked at.
const LOOK: Duration = Duration::from_secs(1);

struct State<'a, 'b> {
    it: &'b mut Watch<'a>,
    seen: Seen,
    question: Option<KeyPress>,
    /// It is to be cancelled, and how that was said.
    cancels: Option<Signal>,
}

impl Watch<'_> {
    /// Watches to the end.
    pub(crate) async fn run(mut self) -> (Ending, Seen) {
        let mut state = State { it: &mut self, seen: Seen::default(), question: None, cancels: None };
        let mut look = tokio::time::interval(LOOK);
        let ending = loop {
            let ending = tokio::select! {
                step = state.it.steps.recv() => state.step(step).await,
                signal = state.it.signals.next() => state.signal(signal).await,
                key = answered(&mut state.question) => state.answer(key).await,
                line = printed(&mut state.it.runner) => state.printed(line),
                _ = look.tick() => {
                    state.it.screen.still();
                    None
                }
            };
            if let Some(ending) = ending {
                break ending;
            }
        };
        state.close();
        let seen = state.seen;
        self.screen.rest();
        (ending, seen)
    }
}

impl State<'_, '_> {
    async fn step(&mut self, step: Option<Step>) -> Option<Ending> {
        match step {
            Some(Step::Event(event)) => return self.event(*event).await,
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

    async fn event(&mut self, event: Received) -> Option<Ending> {
        let first = self.seen.operation.is_none();
        self.seen.absorb(&event);
        // Asked for before there was anything to cancel.
        if first && self.cancels.is_some() && event.exit_code.is_none() {
            self.cancel().await;
        }
        if let Some(command) = self.it.tool.take() {
            self.it.runner = Some(Runner::start(self.it.api.clone(), event.operation, command));
        }
        if event.exit_code.is_some() {
            self.close();
            return Some(Ending::Finished(Box::new(event)));
        }
        let accepted = self.it.detach.then_some(Ending::Accepted(event.operation));
        self.show(&event);
        accepted
    }

    fn show(&mut self, event: &Received) {
        if let (Some(EventKind::Accepted(accepted)), Some(announce)) = (&event.kind, &self.it.announce) {
            self.it.screen.say(&announce(accepted));
        }
        self.it.screen.event(event);
        if let (Some(EventKind::Planned { plan }), Some(execute)) = (&event.kind, &self.it.execute) {
            let execute = execute(plan);
            match self.it.plan_is_data {
                false => self.it.screen.plan(plan, &execute),
                true => {
                    if let Err(error) = self.it.screen.plan_data(plan, &execute) {
                        self.it.screen.alarm(&format!("standard output cannot be written: {error}"));
                    }
                }
            }
        }
    }

    /// Nothing is to be chosen any more.
    fn close(&mut self) {
        if self.question.take().is_some() {
            self.it.screen.menu(None);
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

    async fn signal(&mut self, signal: Signal) -> Option<Ending> {
        if self.interrupted() {
            return None;
        }
        if self.it.on_interrupt == Some(OnInterrupt::Cancel) && self.cancels.is_none() {
            self.cancels = Some(signal);
            match self.seen.operation {
                Some(_) => self.cancel().await,
                None => {
                    self.it.screen.warn("interrupted: it is cancelled as soon as the daemon has accepted it")
                }
            }
            return None;
        }
        let ask = self.it.on_interrupt.is_none()
            && signal == Signal::Interrupt
            && self.it.screen.can_ask()
            && self.question.is_none();
        if !ask {
            self.close();
            return Some(Ending::Detached(signal));
        }
        self.ask();
        None
    }

    fn ask(&mut self) {
        self.question = Some(self.it.screen.keyboard().key());
        self.it.screen.menu(Some(MENU));
    }

    async fn answer(&mut self, key: Option<u8>) -> Option<Ending> {
        let Some(choice) = confirm::choice(key) else {
            // The terminal is put back before it is taken again.
            self.question = None;
            self.question = Some(self.it.screen.keyboard().key());
            return None;
        };
        self.close();
        match choice {
            Choice::Detach => return Some(Ending::Detached(Signal::Interrupt)),
            Choice::Cancel => self.cancel().await,
            Choice::Watch => {}
        }
        None
    }

    async fn cancel(&mut self) {
        let Some(operation) = self.seen.operation else {
            return self.it.screen.warn("not accepted yet: there is nothing to cancel");
        };
        let limit = Duration::from_secs(10);
        let reason = match self.cancels {
            Some(signal) => format!("{} with --on-interrupt=cancel", signal.name()),
            None => "asked at the terminal".to_owned(),
        };
        let asked = tokio::time::timeout(limit, self.it.api.cancel_operation(operation, &reason));
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

/// The key that was pressed while there is something to choose; the menu stays until it is closed.
async fn answered(question: &mut Option<KeyPress>) -> Option<u8> {
    let Some(open) = question else { return std::future::pending().await };
    (&mut open.key).await.ok().flatten()
}
