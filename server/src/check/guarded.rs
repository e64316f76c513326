//! Files that others should not read or write: what a secret is in, and what decides who may do what. Only warns: how a
//! machine's users are kept apart is its owner's business.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::config::Config;

/// Read by others than the owner and the group.
const OTHERS_READ: u32 = 0o004;
/// Read by the group or others.
const ANYBODY_READS: u32 = 0o044;
/// Written by the group or others.
const ANYBODY_WRITES: u32 = 0o022;

/// What is open to too many, with the command that closes it.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let secrets = config.guarded_files.iter().flat_map(|path| secret(path));
    let rules = config.file.iter().filter_map(|path| open(path, ANYBODY_WRITES, "go-w", "can be written"));
    let record = config.audit.file.iter().flat_map(|path| {
        [
            open(path, OTHERS_READ, "o-r", "can be read"),
            open(path, ANYBODY_WRITES, "go-w", "can be written"),
            path.parent().and_then(|folder| open(folder, ANYBODY_WRITES, "go-w", "can be written")),
        ]
    });
    let mut all: Vec<String> = secrets.chain(rules).chain(record.flatten()).collect();
    all.dedup();
    all
}

fn secret(path: &Path) -> Vec<String> {
    let read = open(path, ANYBODY_READS, "go-rwx", "holds a secret and can be read");
    let written = || open(path, ANYBODY_WRITES, "go-rwx", "holds a secret and can be written");
    read.or_else(written).into_iter().collect()
}

fn open(path: &Path, bits: u32, mode: &str, what: &str) -> Option<String> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let found = fs::metadata(path).ok()?.permissions().mode();
    // A folder where everybody may make files but nobody may take others' away is a shared one, as /tmp.
    let sticky = found & 0o1000 != 0;
    let who = match (found & bits & 0o070 != 0, found & bits & 0o007 != 0) {
        (_, true) => "by everybody",
        (true, false) => "by its group",
        (false, false) => return None,
    };
    (!sticky).then(|| {
        format!(
            "{} {what} {who} (mode {:03o}): chmod {mode} {}",
            path.display(),
            found & 0o777,
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_told_with_the_command_that_closes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("url");
        fs::write(&file, "x").expect("a file");
        let told = |mode: u32| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("its owner");
            secret(&file).join("\n")
        };
        assert_eq!(told(0o600), "");
        assert_eq!(told(0o400), "");
        for (mode, who) in [(0o640, "by its group"), (0o604, "by everybody"), (0o620, "by its group")] {
            let told = told(mode);
            assert!(told.contains(who) && told.contains("chmod go-rwx"), "{told}");
        }
        assert_eq!(secret(&folder.path().join("missing")), Vec::<String>::new());
    }
}
