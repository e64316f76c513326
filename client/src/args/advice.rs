//! What to do about a command line that was right for the script that resetd replaces.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Flags of the script that resetd replaces, and where the daemon has what they said.
const OF_THE_SCRIPT: [(&str, &str); 5] = [
    ("--butler-schema", "the daemon's configuration says it: schemas of a [[matrix.NAME.chain]]"),
    ("--memory-schema", "the daemon's configuration says it: schemas of a [[matrix.NAME.chain]]"),
    ("--core-table", "the daemon's configuration says it: tables of a [[matrix.NAME.chain]]"),
    ("--memory-table", "the daemon's configuration says it: tables of a [[matrix.NAME.chain]]"),
    (
        "--target-env",
        "the daemon's configuration says it: database_url_env of a [target.NAME]; name the target with --target",
    ),
];

/// An error with what to do about it, where a flag of the old script was used.
pub(crate) fn with_advice(mut error: clap::Error) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument => flag.clone(),
        _ => return error,
    };
    let flag = flag.split(['=', ' ']).next().unwrap_or_default();
    if let Some((_, advice)) = OF_THE_SCRIPT.iter().find(|(old, _)| *old == flag) {
        error.remove(ContextKind::SuggestedArg);
        let advice = [format!("{advice} (docs/moving-from-the-script.md)").into()];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(advice.to_vec()));
    }
    error
}
