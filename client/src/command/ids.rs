//! Which operation or window is meant: a whole id, the beginning of one, or `@last`.

use model::fault::{Fault, Reason};
use uuid::Uuid;

use crate::api::Api;

/// The newest one.
const LAST: &str = "@last";
/// Fewer characters than these are a slip, not the beginning of an id.
const SHORTEST: usize = 4;
/// How many ids one may be chosen from.
const LOOKED_AT: usize = 10_000;
/// How many are named where a beginning fits several.
const NAMED: usize = 5;

/// What was written.
#[derive(Debug, Eq, PartialEq)]
enum Written {
    Whole(Uuid),
    Beginning(String),
    Last,
}

/// An operation; `target` limits where it is looked for (empty: everywhere).
///
/// # Errors
/// It is none, there is no such one, or several begin like this; the daemon cannot be reached.
pub(crate) async fn operation(api: &Api, target: &str, text: &str) -> Result<Uuid, Fault> {
    let list = "`resetctl operations list` shows the ids";
    match read(text, "an operation's id", list)? {
        Written::Whole(id) => Ok(id),
        Written::Last => {
            let newest = api.operations(target, false, 1).await?.into_iter().next();
            newest.map(|it| it.id).ok_or_else(|| {
                Fault::new(Reason::OperationNotFound, "there is no operation yet")
                    .hint("`resetctl operations list` shows those that you may see")
            })
        }
        Written::Beginning(text) => {
            let all = api.operations(target, false, LOOKED_AT).await?;
            let all: Vec<(Uuid, String)> =
                all.iter().map(|it| (it.id, format!("{} of {}", it.verb.as_str(), it.target))).collect();
            one(&all, &text, "operation", Reason::OperationNotFound, list)
        }
    }
}

/// An operation that was named, if one was.
///
/// # Errors
/// As [`operation`].
pub(crate) async fn maybe_operation(
    api: &Api,
    target: &str,
    text: Option<&str>,
) -> Result<Option<Uuid>, Fault> {
    match text {
        Some(text) => operation(api, target, text).await.map(Some),
        None => Ok(None),
    }
}

/// A window; `target` limits where it is looked for (empty: everywhere).
///
/// # Errors
/// As [`operation`].
pub(crate) async fn window(api: &Api, target: &str, text: &str) -> Result<Uuid, Fault> {
    let list = "`resetctl window list --all` shows the ids";
    let (written, all) = match read(text, "a window's id", list)? {
        Written::Whole(id) => return Ok(id),
        written => (written, api.windows(target, true).await?),
    };
    match written {
        Written::Beginning(text) => {
            let all: Vec<(Uuid, String)> =
                all.iter().map(|it| (it.id, format!("{} of {}", it.reason, it.target))).collect();
            one(&all, &text, "window", Reason::WindowNotFound, list)
        }
        // Ids of windows are as old as they are.
        _ => all.iter().map(|it| it.id).max().ok_or_else(|| {
            Fault::new(Reason::WindowNotFound, "there is no window yet")
                .hint("`resetctl window reserve` makes one")
        }),
    }
}

fn read(text: &str, what: &str, hint: &str) -> Result<Written, Fault> {
    if text == LAST {
        return Ok(Written::Last);
    }
    if let Ok(id) = text.parse() {
        return Ok(Written::Whole(id));
    }
    let shown: String = text.chars().take(80).collect();
    let wrong = |problem: String| Err(Fault::new(Reason::InvalidRequest, problem).hint(hint));
    match text.chars().all(|c| c.is_ascii_hexdigit() || c == '-') && text.len() < 36 {
        true if text.len() >= SHORTEST => Ok(Written::Beginning(text.to_ascii_lowercase())),
        true => {
            wrong(format!("`{shown}` is too short: the beginning of an id has {SHORTEST} characters or more"))
        }
        false => wrong(format!("`{shown}` is not {what} (a UUID), the beginning of one, or {LAST}")),
    }
}

fn one(all: &[(Uuid, String)], text: &str, noun: &str, none: Reason, hint: &str) -> Result<Uuid, Fault> {
    let found: Vec<&(Uuid, String)> = all.iter().filter(|(id, _)| id.to_string().starts_with(text)).collect();
    match found[..] {
        [(id, _)] => Ok(*id),
        [] => Err(Fault::new(none, format!("no {noun} that you may see begins with {text}")).hint(hint)),
        _ => {
            let named: Vec<String> =
                found.iter().take(NAMED).map(|(id, what)| format!("{id} ({what})")).collect();
            let more = found.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!("{} {noun}s begin with {text}: {}{more}", found.len(), named.join(", "));
            Err(Fault::new(Reason::InvalidRequest, text).hint("write more of the one that you mean"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_its_beginning_and_the_last_one_are_told_apart() {
        let id = "0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f";
        let read = |text: &str| read(text, "an operation's id", "").map_err(|fault| fault.message);
        assert_eq!(read(id), Ok(Written::Whole(id.parse().expect("an id"))));
        assert_eq!(read("0197C9D2-7F"), Ok(Written::Beginning("0197c9d2-7f".into())));
        assert_eq!(read("@last"), Ok(Written::Last));
        for (text, part) in [
            ("7", "too short"),
            ("", "too short"),
            ("last", "is not"),
            ("0197 c9", "is not"),
            (&id.repeat(2), "is not"),
        ] {
            assert!(read(text).expect_err(text).contains(part), "{text}");
        }
    }

    #[test]
    fn a_beginning_means_one_or_names_the_several() {
        let ids = ["0197c9d2-7f3a-7cc3-98c4-dc0c0c07398f", "0197c9d2-7f3b-7cc3-98c4-dc0c0c07398f"];
        let all: Vec<(Uuid, String)> =
            ids.iter().map(|id| (id.parse().expect("an id"), "run of staging".to_owned())).collect();
        let one = |text: &str| one(&all, text, "operation", Reason::OperationNotFound, "look");
        assert_eq!(one("0197c9d2-7f3a").ok(), Some(all[0].0));
        let fault = one("0197c9d2").expect_err("two");
        assert!(
            fault.reason == Reason::InvalidRequest && ids.iter().all(|id| fault.message.contains(id)),
            "{fault}"
        );
        assert_eq!(one("ffff").expect_err("none").reason, Reason::OperationNotFound);
    }
}
