//! Reports on disk: whole or not at all, checked before anything starts.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::fault::{Fault, Reason};
use uuid::Uuid;

use crate::{environment::Environment, intent::ReportTo};

/// Where reports are kept when nothing is said, below the state of the person (`XDG_STATE_HOME`, `~/.local/state`).
const FOLDER: &str = "resetctl/reports";

/// Where a report can be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum ReportSink {
    /// Standard output.
    Stdout,
    /// A new file in this folder.
    Folder(PathBuf),
    /// This file.
    File(PathBuf),
    /// A pipe or device: it is written to, never replaced.
    Device(PathBuf),
    /// Nowhere: nobody said where, and the usual place cannot be written to, for this reason.
    Nowhere(String),
}

impl ReportSink {
    /// Finds out that a report can be written, before anything is started: parents of a named path are created, a
    /// temporary file is made and removed. Whether a missing report is an error is a key of the profile, which only the
    /// daemon knows; for what changes something (`changes`) the client keeps to the strictest profile.
    ///
    /// # Errors
    /// `REPORT_UNWRITABLE`
    pub(crate) fn prepare(to: &ReportTo, environment: &Environment, changes: bool) -> Result<Self, Fault> {
        match to {
            ReportTo::Stdout => Ok(Self::Stdout),
            ReportTo::DefaultFolder => match Self::usual(environment) {
                Err(fault) if !changes => Ok(Self::Nowhere(fault.message)),
                sink => sink,
            },
            ReportTo::File(path) => Self::file(path).map_err(|e| unwritable(path, &e)),
        }
    }

    fn usual(environment: &Environment) -> Result<Self, Fault> {
        let folder = usual_folder(environment)?;
        // Nothing is made for what may be refused: that it can be made is enough.
        let there = folder.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/"));
        temporary(there).map_err(|e| unwritable(&folder, &e))?;
        Ok(Self::Folder(folder))
    }

    fn file(path: &Path) -> io::Result<Self> {
        // A link's target is replaced, not the link.
        let path = match fs::symlink_metadata(path) {
            Ok(it) if it.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            _ => path.to_owned(),
        };
        match fs::metadata(&path) {
            Ok(it) if it.is_dir() => return Err(io::Error::other("it is a folder")),
            Ok(it) if !it.is_file() => return Ok(Self::Device(path)),
            _ => {}
        }
        if path.file_name().is_none() {
            return Err(io::Error::other("it names no file"));
        }
        try_folder(folder_of(&path))?;
        Ok(Self::File(path))
    }

    /// Writes a report; gives the path where it is, none for standard output (`stdout` writes there).
    ///
    /// # Errors
    /// It could not be written; then nothing is there.
    pub(crate) fn write(
        &self,
        name: &str,
        bytes: &[u8],
        stdout: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> io::Result<Option<PathBuf>> {
        let path = match self {
            Self::Stdout => return stdout(bytes).map(|()| None),
            Self::Nowhere(why) => return Err(io::Error::other(why.clone())),
            Self::Device(path) => {
                File::options().write(true).open(path)?.write_all(bytes)?;
                return Ok(Some(path.clone()));
            }
            Self::Folder(folder) => folder.join(name),
            Self::File(path) => path.clone(),
        };
        write_atomically(&path, bytes)?;
        Ok(Some(path))
    }
}

/// Where reports are kept when nothing is said.
///
/// # Errors
/// `REPORT_UNWRITABLE`: the environment names no place.
pub(crate) fn usual_folder(environment: &Environment) -> Result<PathBuf, Fault> {
    environment.state_home.as_ref().map(|state| state.join(FOLDER)).ok_or_else(|| {
        Fault::new(
            Reason::ReportUnwritable,
            "there is no place to keep the report: neither XDG_STATE_HOME nor HOME is set; nothing was started",
        )
        .hint("say where it goes: --report-path PATH, or --report-path - for standard output")
    })
}

/// `<UTC time>-<target>-<verb>-<operation>.json`; a refused request has no operation.
pub(crate) fn name(at: Timestamp, target: &str, verb: &str, operation: Option<Uuid>) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let target: String =
        if target.is_empty() { "target".to_owned() } else { target.chars().take(100).map(safe).collect() };
    let operation = operation.map_or_else(|| "refused".to_owned(), |id| id.to_string());
    format!("{}-{target}-{verb}-{operation}.json", at.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let mut file = temporary(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    File::open(folder)?.sync_all()
}

/// Reports are read by others: the file has the permissions of any new file, as the umask leaves them.
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".resetctl-")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
}

