//! `explain`, `completions` and `man`: the verbs that need no daemon.

use std::path::Path;

use model::fault::{Fault, Reason};

use super::{print, print_bytes};
use crate::{
    completion, manual,
    render::{
        Screen,
        table::{self, left, right},
    },
    similar,
};

macro_rules! pages {
    ($($name:literal)*) => {
        /// Each reason's page, compiled in.
        const PAGES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../docs/faults/", $name, ".md")))),*];
    };
}

pages! {
    "INVALID_REQUEST" "UNKNOWN_SCHEMA" "SCOPE_CONFLICT" "REQUEST_ID_CONFLICT" "LIMIT_EXCEEDED"
    "UNAUTHENTICATED" "PERMISSION_DENIED" "CONFIRMATION_MISSING" "PRODUCTION_NAME" "TARGET_PROTECTED"
    "TARGET_NOT_ENROLLED" "SCOPE_FORBIDDEN" "CHAINS_DIFFER" "CHAINS_INVALID" "CLIENT_CHAINS_FORBIDDEN"
    "CONTROL_CONFLICT" "CONTROL_FOREIGN" "CONTROL_NEWER" "END_NOT_RECORDED"
    "NOT_CANCELLABLE" "POOLER_DETECTED" "PLAN_CHANGED" "BLAST_RADIUS" "DATA_LIMIT" "PREFLIGHT_FAILED" "NOT_TRANSACTIONAL"
    "TARGET_LOCKED" "WAIT_EXPIRED" "WINDOW_HELD" "WINDOW_REQUIRED" "WINDOW_CONFLICT" "TARGET_NOT_FOUND"
    "OPERATION_NOT_FOUND" "NOTHING_TO_UNDO" "REPORT_NOT_READY" "WINDOW_NOT_FOUND" "VALIDATION_DIFFERENCES" "REVISION_FAILED"
    "VALID_THEN_CHANGED" "VALIDITY_UNKNOWN"
    "TRANSACTION_ESCAPED" "EXTENSION_MISPLACED" "SCHEMA_PROPERTIES_LOST" "BLOCKED" "DEADLINE" "LOCK_LOST"
    "FORCED_UNLOCK" "ZOMBIE_BACKEND" "TARGET_UNREACHABLE" "COMMIT_FAILED" "OUTCOME_UNKNOWN" "CANCELLED"
    "ABANDONED" "INTERNAL" "NOT_IMPLEMENTED" "CONTROL_UNAVAILABLE" "AUDIT_UNAVAILABLE" "SHUTTING_DOWN"
    "DAEMON_UNREACHABLE" "CONTACT_LOST" "GATE_CLOSED" "AUDIT_BROKEN" "REPORT_UNWRITABLE" "TOKEN_NOT_FOUND"
    "TOOL_FAILED" "TOOL_OUTSIDE" "GATEWAY_POISONED" "GATEWAY_LOST" "GATEWAY_ROLE"
}

/// The page of a code; without a code, all codes.
///
/// # Errors
/// There is no such code.
pub(crate) fn run(screen: &mut Screen, code: Option<&str>) -> Result<u8, Fault> {
    let Some(code) = code else { return list(screen) };
    let wanted = code.trim().to_ascii_uppercase().replace('-', "_");
    match page(&wanted) {
        Some(page) => print_bytes(screen, format!("{}\n", page.trim_end()).as_bytes()),
        None => {
            Err(Fault::new(Reason::InvalidRequest, format!("`{code}` is not a fault code of this version"))
                .hint(match similar::meant(&wanted, Reason::ALL.iter().map(|it| it.name())) {
                    Some(meant) => format!("did you mean {meant}? `resetctl explain` lists them all"),
                    None => "`resetctl explain` lists them all".to_owned(),
                }))
        }
    }
}

fn page(code: &str) -> Option<&'static str> {
    PAGES.iter().find(|(name, _)| *name == code).map(|(_, page)| *page)
}

fn list(screen: &mut Screen) -> Result<u8, Fault> {
    let row = |r: &Reason| vec![r.name().to_owned(), r.exit_code().to_string(), r.meaning().to_owned()];
    let rows: Vec<Vec<String>> = Reason::ALL.iter().map(row).collect();
    let lines =
        table::layout(&[left("CODE", 0), right("EXIT", 0), left("MEANING", 0)], &rows, screen.data_width());
    print(screen, &lines)
}

/// The completion script of a shell.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn completions(screen: &mut Screen, shell: clap_complete::Shell) -> Result<u8, Fault> {
    let script = completion::script(&shell.to_string())
        .ok_or_else(|| Fault::new(Reason::Internal, format!("no script is known for {shell}")))?;
    print_bytes(screen, &script)
}

/// The program's man page, or all pages in a folder.
///
/// # Errors
/// The folder or standard output cannot be written.
pub(crate) fn man(screen: &mut Screen, folder: Option<&Path>) -> Result<u8, Fault> {
    let unwritable = |error| Fault::new(Reason::ReportUnwritable, format!("man pages: {error}"));
    match folder {
        Some(folder) => {
            let paths = manual::write(folder).map_err(unwritable)?;
            let lines: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            print(screen, &lines)
        }
        None => {
            let pages = manual::pages().map_err(unwritable)?;
            print_bytes(screen, pages.first().map(|page| page.text.as_slice()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_page_that_says_something_and_no_page_is_without_a_reason() {
        for reason in Reason::ALL {
            let page = page(reason.name()).unwrap_or_else(|| panic!("{reason} has no page"));
            assert!(page.trim().len() > 80 && page.contains(reason.name()), "{reason}: {page:?}");
        }
        for (name, _) in PAGES {
            assert!(name.parse::<Reason>().is_ok(), "{name} is no reason");
        }
    }
}
