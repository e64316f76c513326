//! What has had its time: kept databases are dropped in the background, one at a time in the whole cluster, and ended
//! operations are forgotten.

use std::{sync::Arc, time::Duration};

use model::fault::Fault;

use super::Engine;
use crate::postgres::{cleaning, operations};

/// How often it is looked for what has had its time.
const LOOK: Duration = Duration::from_secs(30);

/// Cleans until the daemon ends.
pub(super) async fn keep_clean(engine: Arc<Engine>) {
    loop {
        if let Err(fault) = clean(&engine).await {
            tracing::warn!(%fault, "what has had its time is not cleaned away yet");
        }
        tokio::select! {
            () = engine.end.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
            () = engine.janitor.notified() => {}
        }
    }
}

async fn clean(engine: &Engine) -> Result<(), Fault> {
    while let Some(name) = cleaning::drop_one_expired(&engine.control).await? {
        tracing::info!(name, "dropped a database that was kept long enough");
    }
    for target in &engine.targets {
        operations::forget_old(&engine.control.pool, &target.name, target.profile.keep_operations).await?;
    }
    Ok(())
}
