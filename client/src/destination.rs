//! Which daemon and which target are meant: the command line, the environment's variables, a named context, the usual places.

use std::path::PathBuf;

use model::{
    fault::{Fault, Reason},
    token,
};

use crate::{
    args::{Args, AuthArgs},
    environment::Environment,
};

pub(crate) mod address;
mod context;
pub(crate) mod credentials;

use address::Address;
use context::Context;
use credentials::Credentials;

/// Which daemon, and which of its targets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Destination {
    /// Where the daemon listens.
    pub(crate) address: Address,
    /// The target; empty: the daemon's only one.
    pub(crate) target: String,
}

impl Destination {
    /// From the command line (and its environment variables), the context, and the usual places.
    ///
    /// # Errors
    /// The context or the address is wrong.
    pub(crate) fn of(args: &Args, environment: &Environment) -> Result<Self, Fault> {
        let context = context::load(environment, args.context.as_deref())?;
        Self::choose(args, context, environment)
    }

    /// A server named without a context is not the default context's: its target is not taken over then.
    fn choose(args: &Args, context: Context, environment: &Environment) -> Result<Self, Fault> {
        let said = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let (server, target) = (said(&args.server), said(&args.target));
        let context = if server.is_some() && args.context.is_none() { Context::default() } else { context };
        let credentials = credentials(&args.auth, &context, environment);
        let address = match server.or(context.server) {
            Some(text) => Address::parse(&text, credentials)?,
            None => {
                credentials.check()?;
                Address { transport: address::default_transport(environment), credentials }
            }
        };
        let target = target.or(context.target).unwrap_or_default();
        no_token("--target", &target)?;
        Ok(Self { address, target })
    }
}

/// What was said on the command line goes before the context; the token of the environment is for where nobody named a file.
fn credentials(args: &AuthArgs, context: &Context, environment: &Environment) -> Credentials {
    let said = |path: &Option<PathBuf>| path.clone().filter(|p| !p.as_os_str().is_empty());
    let own = said(&args.cert).is_some() || said(&args.key).is_some();
    let pair = |said: Option<PathBuf>, other: &Option<PathBuf>| if own { said } else { other.clone() };
    let said_token = said(&args.token_file);
    let token = environment.token.clone().filter(|_| said_token.is_none());
    let token_file = said_token.or_else(|| context.token_file.clone().filter(|_| token.is_none()));
    Credentials {
        ca: said(&args.ca).or_else(|| context.ca.clone()),
        cert: pair(said(&args.cert), &context.cert),
        key: pair(said(&args.key), &context.key),
        token_file,
        token,
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
