//! The configuration: file, command line and environment become one checked value, or the list of everything that is
//! wrong. The only place that reads the environment. Must not connect to anything, and must not show a secret.
//!
//! Relative paths (`migrations`, `port_file`, `unix:PATH`, `database_url_file`) are relative to the working directory.
//! The command line goes before the file; `--profile` stands in for targets that name none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::authorization::Grant;
use toml::de::DeTable;

mod audit;
mod control;
mod credentials;
mod cross;
mod listen;
mod matrix;
mod problem;
mod profile;
mod role;
mod section;
mod show;
mod target;
mod tls;
pub mod url;

pub use control::Control;
pub use listen::{Listen, TcpRule, default_socket};
pub use problem::Problem;
pub use target::{RESERVED_DATABASES, Target, TargetSource, URL_VARIABLE};
pub use tls::Tls;
pub use url::DatabaseUrl;

use problem::{At, Problems};
use section::Section;

use crate::audit_lines::AuditLines;

const KEYS: &[&str] = &[
    "listen",
    "migrations",
    "insecure_loopback",
    "socket_group",
    "tls",
    "port_file",
    "shutdown_grace",
    "audit",
    "control",
    "target",
    "profile",
    "role",
    "matrix",
];
const DEFAULT_MIGRATIONS: &str = "migrations";
const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// The variable that names the folder of [`Config::test_hold`].
#[cfg(feature = "test-hooks")]
const TEST_HOLD: &str = "RESETD_TEST_HOLD";

/// How a variable of the environment is read.
type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// What was said on the command line.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--listen ADDR`, in place of the file's when there is any.
    pub listen: Vec<String>,
    /// `--insecure-loopback`.
    pub insecure_loopback: bool,
    /// `--port-file FILE`.
    pub port_file: Option<PathBuf>,
    /// `--migrations DIR`.
    pub migrations: Option<PathBuf>,
    /// `--profile NAME`: the profile of targets that name none; a target that names another is a problem.
    pub profile: Option<String>,
    /// `--embedded [DIR]`.
    pub embedded: Option<Option<PathBuf>>,
}

/// Everything the daemon needs to know before it starts, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; empty only where sockets were handed over.
    pub listen: Vec<Listen>,
    /// How the TCP sockets that were handed over are taken.
    pub tcp_rule: TcpRule,
    /// The group that unix sockets are given to.
    pub socket_group: Option<String>,
    /// Certificate, key and the clients' CA.
    pub tls: Option<Tls>,
    /// Whether the service manager handed sockets over.
    pub activated: bool,
    /// The socket on which the service manager hears that the daemon is ready.
    pub notify_socket: Option<String>,
    /// Where the bound addresses are written.
    pub port_file: Option<PathBuf>,
    /// The folder with one folder per chain.
    pub migrations: PathBuf,
    /// Whether plain TCP on loopback is allowed.
    pub insecure_loopback: bool,
    /// How long running operations may go on after the daemon is told to stop.
    pub shutdown_grace: Duration,
    /// The daemon's own state.
    pub control: Control,
    /// The targets in the order of the file; never empty.
    pub targets: Vec<Target>,
    /// Who may do what; empty means the built-in rules.
    pub roles: Vec<Grant>,
    /// Where the audit record goes beside the control database.
    pub audit: AuditLines,
    /// The files that hold secrets or decide who may do what: nobody else should read or write them.
    pub guarded_files: Vec<PathBuf>,
    /// Whether the daemon starts a cluster of its own.
    pub embedded: Option<Embedded>,
    /// The file it was read from.
    pub file: Option<PathBuf>,
    /// The folder through which a test stops the daemon at an event.
    #[cfg(feature = "test-hooks")]
    pub test_hold: Option<PathBuf>,
}

/// A cluster the daemon starts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// Where its data is kept; `None` is a temporary folder.
    pub dir: Option<PathBuf>,
}

impl Config {
    /// Reads and checks everything; on failure, every problem in the order of the file.
    pub fn load(options: &ServeOptions, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let text = options.config.as_deref().map_or(Some(String::new()), |file| read(file, &mut problems));
        let Some(text) = text else { return Err(problems.into_sorted()) };
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in &errors {
            problems.push(
                Some(error.span().map_or(0, |span| span.start)),
                format!("not TOML: {}", error.message()),
            );
        }
        if !errors.is_empty() {
            return Err(problems.into_sorted());
        }
        let config = assemble(&Section::root(table.get_ref()), options, env, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(problems.into_sorted()) }
    }

