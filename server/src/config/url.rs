//! Database URLs: read from text, held as connection options, shown without their secrets. Must not know where the text
//! came from; must never put any part of it that could be a secret into an error.
//!
//! Like libpq, the driver fills what a URL leaves out from `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` and `~/.pgpass`;
//! the database is never taken from there.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use sqlx::postgres::PgConnectOptions;

/// Where a database is and how to enter. `Debug` and `Display` show `postgres://user@host:5432/db`, never the password.
#[derive(Clone)]
pub struct DatabaseUrl {
    options: Box<PgConnectOptions>,
    database: String,
}

/// Why a text is not a database URL. Never holds a part of the text that could be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not `postgres://`, `postgresql://` or one of these with a driver.
    #[error("the URL does not begin with postgres:// or postgresql://")]
    Scheme,
    /// No database after the host.
    #[error("the URL names no database")]
    NoDatabase,
    /// A query parameter that the driver does not know, so that it would be ignored.
    #[error("the URL has a query parameter that is not supported: {0}")]
    Parameter(String),
    /// Not a URL.
    #[error("the URL cannot be read: {0}")]
    Malformed(&'static str),
}

/// Parameters the driver understands.
const KNOWN: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters of libpq and its wrappers that change nothing here: time limits and keepalives are the daemon's own.
const IGNORED: &[&str] = &[
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "fallback_application_name",
    "client_encoding",
    "gssencmode",
    "prepared_statement_cache_size",
];

const ENCODE: &str = "characters such as @ : / # ? % in a user name or password must be percent-encoded";
const SSL_MODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

impl DatabaseUrl {
    /// Reads a URL: `postgres://`, `postgresql://`, and SQLAlchemy's `postgresql+driver://`, whose driver is dropped.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = after_scheme(text.trim())?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        // A raw @ or # behind the authority is a password cut in two: what stands there may be a part of it.
        if tail.contains(['@', '#']) {
            return Err(UrlError::Malformed(ENCODE));
        }
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let mut pairs = parameters(query)?;
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.contains('/') {
            return Err(UrlError::Malformed("the database name contains a slash"));
        }
        if path.is_empty()
            && !pairs.iter().any(|pair| pair.strip_prefix("dbname=").is_some_and(|n| !n.is_empty()))
        {
            return Err(UrlError::NoDatabase);
        }
        let authority = without_empty_host(authority, &mut pairs);
        let url = format!("postgres://{authority}/{path}?{}", pairs.join("&"));
        let options: PgConnectOptions = url.parse().map_err(|_| UrlError::Malformed(ENCODE))?;
        Self::new(options)
    }

    /// Wraps options that name a database: for a cluster the daemon starts itself.
    pub fn new(options: PgConnectOptions) -> Result<Self, UrlError> {
        let database =
            options.get_database().filter(|name| !name.is_empty()).ok_or(UrlError::NoDatabase)?.to_owned();
        let host = options.get_host().to_owned();
        // The URL parser keeps the brackets of an IPv6 address; the resolver does not understand them.
        let options = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => options.host(inner),
            None => options,
        };
        Ok(Self { options: Box::new(options), database })
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The same place and user, another database.
    pub fn with_database(&self, database: &str) -> Self {
        let options = Box::new((*self.options).clone().database(database));
        Self { options, database: database.to_owned() }
    }

    /// The options to connect with. They hold the password, and their `Debug` shows it: never print them.
    pub fn connect_options(&self) -> PgConnectOptions {
        (*self.options).clone()
    }

    /// The user who connects.
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    /// The folder of the unix socket, when that is how it connects.
    pub fn socket(&self) -> Option<PathBuf> {
        let host = self.options.get_host();
        self.options.get_socket().cloned().or_else(|| host.starts_with('/').then(|| host.into()))
    }

    /// The host name or address; the unix socket's folder where there is none.
    pub fn host(&self) -> String {
        self.socket().map_or_else(|| self.options.get_host().to_owned(), |dir| dir.display().to_string())
    }

    /// The port, which on a unix socket is a part of its name.
    pub fn port(&self) -> u16 {
        self.options.get_port()
    }

    /// Whether the cluster is on this machine: a unix socket or a loopback address.
    pub fn is_local(&self) -> bool {
        self.socket().is_some() || is_loopback(self.options.get_host())
    }

    /// What tells clusters apart: host and port, with one spelling for the loopback addresses.
    pub fn cluster(&self) -> (String, u16) {
        let loopback = self.socket().is_none() && self.is_local();
        let host = if loopback { "localhost".to_owned() } else { self.host().to_lowercase() };
        (host.trim_end_matches('/').to_owned(), self.port())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, port, database) = (self.user(), self.port(), &self.database);
        match self.socket() {
            Some(dir) => write!(f, "postgres://{user}@/{database}?host={}&port={port}", dir.display()),
            None if self.host().contains(':') => {
                write!(f, "postgres://{user}@[{}]:{port}/{database}", self.host())
            }
            None => write!(f, "postgres://{user}@{}:{port}/{database}", self.host()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn after_scheme(text: &str) -> Result<&str, UrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
    let family = scheme.split('+').next().unwrap_or_default();
    matches!(family, "postgres" | "postgresql").then_some(rest).ok_or(UrlError::Scheme)
}

/// The query's parameters that matter. asyncpg's `ssl=` becomes `sslmode=`.
fn parameters(query: &str) -> Result<Vec<String>, UrlError> {
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = if key == "ssl" { "sslmode" } else { key };
        match key {
            "sslmode" | "ssl-mode" if !SSL_MODES.contains(&value) => {
                return Err(UrlError::Malformed("sslmode is not one of the known modes"));
            }
            "port" if value.parse::<u16>().is_err() => {
                return Err(UrlError::Malformed("the port is not a port"));
            }
            _ if KNOWN.contains(&key) || key.starts_with("options[") => kept.push(format!("{key}={value}")),
            _ if IGNORED.contains(&key) => {}
            _ => return Err(UrlError::Parameter(presentable(key))),
        }
    }
    Ok(kept)
}

/// An unknown parameter's name, unless it could be something else than a name.
fn presentable(key: &str) -> String {
    let plain =
        key.len() <= 30 && key.contains('_') && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    if plain { key.to_owned() } else { "(name withheld: it may be a part of a password)".to_owned() }
}

/// `user:password@` without a host is how libpq and SQLAlchemy write a socket given by `?host=`; the URL parser does not
/// take it, so that the two travel as parameters.
fn without_empty_host<'a>(authority: &'a str, pairs: &mut Vec<String>) -> &'a str {
    let Some(user_info) = authority.strip_suffix('@') else { return authority };
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    for (key, value) in [("user", user), ("password", password)] {
        if !value.is_empty() {
            pairs.push(format!("{key}={}", value.replace('+', "%2B").replace('&', "%26")));
        }
    }
    ""
}

#[cfg(test)]
mod tests;
