//! `reset`, `run`, `migrate` and `validate`: from what is meant to the exit code.

use std::{path::Path, time::Duration};

use model::{
    fault::{Fault, Reason},
    operation::Request,
    plan::Plan,
};
use uuid::Uuid;
use wire::v1;

use super::settle::{Case, settle};
use crate::{
    chains, confirm,
    connection::{self, Connection},
    follow::{self, Start},
    intent::{Destination, Operate},
    invocation,
    render::Screen,
    report_file::Place,
    signals::Signals,
    view::Daemon,
    watch::{Ending, Execute, Seen, Watch},
};

/// Chains that a person works on lie here.
const LOCAL_CHAINS: &str = "migrations";

/// What a request needs besides the bytes of its chains.
struct Desk<'a> {
    screen: &'a mut Screen,
    to: &'a Destination,
    connection: Connection,
    signals: Signals,
}

/// Runs one operation from this client.
///
/// # Errors
/// Nothing was started, because its report could not be written.
pub(crate) async fn run(screen: &mut Screen, to: &Destination, mut operate: Operate) -> Result<u8, Fault> {
    let place = Place::prepare(&operate.follow.report)?;
    let connection = Connection::new(to.address.clone());
    let mut desk = Desk { screen, to, connection, signals: Signals::catch() };
    if operate.request.client_chains.is_empty() {
        desk.tell_local_chains().await;
    }
    // A person at a terminal sees the plan before anything happens; a pipeline has to say what it means.
    operate.request.scope_named |= operate.request.scope.is_some() && desk.screen.can_ask();
    let (ending, seen) = match operate.needs_confirmation() && desk.screen.can_ask() {
        true => match desk.confirm(&mut operate).await {
            Ok(()) => desk.follow(&operate, operate.detach, false).await,
            Err(end) => *end,
        },
        false => desk.follow(&operate, operate.detach, operate.request.dry_run).await,
    };
    let case = Case {
        to,
        connection: &desk.connection,
        place: &place,
        verb: operate.request.verb,
        target: operate.request.target.clone(),
        request: Some(&operate.request),
    };
    Ok(settle(desk.screen, case, ending, &seen).await)
}

impl Desk<'_> {
    async fn follow(&mut self, operate: &Operate, detach: bool, whole_plan: bool) -> (Ending, Seen) {
        let start = Start::Request(Box::new(wire::encode_request(&operate.request)));
        let to = self.to;
        let watch = Watch {
            screen: &mut *self.screen,
            connection: &self.connection,
            steps: follow::follow(self.connection.clone(), start, operate.follow.patience),
            signals: &mut self.signals,
            detach,
            execute: whole_plan.then(|| {
                let execute = move |plan: &Plan| invocation::execute(to, operate, plan);
                Box::new(execute) as Execute<'_>
            }),
        };
        watch.run().await
    }

    /// Shows the plan and asks; then the request carries the word and the digest of what was shown.
    async fn confirm(&mut self, operate: &mut Operate) -> Result<(), Box<(Ending, Seen)>> {
        let preview = Operate { request: preview(&operate.request), ..operate.clone() };
        let (ending, seen) = self.follow(&preview, false, true).await;
        let plan = match (&ending, &seen.plan) {
            (Ending::Finished(event), Some(plan)) if event.exit_code == Some(0) => plan.clone(),
            _ => return Err(Box::new((ending, seen))),
        };
        let refused =
            |fault| Box::new((Ending::Failed(fault), Seen { plan: Some(plan.clone()), ..Seen::default() }));
        if let Some(fault) = not_to_be_asked(&plan, operate.request.plan_digest.as_deref()) {
            return Err(refused(fault));
        }
        let question = format!(
            "Nothing was changed yet. Type {} to {} {}: ",
            confirm::WORD,
            operate.request.verb.as_str(),
            plan.target
        );
        self.screen.ask(&question);
        let line = tokio::select! {
            line = self.screen.keyboard().line() => line.ok().flatten().unwrap_or_default(),
            signal = self.signals.next() => return Err(Box::new((Ending::Detached(signal), Seen::default()))),
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

    /// One line when the chains in the working folder are not the daemon's; never an error, never a long wait.
    async fn tell_local_chains(&mut self) {
        let folder = Path::new(LOCAL_CHAINS);
        if !folder.is_dir() {
            return;
        }
        let asked = tokio::time::timeout(Duration::from_secs(2), daemon(&self.connection)).await;
        if let Ok(Ok(daemon)) = asked
            && let Some(line) = chains::difference(folder, &daemon.fingerprints())
        {
            self.screen.warn(&line);
        }
    }
}

/// Who answers.
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(crate) async fn daemon(connection: &Connection) -> Result<Daemon, Fault> {
    let mut client = connection::system(connection.open().await?);
    let reply = client.get_server_info(v1::GetServerInfoRequest {}).await;
    Ok(reply.map_err(|s| crate::status::normalise(&s).fault)?.into_inner().into())
}

/// The same request as a dry run of its own; a digest given is compared with what it shows.
fn preview(request: &Request) -> Request {
    Request { request_id: Uuid::new_v4(), dry_run: true, plan_digest: None, ..request.clone() }
}

/// A plan that is not the approved one, or that a confirmation would not let through, is nothing to ask about. Objects
/// outside and much data are: the digest of what was shown approves them.
fn not_to_be_asked(plan: &Plan, approved: Option<&str>) -> Option<Fault> {
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
        let reason = |plan: &Plan, approved| not_to_be_asked(plan, approved).map(|f| f.reason);
        assert_eq!(reason(&plan(None), None), None);
        assert_eq!(reason(&plan(None), Some("sha256:shown")), None);
        assert_eq!(reason(&plan(Some(Reason::BlastRadius)), None), Some(Reason::BlastRadius));
        assert_eq!(reason(&plan(Some(Reason::BlastRadius)), Some("sha256:shown")), None);
        assert_eq!(reason(&plan(None), Some("sha256:older")), Some(Reason::PlanChanged));
        assert_eq!(reason(&plan(Some(Reason::PreflightFailed)), None), Some(Reason::PreflightFailed));
    }
}
