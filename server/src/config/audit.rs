//! `[audit]`: where the audit record goes beside the control database. Must not know what a record says.

use super::problem::Problems;
use super::section::Section;
use crate::audit_lines::AuditLines;

/// Reads the section.
pub(super) fn parse(root: &Section<'_>, problems: &mut Problems) -> AuditLines {
    let Some(section) = root.table("audit", problems) else { return AuditLines::default() };
    section.only(&["file", "stderr"], problems);
    AuditLines {
        file: section.string("file", problems).map(|path| path.value.into()),
        stderr: section.flag("stderr", problems).unwrap_or(false),
    }
}
