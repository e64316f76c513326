//! `resetd`: the command line of the daemon.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use model::{duration::parse_duration, fault::Fault, text::visible_lines};
use resetd::{
    check,
    config::{Config, Problem, ServeOptions, process_env},
    daemon::{Daemon, DaemonError},
    host::{self, TokenWork},
    log::Lines,
    setup::{self, Admin},
};
use tokio::signal::unix::{SignalKind, signal};

/// The daemon that resets, migrates and validates shared PostgreSQL databases.
///
/// Without a configuration file it serves one target: the database in BUTLERS_DATABASE_URL, with the default matrix and
/// the chains in ./migrations.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon until SIGTERM or SIGINT.
    ///
    /// Examples:
    ///   resetd serve --embedded --listen 127.0.0.1:7443 --insecure-loopback
    ///   BUTLERS_DATABASE_URL=postgres://app@db/butlers resetd serve
    ///   resetd serve --config /etc/resetd/resetd.toml
    #[command(verbatim_doc_comment)]
    Serve(Serve),
    /// Check configuration and connections, print the effective values, and say everything that is wrong at once.
    Check(Serve),
    /// Print the SQL that makes the recommended database roles, or execute it.
    ///
    /// The roles are those of the configuration's URLs: the one of [control] owns the control database, and the one of each
    /// target owns that target and nothing else. It can be run again and again.
    ///
    /// Examples:
    ///   resetd setup --config /etc/resetd/resetd.toml > roles.sql
    ///   resetd setup --config /etc/resetd/resetd.toml --apply --admin-url-file /root/superuser.url
    #[command(verbatim_doc_comment)]
    Setup(SetUp),
    /// Make, list and revoke bearer tokens, directly in the control database: works while no daemon runs, too.
    #[command(subcommand)]
    Token(Token),
    /// What is to be done with the control database itself.
    #[command(subcommand)]
    Control(Control),
}

