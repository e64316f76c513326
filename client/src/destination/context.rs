//! The configuration file with named contexts: which daemon, which target, under a short name.
//!
//! ```toml
//! default = "lab"
//!
//! [context.lab]
//! server = "unix:/run/resetd/resetd.sock"
//! target = "staging"
//!
//! [context.remote]
//! server = "https://resetd.example.org:7443"
//! ca = "/etc/resetctl/ca.pem"
//! token_file = "/home/me/.config/resetctl/token"
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use model::fault::{Fault, Reason};
use serde::Deserialize;

use crate::{environment::Environment, settings::Settings, similar};

/// A context in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// Who says that it is in use.
    pub(crate) by: By,
    /// What it says.
    pub(crate) settings: Settings,
}

/// Who says that a context is in use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum By {
    /// `--context`.
    Flag,
    /// `RESETCTL_CONTEXT`.
    Variable,
    /// The file's `default`.
    Default,
}

/// The file, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The name of the default one.
    pub(crate) default: Option<String>,
    /// All of them.
    #[serde(default)]
    pub(crate) context: BTreeMap<String, Settings>,
}

/// Where the file is; none: there is no home folder.
pub(crate) fn path(environment: &Environment) -> Option<PathBuf> {
    environment.config_home.as_ref().map(|home| home.join("resetctl").join("config.toml"))
}

/// The file's text; none: it is not there.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Fault> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(invalid(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// All contexts.
///
/// # Errors
/// The file cannot be read or is malformed.
pub(crate) fn all(environment: &Environment) -> Result<Contexts, Fault> {
    let Some(path) = path(environment) else { return Ok(Contexts::default()) };
    Ok(read(&path)?.map(|text| parse(&path, &text)).transpose()?.unwrap_or_default())
}

/// The context in use: the one that the flag names, else the one of `RESETCTL_CONTEXT`, else the file's default one.
///
/// # Errors
/// The file cannot be read or is malformed, or there is no such context.
pub(crate) fn load(environment: &Environment, flag: Option<&str>) -> Result<Option<Context>, Fault> {
    let path = path(environment);
    let text = path.as_deref().map(read).transpose()?.flatten();
    let path = path.as_deref().unwrap_or(Path::new("the configuration file"));
    choose(path, text.as_deref(), flag, environment.context.as_deref())
}

fn choose(
    path: &Path,
    text: Option<&str>,
    flag: Option<&str>,
    variable: Option<&str>,
) -> Result<Option<Context>, Fault> {
    let file = text.map(|t| parse(path, t)).transpose()?.unwrap_or_default();
    let named = [(flag, By::Flag), (variable, By::Variable), (file.default.as_deref(), By::Default)];
    let Some((wanted, by)) = named.into_iter().find_map(|(name, by)| Some((name?, by))) else {
        return Ok(None);
    };
    match file.context.get(wanted) {
        Some(settings) => Ok(Some(Context { name: wanted.to_owned(), by, settings: settings.clone() })),
        None => Err(unknown(path, wanted, file.context.keys().map(String::as_str), by)),
    }
}

/// There is no such context.
pub(crate) fn unknown<'a>(path: &Path, wanted: &str, there: impl Iterator<Item = &'a str>, by: By) -> Fault {
    let there: Vec<&str> = there.collect();
    let named = match by {
        By::Flag => String::new(),
        By::Variable => " (RESETCTL_CONTEXT)".to_owned(),
        By::Default => " (the file's default)".to_owned(),
    };
    let meant = similar::meant(wanted, there.iter().copied());
    let known = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let message = format!("there is no context `{wanted}`{named} in {} (there: {known})", path.display());
    invalid(message).hint(match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("add it: resetctl --server ADDR --target NAME context add {wanted}"),
    })
}

fn parse(path: &Path, text: &str) -> Result<Contexts, Fault> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |b| b.matches('\n').count() + 1);
        invalid(format!("{}:{line}: {}", path.display(), error.message()))
    })
}

fn invalid(message: String) -> Fault {
    Fault::new(Reason::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "default = \"lab\"\n\n[context.lab]\nserver = \"unix:/x\"\ntarget = \"staging\"\n[context.other]\n";

    fn chosen(text: Option<&str>, name: Option<&str>) -> Result<Option<Context>, Fault> {
        choose(Path::new("/c/config.toml"), text, name, None)
    }

    #[test]
    fn the_named_one_else_the_variables_else_the_default_else_none() {
        let lab = |by| {
            let server = Some("unix:/x".into());
            let settings = Settings { server, target: Some("staging".into()), ..Settings::default() };
            Some(Context { name: "lab".into(), by, settings })
        };
        assert_eq!(chosen(Some(TEXT), None).ok(), Some(lab(By::Default)));
        assert_eq!(chosen(Some(TEXT), Some("lab")).ok(), Some(lab(By::Flag)));
        let other = chosen(Some(TEXT), Some("other")).expect("there").expect("one");
        assert_eq!((other.by, other.settings), (By::Flag, Settings::default()));
        let by_variable = |flag, variable| {
            choose(Path::new("/c"), Some(TEXT), flag, variable).expect("there").map(|it| (it.name, it.by))
        };
        assert_eq!(by_variable(None, Some("other")), Some(("other".into(), By::Variable)));
        assert_eq!(by_variable(Some("lab"), Some("other")), Some(("lab".into(), By::Flag)));
        assert_eq!(chosen(None, None).ok(), Some(None));
        assert_eq!(chosen(Some("[context.lab]\n"), None).ok(), Some(None));
    }

    #[test]
    fn a_token_itself_is_no_setting() {
        assert!(chosen(Some("[context.lab]\ntoken = \"rsd_x\"\n"), Some("lab")).is_err());
    }

    #[test]
    fn an_unknown_context_names_the_known_ones() {
        let fault = chosen(Some(TEXT), Some("lob")).expect_err("unknown");
        assert!(fault.message.contains("(there: lab, other)"), "{fault}");
        assert_eq!(fault.hint.as_deref(), Some("did you mean `lab`?"));
        assert!(chosen(None, Some("lab")).is_err());
        let fault = choose(Path::new("/c"), Some(TEXT), None, Some("gone")).expect_err("unknown");
        assert!(fault.message.contains("`gone` (RESETCTL_CONTEXT)"), "{fault}");
    }

    #[test]
    fn unknown_keys_are_errors_with_file_and_line() {
        let fault = chosen(Some("default = \"lab\"\n[context.lab]\nsrever = \"x\"\n"), None)
            .expect_err("unknown key");
        assert!(
            fault.message.starts_with("/c/config.toml:3: ") && fault.message.contains("srever"),
            "{fault}"
        );
        assert!(fault.message.contains("server"), "names the known keys: {fault}");
    }
}
