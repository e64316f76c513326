//! A file for a secret: only its owner may read it, and it is there whole or not at all. It is made sure of before there is
//! a secret.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use model::{
    fault::{Fault, Reason},
    secret::Secret,
};

/// A file that can be written.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    temporary: tempfile::NamedTempFile,
}

impl SecretFile {
    /// Makes sure that the file can be written. One that is there stays: it may hold a token that is still good.
    ///
    /// # Errors
    /// `REPORT_UNWRITABLE`
    pub(crate) fn prepare(path: &Path) -> Result<Self, Fault> {
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = match fs::metadata(path) {
            Ok(there) if !there.is_file() => Err(io::Error::other("something that is no file is there")),
            Ok(_) => Err(io::Error::other("a file is there already, maybe with a token that is still good")),
            // Nobody else may read it: that is how temporary files are made.
            _ => tempfile::Builder::new().prefix(".resetctl-").tempfile_in(folder),
        };
        let temporary = made.map_err(|error| {
            unwritable(path, &error).hint("choose another file with --output; no token was made")
        })?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// Writes the secret, as one line, and gives the path.
    ///
    /// # Errors
    /// `REPORT_UNWRITABLE`
    pub(crate) fn write(self, secret: &Secret<String>) -> Result<PathBuf, Fault> {
        let Self { path, mut temporary } = self;
        let written = temporary.write_all(secret.expose().as_bytes()).and_then(|()| {
            temporary.write_all(b"\n")?;
            temporary.as_file().sync_all()?;
            temporary.persist_noclobber(&path).map(|_| ()).map_err(|e| e.error)
        });
        written.map_err(|error| unwritable(&path, &error))?;
        Ok(path)
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Reason::ReportUnwritable,
        format!("the token cannot be written to {}: {error}", path.display()),
    )
    .with("path", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_its_owner_may_read_it_and_one_that_is_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let secret = Secret::new("new".to_owned());
        let written = SecretFile::prepare(&path).and_then(|f| f.write(&secret)).expect("writable");
        assert_eq!(fs::read_to_string(&written).expect("there"), "new\n");
        assert_eq!(fs::metadata(&written).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        let fault = SecretFile::prepare(&path).expect_err("it may still be good");
        assert!(fault.message.contains("there already"), "{fault}");
        assert_eq!(fs::read_to_string(&path).expect("there"), "new\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_before_there_is_a_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_owned(), folder.path().join("none/token")] {
            let fault = SecretFile::prepare(&path).expect_err("no file can be there");
            assert_eq!(fault.reason, Reason::ReportUnwritable);
        }
    }
}
