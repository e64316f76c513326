//! `gate`: whether a target is as the last valid run of these chains left it. It changes nothing.

use std::path::Path;

use model::{
    chain::ChainSet,
    fault::{Fault, Reason, Status, exit},
    operation::{Operation, Outcome, Verb},
    report::Report,
    target::TargetStatus,
};
use serde_json::json;

use super::{look, print, print_json};
use crate::{
    api::{Api, Daemon},
    chains,
    destination::Destination,
    render::Screen,
};

/// How many operations are looked through for the last one that changed the target.
const LOOKED_AT: usize = 10_000;

/// Decides.
///
/// # Errors
/// `GATE_CLOSED`, with what is not as it should be; `TARGET_LOCKED`; the daemon cannot be reached or refuses.
pub(crate) async fn run(
    screen: &mut Screen,
    to: &Destination,
    folder: &Path,
    as_json: bool,
) -> Result<u8, Fault> {
    let mine = chains::assemble(folder)?;
    let api = Api::new(to.address.clone());
    let target = free(&api, &to.target).await?;
    let last = last_change(&api, &target.name).await?;
    let report = look::report(&api, last.id, end_digest(&last)).await?;
    if let Some(why) = not_open(&target, &last, &report, &mine) {
        return Err(closed(&target.name, &why));
    }
    if let Some(why) = unknown(&api.server_info().await?, &report, &mine) {
        return Err(closed(&target.name, &why));
    }
    let (looked, now) = look::validate(&api, &target.name).await?;
    if now.status != Status::Ok {
        let why = now.error.unwrap_or_else(|| "it is not valid now".to_owned());
        return Err(closed(&target.name, &format!("it was changed since operation {}: {why}", last.id)));
    }
    // What began while it was looked at is not covered by what was seen.
    free(&api, &target.name).await?;
    let again = last_change(&api, &target.name).await?;
    if again.id != last.id {
        return Err(closed(&target.name, &format!("operation {} changed it meanwhile", again.id)));
    }
    if as_json {
        let value = json!({
            "open": true, "target": target.name, "database": target.database, "operation": last.id,
            "finished_at": last.end.as_ref().map(|end| end.at), "chains": report.chains, "validation": looked,
        });
        return print_json(screen, &value);
    }
    let when = last.end.as_ref().map_or(last.created_at, |end| end.at);
    let when = crate::time_spec::format_time(when, &screen.zone());
    let line = format!("open: {} is as run {} left it ({when}), and valid", target.name, last.id);
    print(screen, &[line]).map(|_| exit::OK)
}

/// The target, where nothing works on it.
async fn free(api: &Api, name: &str) -> Result<TargetStatus, Fault> {
    let target = super::wait::one(api, name).await?;
    match &target.holder {
        Some(holder) if holder.verb != Some(Verb::Validate) => {
            Err(holder.refusal(&format!("target {}", target.name)))
        }
        _ => Ok(target),
    }
}

/// The last operation that changed the target, or may have.
async fn last_change(api: &Api, target: &str) -> Result<Operation, Fault> {
    for it in api.operations(target, false, LOOKED_AT).await? {
        if changed(&it) || (may_have(&it) && look::report(api, it.id, end_digest(&it)).await?.phased) {
            return Ok(it);
        }
    }
    Err(closed(target, "no operation on record has changed it, so that no run has made it what it is"))
}

pub(super) fn end_digest(it: &Operation) -> &str {
    it.end.as_ref().map_or("", |end| end.report_sha256.as_str())
}

/// What it ended with leaves a change behind, or leaves unknown whether it did.
pub(super) fn changed(it: &Operation) -> bool {
    let Some(end) = it.end.as_ref().filter(|_| it.verb != Verb::Validate && !it.dry_run) else {
        return false;
    };
    let unknown = matches!(
        end.reason,
        Some(
            Reason::ValidThenChanged
                | Reason::ValidityUnknown
                | Reason::OutcomeUnknown
                | Reason::TransactionEscaped
        )
    );
    end.outcome == Outcome::Succeeded || unknown
}

/// A migration that went revision by revision keeps what it committed before it failed.
fn may_have(it: &Operation) -> bool {
    it.verb == Verb::Migrate && !it.dry_run && it.end.is_some()
}

/// What is not as it should be; `None` where everything on record is.
fn not_open(target: &TargetStatus, last: &Operation, report: &Report, mine: &ChainSet) -> Option<String> {
    let ended = last.end.as_ref().map(|end| end.outcome);
    if !target.enrolled {
        return Some("its database is not the one that was enrolled".to_owned());
    }
    if last.database != target.database {
        return Some(format!("operation {} was on database {}", last.id, last.database));
    }
    if last.verb != Verb::Run || ended != Some(Outcome::Succeeded) {
        let how = ended.map_or("has not ended", Outcome::as_str);
        let (verb, id) = (last.verb.as_str(), last.id);
        return Some(format!(
            "the last operation that changed it is not a run that succeeded: {verb}, {how} ({id})"
        ));
    }
    let differing: Vec<&str> = report
        .chains
        .iter()
        .filter(|(name, theirs)| {
            !mine.chains.iter().any(|chain| chain.name == **name && chain.fingerprint() == **theirs)
        })
        .map(|(name, _)| name.as_str())
        .collect();
    (!differing.is_empty()).then(|| {
        format!("run {} applied other revisions than these: chain {}", last.id, differing.join(", chain "))
    })
}

