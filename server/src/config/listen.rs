//! Where the daemon listens. Must not open anything.
//!
//! Plaintext exists on loopback addresses only, and only where the configuration asks for it; every other TCP address
//! speaks TLS.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::problem::{At, Problems};

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket; a relative path is relative to the working directory.
    Unix(PathBuf),
    /// `HOST:PORT` with TLS. Port 0 lets the system choose.
    Tls(String),
    /// A loopback address without TLS. Port 0 lets the system choose.
    Plain(SocketAddr),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tls(host_port) => f.write_str(host_port),
            Self::Plain(address) => write!(f, "{address}"),
        }
    }
}

/// How TCP addresses are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpRule {
    /// Loopback addresses are plaintext.
    pub insecure_loopback: bool,
    /// There is a certificate.
    pub tls: bool,
}

impl TcpRule {
    /// Whether a listener on this address is plaintext; `None`: it may not be opened at all.
    #[must_use]
    pub fn plaintext(self, address: IpAddr) -> Option<bool> {
        match (address.is_loopback() && self.insecure_loopback, self.tls) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
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
pub(super) fn parse_all(list: &[At<String>], rule: TcpRule, problems: &mut Problems) -> Vec<Listen> {
    let mut found: Vec<Listen> = Vec::new();
    for address in list {
        let Some(listen) = parse(address, rule, problems) else { continue };
        let fixed_port = !listen.to_string().ends_with(":0");
        if fixed_port && found.contains(&listen) {
            problems.push(address.place, format!("listen address \"{listen}\" is given twice"));
        }
        found.push(listen);
    }
    found
}

fn parse(address: &At<String>, rule: TcpRule, problems: &mut Problems) -> Option<Listen> {
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
    match socket {
        Some(socket) if rule.insecure_loopback => Some(Listen::Plain(socket)),
        _ if rule.tls => Some(Listen::Tls(text.clone())),
        Some(_) => {
            let message = format!("listen address {text:?} is TCP, and there is no certificate for TLS");
            let hint = "add [tls] with certificate_file and key_file, or use unix:PATH; plaintext on loopback takes \
                        insecure_loopback = true (--insecure-loopback)";
            problems.hint(place, message, hint);
            None
        }
        None => {
            let message =
                format!("listen address {text:?} is not on loopback, and there is no certificate for TLS");
            problems.hint(place, message, "add [tls] with certificate_file and key_file, or use unix:PATH");
            None
        }
    }
}

fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_ipv6 { None } else { port.parse().ok().map(|port| (host, port)) }
}
