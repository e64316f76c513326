//! How a command line may go on: verbs and flags as the definition has them, names as the daemon and the file of contexts have
//! them. The scripts that `resetctl completions` prints call this with RESETCTL_COMPLETE set.
//!
//! It is silent: what cannot be had in time is not offered.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use clap::{ArgMatches, Command, CommandFactory as _};
use clap_complete::{ArgValueCandidates, CompletionCandidate, env as adapters};
use model::fault::Reason;
use tokio::runtime::Handle;

use crate::{
    api::Api,
    args::Args,
    destination::{Destination, context},
    environment::Environment,
    settings::Settings,
};

/// The variable that names the shell.
const VARIABLE: &str = "RESETCTL_COMPLETE";
const NAME: &str = "resetctl";
/// Nobody waits longer for what a key may give.
const PATIENCE: Duration = Duration::from_millis(800);
/// How many operations are offered.
const OFFERED: usize = 20;

/// The script that makes a shell ask; `None`: it is a shell that nobody here knows.
pub(crate) fn script(shell: &str) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    let shells = adapters::Shells::builtins();
    shells.completer(shell)?.write_registration(VARIABLE, NAME, NAME, NAME, &mut script).ok()?;
    Some(script)
}

/// What a shell's question is answered with. The words are those after `--`, the program's name first.
pub(crate) async fn answer(shell: &str, args: &[OsString], environment: &Environment) -> Vec<u8> {
    let from = args.iter().position(|word| word == "--").map_or(args.len(), |at| at + 1);
    let words = args[from..].to_vec();
    let shell = shell.rsplit('/').next().unwrap_or_default().to_owned();
    let names = Arc::new(Names::new(&words, environment.clone()));
    // The engine is not asynchronous, and the names are.
    let answered = tokio::task::spawn_blocking(move || {
        let mut command = with_names(Args::command(), &[], &names);
        command.build();
        let mut answer = Vec::new();
        let shells = adapters::Shells::builtins();
        let completer: &dyn adapters::EnvCompleter = shells.completer(&shell)?;
        let here = Some(std::path::Path::new("."));
        completer.write_complete(&mut command, words, here, &mut answer).ok()?;
        Some(answer)
    });
    answered.await.ok().flatten().unwrap_or_default()
}

/// What a word names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Noun {
    Context,
    Operation,
    Reason,
    Schema,
    Target,
    Window,
}

/// What an argument of a verb names, by the verb's words and the argument's name in the definition.
fn noun(path: &[&str], argument: &str) -> Option<Noun> {
    Some(match (path, argument) {
        (_, "context") | (["context", "use" | "show" | "remove"], "name") => Noun::Context,
        (_, "target") | (["target", _], "name") => Noun::Target,
        (_, "managed_schema") => Noun::Schema,
        (["operations" | "report", _], "id")
        | (["undo"] | ["kept", "drop"] | ["target", "unlock"], "operation") => Noun::Operation,
        (["window", _], "id") => Noun::Window,
        (["explain"], "code") => Noun::Reason,
        _ => return None,
    })
}

fn with_names(command: Command, path: &[&str], names: &Arc<Names>) -> Command {
    let command = command.mut_args(|argument| match noun(path, argument.get_id().as_str()) {
        None => argument,
        Some(noun) => {
            let names = Arc::clone(names);
            argument.add(ArgValueCandidates::new(move || names.of(noun)))
        }
    });
    command.mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        let below: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
        with_names(verb, &below, names)
    })
}

/// Where names come from.
struct Names {
    runtime: Handle,
    environment: Environment,
    /// The daemon that the line names so far; none where that is wrong.
    to: Option<Destination>,
}

impl Names {
    fn new(words: &[OsString], environment: Environment) -> Self {
        let (flags, context) = said(words);
        let to = Destination::of_flags(flags, context.as_deref(), &environment).ok();
        Self { runtime: Handle::current(), environment, to }
    }

    fn of(&self, noun: Noun) -> Vec<CompletionCandidate> {
        match noun {
            Noun::Reason => Reason::ALL.iter().map(|it| candidate(it.name(), it.meaning())).collect(),
            Noun::Context => {
                let all = context::all(&self.environment).unwrap_or_default().context;
                all.iter()
                    .map(|(name, it)| candidate(name, it.server.as_deref().unwrap_or("the local socket")))
                    .collect()
            }
            _ => self
                .runtime
                .block_on(async { tokio::time::timeout(PATIENCE, self.asked(noun)).await })
                .unwrap_or_default(),
        }
    }

