//! `[audit]`: where the audit record goes beside the control database, and the key that seals it. Must not know what a
//! record says.

use std::path::PathBuf;

use model::{audit::SealKey, secret::Secret};

use super::problem::Problems;
use super::section::Section;
use crate::audit_lines::AuditLines;

const KEY_FILE: &str = "key_file";

/// Reads the section.
pub(super) fn parse(root: &Section<'_>, problems: &mut Problems) -> AuditLines {
    let Some(section) = root.table("audit", problems) else { return AuditLines::default() };
    section.only(&["file", "stderr", KEY_FILE], problems);
    AuditLines {
        file: section.string("file", problems).map(|path| path.value.into()),
        stderr: section.flag("stderr", problems).unwrap_or(false),
        seal: seal(&section, problems),
    }
}

fn seal(section: &Section<'_>, problems: &mut Problems) -> Option<(PathBuf, SealKey)> {
    let path = section.string(KEY_FILE, problems)?;
    let origin = format!("file {:?} ({KEY_FILE} in {})", path.value, section.title);
    let text = match std::fs::read_to_string(&path.value) {
        Ok(text) => Secret::new(text),
        Err(error) => {
            problems.push(path.place, format!("{origin} cannot be read: {error}"));
            return None;
        }
    };
    let key = SealKey::read(text.expose());
    if key.is_none() {
        let what = format!("{origin} holds a key of less than {} characters", SealKey::SHORTEST);
        problems.hint(path.place, what, "make one: head -c 32 /dev/urandom | base64");
    }
    key.map(|key| (path.value.into(), key))
}
