//! `[control]`: the database with the daemon's own state. Must not know more of the targets than the first one's URL.

use super::Env;
use super::credentials::{self, ENV_KEY, FILE_KEY};
use super::problem::{Location, NOWHERE, Problems};
use super::section::Section;
use super::target::check_database;
use super::url::DatabaseUrl;

const DEFAULT_DATABASE: &str = "resetd";

/// Where the daemon keeps its own state.
#[derive(Debug, Clone)]
pub struct Control {
    /// The database's name.
    pub database: String,
    /// How to enter: its own URL, or the first target's with this database. `None` when the cluster is embedded: the URL
    /// is known once it runs.
    pub url: Option<DatabaseUrl>,
}

/// Reads the section; the place is where its database or URL is named.
pub(super) fn parse(
    root: &Section<'_>,
    first_target: Option<&DatabaseUrl>,
    env: Env<'_>,
    embedded: bool,
    problems: &mut Problems,
) -> (Control, Location) {
    let default = |database: &str| Control {
        database: database.to_owned(),
        url: first_target.map(|url| url.with_database(database)),
    };
    let Some(section) = root.table("control", problems) else { return (default(DEFAULT_DATABASE), NOWHERE) };
    section.only(&["database", ENV_KEY, FILE_KEY], problems);
    let database = section.string("database", problems);
    let place = section.place_of("database");
    if let Some(name) = &database {
        check_database(&name.value, "control database", name.place, problems);
    }
    if embedded {
        refuse_url(&section, problems);
        return (default(database.as_ref().map_or(DEFAULT_DATABASE, |name| &name.value)), place);
    }
    match credentials::url_of(&section, credentials::DATABASE, env, problems) {
        Ok(Some(url)) => {
            let named = url.value.database().to_owned();
            if let Some(other) = database.filter(|name| name.value != named) {
                let message =
                    format!("control database {:?} is not the one of its URL, {named:?}", other.value);
                problems.hint(other.place, message, "leave out one of the two");
            }
            check_database(&named, "control database", url.place, problems);
            (Control { database: named, url: Some(url.value) }, url.place)
        }
        Ok(None) | Err(_) => (default(database.as_ref().map_or(DEFAULT_DATABASE, |name| &name.value)), place),
    }
}

/// An embedded cluster has no URL before it runs.
pub(super) fn refuse_url(section: &Section<'_>, problems: &mut Problems) {
    for key in [ENV_KEY, FILE_KEY].into_iter().filter(|key| section.has(key)) {
        let message = format!("key {key:?} in {} has no meaning with --embedded", section.title);
        problems.hint(section.place_of(key), message, "name the database with database = \"…\"");
    }
}
