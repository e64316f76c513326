//! What a statement says about transactions and sessions, for one who keeps those apart that share a session.
//!
//! Whatever begins with a word of transaction control is here, understood or not: none of it may reach the session.

use super::{
    StatementKind, classify,
    lexer::{Lexer, Strings, Token},
};

/// A statement of transaction control.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Control {
    /// `BEGIN`, `START TRANSACTION`.
    Begin,
    /// `COMMIT`, `END`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT`.
    Savepoint(String),
    /// `RELEASE SAVEPOINT`.
    Release(String),
    /// `ROLLBACK TO SAVEPOINT`.
    RollbackTo(String),
    /// `SET TRANSACTION`.
    SetTransaction,
    /// `PREPARE TRANSACTION`, `COMMIT PREPARED`, `ROLLBACK PREPARED`.
    TwoPhase,
    /// Begins like one of them and is none.
    Malformed,
}

/// What a statement means for sessions that share one transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// It says nothing about transactions.
    Ordinary,
    /// It does.
    Control(Control),
    /// `COPY` from the client or to it.
    Copy,
    /// `SET LOCAL` of this setting: it ends with the transaction.
    SetLocal(String),
    /// `RESET` or `SET … TO DEFAULT` of this setting.
    Reset(String),
    /// `RESET ALL`.
    ResetAll,
    /// `SET CONSTRAINTS`.
    SetConstraints,
    /// `DEALLOCATE` of this prepared statement; `None`: of all.
    Deallocate(Option<String>),
    /// `DISCARD ALL`.
    DiscardAll,
    /// `DISCARD TEMP`.
    DiscardTemp,
    /// `VACUUM`.
    Vacuum,
    /// It makes a temporary table that the end of a transaction empties or drops.
    OnCommit,
    /// `CONCURRENTLY` stands there, in these bytes, and can be left out.
    Concurrently(std::ops::Range<usize>),
}

/// So many tokens at the beginning are looked at.
const HEAD: usize = 64;

/// What one statement means.
#[must_use]
pub fn meaning(statement: &str, strings: Strings) -> Meaning {
    let tokens = || Lexer::new(statement, strings).filter(|token| !token.is_trivia());
    let head: Vec<Token<'_>> = tokens().take(HEAD).collect();
    if let Some(control) = control(&head) {
        return Meaning::Control(control);
    }
    let is = |at: usize, word: &str| head.get(at).is_some_and(|token| token.is(word));
    let name = |at: usize| head.get(at).map(Token::name).unwrap_or_default();
    if is(0, "set") || is(0, "reset") {
        return setting(&head);
    }
    if is(0, "deallocate") {
        let at = if is(1, "prepare") && head.len() > 2 { 2 } else { 1 };
        return Meaning::Deallocate((!is(at, "all")).then(|| name(at)));
    }
    match () {
        () if is(0, "discard") && is(1, "all") => return Meaning::DiscardAll,
        () if is(0, "discard") && (is(1, "temp") || is(1, "temporary")) => return Meaning::DiscardTemp,
        () if is(0, "vacuum") => return Meaning::Vacuum,
        () => {}
    }
    let temporary = || (1..5).any(|at| is(at, "temp") || is(at, "temporary"));
    if is(0, "create") && temporary() {
        let all: Vec<Token<'_>> = tokens().collect();
        let ends = |at: &[Token<'_>]| {
            at[0].is("on") && at[1].is("commit") && (at[2].is("drop") || at[2].is("delete"))
        };
        if all.windows(3).any(ends) {
            return Meaning::OnCommit;
        }
    }
    if is(0, "select")
        && let Some((name, true)) = set_config(&head)
    {
        return Meaning::SetLocal(name);
    }
    match classify(statement, strings) {
        StatementKind::CopyStream => Meaning::Copy,
        StatementKind::NoTransaction { what } if what.ends_with("CONCURRENTLY") => concurrently(&head),
        _ => Meaning::Ordinary,
    }
}

