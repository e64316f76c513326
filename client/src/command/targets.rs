//! `targets`, `target enroll` and `target unlock`.

use model::fault::{Fault, Reason, exit};
use serde_json::Value;
use uuid::Uuid;
use wire::v1;

use super::{print, print_json, promised};
use crate::{
    connection::{self, Connection},
    intent::Destination,
    render::{Screen, json, listing},
    status::normalise,
    view::Target,
};

/// `targets`
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(crate) async fn list(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let all = every(&Connection::new(to.address.clone())).await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(json::target).collect()));
    }
    if all.is_empty() {
        screen.say("no targets that you may see");
        return Ok(exit::OK);
    }
    let lines = listing::targets(&all, screen.data_width());
    print(screen, &lines)
}

/// `target enroll`: the database's name comes from the flag, or from the keyboard.
///
/// # Errors
/// The daemon cannot be reached or refuses, or nobody typed the name.
pub(crate) async fn enroll(
    screen: &mut Screen,
    to: &Destination,
    name: &str,
    confirmation: Option<&str>,
) -> Result<u8, Fault> {
    let connection = Connection::new(to.address.clone());
    let typed = match confirmation {
        Some(typed) => typed.to_owned(),
        None if screen.can_ask() => {
            screen.ask(&format!("Type the name of the database of target {name} to enroll it: "));
            let line = screen.keyboard().line().await.ok().flatten().unwrap_or_default();
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
        None => {
            return Err(Fault::new(Reason::ConfirmationMissing, "nobody typed the database's name")
                .hint("off a terminal: --confirm-database DATABASE"));
        }
    };
    let request = v1::EnrollTargetRequest {
        request_id: Uuid::new_v4().to_string(),
        target: name.to_owned(),
        database_confirmation: typed,
    };
    let mut client = connection::targets(connection.open().await?);
    let reply = client.enroll_target(request).await.map_err(|s| normalise(&s).fault)?;
    let target = promised(reply.into_inner().target, "target")?;
    screen.say(&format!("target {} (database {}) is enrolled", target.name, target.database));
    Ok(exit::OK)
}

/// `target unlock`: breaks the lock of the operation that is named.
///
/// # Errors
/// The daemon cannot be reached or refuses: another operation holds the target, or none does.
pub(crate) async fn unlock(
    screen: &mut Screen,
    to: &Destination,
    name: &str,
    operation: Uuid,
    reason: &str,
) -> Result<u8, Fault> {
    let request = v1::ForceUnlockTargetRequest {
        request_id: Uuid::new_v4().to_string(),
        target: name.to_owned(),
        operation: operation.to_string(),
        reason: reason.to_owned(),
    };
    let mut client = connection::targets(Connection::new(to.address.clone()).open().await?);
    let reply = client.force_unlock_target(request).await.map_err(|s| normalise(&s).fault)?;
    let holder = wire::decode_holder(promised(reply.into_inner().broken, "holder")?);
    screen.say(&format!("the lock of target {name} is broken; it was held by {}", holder.phrase()));
    Ok(exit::OK)
}

/// Every target that the caller may see.
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(super) async fn every(connection: &Connection) -> Result<Vec<Target>, Fault> {
    let mut client = connection::targets(connection.open().await?);
    let reply = client.list_targets(v1::ListTargetsRequest {}).await.map_err(|s| normalise(&s).fault)?;
    reply.into_inner().targets.into_iter().map(Target::try_from).collect()
}
