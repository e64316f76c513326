//! `[target.NAME]`: the databases the daemon may touch. Must not know roles or listeners.

use model::matrix::Matrix;
use model::profile::{Builtin, Profile};
use model::secret::Secret;

use super::control::refuse_url;
use super::credentials::{self, ENV_KEY, FILE_KEY, url_of};
use super::problem::{At, Location, NOWHERE, Problems};
use super::section::{Section, nearest};
use super::url::DatabaseUrl;
use super::{Env, ServeOptions};

/// The environment variable that gives the one target where no file does.
pub const URL_VARIABLE: &str = "BUTLERS_DATABASE_URL";

/// Databases of PostgreSQL itself, never a target.
pub const RESERVED_DATABASES: &[&str] = &["postgres", "template0", "template1"];

const NAME_BYTES: usize = 63;
const EMBEDDED_TARGET: &str = "butlers";
const KEYS: &[&str] =
    &[ENV_KEY, FILE_KEY, "database", "profile", "matrix", credentials::TOOL.0, credentials::TOOL.1];

/// A database the daemon may touch, and its rules.
#[derive(Debug, Clone)]
pub struct Target {
    /// The name requests use: `[a-z0-9][a-z0-9_.-]{0,62}`.
    pub name: String,
    /// Where it is.
    pub source: TargetSource,
    /// The environment variable that its URL comes from; `None` where a file holds it, or the daemon runs the cluster.
    pub env_var: Option<String>,
    /// Its rules, every key resolved.
    pub profile: Profile,
    /// What it holds when it is healthy.
    pub matrix: Matrix,
    /// As whom migration tools connect; `None`: the daemon makes a role for each.
    pub tool_url: Option<DatabaseUrl>,
}

/// Where a target is.
#[derive(Debug, Clone)]
pub enum TargetSource {
    /// In a cluster that runs already.
    Url(DatabaseUrl),
    /// In the cluster the daemon starts.
    Embedded {
        /// The database's name.
        database: String,
    },
}

impl TargetSource {
    /// The database's name.
    pub fn database(&self) -> &str {
        match self {
            Self::Url(url) => url.database(),
            Self::Embedded { database } => database,
        }
    }

    /// How to enter, where that is known before the cluster runs.
    pub fn url(&self) -> Option<&DatabaseUrl> {
        match self {
            Self::Url(url) => Some(url),
            Self::Embedded { .. } => None,
        }
    }

    fn is_local(&self) -> bool {
        self.url().is_none_or(DatabaseUrl::is_local)
    }
}

/// What targets may name.
pub(super) struct Known {
    pub(super) profiles: Vec<Profile>,
    pub(super) matrices: Vec<Matrix>,
}

/// Reads every target, in the order of the file; without any section, the one of the environment or of the embedded
/// cluster. A target with a mistake is left out: it has been reported.
pub(super) fn parse_all(
    root: &Section<'_>,
    known: &Known,
    options: &ServeOptions,
    env: Env<'_>,
    problems: &mut Problems,
) -> Vec<At<Target>> {
    let reader = Reader { known, options, env };
    let profile = options.profile.as_ref().map(|name| At::nowhere(name.clone()));
    if let Some(name) = &profile {
        reader.profile(name, "--profile", problems);
    }
    if root.has("target") {
        let sections = root.tables("target", problems);
        if sections.is_empty() {
            problems.push(root.place_of("target"), "[target] names no target; write [target.NAME]");
        }
        return sections.iter().filter_map(|section| reader.target(section, problems)).collect();
    }
    reader.only_target(profile, problems).into_iter().collect()
}

struct Reader<'r> {
    known: &'r Known,
    options: &'r ServeOptions,
    env: Env<'r>,
}

