//! Which source counts: a flag, before the context that `--context` names, before a variable of its own, before the context of
//! `RESETCTL_CONTEXT`, before the default context. Pure.
//!
//! A variable that names the one value is meant more exactly than one that names a whole context, so it goes first.

use std::path::PathBuf;

use model::secret::Secret;

use super::context::{By, Context};
use crate::settings::Settings;

/// Everything that was said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// On the command line.
    pub(crate) flags: Settings,
    /// By the context in use.
    pub(crate) context: Option<Context>,
    /// By variables.
    pub(crate) environment: Settings,
}

/// Where a value comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A flag.
    Flag,
    /// The context that `--context` names.
    NamedContext(String),
    /// A variable of its own.
    Environment,
    /// The context that `RESETCTL_CONTEXT` names.
    VariableContext(String),
    /// The default context of the configuration file.
    DefaultContext(String),
}

/// The value that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Choice<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) source: Source,
    /// What weaker sources say, the strongest first.
    pub(crate) others: Vec<(T, Source)>,
}

/// A bearer token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Token {
    /// In a file.
    File(PathBuf),
    /// Itself.
    Text(Secret<String>),
}

/// What counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Chosen {
    /// The daemon; none: the local socket.
    pub(crate) server: Option<Choice<String>>,
    /// The target; none: the daemon's only one.
    pub(crate) target: Option<Choice<String>>,
    /// The bearer token.
    pub(crate) token: Option<Choice<Token>>,
    /// The CA of the daemon's certificate.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate and its key: of one source, never mixed.
    pub(crate) pair: (Option<PathBuf>, Option<PathBuf>),
}

/// Lets the strongest source of each value count. A context that is not named on the command line belongs to its own daemon:
/// where a stronger source names one, nothing else of that context counts.
pub(crate) fn choose(sources: &Sources) -> Chosen {
    let all = by_strength(sources);
    let server = first(&all, |it| it.server.clone());
    let unnamed = |it: &Source| matches!(it, Source::VariableContext(_) | Source::DefaultContext(_));
    let elsewhere = server.as_ref().is_some_and(|it| !unnamed(&it.source));
    let counts = |source: &Source| !(elsewhere && unnamed(source));
    let counting: Vec<(Source, &Settings)> = all.iter().filter(|(s, _)| counts(s)).cloned().collect();
    let mut target = first(&counting, |it| it.target.clone());
    if let (Some(target), Some(said)) = (&mut target, first(&all, |it| it.target.clone())) {
        target.others = said.others;
    }
    let pair = first(&counting, |it| {
        (it.cert.is_some() || it.key.is_some()).then(|| (it.cert.clone(), it.key.clone()))
    });
    Chosen {
        server,
        target,
        token: first(&counting, token),
        ca: first(&counting, |it| it.ca.clone()).map(|it| it.value),
        pair: pair.map(|it| it.value).unwrap_or_default(),
    }
}

fn by_strength(sources: &Sources) -> Vec<(Source, &Settings)> {
    let mut all = vec![(Source::Flag, &sources.flags), (Source::Environment, &sources.environment)];
    if let Some(Context { name, by, settings }) = &sources.context {
        let (at, source) = match by {
            By::Flag => (1, Source::NamedContext(name.clone())),
            By::Variable => (2, Source::VariableContext(name.clone())),
            By::Default => (2, Source::DefaultContext(name.clone())),
        };
        all.insert(at, (source, settings));
    }
    all
}

fn token(it: &Settings) -> Option<Token> {
    it.token_file.clone().map(Token::File).or_else(|| it.token.clone().map(Token::Text))
}

fn first<T>(all: &[(Source, &Settings)], value: impl Fn(&Settings) -> Option<T>) -> Option<Choice<T>> {
    let mut said = all.iter().filter_map(|(source, it)| Some((value(it)?, source.clone())));
    let (value, source) = said.next()?;
    Some(Choice { value, source, others: said.collect() })
}

#[cfg(test)]
mod tests;
