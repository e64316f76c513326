//! What one source says about daemon, target and credentials: the flags, the environment, or a context. It must not know
//! which source counts.

use std::path::PathBuf;

use model::secret::Secret;
use serde::Deserialize;

/// What one source says; as TOML, a context of the configuration file.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the daemon listens.
    pub(crate) server: Option<String>,
    /// The target.
    pub(crate) target: Option<String>,
    /// The CA of the daemon's certificate.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate.
    pub(crate) cert: Option<PathBuf>,
    /// Its private key.
    pub(crate) key: Option<PathBuf>,
    /// The file with a bearer token.
    pub(crate) token_file: Option<PathBuf>,
    /// The token itself: only the environment has it, never a flag or a file of settings.
    #[serde(skip)]
    pub(crate) token: Option<Secret<String>>,
}
