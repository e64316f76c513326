//! Who the server runs as. PostgreSQL refuses root, so root lends it an unprivileged account; everybody else runs
//! it as themselves. Every child process of an embedded cluster is made here.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

use super::EmbeddedError;

/// The accounts root may lend, in order.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Children get no environment of the daemon's, which may hold secrets; they need nothing but the usual tools.
const TOOLS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

#[derive(Debug, Clone)]
pub(super) struct Account {
    user: Option<User>,
    lent: bool,
}

impl Account {
    /// As root, the owner of the data folder, else the first account that exists; otherwise the caller.
    pub(super) fn choose(data: Option<&Path>) -> Result<Self, EmbeddedError> {
        let me = Uid::effective();
        if !me.is_root() {
            return Ok(Self { user: User::from_uid(me).ok().flatten(), lent: false });
        }
        let owner = data.and_then(|path| std::fs::metadata(path).ok()).map(|data| Uid::from_raw(data.uid()));
        let owner = owner.filter(|uid| !uid.is_root()).and_then(|uid| User::from_uid(uid).ok().flatten());
        owner
            .or_else(|| UNPRIVILEGED.iter().find_map(|name| User::from_name(name).ok().flatten()))
            .filter(|user| !user.uid.is_root())
            .map(|user| Self { user: Some(user), lent: true })
            .ok_or(EmbeddedError::NoAccount)
    }

    /// The account's name, for people.
    pub(super) fn name(&self) -> &str {
        self.user.as_ref().map_or("the current user", |user| &user.name)
    }

    /// A command that runs as this account, in its own process group (Ctrl-C in the terminal is the daemon's).
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", TOOLS).env("LC_ALL", "C").current_dir("/").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let (true, Some(user)) = (self.lent, &self.user) {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// Gives a path that root made to this account.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        match (self.lent, &self.user) {
            (true, Some(user)) => {
                std::os::unix::fs::lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            }
            _ => Ok(()),
        }
    }

    /// Whether this account can reach the folder and write into it; asked of the kernel, not guessed from modes.
    pub(super) fn can_write(&self, folder: &Path) -> bool {
        let mut probe = self.command("/bin/sh");
        probe.args(["-c", "cd \"$0\" && test -w . && test -x ."]).arg(folder);
        probe.status().is_ok_and(|status| status.success())
    }
}
