//! Which daemon and which target are meant: the command line, the environment's variables, a named context, the usual places.

use model::{
    fault::{Fault, Reason},
    operation::Verb,
    token,
};

use crate::{args::Args, environment::Environment, settings::Settings};

pub(crate) mod address;
pub(crate) mod context;
pub(crate) mod context_file;
pub(crate) mod credentials;
mod precedence;

use address::Address;
use credentials::Credentials;
use precedence::{Choice, Chosen, Source, Sources, Token};

/// Which daemon, and which of its targets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Destination {
    /// Where the daemon listens.
    pub(crate) address: Address,
    /// The target; empty: the daemon's only one.
    pub(crate) target: String,
    /// Where the daemon's address comes from.
    server_from: String,
    /// Where the target comes from.
    target_from: String,
    /// What counts, where sources name different daemons or targets: one line for each of the two.
    pub(crate) conflicts: Vec<String>,
}

impl Destination {
    /// From the command line, the context, the environment, and the usual places.
    ///
    /// # Errors
    /// The context or the address is wrong.
    pub(crate) fn of(args: &Args, environment: &Environment) -> Result<Self, Fault> {
        Self::of_flags(flags(args), args.context.as_deref(), environment)
    }

    /// From what the flags say, and the context that one of them names.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn of_flags(
        flags: Settings,
        context: Option<&str>,
        environment: &Environment,
    ) -> Result<Self, Fault> {
        let context = context::load(environment, context)?;
        Self::choose(&Sources { flags, context, environment: environment.settings.clone() }, environment)
    }

    fn choose(sources: &Sources, environment: &Environment) -> Result<Self, Fault> {
        let chosen = precedence::choose(sources);
        let credentials = credentials(&chosen);
        let address = match &chosen.server {
            Some(server) => Address::parse(&server.value, credentials.clone())?,
            None => {
                credentials.check()?;
                Address {
                    transport: address::default_transport(environment),
                    credentials: credentials.clone(),
                }
            }
        };
        // Two ways to write one address are no two daemons.
        let shown = |text: &String| {
            Address::parse(text, credentials.clone()).map_or_else(|_| text.clone(), |it| it.to_string())
        };
        let conflicts = [
            chosen
                .server
                .as_ref()
                .and_then(|it| conflict("daemon", it, "RESETCTL_SERVER", "--server", shown)),
            chosen
                .target
                .as_ref()
                .and_then(|it| conflict("target", it, "RESETCTL_TARGET", "--target", String::clone)),
        ];
        let server_from = chosen.server.as_ref().map(|it| origin(&it.source, "RESETCTL_SERVER", "--server"));
        let target_from = chosen.target.as_ref().map(|it| origin(&it.source, "RESETCTL_TARGET", "--target"));
        let target = chosen.target.map(|it| it.value).unwrap_or_default();
        no_token("--target", &target)?;
        Ok(Self {
            address,
            target,
            server_from: server_from.unwrap_or_else(|| "the local socket".to_owned()),
            target_from: target_from.unwrap_or_else(|| "the daemon's only target".to_owned()),
            conflicts: conflicts.into_iter().flatten().collect(),
        })
    }

    /// Where the daemon's address comes from.
    pub(crate) fn server_source(&self) -> &str {
        &self.server_from
    }

    /// What a verb is about to change, and where each of it comes from. `target` and `database` are as the daemon says them.
    pub(crate) fn statement(&self, verb: Verb, target: &str, database: &str) -> String {
        let Self { address, server_from, target_from, .. } = self;
        let verb = verb.as_str();
        format!(
            "{verb}: target {target} ({target_from}), database {database}, daemon {address} ({server_from})"
        )
    }
}

/// What the command line says.
pub(crate) fn flags(args: &Args) -> Settings {
    let auth = &args.auth;
    Settings {
        server: args.server.clone(),
        target: args.target.clone(),
        ca: auth.ca.clone(),
        cert: auth.cert.clone(),
        key: auth.key.clone(),
        token_file: auth.token_file.clone(),
        token: None,
    }
}

fn credentials(chosen: &Chosen) -> Credentials {
    let (token_file, token) = match chosen.token.as_ref().map(|it| it.value.clone()) {
        None => (None, None),
        Some(Token::File(path)) => (Some(path), None),
        Some(Token::Text(secret)) => (None, Some(secret)),
    };
    let (cert, key) = chosen.pair.clone();
    Credentials { ca: chosen.ca.clone(), cert, key, token_file, token }
}

/// One line where a weaker source names another one.
fn conflict(
    noun: &str,
    choice: &Choice<String>,
    variable: &str,
    flag: &str,
    shown: impl Fn(&String) -> String,
) -> Option<String> {
    let counts = shown(&choice.value);
    let others: Vec<String> = choice
        .others
        .iter()
        .map(|(value, source)| (shown(value), source))
        .filter(|(value, _)| *value != counts)
        .map(|(value, source)| format!("{value} ({})", origin(source, variable, flag)))
        .collect();
    let from = origin(&choice.source, variable, flag);
    (!others.is_empty()).then(|| format!("{noun} {counts} ({from}) counts, not {}", others.join(" or ")))
}

fn origin(source: &Source, variable: &str, flag: &str) -> String {
    match source {
        Source::Flag => flag.to_owned(),
        Source::NamedContext(name) => format!("--context {name}"),
        Source::Environment => variable.to_owned(),
        Source::VariableContext(name) => format!("RESETCTL_CONTEXT {name}"),
        Source::DefaultContext(name) => format!("default context {name}"),
    }
}

/// What is kept and shown holds no token.
///
/// # Errors
/// It does.
pub(crate) fn no_token(flag: &str, text: &str) -> Result<(), Fault> {
    match token::redacted(text) == text {
        true => Ok(()),
        false => Err(Fault::new(
            Reason::InvalidRequest,
            format!("{flag} holds a bearer token, which everybody would read"),
        )),
    }
}

#[cfg(test)]
mod tests;
