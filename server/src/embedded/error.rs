//! What can go wrong with an embedded cluster: what happened, what it means, what to do.

use std::path::PathBuf;

/// Why an embedded cluster did not start, restart or stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No folder with `initdb` and `postgres` was found.
    #[error(
        "no PostgreSQL server binaries (initdb, postgres) were found on this machine. An embedded cluster needs them; \
         the client packages are not enough. Install the server: \
         `apt-get install --no-install-recommends postgresql` on Debian and Ubuntu (the cluster it may start is not \
         needed), `dnf install postgresql-server` on Fedora and RHEL, `zypper install postgresql-server` on openSUSE, \
         `apk add postgresql` on Alpine, `pacman -S postgresql` on Arch, `brew install postgresql@16` on macOS"
    )]
    NoBinaries,
    /// The folder that was named has none.
    #[error("there is no usable initdb and postgres in {}. Name the folder that holds both", .0.display())]
    NoBinariesIn(PathBuf),
    /// Root has no account to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is a user of this machine. Create a \
         user `postgres`, or start the daemon as an ordinary user"
    )]
    NoAccount,
    /// A folder could not be read or made.
    #[error("the folder {} of the embedded cluster cannot be used. Check the path and its permissions", .path.display())]
    Directory {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No place for the socket.
    #[error(
        "no temporary folder for the embedded cluster could be made in {places}. The server's user must reach it and \
         its path must be short, as unix sockets allow about 100 bytes. Set TMPDIR to such a folder"
    )]
    Temporary {
        /// The places that were tried.
        places: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The data folder holds something else.
    #[error(
        "{} is neither empty nor a PostgreSQL data folder (it has no PG_VERSION). Nothing in it was changed. Name an \
         empty or a new folder",
        .path.display()
    )]
    NotACluster {
        /// The data folder.
        path: PathBuf,
    },
    /// Another server runs on the data folder.
    #[error(
        "{} is in use by a running PostgreSQL (process {pid}). Two servers on one folder would destroy it. Stop that \
         server, connect to it instead, or name another folder",
        .path.display()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The postmaster.
        pid: i32,
    },
    /// The data was made by another major version.
    #[error(
        "the data in {} is of PostgreSQL {data}, but this machine has {server}. A server reads only the data of its \
         own major version. Install PostgreSQL {data}, upgrade the folder with pg_upgrade, or name another one",
        .path.display()
    )]
    OtherMajor {
        /// The data folder.
        path: PathBuf,
        /// The version of the data.
        data: String,
        /// The versions that were found.
        server: String,
    },
    /// The server's user may not write there.
    #[error(
        "the user {user}, who runs the embedded server, cannot write to {}. Give the folder to that user and let it \
         through all folders above, or name another one",
        .path.display()
    )]
    NotWritable {
        /// The data folder.
        path: PathBuf,
        /// The account of the server.
        user: String,
    },
    /// A kept cluster shall listen on TCP, but nobody knows its password.
    #[error(
        "the password of the embedded cluster cannot be read from {}. Without it nobody can connect over TCP; the \
         unix socket needs none. Start without TCP, or write the superuser's password into that file",
        .path.display()
    )]
    NoPassword {
        /// The password's file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No free TCP port.
    #[error("no free port on 127.0.0.1 could be found for the embedded cluster")]
    NoPort(#[source] std::io::Error),
    /// A process could not be started.
    #[error("{} could not be started as {user}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The account.
        user: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// `initdb` failed.
    #[error("initdb could not make a cluster in {}. It said:\n{tail}", .path.display())]
    Initdb {
        /// The data folder.
        path: PathBuf,
        /// The end of what it said.
        tail: String,
    },
    /// The server ended while it was starting.
    #[error("the embedded PostgreSQL ended while it was starting ({status}). Its log ({}) ends with:\n{tail}", .log.display())]
    Ended {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The log.
        log: PathBuf,
        /// Its end.
        tail: String,
    },
    /// The server does not answer.
    #[error(
        "the embedded PostgreSQL did not accept connections within {} seconds. Its log ({}) ends with:\n{tail}",
        .limit.as_secs(), .log.display()
    )]
    NotReady {
        /// How long it was waited for.
        limit: std::time::Duration,
        /// The log.
        log: PathBuf,
        /// Its end.
        tail: String,
        /// What the last attempt to connect said.
        source: sqlx::Error,
    },
    /// A process could not be waited for or signalled.
    #[error("the embedded PostgreSQL (process {pid}) could not be controlled")]
    Control {
        /// The process.
        pid: u32,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server ignores signals.
    #[error(
        "the embedded PostgreSQL (process {pid}) did not end even after SIGKILL; look at what it waits for"
    )]
    NotStopped {
        /// The process.
        pid: u32,
    },
    /// The temporary folder is still there.
    #[error("the temporary folder {} could not be removed. Remove it by hand", .path.display())]
    Remove {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl EmbeddedError {
    /// Whether the server failed only because somebody else took its port.
    pub(super) fn is_port_taken(&self) -> bool {
        matches!(self, Self::Ended { tail, .. } if tail.contains("Address already in use"))
    }

    /// Whether `initdb` failed only because the machine lacks the locale.
    pub(super) fn is_locale_missing(&self) -> bool {
        matches!(self, Self::Initdb { tail, .. } if tail.contains("invalid locale"))
    }
}
