//! What counts in practice: addresses, credentials, and what is told of them.

use clap::Parser as _;
use model::secret::Secret;

use super::*;
use crate::destination::context::{By, Context};

fn context(named: bool) -> Context {
    let settings = Settings {
        server: Some("unix:/context".into()),
        target: Some("staging".into()),
        token_file: Some("/context/token".into()),
        ..Settings::default()
    };
    Context { name: "lab".into(), by: if named { By::Flag } else { By::Default }, settings }
}

fn destination(words: &str, context: Option<Context>, environment: Settings) -> Result<Destination, Fault> {
    let args = Args::try_parse_from(words.split(' ')).expect("understood");
    Destination::choose(&Sources { flags: flags(&args), context, environment }, &Environment::default())
}

#[test]
fn a_named_server_does_not_inherit_the_default_contexts_target() {
    let chosen = |words: &str, named: bool| {
        let it = destination(words, Some(context(named)), Settings::default()).expect("chosen");
        (it.address.to_string(), it.target, it.address.credentials.token_file.is_some())
    };
    assert_eq!(chosen("resetctl --server unix:/x targets", false), ("unix:/x".into(), String::new(), false));
    let both = ("unix:/x".into(), "staging".into(), true);
    assert_eq!(chosen("resetctl --server unix:/x targets", true), both);
    assert_eq!(chosen("resetctl targets", false), ("unix:/context".into(), "staging".into(), true));
}

/// It is a variable that a script did not set: another target would be meant if it were taken for one that was left out.
#[test]
fn an_empty_flag_is_not_one_that_was_left_out() {
    for flag in ["--target", "--server", "--context", "--ca", "--cert", "--key", "--token-file"] {
        let error = Args::try_parse_from(["resetctl", flag, "", "targets"]).expect_err(flag);
        assert_eq!(error.kind(), clap::error::ErrorKind::InvalidValue, "{flag}");
    }
}

#[test]
fn the_environments_token_is_for_where_no_stronger_source_has_one() {
    let environment = || Settings { token: Some(Secret::new("rsd_e".to_owned())), ..Settings::default() };
    let token = |words: &str, named| {
        let it = destination(words, Some(context(named)), environment()).expect("chosen").address.credentials;
        (it.token.is_some(), it.token_file)
    };
    assert_eq!(token("resetctl targets", false), (true, None));
    assert_eq!(token("resetctl targets", true), (false, Some("/context/token".into())));
    assert_eq!(token("resetctl --token-file t targets", true), (false, Some("t".into())));
}

#[test]
fn a_statement_names_everything_and_a_conflict_says_what_counts() {
    let environment = Settings {
        server: Some("unix:/context".into()),
        target: Some("other".into()),
        ..Settings::default()
    };
    let it = destination("resetctl targets", Some(context(true)), environment).expect("chosen");
    assert_eq!(
        it.statement(Verb::Run, "staging", "butlers"),
        "run: target staging (--context lab), database butlers, daemon unix:/context (--context lab)"
    );
    // The daemon is the same in both.
    assert_eq!(it.conflicts, ["target staging (--context lab) counts, not other (RESETCTL_TARGET)"]);
    let silent = destination("resetctl targets", None, Settings::default()).expect("chosen");
    assert!(silent.conflicts.is_empty());
    let text = silent.statement(Verb::Reset, "only", "butlers");
    assert!(text.contains("(the daemon's only target)") && text.contains("(the local socket)"), "{text}");
}

#[test]
fn one_address_written_in_two_ways_is_no_conflict() {
    let environment = Settings { server: Some("http://127.0.0.1:1".into()), ..Settings::default() };
    let it = destination("resetctl --server 127.0.0.1:1 targets", None, environment).expect("chosen");
    assert!(it.conflicts.is_empty(), "{:?}", it.conflicts);
}
