//! `kept list` and `kept drop`.

use model::fault::{Fault, exit};
use serde_json::Value;
use uuid::Uuid;

use super::{print, print_json};
use crate::{
    api::Api,
    destination::Destination,
    render::{Screen, kept},
};

/// `kept list`
///
/// # Errors
/// The daemon cannot be reached or refuses.
pub(crate) async fn list(screen: &mut Screen, to: &Destination, as_json: bool) -> Result<u8, Fault> {
    let mut all = Api::new(to.address.clone()).targets().await?;
    if !to.target.is_empty() {
        all.retain(|it| it.name == to.target);
    }
    if as_json {
        return print_json(screen, &Value::Array(all.iter().flat_map(kept::json).collect()));
    }
    if all.iter().all(|it| it.kept.is_empty() && it.kept_schemas.is_empty()) {
        screen.say("nothing is kept");
        return Ok(exit::OK);
    }
    let lines = kept::lines(&all, &screen.zone(), screen.data_width());
    print(screen, &lines)
}

/// `kept drop`
///
/// # Errors
/// The daemon cannot be reached or refuses: nothing of that operation is kept.
pub(crate) async fn drop(screen: &mut Screen, to: &Destination, operation: Uuid) -> Result<u8, Fault> {
    Api::new(to.address.clone()).drop_kept(&to.target, operation).await?;
    screen.say(&format!("what operation {operation} set aside is given up; it is dropped in the background"));
    Ok(exit::OK)
}
