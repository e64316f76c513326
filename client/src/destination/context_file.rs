//! The file of contexts, changed: what a person wrote beside them stays, and the file is there whole or as it was. Tokens are
//! never in it, only the names of files.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use model::fault::{Fault, Reason};
use toml_edit::{DocumentMut, Item, Table, value};

use super::context;
use crate::{environment::Environment, settings::Settings};

/// The file, open for a change. Nobody else changes it meanwhile.
pub(crate) struct ContextFile {
    path: PathBuf,
    document: DocumentMut,
    /// The folder's lock.
    _lock: File,
}

impl ContextFile {
    /// Opens it for a change; a file that is not there is made with the first change.
    ///
    /// # Errors
    /// There is no home folder, or the file cannot be read or is no TOML.
    pub(crate) fn open(environment: &Environment) -> Result<Self, Fault> {
        let path = context::path(environment).ok_or_else(|| {
            Fault::new(
                Reason::InvalidRequest,
                "there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set",
            )
            .hint("set HOME, or say everything with flags")
        })?;
        // Behind a link (a folder of dotfiles) the file itself is changed.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let folder = path.parent().unwrap_or(Path::new("."));
        let lock = fs::create_dir_all(folder).and_then(|()| File::open(folder)).and_then(|folder| {
            folder.lock()?;
            Ok(folder)
        });
        let lock = lock.map_err(|error| unwritable(&path, &error))?;
        let text = context::read(&path)?.unwrap_or_default();
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            let message = format!("{}:{line}: {}", path.display(), error.message());
            Fault::new(Reason::InvalidRequest, message).hint("mend the file by hand; it was left as it is")
        })?;
        Ok(Self { path, document, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let all = self.document.get("context").and_then(Item::as_table_like);
        all.map(|all| all.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
    }

    /// The default one.
    pub(crate) fn default(&self) -> Option<&str> {
        self.document.get("default").and_then(Item::as_str)
    }

    /// Puts a context in, in the place of one of that name.
    ///
    /// # Errors
    /// `context` is something else in this file.
    pub(crate) fn put(&mut self, name: &str, settings: &Settings) -> Result<(), Fault> {
        let all = self.document.entry("context").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let Some(all) = all.as_table_like_mut() else {
            return Err(Fault::new(
                Reason::InvalidRequest,
                format!("{}: `context` is no table", self.path.display()),
            )
            .hint("mend the file by hand; it was left as it is"));
        };
        // What stands above the old one, and keys that this version does not know, stay.
        let mut one = all.remove(name).and_then(|old| old.into_table().ok()).unwrap_or_default();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let values = [
            ("server", settings.server.clone()),
            ("target", settings.target.clone()),
            ("ca", path(&settings.ca)),
            ("cert", path(&settings.cert)),
            ("key", path(&settings.key)),
            ("token_file", path(&settings.token_file)),
        ];
        for (key, text) in values {
            match text {
                Some(text) => one[key] = value(text),
                None => {
                    one.remove(key);
                }
            }
        }
        all.insert(name, Item::Table(one));
        Ok(())
    }

    /// Takes a context out, and the default with it where that is the same.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(all) = self.document.get_mut("context").and_then(Item::as_table_like_mut) {
            all.remove(name);
        }
        if self.default() == Some(name) {
            self.set_default(None);
        }
    }

    /// Makes it the default one.
    pub(crate) fn set_default(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.document["default"] = value(name),
            None => {
                self.document.remove("default");
            }
        }
    }

    /// Writes it: whole, and for its owner only.
    ///
    /// # Errors
    /// It cannot be written; then it is as it was.
    pub(crate) fn write(self) -> Result<PathBuf, Fault> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = tempfile::Builder::new()
            .prefix(".config-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .and_then(|mut file| {
                file.write_all(self.document.to_string().as_bytes())?;
                file.as_file().sync_all()?;
                file.persist(&self.path).map_err(|error| error.error)?;
                File::open(folder)?.sync_all()
            });
        written.map_err(|error| unwritable(&self.path, &error))?;
        Ok(self.path)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Reason::InvalidRequest,
        format!("{} cannot be written: {error}; it is as it was", path.display()),
    )
    .hint("see who owns the file and its folder, or set XDG_CONFIG_HOME to a folder of yours")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\ndefault = \"lab\" # for now\nlater = 1\n\n# the lab\n[context.lab]\nserver = \"unix:/x\" # here\n\
                        colour = \"red\"\n\n[context.other]\ntarget = \"t\"\n";

    fn place(text: &str) -> (tempfile::TempDir, Environment) {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir(home.path().join("resetctl")).expect("a folder");
        fs::write(home.path().join("resetctl/config.toml"), text).expect("written");
        let environment = Environment { config_home: Some(home.path().to_owned()), ..Environment::default() };
        (home, environment)
    }

    fn lab() -> Settings {
        Settings { server: Some("unix:/y".into()), token_file: Some("/t".into()), ..Settings::default() }
    }

    #[test]
    fn comments_and_unknown_keys_stay_and_the_file_is_its_owners() {
        let (_home, environment) = place(TEXT);
        let mut file = ContextFile::open(&environment).expect("a file");
        file.put("lab", &lab()).expect("a table");
        file.put("new \"one\"", &lab()).expect("a table");
        let path = file.write().expect("written");
        let text = fs::read_to_string(&path).expect("there");
        for kept in ["# mine", "# for now", "later = 1", "# the lab", "colour = \"red\"", "[context.other]"] {
            assert!(text.contains(kept), "{kept} in\n{text}");
        }
        assert!(text.contains("server = \"unix:/y\"") && !text.contains("unix:/x"), "{text}");
        assert!(
            text.contains("[context.'new \"one\"']") || text.contains("[context.\"new \\\"one\\\"\"]"),
            "{text}"
        );
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let mut file = ContextFile::open(&environment).expect("a file");
        file.remove("lab");
        let text = fs::read_to_string(file.write().expect("written")).expect("there");
        assert!(
            !text.contains("default") && !text.contains("colour") && text.contains("later = 1"),
            "{text}"
        );
        assert_eq!(
            fs::read_dir(path.parent().expect("a folder")).expect("a folder").count(),
            1,
            "nothing is left"
        );
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line_and_left_alone() {
        let broken = "default = \"lab\"\n[context.lab\n";
        let (home, environment) = place(broken);
        let fault = ContextFile::open(&environment).err().expect("broken");
        assert!(fault.message.contains("config.toml:2: "), "{fault}");
        assert_eq!(fs::read_to_string(home.path().join("resetctl/config.toml")).expect("there"), broken);
        let (_home, environment) = place("context = 3\n");
        let mut file = ContextFile::open(&environment).expect("TOML");
        assert!(file.put("lab", &lab()).is_err());
    }

    #[test]
    fn a_link_stays_and_the_file_behind_it_is_changed() {
        let (home, environment) = place("");
        let (link, real) = (home.path().join("resetctl/config.toml"), home.path().join("dotfile"));
        fs::rename(&link, &real).expect("moved");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let mut file = ContextFile::open(&environment).expect("a file");
        file.put("lab", &lab()).expect("a table");
        file.write().expect("written");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert!(fs::read_to_string(&real).expect("there").contains("[context.lab]"));
    }
}
