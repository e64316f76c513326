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

use std::{collections::BTreeMap, path::Path};

use model::fault::{Fault, Reason};
use serde::Deserialize;

use crate::{environment::Environment, settings::Settings};

/// A context in use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Context {
    /// Its name.
    pub(crate) name: String,
    /// `--context` names it; else it is the default one.
    pub(crate) named: bool,
    /// What it says.
    pub(crate) settings: Settings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, Settings>,
}

/// The context of that name, else the file's default one, if it has one.
///
/// # Errors
/// The file cannot be read or is malformed, or there is no such context.
pub(crate) fn load(environment: &Environment, name: Option<&str>) -> Result<Option<Context>, Fault> {
    let path = environment.config_home.as_ref().map(|home| home.join("resetctl").join("config.toml"));
    let text = match &path {
        None => None,
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(invalid(format!("{} cannot be read: {error}", path.display()))),
        },
    };
    choose(path.as_deref().unwrap_or(Path::new("the configuration file")), text.as_deref(), name)
}

fn choose(path: &Path, text: Option<&str>, name: Option<&str>) -> Result<Option<Context>, Fault> {
    let file = text.map(|t| parse(path, t)).transpose()?.unwrap_or_default();
    let Some(wanted) = name.or(file.default.as_deref()) else { return Ok(None) };
    let known = file.context.get(wanted).cloned().map(|settings| Context {
        name: wanted.to_owned(),
        named: name.is_some(),
        settings,
    });
    known.map(Some).ok_or_else(|| {
        let known: Vec<&str> = file.context.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        invalid(format!("there is no context `{wanted}` in {} (there: {known})", path.display()))
            .hint(format!("add it: [context.{wanted}] with server = \"…\" and target = \"…\""))
    })
}

fn parse(path: &Path, text: &str) -> Result<File, Fault> {
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
        choose(Path::new("/c/config.toml"), text, name)
    }

    #[test]
    fn the_named_one_else_the_default_else_none() {
        let lab = |named| {
            let server = Some("unix:/x".into());
            let settings = Settings { server, target: Some("staging".into()), ..Settings::default() };
            Some(Context { name: "lab".into(), named, settings })
        };
        assert_eq!(chosen(Some(TEXT), None).ok(), Some(lab(false)));
        assert_eq!(chosen(Some(TEXT), Some("lab")).ok(), Some(lab(true)));
        let other = chosen(Some(TEXT), Some("other")).expect("there").expect("one");
        assert_eq!((other.named, other.settings), (true, Settings::default()));
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
        assert!(chosen(None, Some("lab")).is_err());
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
