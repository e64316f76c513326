//! Did you mean: for a target or a schema that the daemon does not know, the one that is nearly called so.

use std::time::Duration;

use model::fault::{Fault, Reason};

use crate::{api::Api, similar};

/// How long the daemon is waited for where its answer only makes a message better.
const PATIENCE: Duration = Duration::from_secs(2);

/// The fault with the name that was meant, where there is one among those that the caller may see.
pub(super) async fn advised(api: &Api, fault: Fault) -> Fault {
    let typed = match fault.reason {
        Reason::TargetNotFound => fault.metadata.get("target").cloned(),
        Reason::UnknownSchema => fault.sql.schema.clone(),
        _ => return fault,
    };
    let Some(typed) = typed else { return fault };
    let Ok(Ok(targets)) = tokio::time::timeout(PATIENCE, api.targets()).await else { return fault };
    let known = targets.iter().flat_map(|it| match fault.reason {
        Reason::TargetNotFound => vec![it.name.as_str()],
        _ => it.managed_schemas.iter().map(String::as_str).collect(),
    });
    match similar::meant(&typed, known) {
        None => fault,
        Some(meant) => {
            let hint = fault.hint.iter().map(|hint| format!("; {hint}")).collect::<String>();
            let hint = format!("did you mean `{meant}`?{hint}");
            fault.hint(hint)
        }
    }
}
