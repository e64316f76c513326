//! Command lines to be copied: how to re-attach, how to fetch a report, how to execute a plan.

use model::{
    operation::{Request, Verb, Wait},
    plan::Plan,
    text::is_hidden,
};
use uuid::Uuid;

use crate::{destination::Destination, intent::Operate};

/// Follows an operation to its end.
pub(crate) fn watch(destination: &Destination, operation: Uuid) -> String {
    line(begin(destination), [format!("operations watch {operation}")])
}

/// Fetches the report of an operation.
pub(crate) fn report(destination: &Destination, operation: Uuid) -> String {
    line(begin(destination), [format!("report get {operation}")])
}

/// Brings back what an operation replaced.
pub(crate) fn undo(destination: &Destination, target: &str, operation: Uuid) -> String {
    line(begin(destination), [format!("--target {}", quoted(target)), format!("undo {operation}")])
}

/// Executes exactly this plan.
pub(crate) fn execute(destination: &Destination, operate: &Operate, plan: &Plan) -> String {
    let request = &operate.request;
    let mut words = vec![request.verb.as_str().to_owned()];
    if let Some(scope) = request.scope {
        words.push(format!("--scope {scope}"));
    }
    words.extend(request.undoes.map(|id| id.to_string()));
    if request.jobs > 0 {
        words.push(format!("--jobs {}", request.jobs));
    }
    words.extend(request.managed_schemas.iter().map(|s| format!("--managed-schema {}", quoted(s))));
    let flags = [
        (request.allow_production_db_name, "--allow-production-db-name"),
        (request.terminate_sessions, "--terminate-sessions"),
        (request.allow_phased, "--allow-phased"),
    ];
    words.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag.to_owned()));
    if let Some(folder) = &operate.chains_folder {
        words.push(format!("--chains {}", quoted(&folder.display().to_string())));
    }
    words.extend(operate.tool.with.iter().map(|it| format!("--with {}", quoted(it))));
    let files = operate.tool.with_files.iter();
    words.extend(files.map(|it| format!("--with-files {}", quoted(&it.display().to_string()))));
    words.extend(request.expect_chains.iter().map(|f| format!("--expect-chains {f}")));
    words.extend(request.labels.iter().map(|(k, v)| format!("--label {}", quoted(&format!("{k}={v}")))));
    words.extend(limits(request));
    if request.verb != Verb::Validate {
        words.push(format!("--plan-digest {}", plan.digest));
    }
    if request.verb.is_destructive() {
        words.push("--confirm-destructive-reset RESET".to_owned());
    }
    let mut first = begin(destination);
    first.push(format!("--target {}", quoted(&plan.target)));
    line(first, words)
}

fn limits(request: &Request) -> Vec<String> {
    let text = model::duration::format_duration;
    let wait = match request.wait {
        Wait::No => None,
        Wait::Forever => Some("--wait".to_owned()),
        Wait::AtMost(limit) => Some(format!("--wait={}", text(limit))),
    };
    wait.into_iter().chain(request.timeout.map(|t| format!("--timeout {}", text(t)))).collect()
}

/// The server is always said: the line may be pasted where another environment holds.
fn begin(destination: &Destination) -> Vec<String> {
    let mut words =
        vec!["resetctl".to_owned(), format!("--server {}", quoted(&destination.address.to_string()))];
    let it = &destination.address.credentials;
    let files =
        [("--ca", &it.ca), ("--cert", &it.cert), ("--key", &it.key), ("--token-file", &it.token_file)];
    for (flag, file) in files {
        words.extend(file.iter().map(|file| format!("{flag} {}", quoted(&file.display().to_string()))));
    }
    words
}

fn line(mut words: Vec<String>, more: impl IntoIterator<Item = String>) -> String {
    words.extend(more);
    words.join(" ")
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if !word.contains(is_hidden) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    // What is shown has nothing hidden in it: bash, zsh and ksh read it back from its escapes.
    let escaped = |c: char| match c {
        '\'' | '\\' => format!("\\{c}"),
        c if is_hidden(c) => format!("\\U{:08x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("$'{}'", word.chars().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quoted("unix:/run/resetd.sock"), "unix:/run/resetd.sock");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a\u{202e}'\\b"), r"$'a\U0000202e\'\\b'");
    }
}
