//! Contexts, as a table, as lines, and for scripts; the keys are public. Pure.

use serde_json::{Value, json};

use super::table::{self, left, whole};
use crate::{destination::context::By, settings::Settings};

/// A context as it is shown.
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: String,
    /// It is the file's default one.
    pub(crate) default: bool,
    /// It is in use now, and who says so.
    pub(crate) used: Option<By>,
    /// What it says.
    pub(crate) settings: Settings,
}

/// All of them.
pub(crate) fn table(all: &[Shown], width: usize) -> Vec<String> {
    let columns =
        [left("USED", 0), whole("NAME"), left("TARGET", 0), left("SERVER", 1), left("CREDENTIALS", 2)];
    let row = |it: &Shown| {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let used = it.used.map_or(if it.default { "default" } else { "" }, by);
        vec![
            used.to_owned(),
            it.name.clone(),
            text(&it.settings.target),
            text(&it.settings.server),
            credentials(&it.settings),
        ]
    };
    table::layout(&columns, &all.iter().map(row).collect::<Vec<_>>(), width)
}

fn by(by: By) -> &'static str {
    match by {
        By::Flag => "--context",
        By::Variable => "variable",
        By::Default => "default",
    }
}

fn credentials(it: &Settings) -> String {
    let said =
        [("token", it.token_file.is_some()), ("certificate", it.cert.is_some()), ("CA", it.ca.is_some())];
    let said: Vec<&str> = said.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    if said.is_empty() { "-".to_owned() } else { said.join(", ") }
}

/// One of them, a line a setting.
pub(crate) fn lines(it: &Shown) -> Vec<String> {
    let value = json(it);
    let pairs = value.as_object().into_iter().flatten();
    let known = pairs.filter(|(key, value)| !value.is_null() && !matches!(key.as_str(), "default" | "used"));
    let mut lines: Vec<String> = known
        .map(|(key, value)| format!("{:12}{}", format!("{key}:"), value.as_str().unwrap_or_default()))
        .collect();
    let used = match (it.used, it.default) {
        (Some(by), _) => format!("yes ({})", self::by(by)),
        (None, true) => "no, but it is the default".to_owned(),
        (None, false) => "no".to_owned(),
    };
    lines.push(format!("{:12}{used}", "in use:"));
    lines
}

/// One of them, for scripts.
pub(crate) fn json(it: &Shown) -> Value {
    let of = &it.settings;
    json!({
        "name": it.name,
        "default": it.default,
        "used": it.used.map(by),
        "server": of.server,
        "target": of.target,
        "ca": of.ca,
        "cert": of.cert,
        "key": of.key,
        "token_file": of.token_file,
    })
}
