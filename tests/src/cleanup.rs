//! Drops the databases of tests that have ended, so that a run takes the room of a few databases and not of all of them.
//!
//! It must not fail a test: what cannot be dropped goes with its server.

use std::sync::{OnceLock, mpsc};

use crate::sql;

/// The databases of one target on the shared server; they are dropped when the last owner lets go of it.
#[derive(Debug)]
pub(crate) struct Cleanup {
    /// The superuser's URL of a database that stays.
    pub(super) server: String,
    /// The superuser's URL of the control database.
    pub(super) control_url: String,
    /// The target's database.
    pub(super) database: String,
    /// The control database.
    pub(super) control: String,
}

static WORKER: OnceLock<mpsc::Sender<Names>> = OnceLock::new();

/// What the worker is told.
struct Names {
    server: String,
    control_url: String,
    databases: Vec<String>,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let names = Names {
            server: std::mem::take(&mut self.server),
            control_url: std::mem::take(&mut self.control_url),
            databases: vec![std::mem::take(&mut self.database), std::mem::take(&mut self.control)],
        };
        // At the end of the process nobody receives it, and the server goes.
        drop(WORKER.get_or_init(start).send(names));
    }
}

/// A thread of its own: each test's runtime ends with the test.
fn start() -> mpsc::Sender<Names> {
    let (sender, receiver) = mpsc::channel::<Names>();
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime for the thread that cleans up");
        for names in receiver {
            runtime.block_on(clean(names));
        }
    };
    std::thread::Builder::new().name("cleanup".to_owned()).spawn(work).expect("a thread");
    sender
}

/// Errors are nobody's business here: what could not be dropped goes with the server.
async fn clean(names: Names) {
    // What a daemon keeps for undo; where no daemon ran, there is no such table.
    let retained = "SELECT d.datname FROM resetd.kept_database JOIN pg_database d USING (oid)";
    let mut databases = sql::names(&names.control_url, &[retained.to_owned()]).await.unwrap_or_default();
    databases.extend(names.databases);
    for database in databases {
        // A slot keeps its database, and the log since it was made.
        let slots = format!(
            "SELECT slot_name::text FROM pg_replication_slots, pg_drop_replication_slot(slot_name) \
             WHERE database = '{database}' AND NOT active"
        );
        let drop_it = format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)");
        drop(sql::names(&names.server, &[slots, drop_it]).await);
    }
}