fn try_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    temporary(folder).map(drop)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(
        Reason::ReportUnwritable,
        format!("the report cannot be written to {}: {error}; nothing was started", path.display()),
    )
    .hint("give a writable --report-path, or --report-path - for standard output")
    .with("path", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(_: &[u8]) -> io::Result<()> {
        Err(io::Error::other("not stdout"))
    }

    fn listing(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).expect("read").map(|e| e.expect("entry").file_name());
        names.map(|n| n.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn names_tell_time_target_verb_and_operation() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let id = Uuid::from_u128(7);
        assert_eq!(
            name(at, "staging", "run", Some(id)),
            format!("20260102T030405.678Z-staging-run-{id}.json")
        );
        assert_eq!(name(at, "../a b", "reset", None), "20260102T030405.678Z-.._a_b-reset-refused.json");
        assert_eq!(name(at, "", "reset", None), "20260102T030405.678Z-target-reset-refused.json");
    }

    #[test]
    fn parents_are_created_and_only_the_report_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/report.json");
        let sink = ReportSink::prepare(&ReportTo::File(path.clone()), &Environment::default(), true)
            .expect("writable");
        assert_eq!(listing(path.parent().expect("a parent")), Vec::<String>::new(), "the trial is removed");
        for bytes in [&b"one\n"[..], b"two\n"] {
            assert_eq!(sink.write("unused", bytes, never).expect("written"), Some(path.clone()));
            assert_eq!(fs::read(&path).expect("read"), bytes);
        }
        assert_eq!(listing(path.parent().expect("a parent")), ["report.json"]);
    }

    #[test]
    fn folders_and_files_in_the_way_are_refused_before_anything_starts() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "").expect("written");
        for path in [folder.path().to_owned(), folder.path().join("file/report.json")] {
            let fault = ReportSink::prepare(&ReportTo::File(path), &Environment::default(), true)
                .expect_err("in the way");
            assert_eq!((fault.reason, fault.reason.exit_code()), (Reason::ReportUnwritable, 1));
        }
    }

    #[test]
    fn a_device_is_written_to_and_never_replaced() {
        let sink = ReportSink::prepare(&ReportTo::File("/dev/null".into()), &Environment::default(), true)
            .expect("writable");
        assert_eq!(sink, ReportSink::Device("/dev/null".into()));
        sink.write("unused", b"x", never).expect("written");
        assert!(!fs::metadata("/dev/null").expect("still there").is_file());
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        ReportSink::prepare(&ReportTo::File(link.clone()), &Environment::default(), true)
            .expect("writable")
            .write("unused", b"new", never)
            .expect("written");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&target).expect("read"), b"new");
    }

    #[test]
    fn the_usual_place_is_below_the_state_and_is_made_with_the_first_report() {
        let home = tempfile::tempdir().expect("a folder");
        let state = home.path().join("state");
        let environment = Environment { state_home: Some(state.clone()), ..Environment::default() };
        let sink = ReportSink::prepare(&ReportTo::DefaultFolder, &environment, true).expect("writable");
        assert!(!state.exists(), "nothing is made before there is a report");
        let path = sink.write("one.json", b"x", never).expect("written").expect("a path");
        assert_eq!(path, state.join("resetctl/reports/one.json"));
    }

    #[test]
    fn where_there_is_no_usual_place_only_what_changes_something_is_refused() {
        let nowhere = [
            Environment::default(),
            Environment { state_home: Some("/proc/none".into()), ..Environment::default() },
        ];
        for environment in nowhere {
            let fault =
                ReportSink::prepare(&ReportTo::DefaultFolder, &environment, true).expect_err("nowhere");
            assert_eq!(fault.reason, Reason::ReportUnwritable);
            let sink = ReportSink::prepare(&ReportTo::DefaultFolder, &environment, false).expect("goes on");
            assert!(sink.write("one.json", b"x", never).is_err(), "and the end says that it is not kept");
        }
    }
}
