//! Where the daemon listens. Must not open anything.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::problem::{At, Problems};

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket; a relative path is relative to the working directory.
    Unix(PathBuf),
    /// A loopback address without TLS. Port 0 lets the system choose.
    Tcp(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// Where the daemon listens when nothing is said: `/run/resetd/resetd.sock` as root, else below `XDG_RUNTIME_DIR`; without
/// that variable (a service user) the same place as root, which systemd's `RuntimeDirectory=resetd` makes.
pub fn default_socket(env: &dyn Fn(&str) -> Option<String>, is_root: bool) -> PathBuf {
    let runtime = env("XDG_RUNTIME_DIR").filter(|dir| dir.starts_with('/') && !is_root);
    PathBuf::from(runtime.unwrap_or_else(|| "/run/resetd".to_owned())).join("resetd.sock")
}

/// Reads the addresses; what cannot be listened on safely is a problem.
pub(super) fn parse_all(
    list: &[At<String>],
    insecure_loopback: bool,
    problems: &mut Problems,
) -> Vec<Listen> {
    let mut found: Vec<Listen> = Vec::new();
    for address in list {
        let Some(listen) = parse(address, insecure_loopback, problems) else { continue };
        let fixed_port = !matches!(&listen, Listen::Tcp(address) if address.port() == 0);
        if fixed_port && found.contains(&listen) {
            problems.push(address.place, format!("listen address \"{listen}\" is given twice"));
        }
        found.push(listen);
    }
    found
}

fn parse(address: &At<String>, insecure_loopback: bool, problems: &mut Problems) -> Option<Listen> {
    let (text, place) = (&address.value, address.place);
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            problems.push(place, "listen address \"unix:\" has no path");
        }
        return (!path.is_empty()).then(|| Listen::Unix(path.into()));
    }
    let Some((host, port)) = split(text) else {
        problems.push(place, format!("listen address {text:?} is neither unix:PATH nor HOST:PORT"));
        return None;
    };
    let socket = match host {
        "localhost" => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        _ => text.parse().ok().filter(|address: &SocketAddr| address.ip().is_loopback()),
    };
    if socket.is_none() {
        let message = format!("listen address {text:?} is not on loopback, and TLS is not there yet");
        problems.hint(place, message, "listen on unix:PATH, or on loopback behind a tunnel such as ssh -L");
    } else if !insecure_loopback {
        let message = format!("listen address {text:?} is plain TCP, and TLS is not there yet");
        problems.hint(
            place,
            message,
            "allow it with insecure_loopback = true (--insecure-loopback), or use unix:PATH",
        );
    }
    socket.filter(|_| insecure_loopback).map(Listen::Tcp)
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_ipv6 { None } else { port.parse().ok().map(|port| (host, port)) }
}