/// Chains that no run can have applied: neither that one did, nor does the daemon have them at all. What it has and does not
/// replay there is another target's.
fn unknown(daemon: &Daemon, report: &Report, mine: &ChainSet) -> Option<String> {
    let known =
        |name: &String| report.chains.contains_key(name) || daemon.chains.iter().any(|it| it.name == *name);
    let unknown: Vec<&str> =
        mine.chains.iter().map(|chain| &chain.name).filter(|name| !known(name)).map(String::as_str).collect();
    (!unknown.is_empty())
        .then(|| format!("the daemon has no chain {}, so no run applied it", unknown.join(", ")))
}

fn closed(target: &str, why: &str) -> Fault {
    Fault::new(Reason::GateClosed, format!("target {target}: {why}"))
        .hint("see what is there, then run it again: resetctl run --expect-chains ./migrations")
        .with("target", target)
}

#[cfg(test)]
mod tests {
    use model::operation::{End, State};
    use uuid::Uuid;

    use super::*;

    fn operation(verb: Verb, outcome: Outcome, reason: Option<Reason>) -> Operation {
        let at = "2026-01-02T03:04:05Z".parse().expect("a time");
        Operation {
            id: Uuid::from_u128(7),
            request_id: Uuid::nil(),
            verb,
            target: "staging".into(),
            database: "butlers".into(),
            scope: None,
            dry_run: false,
            principal: String::new(),
            auth_method: String::new(),
            labels: Default::default(),
            state: State::Finished,
            end: Some(End { outcome, reason, summary: String::new(), at, report_sha256: String::new() }),
            last_sequence: 9,
            created_at: at,
            started_at: None,
            undoable_until: None,
        }
    }

    #[test]
    fn only_what_left_a_change_or_may_have_counts() {
        for (verb, outcome, reason, counts) in [
            (Verb::Run, Outcome::Succeeded, None, true),
            (Verb::Undo, Outcome::Succeeded, None, true),
            (Verb::Run, Outcome::Failed, Some(Reason::RevisionFailed), false),
            (Verb::Run, Outcome::Differences, Some(Reason::ValidationDifferences), false),
            (Verb::Run, Outcome::Differences, Some(Reason::ValidThenChanged), true),
            (Verb::Reset, Outcome::Failed, Some(Reason::TransactionEscaped), true),
            (Verb::Run, Outcome::Refused, Some(Reason::BlastRadius), false),
            (Verb::Validate, Outcome::Succeeded, None, false),
        ] {
            assert_eq!(changed(&operation(verb, outcome, reason)), counts, "{verb:?} {reason:?}");
        }
        let dry = Operation { dry_run: true, ..operation(Verb::Run, Outcome::Succeeded, None) };
        assert!(!changed(&dry));
    }

    #[test]
    fn each_thing_that_is_not_as_it_should_be_closes_it() {
        let target = TargetStatus {
            name: "staging".into(),
            database: "butlers".into(),
            profile: String::new(),
            matrix: String::new(),
            managed_schemas: Vec::new(),
            protected: false,
            enrolled: true,
            holder: None,
            queue: Vec::new(),
            window: None,
            next_windows: Vec::new(),
            last: None,
            kept: Vec::new(),
            kept_schemas: Vec::new(),
            warnings: Vec::new(),
        };
        let at = "2026-01-02T03:04:05Z".parse().expect("a time");
        let (report, mine) = (Report::new(Verb::Run, "staging", at), ChainSet::default());
        let ran = operation(Verb::Run, Outcome::Succeeded, None);
        assert_eq!(not_open(&target, &ran, &report, &mine), None);
        let why = |target: &TargetStatus, it: &Operation, report: &Report| {
            not_open(target, it, report, &mine).expect("closed")
        };
        assert!(why(&TargetStatus { enrolled: false, ..target.clone() }, &ran, &report).contains("enrolled"));
        let moved = TargetStatus { database: "other".into(), ..target.clone() };
        assert!(why(&moved, &ran, &report).contains("on database butlers"));
        let undone = operation(Verb::Undo, Outcome::Succeeded, None);
        assert!(why(&target, &undone, &report).contains("not a run that succeeded: undo"));
        let other = Report { chains: [("core".to_owned(), "sha256:x".to_owned())].into(), ..report };
        assert!(why(&target, &ran, &other).contains("chain core"));
    }
}
