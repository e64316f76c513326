//! The audit record as JSON lines, beside the one in the control database: in a file, on standard error, or both.
//!
//! The file is opened for each append: whoever rotates it needs to tell nobody. It must not know what a record says.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

use model::fault::{Fault, Reason};

/// Where lines go.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditLines {
    /// To this file.
    pub file: Option<PathBuf>,
    /// To standard error.
    pub stderr: bool,
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
            let file = lines
                .file
                .as_ref()
                .map(|path| OpenOptions::new().append(true).create(true).mode(0o600).open(path));
            file.transpose().map_err(|error| lines.unavailable(&error)).map(|file| Open { lines, file })
        });
        opened.await.map_err(|e| Fault::new(Reason::Internal, format!("opening the audit file: {e}")))?
    }

    fn unavailable(&self, error: &io::Error) -> Fault {
        let path = self.file.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        Fault::new(Reason::AuditUnavailable, format!("the audit file {path} cannot be written: {error}"))
            .hint("mend the file or its folder, or [audit] file in the daemon's configuration")
    }
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