impl Reader<'_> {
    fn embedded(&self) -> bool {
        self.options.embedded.is_some()
    }

    fn target(&self, section: &Section<'_>, problems: &mut Problems) -> Option<At<Target>> {
        section.only(KEYS, problems);
        check_name(section, problems);
        let source =
            if self.embedded() { embedded(section, problems) } else { self.remote(section, problems) };
        let written = section.string("profile", problems);
        let place = written.as_ref().map_or(NOWHERE, |name| name.place);
        let profile = self.chosen(written, section, problems);
        let resolved = profile.as_ref().map(|name| self.profile(name, &section.title, problems));
        let matrix =
            section.string("matrix", problems).unwrap_or_else(|| At { value: "default".to_owned(), place });
        let matrix = self.matrix(&matrix, &section.title, problems);
        let source = source?;
        let profile = resolved.unwrap_or_else(|| Some(self.default_profile(&source.value)))?;
        let tool_url = self.tool_url(section, &source.value, problems);
        let env_var = match self.embedded() {
            true => None,
            false => section.string(ENV_KEY, problems).map(|key| key.value),
        };
        let (name, place) = (section.name.clone(), source.place);
        let target = Target { name, source: source.value, env_var, profile, matrix: matrix?, tool_url };
        Some(At { value: target, place })
    }

    /// As whom migration tools connect: a role of the same cluster.
    fn tool_url(
        &self,
        section: &Section<'_>,
        source: &TargetSource,
        problems: &mut Problems,
    ) -> Option<DatabaseUrl> {
        let url = url_of(section, credentials::TOOL, self.env, problems).ok().flatten()?;
        let elsewhere = source.url().is_none_or(|target| target.cluster() != url.value.cluster());
        if elsewhere {
            let message =
                format!("the tool's URL of {} leads to another server than its database", section.title);
            problems.hint(url.place, message, "name the same host and port; only user and password differ");
        }
        Some(url.value)
    }

    /// The profile of the section or of the command line; both, and different, is a contradiction nobody should guess at.
    fn chosen(
        &self,
        written: Option<At<String>>,
        section: &Section<'_>,
        problems: &mut Problems,
    ) -> Option<At<String>> {
        match (written, &self.options.profile) {
            (Some(name), Some(flag)) if *flag != name.value => {
                let message =
                    format!("{} has profile {:?}, and --profile says {flag:?}", section.title, name.value);
                problems.hint(name.place, message, "leave out one of the two");
                Some(name)
            }
            (Some(name), _) => Some(name),
            (None, flag) => flag.clone().map(At::nowhere),
        }
    }

    fn remote(&self, section: &Section<'_>, problems: &mut Problems) -> Option<At<TargetSource>> {
        if section.has("database") {
            let message = format!("key \"database\" in {} is for --embedded", section.title);
            problems.hint(section.place_of("database"), message, "the URL names the database");
        }
        match url_of(section, credentials::DATABASE, self.env, problems) {
            Ok(Some(url)) => {
                check_database(
                    url.value.database(),
                    &format!("database of {}", section.title),
                    url.place,
                    problems,
                );
                Some(At { value: TargetSource::Url(url.value), place: url.place })
            }
            Ok(None) => {
                let message = format!("{} has neither {ENV_KEY} nor {FILE_KEY}", section.title);
                problems.hint(section.place, message, format!("for example {ENV_KEY} = \"{URL_VARIABLE}\""));
                None
            }
            Err(_) => None,
        }
    }

    /// The target where the file has none.
    fn only_target(&self, profile: Option<At<String>>, problems: &mut Problems) -> Option<At<Target>> {
        let source = match self.embedded() {
            true => TargetSource::Embedded { database: EMBEDDED_TARGET.to_owned() },
            false => TargetSource::Url(self.url_of_environment(problems)?),
        };
        check_database(source.database(), &format!("database of {URL_VARIABLE}"), NOWHERE, problems);
        let profile = match profile {
            Some(name) => self.known.profiles.iter().find(|profile| profile.name == name.value).cloned()?,
            None => self.default_profile(&source),
        };
        let matrix = self.known.matrices.iter().find(|matrix| matrix.name == "default").cloned()?;
        let env_var = (!self.embedded()).then(|| URL_VARIABLE.to_owned());
        let name = name_of(source.database());
        Some(At::nowhere(Target { name, source, env_var, profile, matrix, tool_url: None }))
    }

    fn url_of_environment(&self, problems: &mut Problems) -> Option<DatabaseUrl> {
        let Some(text) = (self.env)(URL_VARIABLE).filter(|text| !text.trim().is_empty()) else {
            let hint = format!(
                "set {URL_VARIABLE} to the URL of a database, or name a file with [target.NAME] sections (--config FILE), \
                 or let the daemon start a private PostgreSQL (--embedded)"
            );
            problems.hint(NOWHERE, "there is no target", hint);
            return None;
        };
        let origin = format!("environment variable {URL_VARIABLE:?}");
        credentials::parse(&Secret::new(text), NOWHERE, &origin, problems).map(|url| url.value)
    }

    fn default_profile(&self, source: &TargetSource) -> Profile {
        let base = if source.is_local() { Builtin::Local } else { Builtin::SharedDev };
        let found = self.known.profiles.iter().find(|profile| profile.name == base.as_str());
        found.cloned().unwrap_or_else(|| Profile::of(base))
    }

    fn profile(&self, name: &At<String>, asker: &str, problems: &mut Problems) -> Option<Profile> {
        let found = self.known.profiles.iter().find(|profile| profile.name == name.value);
        if found.is_none() {
            let names = self.known.profiles.iter().map(|profile| profile.name.as_str());
            unknown("profile", name, asker, names.collect(), problems);
        }
        found.cloned()
    }

    fn matrix(&self, name: &At<String>, asker: &str, problems: &mut Problems) -> Option<Matrix> {
        let found = self.known.matrices.iter().find(|matrix| matrix.name == name.value);
        if found.is_none() {
            let names = self.known.matrices.iter().map(|matrix| matrix.name.as_str());
            unknown("matrix", name, asker, names.collect(), problems);
        }
        found.cloned()
    }
}

