//! The audit record as JSON lines, beside the one in the control database: in a file, on standard error, or both.
//!
//! The file is opened for each append: whoever rotates it needs to tell nobody. It must not know what a record says.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use model::{
    audit::SealKey,
    fault::{Fault, Reason},
};

/// Where lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditLines {
    /// To this file.
    pub file: Option<PathBuf>,
    /// To standard error.
    pub stderr: bool,
    /// The file of the key by which records are sealed, and the key.
    pub seal: Option<(PathBuf, SealKey)>,
}

impl AuditLines {
    /// The key by which records are sealed.
    pub(crate) fn key(&self) -> Option<&SealKey> {
        self.seal.as_ref().map(|(_, key)| key)
    }
}

/// Lines can be written now.
pub(crate) struct Open {
    lines: AuditLines,
    file: Option<File>,
}

impl AuditLines {
    /// Opens the file, before anything is recorded in the control database: what cannot be opened is known then.
    ///
    /// # Errors
    /// `AUDIT_UNAVAILABLE`
    pub(crate) async fn open(&self) -> Result<Open, Fault> {
        let lines = self.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let file = lines.file.as_deref().map(open_or_make);
            file.transpose().map_err(|error| lines.unavailable(&error)).map(|file| Open { lines, file })
        });
        opened.await.map_err(|e| Fault::new(Reason::Internal, format!("opening the audit file: {e}")))?
    }

    fn unavailable(&self, error: &io::Error) -> Fault {
        let path = self.file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        Fault::new(Reason::AuditUnavailable, format!("the audit file {path} cannot be written: {error}"))
            .hint("fix the file or its folder, or [audit] file in the daemon's configuration")
    }
}

/// A new file belongs to the owner of its folder: an admin who makes a token as root must not shut the daemon out.
fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let file = options.create(true).open(path)?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (owner, own) = (fs::metadata(folder)?, file.metadata()?);
    if owner.uid() != own.uid()
        && let Err(error) = fchown(&file, Some(owner.uid()), Some(owner.gid()))
    {
        tracing::debug!(path = %path.display(), %error, "the audit file stays its maker's");
    }
    Ok(file)
}

impl Open {
    /// Writes lines as one piece: daemons that share a file do not mix them.
    ///
    /// # Errors
    /// `AUDIT_UNAVAILABLE`: the file took less than all of it.
    pub(crate) async fn append(self, lines: Vec<String>) -> Result<(), Fault> {
        let written = tokio::task::spawn_blocking(move || {
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            if self.lines.stderr {
                // A closed standard error is nobody's record; the control database has it.
                let _nobody = io::stderr().write_all(text.as_bytes());
            }
            match self.file {
                Some(mut file) => {
                    file.write_all(text.as_bytes()).map_err(|error| self.lines.unavailable(&error))
                }
                None => Ok(()),
            }
        });
        written.await.map_err(|e| Fault::new(Reason::Internal, format!("writing the audit file: {e}")))?
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;

    #[test]
    fn a_new_file_belongs_to_the_owner_of_its_folder_and_one_that_is_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let root = nix::unistd::Uid::effective().is_root();
        if root {
            chown(folder.path(), Some(65_534), Some(65_534)).expect("root may");
        }
        let expected = fs::metadata(folder.path()).expect("there").uid();
        drop(open_or_make(&path).expect("it can be made"));
        let made = fs::metadata(&path).expect("there");
        assert_eq!((made.uid(), made.mode() & 0o777), (expected, 0o600));
        fs::write(&path, "kept\n").expect("written");
        let mut again = open_or_make(&path).expect("it can be opened");
        again.write_all(b"more\n").expect("appended");
        assert_eq!(fs::read_to_string(&path).expect("there"), "kept\nmore\n");
    }
}
