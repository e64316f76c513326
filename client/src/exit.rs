//! The exit codes as they are documented in `--help`. The numbers themselves are the model's.

/// The list shown at the end of every long help.
pub(crate) const HELP: &str = "\
Exit codes:
    0  everything asked for happened
    1  the operation failed; nothing changed
    2  the command line or the request is wrong
    3  not authenticated, or not allowed
    4  refused by a guard (confirmation, protection, blast radius, preflight, changed plan)
    6  not found
    7  validation found differences
    8  cancelled; nothing changed
    9  the target is locked, a window is in the way, or --wait expired
   10  contact was lost, the outcome is not known: `resetctl operations watch ID` re-attaches
   11  the daemon cannot be reached
   12  abandoned: the daemon ended before the operation did; nothing changed
   13  --detailed-exitcode: the real run would change something
  130  detached by Ctrl-C (143: by SIGTERM); the operation goes on";

#[cfg(test)]
mod tests {
    use model::fault::{Reason, exit};

    #[test]
    fn every_exit_code_of_the_model_is_in_the_help() {
        let listed: Vec<u8> =
            super::HELP.lines().skip(1).filter_map(|l| l.split_whitespace().next()?.parse().ok()).collect();
        for code in Reason::ALL.iter().map(|r| r.exit_code()).chain([exit::OK, exit::CHANGES, exit::SIGINT]) {
            assert!(listed.contains(&code), "{code}");
        }
        assert!(super::HELP.contains("143"));
    }
}
