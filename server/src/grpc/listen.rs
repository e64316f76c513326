//! Opening listeners: unix sockets with modes that keep strangers out, and loopback addresses.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::config::Listen;

/// A listener that is open.
pub(crate) enum Bound {
    /// A unix socket; its file goes when the listener goes.
    Unix(UnixListener, SocketFile),
    /// A loopback address.
    Tcp(TcpListener, SocketAddr),
}

/// A socket's file, removed on drop.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "the socket's file was gone");
        }
    }
}

impl Bound {
    /// The address as a client names it.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
            Self::Tcp(_, address) => address.to_string(),
        }
    }
}

/// Opens one listener.
///
/// # Errors
/// What stands in the way, with the address.
pub(crate) async fn bind(listen: &Listen) -> io::Result<Bound> {
    let bound = match listen {
        Listen::Tcp(address) => bind_tcp(*address).await,
        Listen::Unix(path) => bind_unix(path).await,
    };
    bound.map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {listen}: {e}")))
}

async fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok(Bound::Tcp(listener, bound))
}

async fn bind_unix(path: &Path) -> io::Result<Bound> {
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty() && !f.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    }
    clear_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(Bound::Unix(listener, SocketFile(path.to_owned())))
}

/// Removes the socket of a daemon that is gone; one that answers stays.
async fn clear_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
    }
    fs::remove_file(path)
}
