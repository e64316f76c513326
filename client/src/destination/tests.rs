//! Which of what was said counts.

use clap::Parser as _;
use model::secret::Secret;

use super::*;

#[test]
fn a_named_server_does_not_inherit_the_default_contexts_target() {
    let context = || Context {
        server: Some("unix:/context".into()),
        target: Some("staging".into()),
        token_file: Some("/context/token".into()),
        ..Context::default()
    };
    let environment = Environment::default();
    let chosen = |server: &str, named: Option<&str>| {
        let mut args = Args::try_parse_from(["resetctl", "targets"]).expect("understood");
        (args.server, args.target) = (Some(server.to_owned()), None);
        args.context = named.map(str::to_owned);
        let it = Destination::choose(&args, context(), &environment).expect("chosen");
        (it.address.to_string(), it.target, it.address.credentials.token_file.is_some())
    };
    assert_eq!(chosen("unix:/x", None), ("unix:/x".into(), String::new(), false));
    assert_eq!(chosen("unix:/x", Some("lab")), ("unix:/x".into(), "staging".into(), true));
    assert_eq!(chosen("", None), ("unix:/context".into(), "staging".into(), true));
}

#[test]
fn what_is_said_goes_before_the_environment_and_both_before_the_context() {
    let context = Context {
        ca: Some("context.ca".into()),
        cert: Some("context.cert".into()),
        key: Some("context.key".into()),
        token_file: Some("context.token".into()),
        ..Context::default()
    };
    let args = |words: &str| {
        let mut args = Args::try_parse_from(words.split(' ')).expect("understood").auth;
        // The variables of whoever runs the tests do not count.
        let said =
            |flag: &str, path: &mut Option<PathBuf>| *path = path.take().filter(|_| words.contains(flag));
        said("--ca", &mut args.ca);
        said("--cert", &mut args.cert);
        said("--key", &mut args.key);
        said("--token-file", &mut args.token_file);
        args
    };
    let silent = Environment::default();
    let it = credentials(&args("resetctl targets"), &context, &silent);
    assert_eq!((it.ca, it.token_file), (Some("context.ca".into()), Some("context.token".into())));
    assert_eq!((it.cert, it.key), (Some("context.cert".into()), Some("context.key".into())));
    let it = credentials(&args("resetctl targets --ca a --cert b"), &context, &silent);
    assert_eq!((it.ca, it.cert, it.key), (Some("a".into()), Some("b".into()), None), "a pair is not mixed");
    let environment = Environment { token: Some(Secret::new("rsd_e".to_owned())), ..Environment::default() };
    let it = credentials(&args("resetctl targets"), &context, &environment);
    assert_eq!((it.token.is_some(), it.token_file), (true, None));
    let it = credentials(&args("resetctl targets --token-file t"), &context, &environment);
    assert_eq!((it.token, it.token_file), (None, Some("t".into())));
}