#[derive(Debug, Subcommand)]
enum Control {
    /// Take over a control database that was moved from another cluster, restored or copied: it forgets every database that
    /// is kept for undo, and every enrolment. No daemon may run on it.
    Adopt {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Make a token; its text is shown once.
    ///
    /// Examples:
    ///   resetd token create deploy --for 30d --config /etc/resetd/resetd.toml
    ///   resetd token create deploy --output deploy.token
    #[command(verbatim_doc_comment)]
    Create {
        /// The principal will be token:NAME.
        name: String,
        /// How long it is good for: 30d, 12h; at most 365d.
        #[arg(long = "for", value_name = "DURATION", default_value = "90d", value_parser = parse_duration)]
        lifetime: Duration,
        /// Write the token to this file, which only its owner may read, instead of standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
    /// List the tokens, never their secrets.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Make a token useless, for every daemon at once.
    Revoke {
        /// Its public id: what stands between the first two underscores.
        id: String,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Args, Debug)]
struct SetUp {
    /// Execute it as a superuser instead of printing it.
    #[arg(long)]
    apply: bool,
    /// The environment variable with the superuser's URL.
    #[arg(long, value_name = "NAME", default_value = "RESETD_ADMIN_URL", conflicts_with = "admin_url_file")]
    admin_url_env: String,
    /// The file with the superuser's URL.
    #[arg(long, value_name = "FILE")]
    admin_url_file: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

#[derive(Args, Debug)]
struct At {
    /// The configuration file (TOML) of the daemon.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Token {
    fn work(self) -> (TokenWork, At) {
        match self {
            Self::Create { name, lifetime, output, at } => (TokenWork::Create { name, lifetime, output }, at),
            Self::List { at } => (TokenWork::List, at),
            Self::Revoke { id, at } => (TokenWork::Revoke { id }, at),
        }
    }
}

/// Enough for every connection that may be open, to clients and to PostgreSQL.
const DESCRIPTORS: u64 = 8_192;

#[derive(Args, Debug)]
struct Serve {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen: unix:PATH or HOST:PORT (port 0: any free one). Repeatable; replaces the configuration's. TCP speaks TLS
    /// with the certificate of [tls] in the configuration.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Listen in plaintext on loopback addresses: everybody on this machine can call the daemon there.
    #[arg(long)]
    insecure_loopback: bool,
    /// Write the bound addresses to this file, one a line, once the daemon answers.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// The folder that holds the chains.
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
    /// The profile of targets that name none: local, shared-dev, staging, or one of the configuration.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Start a private PostgreSQL from this machine's own server binaries; its data is kept in DIR, or removed at the
    /// end where no DIR is given.
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    embedded: Option<Option<PathBuf>>,
}

impl From<Serve> for ServeOptions {
    fn from(it: Serve) -> Self {
        Self {
            config: it.config,
            listen: it.listen,
            insecure_loopback: it.insecure_loopback,
            port_file: it.port_file,
            migrations: it.migrations,
            profile: it.profile,
            embedded: it.embedded,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    let filter = tracing_subscriber::EnvFilter::try_new(process_env("RESETD_LOG").unwrap_or_default())
        .ok()
        .filter(|f| f.max_level_hint().is_some_and(|l| l != tracing_subscriber::filter::LevelFilter::OFF))
        .unwrap_or_else(|| tracing_subscriber::EnvFilter::new("resetd=info,warn,sqlx::postgres::notice=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines(io::stderr()))
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    match command {
        Command::Serve(options) => serve(options.into()).await,
        Command::Check(options) => checked(options.into()).await,
        Command::Setup(options) => set_up(options).await,
        Command::Token(token) => token_work(token).await,
        Command::Control(Control::Adopt { at }) => adopted(at).await,
    }
}

/// As many descriptors as may be had: connections are counted by the daemon itself, and need one each.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS.max(soft)), hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(options: ServeOptions) -> ExitCode {
    raise_descriptors();
    let config = match Config::load(&options, &process_env) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return say(ExitCode::FAILURE, "resetd: signals cannot be handled");
    };
    let starting = Daemon::start(config);
    let started = tokio::select! {
        started = starting => started,
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    let daemon = match started {
        Ok(daemon) => daemon,
        Err(error) => return failed(&error),
    };
    for address in daemon.addresses() {
        tracing::info!(%address, "listening");
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
        _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
    }
    match daemon.shut_down().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn checked(options: ServeOptions) -> ExitCode {
    let config = match Config::load(&options, &process_env) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let (text, good) = check::run(&config).await;
    let printed = io::stdout().write_all(visible_lines(&text).as_bytes());
    if good && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn set_up(asked: SetUp) -> ExitCode {
    let options = ServeOptions { config: asked.at.config, ..ServeOptions::default() };
    let config = match Config::load(&options, &process_env) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let admin = asked.admin_url_file.map_or(Admin::Variable(asked.admin_url_env), Admin::File);
    let done = match asked.apply {
        true => setup::apply(&config, &admin, &process_env).await,
        false => setup::script(&config),
    };
    match done {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(ExitCode::FAILURE, &format!("resetd: standard output: {error}")),
        },
        Err(fault) => faulty(&fault),
    }
}

async fn token_work(token: Token) -> ExitCode {
    let (work, at) = token.work();
    let options = ServeOptions { config: at.config, ..ServeOptions::default() };
    let config = match Config::load(&options, &process_env) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    match host::token(&config, &work).await {
        Ok((shown, said)) => {
            let printed = io::stdout().write_all(visible_lines(shown.expose()).as_bytes());
            match printed {
                Ok(()) if said.is_empty() => ExitCode::SUCCESS,
                Ok(()) => say(ExitCode::SUCCESS, &said),
                Err(error) => say(ExitCode::FAILURE, &format!("resetd: standard output: {error}")),
            }
        }
        Err(fault) => faulty(&fault),
    }
}

async fn adopted(at: At) -> ExitCode {
    let options = ServeOptions { config: at.config, ..ServeOptions::default() };
    match Config::load(&options, &process_env) {
        Err(problems) => refused(&problems),
        Ok(config) => match host::adopt(&config).await {
            Ok(said) => say(ExitCode::SUCCESS, &said),
            Err(fault) => faulty(&fault),
        },
    }
}

fn faulty(fault: &Fault) -> ExitCode {
    let hint = fault.hint.as_ref().map(|h| format!("\n  what to do: {h}")).unwrap_or_default();
    say(ExitCode::from(fault.reason.exit_code()), &format!("resetd: {fault}{hint}"))
}

fn refused(problems: &[Problem]) -> ExitCode {
    let lines: Vec<String> = problems.iter().map(|p| format!("resetd: {p}")).collect();
    say(ExitCode::from(2), &lines.join("\n"))
}

fn failed(error: &DaemonError) -> ExitCode {
    let mut text = format!("resetd: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    if let DaemonError::Database(fault) = error
        && let Some(hint) = &fault.hint
    {
        text.push_str(&format!("\n  what to do: {hint}"));
    }
    say(ExitCode::FAILURE, &text)
}

fn say(code: ExitCode, text: &str) -> ExitCode {
    // Where standard error is closed there is nobody to tell.
    let _nobody = writeln!(io::stderr(), "{}", visible_lines(text));
    code
}
