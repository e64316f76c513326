//! Where a daemon listens, and the places tried when nobody says.
//!
//! `unix:PATH` is a socket. `https://HOST:PORT` is TLS, `http://HOST:PORT` plaintext, on loopback only. A bare `HOST:PORT` is TLS
//! as well, but on a loopback host without any credentials it is plaintext. It must not open connections.

use std::{fmt, net::IpAddr, path::PathBuf};

use model::fault::{Fault, Reason};

use super::credentials::Credentials;
use crate::environment::Environment;

const SYSTEM_SOCKET: &str = "/run/resetd/resetd.sock";

/// Where a daemon listens, and what is shown to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Address {
    /// Where.
    pub(crate) transport: Transport,
    /// What is shown there.
    pub(crate) credentials: Credentials,
}

/// The kinds of places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    /// A unix socket.
    Unix(PathBuf),
    /// `HOST:PORT` with TLS.
    Tls(String),
    /// `HOST:PORT` of a loopback address, in plaintext.
    Loopback(String),
    /// Nobody said, and none of these usual places is there. It is an address, so that everything else that is wrong is
    /// told first and a report is written.
    Nowhere(Vec<PathBuf>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Unix(path) => write!(f, "unix:{}", path.display()),
            Transport::Tls(host_port) => write!(f, "https://{host_port}"),
            Transport::Loopback(host_port) => f.write_str(host_port),
            Transport::Nowhere(_) => write!(f, "unix:{SYSTEM_SOCKET}"),
        }
    }
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none, or what would be sent may not be sent there.
    pub(crate) fn parse(text: &str, credentials: Credentials) -> Result<Self, Fault> {
        credentials.check()?;
        let transport = transport(text, &credentials)?;
        if matches!(transport, Transport::Loopback(_)) && credentials.want_tls() {
            return Err(in_plaintext(text));
        }
        Ok(Self { transport, credentials })
    }
}

fn transport(text: &str, credentials: &Credentials) -> Result<Transport, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        return match path {
            "" => Err(malformed(text)),
            path => Ok(Transport::Unix(path.into())),
        };
    }
    if let Some(rest) = text.strip_prefix("https://") {
        let host_port = rest.trim_end_matches('/');
        return loopback(text, host_port).map(|_| Transport::Tls(host_port.to_owned()));
    }
    if let Some(rest) = text.strip_prefix("http://") {
        let host_port = rest.trim_end_matches('/');
        return match loopback(text, host_port)? {
            true => Ok(Transport::Loopback(host_port.to_owned())),
            false => Err(plaintext(text, host_port)),
        };
    }
    Ok(match loopback(text, text)? && !credentials.want_tls() {
        true => Transport::Loopback(text.to_owned()),
        false => Transport::Tls(text.to_owned()),
    })
}

