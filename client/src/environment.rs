//! The only place that reads the environment.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use model::secret::Secret;

use crate::{render::Colours, settings::Settings};

/// What the environment says.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `XDG_RUNTIME_DIR`: where the daemon of this user listens.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, else `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `XDG_STATE_HOME`, else `~/.local/state`.
    pub state_home: Option<PathBuf>,
    /// `RESETCTL_CONTEXT`: the context in place of the file's default one.
    pub(crate) context: Option<String>,
    /// `GITHUB_STEP_SUMMARY`: the file for a job's summary.
    pub(crate) step_summary: Option<PathBuf>,
    /// `RESETCTL_COMPLETE`: the shell that wants to know how a line may go on.
    pub(crate) complete: Option<String>,
    /// `RESETCTL_SERVER` and its like: what flags say as well, and `RESETCTL_TOKEN`.
    pub(crate) settings: Settings,
    /// What it says about colours.
    pub colours: Colours,
    /// The zone in which this person reads clocks (`TZ`, else the system's); nothing is UTC.
    pub zone: Option<TimeZone>,
}

impl Environment {
    /// Reads the environment of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        // What is no UTF-8 is no name either: it is refused by whoever reads it, with what is left of it.
        let text = |name: &str| path(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            runtime_dir: path("XDG_RUNTIME_DIR"),
            state_home: path("XDG_STATE_HOME").or_else(|| path("HOME").map(|home| home.join(".local/state"))),
            config_home: path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config"))),
            zone: TimeZone::try_system().ok(),
            context: text("RESETCTL_CONTEXT"),
            step_summary: path("GITHUB_STEP_SUMMARY"),
            complete: text("RESETCTL_COMPLETE"),
            settings: Settings {
                server: text("RESETCTL_SERVER"),
                target: text("RESETCTL_TARGET"),
                ca: path("RESETCTL_CA"),
                cert: path("RESETCTL_CERT"),
                key: path("RESETCTL_KEY"),
                token_file: path("RESETCTL_TOKEN_FILE"),
                token: text("RESETCTL_TOKEN")
                    .map(|token| token.trim().to_owned())
                    .filter(|token| !token.is_empty())
                    .map(Secret::new),
            },
            colours: Colours {
                no_color: text("NO_COLOR"),
                clicolor_force: text("CLICOLOR_FORCE"),
                force_color: text("FORCE_COLOR"),
                clicolor: text("CLICOLOR"),
                dumb: path("TERM").is_some_and(|t| t.as_os_str() == "dumb"),
            },
        }
    }
}
