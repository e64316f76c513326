//! `operations list|show|watch|cancel`.

use model::{
    fault::{Fault, Reason},
    operation::{Operation, State},
};
use serde_json::Value;
use uuid::Uuid;
use wire::v1;

use super::{
    print, print_json, promised,
    settle::{Case, settle},
};
use crate::{
    connection::{self, Connection},
    follow::{self, Start},
    intent::{Destination, Follow},
    invocation,
    render::{Screen, json, listing},
    report_file::Place,
    signals::Signals,
    status::normalise,
    view,
    watch::{self, Watch},
};

const PAGE: u32 = 1_000;

/// `operations list`
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(crate) async fn list(
    screen: &mut Screen,
    to: &Destination,
    active: bool,
    limit: u32,
    as_json: bool,
) -> Result<u8, Fault> {
    let all = pages(&Connection::new(to.address.clone()), &to.target, active, limit).await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(json::operation).collect()));
    }
    if all.is_empty() {
        screen.say("no operations");
        return Ok(model::fault::exit::OK);
    }
    let lines = listing::operations(&all, screen.data_width());
    print(screen, &lines)
}

async fn pages(
    connection: &Connection,
    target: &str,
    active: bool,
    limit: u32,
) -> Result<Vec<Operation>, Fault> {
    let mut client = connection::operations(connection.open().await?);
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let left = limit - u32::try_from(all.len()).unwrap_or(limit).min(limit);
        let request = v1::ListOperationsRequest {
            target: target.to_owned(),
            page_size: i32::try_from(left.min(PAGE)).unwrap_or(0),
            page_token: token,
            active_only: active,
        };
        let reply = client.list_operations(request).await.map_err(|s| normalise(&s).fault)?.into_inner();
        let got = reply.operations.len();
        for operation in reply.operations {
            all.push(view::operation(operation)?);
        }
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        token = reply.next_page_token;
        let full = all.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        if token.is_empty() || full || got == 0 {
            return Ok(all);
        }
    }
}

/// `operations show`
///
/// # Errors
/// There is no such operation, or the daemon cannot be reached.
pub(crate) async fn show(
    screen: &mut Screen,
    to: &Destination,
    id: Uuid,
    as_json: bool,
) -> Result<u8, Fault> {
    let operation = read(&Connection::new(to.address.clone()), id).await?;
    match as_json {
        true => print_json(screen, &json::operation(&operation)),
        false => print(screen, &listing::operation(&operation)),
    }
}

/// Reads one operation.
///
/// # Errors
/// There is no such operation, or the daemon cannot be reached.
pub(crate) async fn read(connection: &Connection, id: Uuid) -> Result<Operation, Fault> {
    let mut client = connection::operations(connection.open().await?);
    let request = v1::GetOperationRequest { operation: id.to_string() };
    let reply = client.get_operation(request).await.map_err(|s| normalise(&s).fault)?.into_inner();
    view::operation(promised(reply.operation, "operation")?)
}

/// `operations watch`
///
/// # Errors
/// There is no such operation, or its report could not be written.
pub(crate) async fn watch(
    screen: &mut Screen,
    to: &Destination,
    id: Option<Uuid>,
    from: u64,
    follow: &Follow,
) -> Result<u8, Fault> {
    let place = Place::prepare(&follow.report)?;
    let connection = Connection::new(to.address.clone());
    let mut signals = Signals::catch();
    let id = match id {
        Some(id) => id,
        None => last(screen, &connection, &to.target).await?,
    };
    let operation = read(&connection, id).await?;
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
        connection: &connection,
        steps: follow::follow(connection.clone(), Start::Watch { operation: id, from }, follow.patience),
        signals: &mut signals,
        detach: false,
        execute: None,
    };
    let (ending, mut seen) = watch.run().await;
    seen.operation = Some(id);
    let case = Case {
        to,
        connection: &connection,
        place: &place,
        verb: operation.verb,
        target: operation.target.clone(),
        request: None,
    };
    Ok(settle(screen, case, ending, &seen).await)
}

/// The newest operation of the target, or of all.
async fn last(screen: &mut Screen, connection: &Connection, target: &str) -> Result<Uuid, Fault> {
    let newest = pages(connection, target, false, 1).await?.into_iter().next();
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
    id: Uuid,
    reason: &str,
) -> Result<u8, Fault> {
    let reply = watch::cancel(&Connection::new(to.address.clone()), id, reason).await?;
    let operation = view::operation(promised(reply, "operation")?)?;
    let text = match operation.state {
        State::Finished => {
            format!("the operation has ended: {}", operation.end.as_ref().map_or("", |e| &e.summary))
        }
        _ => format!("asked for a cancel; see its end with: {}", invocation::watch(to, id)),
    };
    screen.say(&text);
    Ok(model::fault::exit::OK)
}