    /// The values in force as TOML, for `resetd check`; secrets are left out.
    pub fn effective(&self) -> String {
        show::effective(self)
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == name)
    }

    /// Databases of the cluster from which the control database can be made: a target that is down must not keep it from
    /// being made from another one.
    pub(crate) fn databases(&self) -> Vec<&str> {
        let targets = self.targets.iter().map(|target| target.source.database());
        ["postgres"].into_iter().chain(targets).chain(["template1"]).collect()
    }
}

/// The real environment; what is not Unicode counts as not set.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn read(file: &Path, problems: &mut Problems) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            problems.reading(file, &text);
            Some(text)
        }
        Err(error) => {
            problems.push(problem::NOWHERE, format!("configuration file {file:?} cannot be read: {error}"));
            None
        }
    }
}

fn assemble(root: &Section<'_>, options: &ServeOptions, env: Env<'_>, problems: &mut Problems) -> Config {
    root.only(KEYS, problems);
    let insecure_loopback =
        root.flag("insecure_loopback", problems).unwrap_or(false) || options.insecure_loopback;
    let tls = tls::parse(root, problems);
    let tcp_rule = TcpRule { insecure_loopback, tls: root.has("tls") };
    let activated = handed_over(env);
    let known = target::Known {
        profiles: profile::parse_all(root, problems),
        matrices: matrix::parse_all(root, problems),
    };
    let targets = target::parse_all(root, &known, options, env, problems);
    let first = targets.first().and_then(|target| target.value.source.url());
    let embedded = options.embedded.clone().map(|dir| Embedded { dir });
    let (control, place) = control::parse(root, first, env, embedded.is_some(), problems);
    cross::check(&targets, &control, place, problems);
    let names: Vec<&str> = targets.iter().map(|target| target.value.name.as_str()).collect();
    let roles = role::parse_all(root, &names, problems);
    let mut guarded_files = credentials::files(root, problems);
    guarded_files.extend(tls.iter().map(|tls| tls.key_file.clone()));
    let audit = audit::parse(root, problems);
    guarded_files.extend(audit.seal.iter().map(|(path, _)| path.clone()));
    Config {
        listen: listeners(root, options, tcp_rule, env, problems),
        tcp_rule,
        socket_group: root.string("socket_group", problems).map(|group| group.value),
        activated,
        notify_socket: env("NOTIFY_SOCKET").filter(|path| !path.is_empty()),
        port_file: path(root, "port_file", &options.port_file, problems),
        migrations: path(root, "migrations", &options.migrations, problems)
            .unwrap_or_else(|| DEFAULT_MIGRATIONS.into()),
        insecure_loopback,
        shutdown_grace: root.duration("shutdown_grace", problems).unwrap_or(DEFAULT_GRACE),
        control,
        targets: targets.into_iter().map(|target| target.value).collect(),
        roles,
        guarded_files,
        tls,
        audit,
        embedded,
        file: options.config.clone(),
        #[cfg(feature = "test-hooks")]
        test_hold: env(TEST_HOLD).map(PathBuf::from),
    }
}

fn listeners(
    root: &Section<'_>,
    options: &ServeOptions,
    rule: TcpRule,
    env: Env<'_>,
    problems: &mut Problems,
) -> Vec<Listen> {
    let written = root.strings("listen", false, problems).unwrap_or_default();
    let said: Vec<_> = options.listen.iter().cloned().map(At::nowhere).collect();
    let list = if said.is_empty() { written } else { said };
    if list.is_empty() && handed_over(env) {
        return Vec::new();
    }
    if list.is_empty() {
        return vec![Listen::Unix(default_socket(env, nix::unistd::geteuid().is_root()))];
    }
    listen::parse_all(&list, rule, problems)
}

/// Whether the service manager handed sockets over to this very process (`sd_listen_fds(3)`).
fn handed_over(env: Env<'_>) -> bool {
    let number = |name: &str| env(name).and_then(|text| text.parse::<u32>().ok());
    number("LISTEN_PID") == Some(std::process::id()) && number("LISTEN_FDS").is_some_and(|count| count > 0)
}

/// A path of the command line or else of the file, which is checked in any case.
fn path(root: &Section<'_>, key: &str, said: &Option<PathBuf>, problems: &mut Problems) -> Option<PathBuf> {
    let written = root.string(key, problems).map(|text| text.value.into());
    said.clone().or(written)
}

#[cfg(test)]
mod tests;
