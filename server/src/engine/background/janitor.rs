//! What has had its time: kept databases and schemas are dropped in the background, one at a time in the whole cluster, and
//! ended operations are forgotten.

use std::{sync::Arc, time::Duration};

use model::fault::Fault;

use crate::{
    engine::Engine,
    postgres::{
        change::control_schema,
        control::{given_up, kept_schemas, operations, retained, windows},
        swap::{self, cleanup},
    },
};

/// How often it is looked for what has had its time, and how soon at the soonest.
const LOOK: Duration = Duration::from_secs(30);
const SOONEST: Duration = Duration::from_millis(100);

/// Cleans until the daemon ends.
pub(in crate::engine) async fn keep_clean(engine: Arc<Engine>) {
    loop {
        let pause = match clean(&engine).await {
            Ok(()) => until_next(&engine).await,
            Err(fault) => {
                tracing::warn!(%fault, "what has had its time is not cleaned away yet");
                LOOK
            }
        };
        tokio::select! {
            () = engine.end.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = engine.janitor.notified() => {}
        }
    }
}

/// The next one that will have had its time is not waited for longer than it takes.
async fn until_next(engine: &Engine) -> Duration {
    let pool = &engine.control.pool;
    let (databases, schemas) = (retained::next_in(pool).await, kept_schemas::next_in(pool).await);
    let next = [databases, schemas].into_iter().filter_map(|next| next.ok().flatten()).min();
    next.map_or(LOOK, |next| next.clamp(SOONEST, LOOK))
}

async fn clean(engine: &Engine) -> Result<(), Fault> {
    // What a newer daemon keeps, and how it is told apart, this one does not know.
    control_schema::is_current(&engine.control).await?;
    // A database that cannot be dropped keeps nothing else from being cleaned away.
    let dropped = cleanup::drop_expired(&engine.control).await;
    let options_of = |database: &str| match engine.targets.iter().find(|t| t.database() == database) {
        Some(target) => target.url.connect_options(),
        None => engine.control.options_of(database),
    };
    let schemas = swap::kept_schemas::drop_expired(&engine.control, &options_of).await;
    for target in &engine.targets {
        operations::forget_old(&engine.control.pool, &target.name, target.profile.keep_operations).await?;
        given_up::forget_old(&engine.control.pool, target.database(), target.profile.keep_operations).await?;
        windows::forget_old(&engine.control.pool, target.database(), target.profile.keep_operations).await?;
    }
    for operation in schemas? {
        tracing::info!(%operation, "dropped schemas that were set aside and have had their time");
    }
    for name in dropped? {
        tracing::info!(name, "dropped a database that nobody needs any more");
    }
    Ok(())
}
