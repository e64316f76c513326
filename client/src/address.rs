//! Where a daemon listens: `unix:PATH` or `HOST:PORT`, and the places tried when nobody says.
//!
//! It must not open connections.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use model::fault::{Fault, Reason};

use crate::environment::Environment;

const SYSTEM_SOCKET: &str = "/run/resetd/resetd.sock";

/// Where a daemon listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// `HOST:PORT` of a loopback address, in plaintext.
    Loopback(String),
    /// Nobody said, and none of these usual places is there. It is an address, so that everything else that is wrong is
    /// told first and a report is written.
    Nowhere(Vec<PathBuf>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(host_port) => f.write_str(host_port),
            Self::Nowhere(_) => write!(f, "unix:{SYSTEM_SOCKET}"),
        }
    }
}

impl FromStr for Address {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(malformed(text)),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| malformed(text))?;
        if host.is_empty() || !port.parse::<u16>().is_ok_and(|p| p > 0) {
            return Err(malformed(text));
        }
        match is_loopback(host)? {
            true => Ok(Self::Loopback(text.to_owned())),
            false => Err(no_tls(text)),
        }
    }
}

fn is_loopback(host: &str) -> Result<bool, Fault> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if bare.contains(':') && bare.len() == host.len() {
        return Err(malformed(host).hint("write an IPv6 address in brackets: [::1]:50051"));
    }
    Ok(bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

fn malformed(text: &str) -> Fault {
    Fault::new(Reason::InvalidRequest, format!("`{text}` is not a daemon's address")).hint(
        "an address is unix:PATH or HOST:PORT, for example unix:/run/resetd/resetd.sock or 127.0.0.1:50051",
    )
}

fn no_tls(text: &str) -> Fault {
    Fault::new(
        Reason::InvalidRequest,
        format!("{text} is not a loopback address, and this version does not offer TLS: nothing is sent in plaintext over a network"),
    )
    .hint("forward the daemon's socket, for example: ssh -L /tmp/resetd.sock:/run/resetd/resetd.sock HOST, then --server unix:/tmp/resetd.sock")
}

/// The socket of a daemon on this machine, when nobody said where it listens.
pub(crate) fn default_address(environment: &Environment) -> Address {
    let own = environment.runtime_dir.as_ref().map(|dir| dir.join("resetd.sock"));
    let places: Vec<PathBuf> = own.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect();
    match places.iter().find(|p| p.exists()) {
        Some(found) => Address::Unix(found.clone()),
        None => Address::Nowhere(places),
    }
}

/// None of the usual places is there.
pub(crate) fn nowhere(places: &[PathBuf]) -> Fault {
    let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
    Fault::new(
        Reason::DaemonUnreachable,
        format!("no daemon listens at the usual places: {}", tried.join(", ")),
    )
    .hint("start `resetd serve`, or say where it listens: --server ADDR, RESETCTL_SERVER, or a context in the configuration file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_loopback_are_addresses() {
        for text in ["unix:/run/x.sock", "127.0.0.1:1", "localhost:50051", "[::1]:50051", "127.9.9.9:65535"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn everything_else_says_why_not() {
        for text in
            ["", "unix:", "staging", ":50051", "localhost:", "localhost:0", "localhost:99999", "::1:50051"]
        {
            let fault = text.parse::<Address>().expect_err(text);
            assert!(fault.message.contains("is not a daemon's address"), "{text}: {fault}");
            assert_eq!(fault.reason.exit_code(), 2);
        }
        for text in ["10.0.0.1:50051", "resetd.example.org:443", "0.0.0.0:1", "localhost.example.org:1"] {
            let fault = text.parse::<Address>().expect_err(text);
            assert!(fault.message.contains("does not offer TLS"), "{text}: {fault}");
        }
    }

    #[test]
    fn the_places_tried_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = Environment { runtime_dir: Some(folder.path().into()), ..Environment::default() };
        if let Address::Nowhere(places) = default_address(&environment) {
            let fault = nowhere(&places);
            let own = folder.path().join("resetd.sock").display().to_string();
            assert!(fault.message.contains(&own) && fault.message.contains(SYSTEM_SOCKET), "{fault}");
            assert_eq!(fault.reason.exit_code(), 11);
        }
        std::fs::write(folder.path().join("resetd.sock"), "").expect("written");
        let found = default_address(&environment);
        assert_eq!(found, Address::Unix(folder.path().join("resetd.sock")));
    }
}