    async fn asked(&self, noun: Noun) -> Vec<CompletionCandidate> {
        let Some(to) = &self.to else { return Vec::new() };
        let api = Api::new(to.address.clone());
        match noun {
            Noun::Target => {
                let all = api.targets().await.unwrap_or_default();
                all.iter().map(|it| candidate(&it.name, &it.database)).collect()
            }
            Noun::Schema => {
                let all = api.targets().await.unwrap_or_default();
                let wanted = all.iter().filter(|it| to.target.is_empty() || it.name == to.target);
                wanted
                    .flat_map(|it| it.managed_schemas.iter().map(|name| candidate(name, &it.name)))
                    .collect()
            }
            Noun::Operation => {
                let all = api.operations(&to.target, false, OFFERED).await.unwrap_or_default();
                let ids = all.iter().map(|it| {
                    let text = format!("{} of {}", it.verb.as_str(), it.target);
                    candidate(&it.id.to_string(), &text)
                });
                let last = (!all.is_empty()).then(|| candidate("@last", "the last one"));
                last.into_iter().chain(ids).collect()
            }
            Noun::Window => {
                let all = api.windows(&to.target, false).await.unwrap_or_default();
                all.iter()
                    .map(|it| candidate(&it.id.to_string(), &format!("{}: {}", it.target, it.reason)))
                    .collect()
            }
            Noun::Context | Noun::Reason => Vec::new(),
        }
    }
}

/// A name; a shell sees nothing hidden in what explains it, and is not offered a name that has something hidden.
fn candidate(name: &str, text: &str) -> CompletionCandidate {
    let text = model::text::visible(&text.replace(['\n', '\r', '\t'], " ")).into_owned();
    CompletionCandidate::new(name).help(Some(text.into())).hide(name.contains(model::text::is_hidden))
}

/// What an unfinished line says of the daemon and its target.
fn said(words: &[OsString]) -> (Settings, Option<String>) {
    let Ok(matches) = Args::command().ignore_errors(true).try_get_matches_from(words) else {
        return (Settings::default(), None);
    };
    let text = |name: &str| value::<String>(&matches, name);
    let path = |name: &str| value::<PathBuf>(&matches, name);
    let settings = Settings {
        server: text("server"),
        target: text("target"),
        ca: path("ca"),
        cert: path("cert"),
        key: path("key"),
        token_file: path("token_file"),
        token: None,
    };
    (settings, text("context"))
}

fn value<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every argument that is a name, in the whole definition.
    fn named(command: &Command, path: &[&str], found: &mut Vec<(String, Noun)>) {
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            if let Some(noun) = noun(path, id).filter(|_| path.is_empty() || !argument.is_global_set()) {
                found.push((format!("{} {id}", path.join(" ")).trim().to_owned(), noun));
            }
        }
        for verb in command.get_subcommands() {
            named(verb, &[path, &[verb.get_name()]].concat(), found);
        }
    }

    #[test]
    fn every_argument_that_names_something_is_known() {
        let mut found = Vec::new();
        named(&Args::command(), &[], &mut found);
        let of = |noun| -> Vec<&str> {
            found.iter().filter(|(_, it)| *it == noun).map(|(name, _)| name.as_str()).collect()
        };
        assert_eq!(
            of(Noun::Context),
            ["context", "context use name", "context show name", "context remove name"]
        );
        assert_eq!(of(Noun::Target), ["target", "target enroll name", "target unlock name"]);
        assert_eq!(of(Noun::Schema), ["reset managed_schema", "run managed_schema"]);
        assert_eq!(of(Noun::Reason), ["explain code"]);
        let operations =
            ["undo operation", "operations show id", "operations watch id", "operations cancel id"];
        let more = ["report get id", "target unlock operation", "kept drop operation"];
        assert_eq!(of(Noun::Operation), [&operations[..], &more].concat());
        assert_eq!(of(Noun::Window), ["window show id", "window extend id", "window release id"]);
    }

    #[test]
    fn an_unfinished_line_says_where_to_ask() {
        let words = ["resetctl", "--server", "unix:/x", "--context", "lab", "undo", "--target", "t", ""];
        let (settings, context) = said(&words.map(OsString::from));
        assert_eq!(settings.server.as_deref(), Some("unix:/x"));
        assert_eq!((settings.target.as_deref(), context.as_deref()), (Some("t"), Some("lab")));
    }
}
