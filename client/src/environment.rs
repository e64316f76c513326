//! The only place that reads the environment (clap reads the variables that stand in for flags itself).

use std::path::PathBuf;

use jiff::tz::TimeZone;
use model::secret::Secret;

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `XDG_RUNTIME_DIR`: where the daemon of this user listens.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, else `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `RESETCTL_TOKEN`: a bearer token.
    pub(crate) token: Option<Secret<String>>,
    /// `NO_COLOR` is set, or the terminal is `dumb`.
    pub no_color: bool,
    /// The zone in which this person reads clocks (`TZ`, else the system's); nothing is UTC.
    pub zone: Option<TimeZone>,
}

impl Environment {
    /// Reads the environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Self {
            runtime_dir: path("XDG_RUNTIME_DIR"),
            config_home: path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config"))),
            zone: TimeZone::try_system().ok(),
            token: std::env::var("RESETCTL_TOKEN")
                .ok()
                .map(|t| Secret::new(t.trim().to_owned()))
                .filter(|t| !t.expose().is_empty()),
            no_color: path("NO_COLOR").is_some() || path("TERM").is_some_and(|t| t.as_os_str() == "dumb"),
        }
    }
}
