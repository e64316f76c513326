//! `reset`, `run`, `migrate` and `validate`: from what is meant to the exit code.

use std::{path::Path, time::Duration};

use model::{
    event::Accepted,
    fault::{Fault, Reason},
    operation::Request,
    plan::Plan,
};
use uuid::Uuid;

use super::{
    advise,
    settle::{Case, settle},
};
use crate::{
    api::Api,
    chains, confirm,
    destination::Destination,
    follow::{self, Announce, Ending, Execute, Seen, Start, Watch},
    intent::{Operate, ReportTo},
    invocation,
    render::Screen,
    report_file::ReportSink,
    signals::Signals,
};

/// Chains that a person works on lie here.
pub(super) const LOCAL_CHAINS: &str = "migrations";
/// How long the daemon is waited for where its answer only makes a message better.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many differences one message names.
const NAMED: usize = 10;

/// One verb on its way.
struct Command<'a> {
    screen: &'a mut Screen,
    to: &'a Destination,
    api: Api,
    signals: Signals,
}

/// Runs one operation from this client.
///
/// # Errors
/// Nothing was started, because its report could not be written.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, mut operate: Operate) -> Result<u8, Fault> {
    if operate.needs_confirmation() && screen.is_mute() {
        return Err(nobody_is_asked("--confirm-destructive-reset RESET"));
    }
    // Who goes before the end writes no report.
    let changes = !operate.request.reads_only() && !operate.detach;
    let sink = ReportSink::prepare(&operate.follow.report, screen.environment(), changes)?;
    let api = Api::new(to.address.clone());
    if operate.request.verb.is_destructive() {
        to.conflicts.iter().for_each(|line| screen.warn(line));
    }
    let mut command = Command { screen, to, api, signals: Signals::catch() };
    if operate.request.client_chains.is_empty() {
        command.warn_of_local_chains().await;
    }
    // A person at a terminal sees the plan before anything happens; a pipeline has to say what it means.
    operate.request.scope_named |= operate.request.scope.is_some() && command.screen.can_ask();
    let (ending, seen) = match operate.needs_confirmation() && command.screen.can_ask() {
        true => match command.confirm(&mut operate).await {
            Ok(()) => command.follow(&operate, View { detach: operate.detach, ..View::default() }).await,
            Err(end) => *end,
        },
        false => {
            let request = &operate.request;
            let view = View {
                detach: operate.detach,
                whole_plan: request.dry_run,
                plan_is_data: request.dry_run
                    && operate.follow.report != ReportTo::Stdout
                    && operate.follow.format.is_none(),
                announce: request.verb.is_destructive() && !request.dry_run,
            };
            command.follow(&operate, view).await
        }
    };
    let ending = match ending {
        Ending::Failed(fault) if fault.reason == Reason::ChainsDiffer => {
            Ending::Failed(command.name_differences(&operate, fault).await)
        }
        Ending::Failed(fault) => Ending::Failed(advise::advised(&command.api, fault).await),
        ending => ending,
    };
    let case = Case {
        to,
        api: &command.api,
        sink: &sink,
        verb: operate.request.verb,
        target: operate.request.target.clone(),
        dry_run: operate.request.dry_run,
        request: Some(&operate.request),
        format: operate.follow.format,
        detailed_exitcode: operate.detailed_exitcode,
        folders: [operate.chains_folder.clone(), operate.expected_folder.clone(), Some(LOCAL_CHAINS.into())]
            .into_iter()
            .flatten()
            .collect(),
    };
    Ok(settle(command.screen, case, ending, &seen).await)
}

/// What would have been asked for, and may not be.
pub(super) fn nobody_is_asked(flag: &str) -> Fault {
    Fault::new(Reason::InvalidRequest, format!("--no-input: nobody is asked, and {flag} is missing"))
        .hint(format!("add {flag}, or leave out --no-input"))
}

/// How an operation is shown.
#[derive(Clone, Copy, Default)]
struct View {
    /// Until it is accepted.
    detach: bool,
    /// With the whole plan.
    whole_plan: bool,
    /// It is what was asked for.
    plan_is_data: bool,
    /// With what it is about to change, because nobody is asked.
    announce: bool,
}

