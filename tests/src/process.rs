//! Child processes: the binaries under test, with an environment that says nothing by itself.

use std::path::PathBuf;

use tokio::process::Command;

/// What a person's shell may have set and a test must not see.
const FOREIGN: &[&str] = &[
    "BUTLERS_DATABASE_URL",
    "RESETCTL_SERVER",
    "RESETCTL_TARGET",
    "RESETCTL_TOKEN_FILE",
    "RESETCTL_TOKEN",
    "RESETCTL_CA",
    "RESETCTL_CERT",
    "RESETCTL_KEY",
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_PID",
    "RESETD_LOG",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "PGHOST",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
    "PGSERVICE",
    "PGOPTIONS",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "XDG_STATE_HOME",
    "RESETCTL_CONTEXT",
];

/// A command that is killed when it is dropped.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.kill_on_drop(true);
    command
}

/// The Python environment that `make setup-tests` makes in cargo's own folder, wherever that is.
///
/// # Panics
/// It was not made.
#[must_use]
pub fn test_venv() -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let found = test.ancestors().map(|folder| folder.join("test-venv")).find(|venv| venv.is_dir());
    found.expect("test-venv is not in cargo's target folder: run `make setup-tests` first")
}

/// A binary of the workspace: it lies beside the folder of the test's own executable.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has an executable");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/debug/deps");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build --workspace --bins` first (`make test` does)",
        path.display()
    );
    path
}
