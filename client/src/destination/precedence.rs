//! Which source counts: a flag before a named context, before the environment, before the default context. Pure.

use std::path::PathBuf;

use model::secret::Secret;

use super::context::Context;
use crate::settings::Settings;

/// Everything that was said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// On the command line.
    pub(crate) flags: Settings,
    /// By the context in use: the named one, else the default one.
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
    /// A variable.
    Environment,
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

/// Lets the strongest source of each value count. The default context belongs to its own daemon: where a stronger source names
/// one, nothing else of that context counts.
pub(crate) fn choose(sources: &Sources) -> Chosen {
    let all = by_strength(sources);
    let server = first(&all, |it| it.server.clone());
    let elsewhere = server.as_ref().is_some_and(|it| !matches!(it.source, Source::DefaultContext(_)));
    let counts = |source: &Source| !(elsewhere && matches!(source, Source::DefaultContext(_)));
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
    let context = sources.context.as_ref();
    let (named, default): (Vec<&Context>, Vec<&Context>) = context.into_iter().partition(|it| it.named);
    let flags = [(Source::Flag, &sources.flags)].into_iter();
    let named = named.into_iter().map(|it| (Source::NamedContext(it.name.clone()), &it.settings));
    let default = default.into_iter().map(|it| (Source::DefaultContext(it.name.clone()), &it.settings));
    flags.chain(named).chain([(Source::Environment, &sources.environment)]).chain(default).collect()
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
