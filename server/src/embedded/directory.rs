//! The folders of an embedded cluster: the data, kept or temporary, and the short temporary folder of the socket.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::EmbeddedError;
use super::account::Account;

/// A socket's path has at most 103 bytes on macOS and 107 on Linux; its name takes 16 of them, `/` included.
const LONGEST_SOCKET_FOLDER: usize = 103 - 16;

/// In a kept data folder, readable by its owner only; over TCP the server asks for it.
const PASSWORD_FILE: &str = "resetd-superuser-password";

/// How long a server that is shutting down in the data folder is waited for.
const STOPPING: Duration = Duration::from_secs(30);

/// What was found in the data folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: a cluster has to be made.
    Empty,
    /// A cluster of this major version.
    Cluster {
        /// As in `PG_VERSION`.
        major: String,
    },
}

#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    kept: bool,
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, EmbeddedError> {
    std::path::absolute(path).map_err(|source| EmbeddedError::Directory { path: path.to_owned(), source })
}

/// A new folder for the socket and everything temporary, which the account owns and nobody else may enter.
pub(super) fn temporary(account: &Account) -> Result<TempDir, EmbeddedError> {
    let places = [std::env::temp_dir(), PathBuf::from("/tmp")];
    let mut last = None;
    for place in &places {
        let made = tempfile::Builder::new().prefix("resetd-pg-").tempdir_in(place);
        let owned = made.and_then(|folder| account.own(folder.path()).map(|()| folder));
        match owned {
            Ok(folder) if fits(folder.path()) && account.can_write(folder.path()) => return Ok(folder),
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::Error::other(format!("unreachable for {}", account.name())));
    Err(EmbeddedError::Temporary {
        places: places.map(|place| place.display().to_string()).join(" or "),
        source,
    })
}

fn fits(folder: &Path) -> bool {
    folder.to_str().is_some_and(|path| path.len() <= LONGEST_SOCKET_FOLDER && !path.contains(['"', ',']))
}

impl DataDir {
    pub(super) fn new(kept: Option<PathBuf>, home: &Path) -> Self {
        let is_kept = kept.is_some();
        Self { path: kept.unwrap_or_else(|| home.join("data")), kept: is_kept }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn log_path(&self, home: &Path) -> PathBuf {
        if self.kept { self.path.join("postgres.log") } else { home.join("postgres.log") }
    }

    /// Makes the folder if it is missing, and refuses one that cannot be used.
    pub(super) async fn prepare(&self, account: &Account) -> Result<State, EmbeddedError> {
        let failed = |source| EmbeddedError::Directory { path: self.path.clone(), source };
        if !self.path.exists() {
            if let Some(parent) = self.path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            fs::DirBuilder::new().mode(0o700).create(&self.path).map_err(failed)?;
            account.own(&self.path).map_err(failed)?;
        }
        let state = self.state()?;
        if state == State::Empty {
            // An empty folder that root made is as good as a missing one.
            account.own(&self.path).map_err(failed)?;
        }
        if !account.can_write(&self.path) {
            return Err(EmbeddedError::NotWritable {
                path: self.path.clone(),
                user: account.name().to_owned(),
            });
        }
        self.unused().await.map(|()| state)
    }

    fn state(&self) -> Result<State, EmbeddedError> {
        let failed = |source| EmbeddedError::Directory { path: self.path.clone(), source };
        if !self.path.is_dir() {
            return Err(EmbeddedError::NotACluster { path: self.path.clone() });
        }
        match fs::read_to_string(self.path.join("PG_VERSION")) {
            Ok(version) => Ok(State::Cluster { major: version.trim().to_owned() }),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            Err(_) if fs::read_dir(&self.path).map_err(failed)?.next().is_some() => {
                Err(EmbeddedError::NotACluster { path: self.path.clone() })
            }
            Err(_) => Ok(State::Empty),
        }
    }

    /// Refuses a folder that a live server uses. After a kill of the daemon, the old server still ends for a moment:
    /// that one is waited for.
    async fn unused(&self) -> Result<(), EmbeddedError> {
        let begin = tokio::time::Instant::now();
        loop {
            let Some((pid, status)) = self.postmaster() else {
                return Ok(());
            };
            let patience = if status == "stopping" { STOPPING } else { Duration::from_millis(500) };
            if begin.elapsed() > patience {
                return Err(EmbeddedError::InUse { path: self.path.clone(), pid });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The live server of this folder and what it says of itself, from `postmaster.pid`.
    fn postmaster(&self) -> Option<(i32, String)> {
        let text = fs::read_to_string(self.path.join("postmaster.pid")).ok()?;
        let pid: i32 = text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
        let alive = kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH);
        // After a reboot the number may be anybody's.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_else(|_| "postgres".to_owned());
        let status = text.lines().nth(7).unwrap_or_default().trim().to_owned();
        (alive && name.starts_with("post")).then_some((pid, status))
    }

    pub(super) fn initdb_arguments(&self, password_file: &Path, locale: &str) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            &format!("--username={}", super::SUPERUSER),
            &format!("--locale={locale}"),
            &format!("--pwfile={}", password_file.display()),
            &format!("--pgdata={}", self.path.display()),
        ]
        .map(str::to_owned)
        .to_vec();
        if !self.kept {
            arguments.push("--no-sync".to_owned());
        }
        arguments
    }

    /// Writes the password for `initdb`, which wants an empty data folder and so reads it from `home`.
    pub(super) fn write_password(
        &self,
        account: &Account,
        home: &Path,
        password: &str,
    ) -> Result<PathBuf, EmbeddedError> {
        let path = home.join("password");
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| writeln!(file, "{password}"))
            .and_then(|()| account.own(&path));
        written.map(|()| path.clone()).map_err(|source| EmbeddedError::Directory { path, source })
    }

    /// After `initdb`: the password moves into a kept folder, and is forgotten elsewhere.
    pub(super) fn keep_password(&self, account: &Account, file: &Path) -> Result<(), EmbeddedError> {
        if self.kept {
            // Copied as the account, so that root never writes into a folder somebody else owns.
            let mut copy = account.command("/bin/sh");
            copy.args(["-c", "umask 077 && cat \"$0\" > \"$1\""])
                .arg(file)
                .arg(self.path.join(PASSWORD_FILE));
            let done = copy.status().is_ok_and(|status| status.success());
            if !done {
                return Err(EmbeddedError::NotWritable {
                    path: self.path.clone(),
                    user: account.name().to_owned(),
                });
            }
        }
        fs::remove_file(file).map_err(|source| EmbeddedError::Directory { path: file.to_owned(), source })
    }

    pub(super) fn read_password(&self) -> Result<String, EmbeddedError> {
        let path = self.path.join(PASSWORD_FILE);
        let mut text = String::new();
        open_plain(&path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map(|_| text.trim().to_owned())
            .map_err(|source| EmbeddedError::NoPassword { path, source })
    }
}

/// Opens a file of a folder that somebody else owns: root follows no link there, and waits for no pipe.
pub(super) fn open_plain(path: &Path) -> std::io::Result<fs::File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)
}
