//! `operations list|show|watch|cancel`.

use std::path::PathBuf;

use model::{
    fault::{Fault, Reason},
    operation::State,
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    ids,
    operate::LOCAL_CHAINS,
    print, print_json,
    settle::{Case, settle},
};
use crate::{
    api::Api,
    destination::Destination,
    follow::{self, Start, Watch},
    intent::Follow,
    invocation,
    render::{Screen, json, listing},
    report_file::ReportSink,
    signals::Signals,
};

/// How many active operations are named where one has to be chosen.
const NAMED: usize = 10;

/// `operations list`
pub(crate) async fn list(
    screen: &mut Screen,
    to: &Destination,
    active: bool,
    limit: u32,
    as_json: bool,
) -> Result<u8, Fault> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let all = Api::new(to.address.clone()).operations(&to.target, active, limit).await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(json::operation).collect()));
    }
    if all.is_empty() {
        screen.say("no operations");
        return Ok(model::fault::exit::OK);
    }
    let lines = listing::operations(&all, &screen.zone(), screen.data_width());
    print(screen, &lines)
}

/// `operations show`
pub(crate) async fn show(
    screen: &mut Screen,
    to: &Destination,
    id: &str,
    as_json: bool,
) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    let id = ids::operation(&api, &to.target, id).await?;
    let operation = api.operation(id).await?;
    match as_json {
        true => print_json(screen, &json::operation(&operation)),
        false => {
            let lines = listing::operation(&operation, &screen.zone());
            print(screen, &lines)
        }
    }
}

/// `operations watch`
///
/// # Errors
/// There is no such operation, or its report could not be written.
pub(crate) async fn watch(
    screen: &mut Screen,
    to: &Destination,
    id: Option<&str>,
    from: u64,
    follow: &Follow,
) -> Result<u8, Fault> {
    let sink = ReportSink::prepare(&follow.report, screen.environment(), false)?;
    let api = Api::new(to.address.clone());
    let mut signals = Signals::catch();
    let id = match id {
        Some(id) => ids::operation(&api, &to.target, id).await?,
        None => last(screen, &api, &to.target).await?,
    };
    let operation = api.operation(id).await?;
    if from > operation.last_sequence && operation.state == State::Finished {
        let last = operation.last_sequence;
        return Err(Fault::new(
            Reason::InvalidRequest,
            format!("the operation ended with event {last}: there is none from {from} on"),
        )
        .hint(format!(
            "watch it from an earlier event, or read its report: {}",
            invocation::report(to, id)
        )));
    }
    let watch = Watch {
        screen: &mut *screen,
        api: &api,
        steps: follow::follow(api.clone(), Start::Watch { operation: id, from }, follow.reconnect_timeout),
        signals: &mut signals,
        on_interrupt: follow.on_interrupt,
        detach: false,
        tool: None,
        runner: None,
        execute: None,
        plan_is_data: false,
        announce: None,
    };
    let (ending, mut seen) = watch.run().await;
    seen.operation = Some(id);
    let case = Case {
        to,
        api: &api,
        sink: &sink,
        verb: operation.verb,
        target: operation.target.clone(),
        dry_run: operation.dry_run,
        request: None,
        format: follow.format,
        detailed_exitcode: false,
        folders: vec![PathBuf::from(LOCAL_CHAINS)],
    };
    Ok(settle(screen, case, ending, &seen).await)
}

/// The newest operation of the target, or of all.
async fn last(screen: &mut Screen, api: &Api, target: &str) -> Result<Uuid, Fault> {
    let newest = api.operations(target, false, 1).await?.into_iter().next();
    let Some(it) = newest else {
        return Err(Fault::new(Reason::OperationNotFound, "there is no operation to watch")
            .hint("`resetctl operations list` shows those that you may see"));
    };
    screen.say(&format!("the last one: {} of {} ({})", it.verb.as_str(), it.target, it.id));
    Ok(it.id)
}

/// `operations cancel`
///
/// # Errors
/// There is no such operation, it can no longer be cancelled, or the daemon cannot be reached.
pub(crate) async fn cancel(
    screen: &mut Screen,
    to: &Destination,
    id: Option<&str>,
    reason: &str,
) -> Result<u8, Fault> {
    let api = Api::new(to.address.clone());
    let id = match id {
        Some(id) => ids::operation(&api, &to.target, id).await?,
        None => the_active_one(&api, &to.target).await?,
    };
    let operation = api.cancel_operation(id, reason).await?;
    let text = match operation.state {
        State::Finished => {
            format!("operation {id} has ended: {}", operation.end.as_ref().map_or("", |e| &e.summary))
        }
        _ => format!(
            "asked {} of {} to end; see its end with: {}",
            operation.verb.as_str(),
            operation.target,
            invocation::watch(to, id)
        ),
    };
    screen.say(&text);
    Ok(model::fault::exit::OK)
}

/// The one operation that has not ended: where there are several, somebody has to say which.
async fn the_active_one(api: &Api, target: &str) -> Result<Uuid, Fault> {
    let active = api.operations(target, true, NAMED).await?;
    match &active[..] {
        [one] => Ok(one.id),
        [] => Err(Fault::new(Reason::OperationNotFound, "no operation is active")
            .hint("`resetctl operations list` shows those that have ended")),
        several => {
            let named: Vec<String> = several
                .iter()
                .map(|it| format!("{} of {} ({})", it.verb.as_str(), it.target, it.id))
                .collect();
            Err(Fault::new(
                Reason::InvalidRequest,
                format!("several operations are active, and none was named: {}", named.join(", ")),
            )
            .hint("name the one: resetctl operations cancel ID"))
        }
    }
}
