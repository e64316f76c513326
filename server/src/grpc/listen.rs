//! Opening listeners: unix sockets with modes that keep strangers out, TCP addresses, and sockets that the service manager
//! opened. Must not accept anything.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use nix::unistd::{Group, chown};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::{Config, Listen, TcpRule};

/// A listener that is open.
pub(crate) struct Bound {
    listener: Listener,
    address: String,
    /// Its file goes when the listener goes, unless the service manager made it.
    file: Option<SocketFile>,
}

/// The kinds of listeners.
pub(super) enum Listener {
    Unix(UnixListener),
    Plain(TcpListener),
    Tls(TcpListener),
}

/// A socket's file, removed on drop, unless another is in its place by then.
pub(super) struct SocketFile {
    path: PathBuf,
    made: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), made: identity(path)? })
    }
}

/// By what a file is told apart from another of the same name.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let path = self.path.display();
        let removed = match identity(&self.path) {
            Ok(found) if found != self.made => {
                return tracing::debug!(%path, "another socket is in its place, and stays");
            }
            Ok(_) => fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(%path, %error, "the socket's file was gone");
        }
    }
}

impl Bound {
    /// The address as a client names it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The listener, and its file, which must live as long.
    pub(super) fn into_parts(self) -> (Listener, Option<SocketFile>) {
        (self.listener, self.file)
    }

    /// Whether everybody on the machine can call here without saying who they are.
    pub(crate) fn is_plaintext(&self) -> bool {
        matches!(self.listener, Listener::Plain(_))
    }

    fn tcp(listener: TcpListener, plaintext: bool) -> io::Result<Self> {
        let address = listener.local_addr()?.to_string();
        let listener = if plaintext { Listener::Plain(listener) } else { Listener::Tls(listener) };
        Ok(Self { listener, address, file: None })
    }

    fn unix(listener: UnixListener, path: &Path, file: Option<SocketFile>) -> Self {
        Self { listener: Listener::Unix(listener), address: format!("unix:{}", path.display()), file }
    }
}

/// Opens every listener of the configuration, and takes over those of the service manager.
///
/// # Errors
/// What stands in the way, with the address.
pub(crate) async fn bind_all(config: &Config) -> io::Result<Vec<Bound>> {
    let mut bound = if config.activated { handed_over(config.tcp_rule)? } else { Vec::new() };
    for listen in &config.listen {
        if bound.iter().any(|b| b.address == listen.to_string()) {
            continue;
        }
        let opened = match listen {
            Listen::Plain(address) => TcpListener::bind(*address).await.and_then(|l| Bound::tcp(l, true)),
            Listen::Tls(host_port) => TcpListener::bind(host_port).await.and_then(|l| Bound::tcp(l, false)),
            Listen::Unix(path) => bind_unix(path, config.socket_group.as_deref()).await,
        };
        bound.push(opened.map_err(|e| refused(&e, listen))?);
    }
    Ok(bound)
}

