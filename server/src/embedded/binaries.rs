//! Where the machine keeps `initdb` and `postgres`. Distributions rarely put them on the PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::EmbeddedError;
use super::directory::State;

/// Folders that distributions use: parent, prefix of the versioned folder, and what follows it.
const PLACES: [(&str, &str, &str); 10] = [
    ("/usr/lib/postgresql", "", "bin"),                      // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                               // PGDG on Fedora, RHEL
    ("/usr/lib", "postgresql", "bin"),                       // openSUSE
    ("/usr/libexec", "postgresql", ""),                      // Alpine
    ("/usr/lib64", "postgresql-", "bin"),                    // Gentoo
    ("/usr/local", "pgsql", "bin"),                          // built from source
    ("/opt/homebrew/opt", "postgresql", "bin"),              // Homebrew on Apple silicon
    ("/usr/local/opt", "postgresql", "bin"),                 // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"), // Homebrew on Linux
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
];

#[derive(Debug, Clone)]
pub(super) struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// The first usable folder; for an existing cluster, the first of its major version.
    pub(super) fn find(given: Option<&Path>, state: &State, data: &Path) -> Result<Self, EmbeddedError> {
        let folders = given.map_or_else(candidates, |folder| vec![folder.to_owned()]);
        let found: Vec<Self> = folders.into_iter().filter_map(Self::at).collect();
        let Some(first) = found.first() else {
            return Err(given
                .map_or(EmbeddedError::NoBinaries, |folder| EmbeddedError::NoBinariesIn(folder.to_owned())));
        };
        let State::Cluster { major } = state else {
            return Ok(first.clone());
        };
        found.iter().find(|binaries| binaries.major() == major).cloned().ok_or_else(|| {
            EmbeddedError::OtherMajor {
                path: data.to_owned(),
                data: major.clone(),
                server: found.iter().map(Self::major).collect::<Vec<_>>().join(", "),
            }
        })
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// As the server says it, e.g. `16.4`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    fn major(&self) -> &str {
        self.version.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default()
    }

    fn at(folder: PathBuf) -> Option<Self> {
        // `pg_config` comes with the client's packages too, so the folder alone proves nothing.
        folder.join("initdb").is_file().then_some(())?;
        let said = output(Command::new(folder.join("postgres")).arg("--version"))?;
        let version = said.split_once(") ")?.1.split_whitespace().next()?.to_owned();
        Some(Self { folder, version })
    }
}

/// All folders worth a look, best first.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    folders.extend(output(Command::new("pg_config").arg("--bindir")).map(PathBuf::from));
    folders.extend(on_the_path());
    for (parent, prefix, bin) in PLACES {
        folders.extend(versioned(Path::new(parent), prefix).into_iter().map(|folder| folder.join(bin)));
    }
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

fn on_the_path() -> Option<PathBuf> {
    let initdb = output(Command::new("/bin/sh").args(["-c", "command -v initdb"]))?;
    // Homebrew and others link single programs into one folder; the server is beside the real one.
    let real = std::fs::canonicalize(initdb).ok()?;
    real.parent().map(Path::to_owned)
}

/// The subfolders with this prefix and a version (or nothing) behind it, newest first.
fn versioned(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let rest = name.strip_prefix(prefix)?.trim_start_matches(['@', '-']);
            let major = rest.split('.').next().unwrap_or_default();
            let version = if rest.is_empty() { 0 } else { major.parse().ok()? };
            Some((version, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_first_and_strangers_left_out() {
        let parent = tempfile::tempdir().expect("a folder");
        for name in ["postgresql@9.6", "postgresql@16", "postgresql", "postgresqlx", "other", "postgresql@17"]
        {
            std::fs::create_dir(parent.path().join(name)).expect("a folder");
        }
        let names: Vec<_> = versioned(parent.path(), "postgresql")
            .into_iter()
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect();
        assert_eq!(names, ["postgresql@17", "postgresql@16", "postgresql@9.6", "postgresql"]);
    }
}