impl Command<'_> {
    async fn follow(&mut self, operate: &Operate, view: View) -> (Ending, Seen) {
        let start = Start::Request(Box::new(wire::encode_request(&operate.request)));
        let to = self.to;
        let watch = Watch {
            screen: &mut *self.screen,
            api: &self.api,
            steps: follow::follow(self.api.clone(), start, operate.follow.reconnect_timeout),
            signals: &mut self.signals,
            on_interrupt: operate.follow.on_interrupt,
            detach: view.detach,
            tool: operate.tool.with.clone().filter(|_| !operate.request.dry_run),
            runner: None,
            execute: view.whole_plan.then(|| {
                let execute = move |plan: &Plan| invocation::execute(to, operate, plan);
                Box::new(execute) as Execute<'_>
            }),
            plan_is_data: view.plan_is_data,
            announce: view.announce.then(|| {
                let verb = operate.request.verb;
                let announce = move |it: &Accepted| to.statement(verb, &it.target, &it.database);
                Box::new(announce) as Announce<'_>
            }),
        };
        watch.run().await
    }

    /// Shows the plan and asks; then the request carries the word and the digest of what was shown.
    async fn confirm(&mut self, operate: &mut Operate) -> Result<(), Box<(Ending, Seen)>> {
        let preview = Operate { request: preview(&operate.request), ..operate.clone() };
        let (ending, seen) = self.follow(&preview, View { whole_plan: true, ..View::default() }).await;
        let plan = match (&ending, &seen.plan) {
            (Ending::Finished(event), Some(plan)) if event.exit_code == Some(0) => plan.clone(),
            _ => return Err(Box::new((ending, seen))),
        };
        let refused =
            |fault| Box::new((Ending::Failed(fault), Seen { plan: Some(plan.clone()), ..Seen::default() }));
        if let Some(fault) = refusal_before_question(&plan, operate.request.plan_digest.as_deref()) {
            return Err(refused(fault));
        }
        let question = format!(
            "Nothing was changed yet. Type {} to {} {}: ",
            confirm::WORD,
            operate.request.verb.as_str(),
            plan.target
        );
        for line in &self.to.conflicts {
            self.screen.warn(line);
        }
        self.screen.say(&self.to.statement(operate.request.verb, &plan.target, &plan.database));
        self.screen.ask(&question);
        let line = tokio::select! {
            line = self.screen.keyboard().line() => line.ok().flatten().unwrap_or_default(),
            signal = self.signals.next() => return Err(Box::new((Ending::Aborted(signal), Seen::default()))),
        };
        if !confirm::confirms(&line) {
            let fault = Fault::new(Reason::ConfirmationMissing, "it was not confirmed: nothing was changed")
                .hint(format!("type exactly {} when asked", confirm::WORD));
            return Err(refused(fault));
        }
        operate.request.confirmation = Some(confirm::WORD.to_owned());
        operate.request.plan_digest = Some(plan.digest.clone());
        Ok(())
    }

    /// Which chains and files differ, where the caller's are here and the daemon says what it has.
    async fn name_differences(&self, operate: &Operate, fault: Fault) -> Fault {
        let Some(folder) = &operate.expected_folder else { return fault };
        let asked = tokio::time::timeout(PATIENCE, self.api.server_info()).await;
        let Ok(Ok(daemon)) = asked else { return fault };
        let found = chains::differences(folder, &daemon.chains);
        if found.is_empty() {
            return fault;
        }
        let named: Vec<&str> = found.iter().take(NAMED).map(String::as_str).collect();
        let more = found.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let message =
            format!("{} differs from the daemon's chains: {}{more}", folder.display(), named.join("; "));
        Fault { message, ..fault }
    }

    /// One line when the chains in the working folder are not the daemon's; never an error, never a long wait.
    async fn warn_of_local_chains(&mut self) {
        let folder = Path::new(LOCAL_CHAINS);
        if !folder.is_dir() {
            return;
        }
        let asked = tokio::time::timeout(PATIENCE, self.api.server_info()).await;
        if let Ok(Ok(daemon)) = asked
            && let Some(line) = chains::difference(folder, &daemon.fingerprints())
        {
            self.screen.warn(&line);
        }
    }
}

/// The same request as a dry run of its own; a digest given is compared with what it shows.
fn preview(request: &Request) -> Request {
    Request { request_id: Uuid::new_v4(), dry_run: true, plan_digest: None, ..request.clone() }
}

/// A plan that is not the approved one, or that a confirmation would not let through, is nothing to ask about. Objects
/// outside and much data are: the digest of what was shown approves them.
fn refusal_before_question(plan: &Plan, approved: Option<&str>) -> Option<Fault> {
    if let Some(approved) = approved.filter(|digest| *digest != plan.digest) {
        let text = format!(
            "the plan is {}, not the approved {approved}: the target or the chains changed",
            plan.digest
        );
        return Some(Fault::new(Reason::PlanChanged, text).hint("read the plan above, and send its digest"));
    }
    let refusal = plan.refusal.as_ref()?;
    // Typing a word does not approve a loss that the plan would be refused for; sending the plan's digest does.
    let by_digest = matches!(refusal.reason, Reason::BlastRadius | Reason::DataLimit);
    if by_digest && approved.is_some() {
        return None;
    }
    let hint = match by_digest {
        true => format!("to approve exactly this plan, send its digest along: --plan-digest {}", plan.digest),
        false => "the findings of the plan above say what to do".to_owned(),
    };
    Some(Fault::new(refusal.reason, refusal.text.clone()).hint(hint))
}

#[cfg(test)]
mod tests {
    use model::plan::Refusal;

    use super::*;

    fn plan(refusal: Option<Reason>) -> Plan {
        Plan {
            digest: "sha256:shown".into(),
            target: "t".into(),
            refusal: refusal.map(|reason| Refusal { reason, text: "why".into() }),
            ..Plan::default()
        }
    }

    #[test]
    fn only_what_a_confirmation_would_let_through_is_asked_about() {
        let reason = |plan: &Plan, approved| refusal_before_question(plan, approved).map(|f| f.reason);
        assert_eq!(reason(&plan(None), None), None);
        assert_eq!(reason(&plan(None), Some("sha256:shown")), None);
        assert_eq!(reason(&plan(Some(Reason::BlastRadius)), None), Some(Reason::BlastRadius));
        assert_eq!(reason(&plan(Some(Reason::BlastRadius)), Some("sha256:shown")), None);
        assert_eq!(reason(&plan(None), Some("sha256:older")), Some(Reason::PlanChanged));
        assert_eq!(reason(&plan(Some(Reason::PreflightFailed)), None), Some(Reason::PreflightFailed));
    }
}
