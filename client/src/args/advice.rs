//! What a wrong command line is told beside what clap says of it: also one that was right for the script that resetd replaces.
//! It must not know what verbs do.

use std::ffi::OsString;

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};
use model::duration::parse_duration;

/// What stands alone where no verb was said.
const FIRST: &str = "\
no verb was given; these come first:

  resetctl status               who answers, and what goes on
  resetctl run --dry-run        what a run would drop, lose and apply
  resetctl run                  reset, migrate and validate, all or nothing; asks first
  resetctl validate             compare the target with its matrix
  resetctl operations watch     follow the last operation

All verbs: `resetctl --help`. One of them: `resetctl run --help`.
";

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

/// The error with a tip where one is known.
pub(crate) fn with_advice(mut error: Error, args: &[OsString]) -> Error {
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if args.len() <= 1 => {
            Error::raw(ErrorKind::MissingSubcommand, FIRST)
        }
        ErrorKind::UnknownArgument => {
            if let Some(tip) = duration_apart(&error, args) {
                let tip = ContextValue::StyledStrs(vec![tip.into()]);
                error.insert(ContextKind::Suggested, tip);
            }
            of_the_script(&mut error);
            error
        }
        _ => error,
    }
}

/// What the daemon has in place of a flag of the old script.
fn of_the_script(error: &mut Error) {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return };
    let flag = flag.split(['=', ' ']).next().unwrap_or_default().to_owned();
    if let Some((_, advice)) = OF_THE_SCRIPT.iter().find(|(old, _)| *old == flag) {
        error.remove(ContextKind::SuggestedArg);
        let advice = [format!("{advice} (docs/moving-from-the-script.md)").into()];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(advice.to_vec()));
    }
}

/// `--wait 5m`: the value of a flag that may stand alone is joined to it.
fn duration_apart(error: &Error, args: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidArg) else { return None };
    let at = args.iter().position(|word| word.to_str() == Some(wrong))?;
    let before = args.get(at.checked_sub(1)?)?;
    (before == "--wait" && parse_duration(wrong).is_ok())
        .then(|| format!("how long goes with an equals sign: '--wait={wrong}'"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn said(words: &[&str]) -> String {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        let error = Args::try_parse_from(&args).expect_err("wrong");
        with_advice(error, &args).render().to_string()
    }

    #[test]
    fn a_duration_that_stands_apart_is_told_how_it_is_written() {
        let text = said(&["resetctl", "run", "--wait", "5m"]);
        assert!(text.contains("--wait=5m"), "{text}");
        assert!(!said(&["resetctl", "run", "--wait", "extra"]).contains("--wait=extra"));
    }

    #[test]
    fn without_a_verb_the_first_steps_are_shown() {
        let text = said(&["resetctl"]);
        assert!(text.contains("resetctl run --dry-run") && text.lines().count() < 16, "{text}");
    }
}
