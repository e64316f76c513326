//! `targets`, `target enroll` and `target unlock`.

use model::fault::{Fault, Reason, exit};
use serde_json::Value;
use uuid::Uuid;

use super::{operate::nobody_is_asked, print, print_json};
use crate::{
    api::Api,
    destination::Destination,
    render::{Screen, json, listing},
};

/// `targets`
pub(crate) async fn list(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let all = Api::new(to.address.clone()).targets().await?;
    if as_json {
        return print_json(screen, &Value::Array(all.iter().map(json::target).collect()));
    }
    if all.is_empty() {
        screen.say("no targets that you may see");
        return Ok(exit::OK);
    }
    let lines = listing::targets(&all, &screen.zone(), screen.data_width());
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
    let typed = match confirmation {
        Some(typed) => typed.to_owned(),
        None if screen.can_ask() => {
            screen.ask(&format!("Type the name of the database of target {name} to enroll it: "));
            let line = screen.keyboard().line().await.ok().flatten().unwrap_or_default();
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
        None if screen.is_mute() => return Err(nobody_is_asked("--confirm-database DATABASE")),
        None => {
            return Err(Fault::new(Reason::ConfirmationMissing, "nobody typed the database's name")
                .hint("off a terminal: --confirm-database DATABASE"));
        }
    };
    let target = Api::new(to.address.clone()).enroll_target(name, typed).await?;
    screen.say(&format!("target {} (database {}) is enrolled", target.name, target.database));
    Ok(exit::OK)
}

/// `target unlock`: breaks the lock of the operation that is named; without one, of whoever is none.
///
/// # Errors
/// The daemon cannot be reached or refuses: another operation holds the target, or nobody does.
pub(crate) async fn unlock(
    screen: &mut Screen,
    to: &Destination,
    name: &str,
    operation: Option<Uuid>,
    reason: &str,
) -> Result<u8, Fault> {
    let holder = Api::new(to.address.clone()).force_unlock_target(name, operation, reason).await?;
    screen.say(&format!("the lock of target {name} is broken; it was held by {}", holder.phrase()));
    Ok(exit::OK)
}
