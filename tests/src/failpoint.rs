//! Holding a spawned daemon still at a point of its own code, where it keeps nothing locked by it: after an event was
//! stored, and between its transactions (`server/src/postgres/session/failpoint.rs`).

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use uuid::Uuid;

use crate::{Setup, eventually};

/// A folder in which a daemon is told where to stop.
#[derive(Debug)]
pub struct Hold(TempDir);

impl Hold {
    /// Nothing is held yet.
    ///
    /// # Panics
    /// There is no room for a folder.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a folder is made")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A daemon that looks here; to be spawned.
    #[must_use]
    pub fn setup(&self, setup: Setup) -> Setup {
        setup.env("RESETD_TEST_HOLD", &self.0.path().display().to_string())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Whoever comes to the point next stops: the number of an event, or a point's name.
    pub fn at(&self, point: &str) {
        // What let them go the last time, if there was one.
        let _none = fs::remove_file(self.file(&format!("go-{point}")));
        fs::write(self.file("at"), point).expect("a hold can be written");
    }

    /// Waits until somebody stands there: the operation.
    pub async fn reached(&self) -> Uuid {
        eventually("the daemon stops at its point", || async { self.file("held").exists() }).await;
        let id = fs::read_to_string(self.file("held")).expect("it is written whole");
        id.parse().expect("an operation's id")
    }

    /// Lets them go on.
    pub fn open(&self, point: &str) {
        fs::remove_file(self.file("held")).expect("somebody is held");
        fs::write(self.file(&format!("go-{point}")), "").expect("a hold can be lifted");
    }
}