/// Whether a `HOST:PORT` is on this machine.
fn loopback(text: &str, host_port: &str) -> Result<bool, Fault> {
    let (host, port) = host_port.rsplit_once(':').ok_or_else(|| malformed(text))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-[]:%".contains(c);
    if host.is_empty() || !host.chars().all(plain) || !port.parse::<u16>().is_ok_and(|p| p > 0) {
        return Err(malformed(text));
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if bare.contains(':') && bare.len() == host.len() {
        return Err(malformed(text).hint("write an IPv6 address in brackets: [::1]:50051"));
    }
    Ok(bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

fn malformed(text: &str) -> Fault {
    Fault::new(Reason::InvalidRequest, format!("`{text}` is not a daemon's address")).hint(
        "an address is unix:PATH, https://HOST:PORT or HOST:PORT, for example unix:/run/resetd/resetd.sock or \
         https://resetd.example.org:7443",
    )
}

fn plaintext(text: &str, host_port: &str) -> Fault {
    Fault::new(
        Reason::InvalidRequest,
        format!("{text} is not a loopback address: nothing is sent in plaintext over a network"),
    )
    .hint(format!("use TLS: https://{host_port}"))
}

fn in_plaintext(text: &str) -> Fault {
    Fault::new(
        Reason::InvalidRequest,
        format!("{text} is plaintext: certificates mean nothing there, and a token is never sent in plaintext"),
    )
    .hint("leave out --ca, --cert, --key, --token-file and RESETCTL_TOKEN, or use https:// or the daemon's socket")
}

/// The socket of a daemon on this machine, when nobody said where it listens.
pub(crate) fn default_transport(environment: &Environment) -> Transport {
    let own = environment.runtime_dir.as_ref().map(|dir| dir.join("resetd.sock"));
    let places: Vec<PathBuf> = own.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect();
    // A folder that may not be entered hides its socket: opening it then says what is missing.
    let there = |path: &PathBuf| path.try_exists().unwrap_or(true);
    match places.iter().find(|p| there(p)) {
        Some(found) => Transport::Unix(found.clone()),
        None => Transport::Nowhere(places),
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

    fn plain(text: &str) -> Result<Address, Fault> {
        Address::parse(text, Credentials::default())
    }

    fn with_token() -> Credentials {
        Credentials { token: Some(model::secret::Secret::new("rsd_x".to_owned())), ..Credentials::default() }
    }

    #[test]
    fn sockets_loopback_and_tls_are_addresses() {
        for text in [
            "unix:/run/x.sock",
            "127.0.0.1:1",
            "localhost:50051",
            "[::1]:50051",
            "127.9.9.9:65535",
            "https://resetd.example.org:7443",
            "https://127.0.0.1:7443",
        ] {
            assert_eq!(plain(text).expect(text).to_string(), text);
        }
        assert_eq!(
            plain("http://127.0.0.1:1").expect("loopback").transport,
            Transport::Loopback("127.0.0.1:1".into())
        );
        for remote in ["10.0.0.1:50051", "resetd.example.org:443", "0.0.0.0:1", "localhost.example.org:1"] {
            assert_eq!(plain(remote).expect(remote).transport, Transport::Tls(remote.into()));
        }
    }

    #[test]
    fn everything_else_says_why_not() {
        for text in [
            "",
            "unix:",
            "staging",
            ":50051",
            "localhost:",
            "localhost:0",
            "localhost:99999",
            "::1:50051",
            "https://",
            "https://host",
            "https://host/path:1",
            "ftp://host:1",
            "user@host:1",
        ] {
            let fault = plain(text).expect_err(text);
            assert!(fault.message.contains("is not a daemon's address"), "{text}: {fault}");
            assert_eq!(fault.reason.exit_code(), 2);
        }
        for text in ["http://10.0.0.1:50051", "http://resetd.example.org:443"] {
            let fault = plain(text).expect_err(text);
            assert!(fault.message.contains("nothing is sent in plaintext over a network"), "{text}: {fault}");
            assert!(fault.hint.as_deref().is_some_and(|h| h.contains("https://")), "{fault:?}");
        }
    }

    #[test]
    fn credentials_are_never_shown_in_plaintext() {
        let tls = Address::parse("127.0.0.1:7443", with_token()).expect("TLS");
        assert_eq!(tls.transport, Transport::Tls("127.0.0.1:7443".into()));
        let ca = Credentials { ca: Some("ca.pem".into()), ..Credentials::default() };
        for credentials in [with_token(), ca] {
            let fault = Address::parse("http://127.0.0.1:7443", credentials).expect_err("plaintext");
            assert!(fault.message.contains("a token is never sent in plaintext"), "{fault}");
        }
        assert!(Address::parse("unix:/x", with_token()).is_ok());
    }

    #[test]
    fn the_places_tried_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = Environment { runtime_dir: Some(folder.path().into()), ..Environment::default() };
        if let Transport::Nowhere(places) = default_transport(&environment) {
            let fault = nowhere(&places);
            let own = folder.path().join("resetd.sock").display().to_string();
            assert!(fault.message.contains(&own) && fault.message.contains(SYSTEM_SOCKET), "{fault}");
            assert_eq!(fault.reason.exit_code(), 11);
        }
        std::fs::write(folder.path().join("resetd.sock"), "").expect("written");
        let found = default_transport(&environment);
        assert_eq!(found, Transport::Unix(folder.path().join("resetd.sock")));
    }
}
