//! What work in a target needs beside its connection.

use std::{sync::Arc, time::Duration};

use model::event::EventKind;
use sqlx::PgPool;

use super::noticed::Noticed;
use crate::postgres::session::{interrupt::Interrupt, liveness::Backends};

/// Where progress and blockers are told; never awaited.
pub(crate) type ProgressSink = Arc<dyn Fn(EventKind) + Send + Sync>;

/// What a work session needs beside its connection.
#[derive(Clone)]
pub(crate) struct WorkContext {
    /// For cancels and looks at blockers.
    pub(crate) control: PgPool,
    /// Raised when the operation must stop.
    pub(crate) interrupt: Interrupt,
    /// How long locks in the target are waited for, in total.
    pub(crate) patience: Duration,
    /// Where blockers are told.
    pub(crate) tell: ProgressSink,
    /// The backends that work for the operation: ended when they do not end by themselves.
    pub(crate) backends: Arc<Backends>,
    /// What is told where the operation fails.
    pub(crate) noticed: Arc<Noticed>,
}