/// A name that stands for nothing, with the nearest known one.
pub(super) fn unknown(what: &str, name: &At<String>, asker: &str, known: Vec<&str>, problems: &mut Problems) {
    let message = format!("unknown {what} {:?} in {asker}", name.value);
    let hint = match nearest(&name.value, &known) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known: {}", known.join(", ")),
    };
    problems.hint(name.place, message, hint);
}

/// In the embedded cluster a target's database is called like the target, unless it says otherwise.
fn embedded(section: &Section<'_>, problems: &mut Problems) -> Option<At<TargetSource>> {
    refuse_url(section, problems);
    let database = match section.has("database") {
        true => section.string("database", problems)?,
        false => At { value: section.name.clone(), place: section.place },
    };
    check_database(&database.value, &format!("database of {}", section.title), database.place, problems);
    Some(At { place: database.place, value: TargetSource::Embedded { database: database.value } })
}

fn check_name(section: &Section<'_>, problems: &mut Problems) {
    let name = &section.name;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = name.starts_with(plain)
        && name.len() <= NAME_BYTES
        && name.chars().all(|c| plain(c) || "_.-".contains(c));
    if !valid {
        let hint = "up to 63 of a-z, 0-9, _, . and -, a letter or digit first";
        problems.hint(section.place, format!("{name:?} is not a target name"), hint);
    }
}

/// Refuses names PostgreSQL keeps for itself or cannot hold.
pub(super) fn check_database(name: &str, what: &str, place: Location, problems: &mut Problems) {
    if RESERVED_DATABASES.contains(&name) {
        let message = format!("{what}: {name:?} belongs to PostgreSQL and is never touched");
        problems.push(place, message);
    } else if name.len() > NAME_BYTES {
        problems.push(place, format!("{what}: {name:?} is longer than {NAME_BYTES} bytes"));
    }
}

/// A target's name made from its database's: lower case, what may not stand in a name becomes `-`.
fn name_of(database: &str) -> String {
    let lower = database.to_lowercase();
    let mapped: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' }).collect();
    let name: String = mapped.trim_start_matches(['_', '.', '-']).chars().take(NAME_BYTES).collect();
    if name.is_empty() { EMBEDDED_TARGET.to_owned() } else { name }
}
