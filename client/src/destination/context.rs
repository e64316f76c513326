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

use crate::environment::Environment;

/// One named context.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Where the daemon listens.
    pub(crate) server: Option<String>,
    /// The target meant when none is named.
    pub(crate) target: Option<String>,
    /// The CA of the daemon's certificate.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate.
    pub(crate) cert: Option<PathBuf>,
    /// Its private key.
    pub(crate) key: Option<PathBuf>,
    /// The file with a bearer token.
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, Context>,
}

/// The context of that name, else the file's default one, else an empty one.
///
/// # Errors
/// The file cannot be read or is malformed, or there is no such context.
pub(crate) fn load(environment: &Environment, name: Option<&str>) -> Result<Context, Fault> {
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

fn choose(path: &Path, text: Option<&str>, name: Option<&str>) -> Result<Context, Fault> {
    let file = text.map(|t| parse(path, t)).transpose()?.unwrap_or_default();
    let Some(name) = name.or(file.default.as_deref()) else { return Ok(Context::default()) };
    file.context.get(name).cloned().ok_or_else(|| {
        let known: Vec<&str> = file.context.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        invalid(format!("there is no context `{name}` in {} (there: {known})", path.display()))
            .hint(format!("add it: [context.{name}] with server = \"…\" and target = \"…\""))
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

    fn chosen(text: Option<&str>, name: Option<&str>) -> Result<Context, Fault> {
        choose(Path::new("/c/config.toml"), text, name)
    }

    #[test]
    fn the_named_one_else_the_default_else_an_empty_one() {
        let lab =
            Context { server: Some("unix:/x".into()), target: Some("staging".into()), ..Context::default() };
        assert_eq!(chosen(Some(TEXT), None).ok(), Some(lab.clone()));
        assert_eq!(chosen(Some(TEXT), Some("lab")).ok(), Some(lab));
        assert_eq!(chosen(Some(TEXT), Some("other")).ok(), Some(Context::default()));
        assert_eq!(chosen(None, None).ok(), Some(Context::default()));
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
