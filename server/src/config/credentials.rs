//! `database_url_env` and `database_url_file`, `tool_url_env` and `tool_url_file`: the two ways a secret comes in. Problems name the variable or the file, never
//! what is in it.

use std::path::PathBuf;

use model::secret::Secret;

use super::Env;
use super::problem::{At, Location, Problems};
use super::section::Section;
use super::url::DatabaseUrl;

pub(super) const ENV_KEY: &str = "database_url_env";
pub(super) const FILE_KEY: &str = "database_url_file";

/// The two keys of a URL: by a variable, by a file.
pub(super) type Keys = (&'static str, &'static str);

/// Where a database is.
pub(super) const DATABASE: Keys = (ENV_KEY, FILE_KEY);
/// As whom a migration tool connects to it.
pub(super) const TOOL: Keys = ("tool_url_env", "tool_url_file");

/// Something was wrong and has been reported.
pub(super) struct Reported;

/// The URL a section names; `Ok(None)` when it names none.
pub(super) fn url_of(
    section: &Section<'_>,
    keys: Keys,
    env: Env<'_>,
    problems: &mut Problems,
) -> Result<Option<At<DatabaseUrl>>, Reported> {
    let (by_env, by_file) = keys;
    if section.has(by_env) && section.has(by_file) {
        let message = format!("{} has both {by_env} and {by_file}", section.title);
        problems.hint(section.place_of(by_file), message, "keep one of them");
        return Err(Reported);
    }
    if section.has(by_env) {
        let name = section.string(by_env, problems).ok_or(Reported)?;
        from_env(&name, by_env, &section.title, env, problems).map(Some).ok_or(Reported)
    } else if section.has(by_file) {
        let path = section.string(by_file, problems).ok_or(Reported)?;
        from_file(&path, by_file, &section.title, problems).map(Some).ok_or(Reported)
    } else {
        Ok(None)
    }
}

/// The files that sections name for their secrets.
pub(super) fn files(root: &Section<'_>, problems: &mut Problems) -> Vec<PathBuf> {
    let mut sections = root.tables("target", problems);
    sections.extend(root.table("control", problems));
    let of = |section: &Section<'_>, problems: &mut Problems| {
        [FILE_KEY, TOOL.1].map(|key| section.string(key, problems)).into_iter().flatten().collect::<Vec<_>>()
    };
    sections.iter().flat_map(|section| of(section, problems)).map(|path| path.value.into()).collect()
}

/// The URL in an environment variable; its name is not echoed when it could be the URL itself.
fn from_env(
    name: &At<String>,
    key: &str,
    title: &str,
    env: Env<'_>,
    problems: &mut Problems,
) -> Option<At<DatabaseUrl>> {
    let is_name = name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        let message = format!("key \"{key}\" in {title} is not the name of an environment variable");
        problems.hint(name.place, message, "put the URL into a variable and write the variable's name here");
        return None;
    }
    let origin = format!("environment variable {:?} ({key} in {title})", name.value);
    let text = env(&name.value);
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        problems.push(name.place, format!("{origin} is not set"));
        return None;
    };
    parse(&Secret::new(text), name.place, &origin, problems)
}

fn from_file(path: &At<String>, key: &str, title: &str, problems: &mut Problems) -> Option<At<DatabaseUrl>> {
    if path.value.contains("://") {
        let message = format!("key \"{key}\" in {title} is not the name of a file");
        problems.hint(path.place, message, "put the URL into a file and write the file's name here");
        return None;
    }
    let origin = format!("file {:?} ({key} in {title})", path.value);
    let text = std::fs::read_to_string(&path.value);
    let text =
        text.map_err(|error| problems.push(path.place, format!("{origin} cannot be read: {error}"))).ok()?;
    parse(&Secret::new(text), path.place, &origin, problems)
}

/// Reads a URL; `origin` is how a problem names where it came from.
pub(super) fn parse(
    text: &Secret<String>,
    place: Location,
    origin: &str,
    problems: &mut Problems,
) -> Option<At<DatabaseUrl>> {
    let url = DatabaseUrl::parse(text.expose());
    let url = url.map_err(|error| problems.push(place, format!("{origin}: {error}"))).ok()?;
    Some(At { value: url, place })
}
