//! Tells the service manager how the daemon is (`sd_notify(3)`). Where none listens, nobody is told. Must not read the
//! environment.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// What there is to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// It answers.
    Ready,
    /// It ends.
    Stopping,
}

/// Tells it on the socket that the service manager named.
pub(crate) fn tell(socket: Option<&str>, state: State) {
    let Some(socket) = socket else { return };
    let word: &[u8] = match state {
        State::Ready => b"READY=1",
        State::Stopping => b"STOPPING=1",
    };
    if let Err(error) = send(socket, word) {
        tracing::warn!(%error, socket, "the service manager could not be told");
    }
}

fn send(socket: &str, word: &[u8]) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word, &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_hear_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify").display().to_string();
        let name = format!("resetd-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listeners = [
            (path.clone(), UnixDatagram::bind(&path).expect("bound")),
            (format!("@{name}"), UnixDatagram::bind_addr(&address).expect("bound")),
        ];
        for (socket, listener) in listeners {
            tell(Some(&socket), State::Ready);
            let mut heard = [0; 32];
            let size = listener.recv(&mut heard).expect("heard");
            assert_eq!(&heard[..size], b"READY=1");
        }
        tell(None, State::Stopping);
        tell(Some("/no/such/socket"), State::Stopping);
    }
}