fn said(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn refused(error: &io::Error, listen: &Listen) -> io::Error {
    let told = said(error, &format!("cannot listen on {listen}"));
    match (listen, error.kind()) {
        (Listen::Unix(_), io::ErrorKind::PermissionDenied) => io::Error::new(
            error.kind(),
            format!(
                "{told}; choose a place that this user may write to: --listen unix:PATH (the default is below XDG_RUNTIME_DIR where that is set)"
            ),
        ),
        _ => told,
    }
}

/// The sockets that the service manager opened; the rules for plaintext hold for them, too.
fn handed_over(rule: TcpRule) -> io::Result<Vec<Bound>> {
    let mut sockets = ListenFd::from_env();
    let mut bound = Vec::new();
    for index in 0..sockets.len() {
        let one = take(&mut sockets, index, rule);
        bound.extend(one.map_err(|e| said(&e, &format!("socket {index} of the service manager")))?);
    }
    Ok(bound)
}

fn take(sockets: &mut ListenFd, index: usize, rule: TcpRule) -> io::Result<Option<Bound>> {
    if let Ok(Some(listener)) = sockets.take_unix_listener(index) {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let path = address.as_pathname().unwrap_or(Path::new("(abstract)")).to_owned();
        return Ok(Some(Bound::unix(UnixListener::from_std(listener)?, &path, None)));
    }
    let Some(listener) = sockets.take_tcp_listener(index)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let plaintext = rule.plaintext(address.ip()).ok_or_else(|| {
        io::Error::other(format!(
            "{address} is TCP, and there is no certificate for TLS; add [tls] with certificate_file and key_file"
        ))
    })?;
    Bound::tcp(TcpListener::from_std(listener)?, plaintext).map(Some)
}

async fn bind_unix(path: &Path, group: Option<&str>) -> io::Result<Bound> {
    let group = group.map(group_of).transpose()?;
    let give = |path: &Path| {
        match &group {
        None => Ok(()),
        Some(group) => chown(path, None, Some(group.gid)).map_err(|error| {
            io::Error::other(format!(
                "{} cannot be given to group {} (socket_group): {error}; only root, or a member of the group, may do that",
                path.display(),
                group.name
            ))
        }),
    }
    };
    if let Some((text, hint)) = group.as_ref().and_then(|group| out_of_reach(path, group)) {
        return Err(io::Error::other(format!("{text}; {hint}")));
    }
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty() && !f.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
        // The mode of a new folder is cut by the umask, and the group has to get in.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o750))?;
        give(folder)?;
    }
    clear_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile::of(path)?;
    // Peers are told apart by their credentials, not by whether they get in: the moment before this grants nothing.
    give(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(Bound::unix(listener, path, Some(file)))
}

/// What keeps `socket_group` from the sockets of a configuration, before anything is opened: what is wrong, and what to do.
pub(crate) fn unreachable_sockets(config: &Config) -> Vec<(String, String)> {
    let Some(name) = config.socket_group.as_deref() else { return Vec::new() };
    let group = match group_of(name) {
        Ok(group) => group,
        Err(error) => return vec![(error.to_string(), "make the group, or name another one".to_owned())],
    };
    let unix = |listen: &Listen| match listen {
        Listen::Unix(path) => out_of_reach(path, &group),
        _ => None,
    };
    config.listen.iter().filter_map(unix).collect()
}

/// Why a group cannot enter the folder of a socket. A folder that is not there yet is made for the group.
fn out_of_reach(path: &Path, group: &Group) -> Option<(String, String)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    let found = fs::metadata(folder).ok()?;
    let mode = found.mode() & 0o777;
    let enters = mode & if found.gid() == group.gid.as_raw() { 0o010 } else { 0o001 } != 0;
    let (shown, name) = (folder.display(), &group.name);
    (!enters).then(|| {
        (
            format!(
                "group {name} (socket_group) cannot enter {shown} (mode {mode:03o}), where the socket is"
            ),
            format!("chgrp {name} {shown} && chmod g+x {shown}"),
        )
    })
}

fn group_of(name: &str) -> io::Result<Group> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => {
            Err(io::Error::other(format!("there is no group {name:?} (socket_group) on this machine")))
        }
        Err(error) => {
            Err(io::Error::other(format!("group {name:?} (socket_group) cannot be looked up: {error}")))
        }
    }
}

/// Removes the socket of a daemon that is gone; one that answers stays.
async fn clear_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there")),
        // It may live, and have no room at this moment.
        Err(error) => Err(said(&error, "the socket there does not say that nobody listens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_ones_own_socket_is_removed_and_only_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let first = bind_unix(&path, None).await.expect("bound");
        let error = bind_unix(&path, None).await.err().expect("the first one lives");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        fs::rename(&path, folder.path().join("away")).expect("renamed");
        let second = bind_unix(&path, None).await.expect("bound");
        drop(first);
        assert!(path.exists(), "it is another's");
        drop(second);
        assert!(!path.exists());

        // Nobody accepts, and there is room for few: it lives all the same.
        let full = std::os::unix::net::UnixListener::bind(&path).expect("bound");
        nix::sys::socket::listen(&full, nix::sys::socket::Backlog::new(0).expect("a number")).expect("set");
        let one = UnixStream::connect(&path).await.expect("there is room for one");
        assert!(bind_unix(&path, None).await.is_err(), "it has no room at this moment");
        assert!(path.exists());
        drop((one, full));
        drop(bind_unix(&path, None).await.expect("nobody listens any more"));
    }
}