fn concurrently(head: &[Token<'_>]) -> Meaning {
    // In parentheses it is an option among others, which PostgreSQL refuses by itself.
    let found = head.iter().enumerate().find(|(at, token)| {
        token.is("concurrently") && *at > 0 && !head[at - 1].is_symbol("(") && !head[at - 1].is_symbol(",")
    });
    found.map_or(Meaning::Ordinary, |(_, token)| Meaning::Concurrently(token.start..token.end()))
}

/// The first setting that `set_config` with a plain text sets, and whether for the transaction only.
fn set_config(tokens: &[Token<'_>]) -> Option<(String, bool)> {
    let at = tokens.iter().position(|token| token.is("set_config"))?;
    let (open, name) = (tokens.get(at + 1)?, tokens.get(at + 2)?);
    let plain = name.text.strip_prefix('\'')?.strip_suffix('\'').filter(|_| open.is_symbol("("))?;
    let mut depth = 1;
    let rest = &tokens[at + 2..];
    let end = rest.iter().position(|token| {
        depth += i32::from(token.is_symbol("(")) - i32::from(token.is_symbol(")"));
        depth == 0
    })?;
    Some((plain.to_lowercase(), end > 0 && rest[end - 1].is("true")))
}

/// The settings of nobody's that a statement names to set them, as far as can be told from its text: PostgreSQL lists them
/// nowhere.
#[must_use]
pub fn custom_setting(statement: &str, strings: Strings) -> Option<String> {
    let tokens = Lexer::new(statement, strings).filter(|token| !token.is_trivia());
    let head: Vec<Token<'_>> = tokens.take(HEAD).collect();
    let name = match head.first()? {
        first if first.is("set") => {
            let scope = head.get(1).is_some_and(|token| token.is("local") || token.is("session"));
            setting_name(head.get(1 + usize::from(scope)..)?)
        }
        _ => set_config(&head)?.0,
    };
    name.contains('.').then_some(name)
}

fn setting(head: &[Token<'_>]) -> Meaning {
    let is = |at: usize, word: &str| head.get(at).is_some_and(|token| token.is(word));
    if is(0, "reset") {
        return match is(1, "all") {
            true => Meaning::ResetAll,
            false => Meaning::Reset(setting_name(&head[1..])),
        };
    }
    if is(1, "constraints") {
        return Meaning::SetConstraints;
    }
    let local = is(1, "local");
    let rest =
        &head[if local || is(1, "session") && !is(2, "authorization") { 2 } else { 1 }.min(head.len())..];
    let name = setting_name(rest);
    if local {
        return Meaning::SetLocal(name);
    }
    let last = head.last().is_some_and(|token| token.is("default"));
    match last && head.len() <= 7 && !is(2, "characteristics") {
        true => Meaning::Reset(name),
        false => Meaning::Ordinary,
    }
}

/// The setting at the beginning of these tokens: what has words of its own goes by its name.
fn setting_name(tokens: &[Token<'_>]) -> String {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    match () {
        () if is(0, "time") && is(1, "zone") => return "timezone".to_owned(),
        () if is(0, "session") && is(1, "authorization") => return "session_authorization".to_owned(),
        () if is(0, "transaction") && is(1, "isolation") => return "transaction_isolation".to_owned(),
        () if is(0, "names") => return "client_encoding".to_owned(),
        () if is(0, "schema") => return "search_path".to_owned(),
        () => {}
    }
    let mut name = tokens.first().map(Token::name).unwrap_or_default();
    let mut at = 1;
    while tokens.get(at).is_some_and(|token| token.is_symbol("."))
        && let Some(part) = tokens.get(at + 1)
    {
        name = format!("{name}.{}", part.name());
        at += 2;
    }
    name
}

/// The statement as transaction control, if its first words are.
fn control(tokens: &[Token<'_>]) -> Option<Control> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(word));
    let noise = |at: usize| at + usize::from(is(at, "work") || is(at, "transaction"));
    let name = |at: usize, control: fn(String) -> Control| match tokens.len() == at + 1 {
        true => control(tokens[at].name()),
        false => Control::Malformed,
    };
    let end = |at: usize, control: fn(bool) -> Control| {
        let no = usize::from(is(at + 1, "no"));
        match tokens.len() - at {
            0 => control(false),
            length if is(at, "and") && is(at + 1 + no, "chain") && length == 2 + no => control(no == 0),
            _ => Control::Malformed,
        }
    };
    let first = tokens.first()?;
    Some(match first.text.to_ascii_lowercase().as_str() {
        "begin" => Control::Begin,
        "start" if is(1, "transaction") => Control::Begin,
        "commit" | "rollback" if is(1, "prepared") => Control::TwoPhase,
        "prepare" if is(1, "transaction") => Control::TwoPhase,
        "commit" | "end" => end(noise(1), |chain| Control::Commit { chain }),
        "rollback" if is(noise(1), "to") => {
            let at = noise(1) + 1;
            name(at + usize::from(is(at, "savepoint") && tokens.len() > at + 1), Control::RollbackTo)
        }
        "rollback" | "abort" => end(noise(1), |chain| Control::Rollback { chain }),
        "savepoint" => name(1, Control::Savepoint),
        "release" => name(1 + usize::from(is(1, "savepoint") && tokens.len() > 2), Control::Release),
        "start" => Control::Malformed,
        "set" if is(1, "transaction") || is(1, "local") && is(2, "transaction") => Control::SetTransaction,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Meaning {
        meaning(text, Strings::Standard)
    }

    #[test]
    fn transaction_control_is_known_by_its_first_words() {
        let named = |name: &str| name.to_owned();
        for (text, expected) in [
            ("begin isolation level serializable", Control::Begin),
            ("/* x */ START -- y\n TRANSACTION", Control::Begin),
            ("COMMIT WORK AND CHAIN", Control::Commit { chain: true }),
            ("end transaction and no chain", Control::Commit { chain: false }),
            ("ABORT", Control::Rollback { chain: false }),
            ("ROLLBACK TRANSACTION AND CHAIN", Control::Rollback { chain: true }),
            ("ROLLBACK TO a", Control::RollbackTo(named("a"))),
            ("ROLLBACK WORK TO SAVEPOINT \"A b\"", Control::RollbackTo(named("A b"))),
            ("rollback to savepoint", Control::RollbackTo(named("savepoint"))),
            ("SAVEPOINT Sp", Control::Savepoint(named("sp"))),
            ("RELEASE SAVEPOINT x", Control::Release(named("x"))),
            ("release x", Control::Release(named("x"))),
            ("PREPARE TRANSACTION 'x'", Control::TwoPhase),
            ("COMMIT PREPARED 'x'", Control::TwoPhase),
            ("SET LOCAL TRANSACTION READ ONLY", Control::SetTransaction),
            ("COMMIT x", Control::Malformed),
            ("COMMIT AND", Control::Malformed),
            ("SAVEPOINT a b", Control::Malformed),
            ("START x", Control::Malformed),
        ] {
            assert_eq!(of(text), Meaning::Control(expected), "{text}");
        }
        for text in
            ["PREPARE x AS SELECT 1", "SELECT 'COMMIT'", "DO $$ BEGIN COMMIT; END $$", "beginning", ""]
        {
            assert_eq!(of(text), Meaning::Ordinary, "{text}");
        }
    }

    #[test]
    fn what_concerns_a_session_is_told_apart() {
        let text = |name: &str| name.to_owned();
        for (sql, expected) in [
            ("SET LOCAL lock_timeout = '5s'", Meaning::SetLocal(text("lock_timeout"))),
            ("SET LOCAL TIME ZONE 'UTC'", Meaning::SetLocal(text("timezone"))),
            ("set local app.user to 'x'", Meaning::SetLocal(text("app.user"))),
            ("SELECT set_config('app.user', f(1), true)", Meaning::SetLocal(text("app.user"))),
            ("SELECT set_config('app.user', 'x', false)", Meaning::Ordinary),
            ("SET search_path TO a", Meaning::Ordinary),
            ("SET search_path TO DEFAULT", Meaning::Reset(text("search_path"))),
            ("RESET app.user", Meaning::Reset(text("app.user"))),
            ("RESET ALL", Meaning::ResetAll),
            ("SET CONSTRAINTS ALL DEFERRED", Meaning::SetConstraints),
            ("DEALLOCATE PREPARE a", Meaning::Deallocate(Some(text("a")))),
            ("DEALLOCATE ALL", Meaning::Deallocate(None)),
            ("DISCARD ALL", Meaning::DiscardAll),
            ("VACUUM (ANALYZE) t", Meaning::Vacuum),
            ("CREATE TEMP TABLE t (a int) ON COMMIT DROP", Meaning::OnCommit),
            ("CREATE TEMP TABLE t (a int)", Meaning::Ordinary),
            ("COPY t FROM STDIN", Meaning::Copy),
            ("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)", Meaning::Concurrently(20..32)),
            ("REINDEX (CONCURRENTLY) TABLE t", Meaning::Ordinary),
        ] {
            assert_eq!(of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn settings_that_postgresql_does_not_list_are_known_by_their_names() {
        let of = |text: &str| custom_setting(text, Strings::Standard);
        for text in
            ["SET App.user = 'x'", "SET LOCAL app.user TO 'x'", "SELECT set_config('app.user', 'x', false)"]
        {
            assert_eq!(of(text).as_deref(), Some("app.user"), "{text}");
        }
        for text in ["SET work_mem = '1MB'", "SELECT 1", "SELECT set_config(name, 'x', false)", ""] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
