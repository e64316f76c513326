//! The cutter against PostgreSQL itself: a piece is never two statements, and no COMMIT escapes it.

use fastrand::Rng;
use harness::{Make, Newer, TestTarget};
use model::sql::{self, Budget, Cutter, StatementKind, Strings};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _};

#[path = "../../proto/model/tests/fuzz/generator.rs"]
mod generator;

/// How many texts are made up beside the written ones.
const TEXTS: u64 = 6_000;

/// Each hides a COMMIT, or what looks like one, from whoever cuts by hand.
const AWKWARD: &[&str] = &[
    "select 1; commit; select 2",
    "select 1 /* ; */ ; /* /* */ ; */ commit",
    "select 'it''s; commit'; select E'it\\'s; commit; --'; commit",
    "select E'a'\n'b\\'; commit; --'; commit",
    "select E'a' -- x\n 'b\\'; commit; --'; commit",
    "select E'a' /* x\n */ 'b\\'; commit; --'; commit",
    "select 'a\\'; commit; --'",
    "select U&'a\\0061\\'; commit; --'",
    "select $$;$$; select $a$ $$ ; commit; $a$; select $1$; commit; $1$",
    "select 1 as a$a$; commit; select 2 as b$a$",
    "select 1 as \"a;\"\"b\"; commit",
    "select 1 -- a\r; commit",
    "select 1 -- a\u{2028}; commit",
    "select 1 +--; commit\n 1; commit",
    "select 2 */* ; commit; */ 2; commit",
    "create function pg_temp.f() returns int begin atomic select 1 end; select 2; end; commit",
    "create function pg_temp.f() returns int begin atomic select 1 case; end; commit; select 1; end; commit",
    "create function pg_temp.f() returns int begin atomic select case when true then 1 end; end; commit",
    "create function pg_temp.f() returns int begin atomic select 1 as end; end; commit",
    "create function pg_temp.f() returns int begin atomic end; commit; select case when true then 1 end",
    "create function pg_temp.f() returns int set search_path = begin begin atomic; select 1; end; commit",
    "create function pg_temp.begin(begin atomic) returns int return 1; commit",
    "create or replace procedure pg_temp.p() begin atomic ;;; end; commit",
    "create temp table begin (atomic int); commit; select 1 as end",
    "select begin atomic from (select 1 as begin) x; commit; select 1 end",
    "create temp table t (a int); create rule r as on insert to t do also (select 1; delete from t); commit",
    "do $$ begin commit; end $$; commit",
    "prepare p as select 1; commit; deallocate p",
    "begin; commit and chain; rollback and no chain",
    "start transaction; end work; abort",
    "commit prepared 'x'; prepare transaction 'y'; savepoint a; release a; rollback to a",
    "select (1; commit)",
    "select 1); commit",
    "\u{feff}commit; select 1",
    "\u{a0}commit; select 1",
    ";;; commit ;;;",
    "select 1\u{b}; commit",
    "select 1e'a\\'; commit; --'",
    "select x'1f'; select b'1'; select n'a\\'; commit; --'",
    "explain (costs off) select 1; commit",
];

struct Seen {
    texts: usize,
    pieces: usize,
    /// Texts that the server took as a whole, and that have a transaction statement.
    refused: usize,
    /// Those that were sent in a transaction, and that ran to their end.
    sent: usize,
    ran: usize,
}

#[tokio::test]
async fn no_piece_is_two_statements_and_no_commit_escapes() {
    // The newest server reads as the oldest.
    let newer = Newer::start().await;
    let targets = [TestTarget::empty().await, TestTarget::make_on(&newer.postgres, Make::default()).await];
    for target in targets {
        let mut session = connect(&target.url()).await;
        let mut seen = Seen { texts: 0, pieces: 0, refused: 0, sent: 0, ran: 0 };
        for text in AWKWARD {
            look(&mut session, text, &mut seen).await;
        }
        for number in 0..TEXTS {
            let mut rng = Rng::with_seed(number);
            let text = if rng.u8(..4) == 0 { generator::text(&mut rng) } else { generator::valid(&mut rng) };
            // A few thousand levels cost the server seconds each; the pure test has them.
            if text.len() < 10_000 {
                look(&mut session, &text, &mut seen).await;
            }
        }
        let Seen { texts, pieces, refused, sent, ran } = seen;
        let told = format!(
            "{}: {texts} texts, {pieces} pieces: 0 of two statements; {refused} with a transaction statement found; {sent} sent, \
             of which {ran} ran to their end: 0 escaped",
            target.value("SHOW server_version").await
        );
        say(&told);
        assert!(refused > 1_000 && sent > 1_000 && ran > 300, "{told}");
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("a session")
}

async fn look(session: &mut PgConnection, text: &str, seen: &mut Seen) {
    seen.texts += 1;
    let mut joined = String::new();
    for piece in Cutter::new(text, Strings::Standard) {
        seen.pieces += 1;
        let piece = &text[piece.whole];
        joined += piece;
        let parsed = session.prepare(AssertSqlSafe(piece.to_owned()).into_sql_str()).await;
        let said = parsed.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!said.contains("multiple commands"), "two statements in one piece: {piece:?}\nof {text:?}");
    }
    session.clear_cached_statements().await.expect("a session");
    assert_eq!(joined, text);
    let script = sql::split(text, &mut Budget::new(&|| false));
    if script.statements.iter().any(|statement| statement.kind == StatementKind::Transaction) {
        seen.refused += 1;
    } else if script.errors.is_empty() && !script.statements.is_empty() {
        seen.sent += 1;
        seen.ran += usize::from(stays(session, text).await);
    }
}

/// Sends a text in a transaction, as one message: it is still the same one afterwards, or failed. Whether it ran.
async fn stays(session: &mut PgConnection, text: &str) -> bool {
    const ID: &str = "SELECT pg_catalog.pg_current_xact_id()::text";
    session.execute("BEGIN").await.expect("a session");
    let before: String = sqlx::query_scalar(ID).fetch_one(&mut *session).await.expect("a session");
    let ran = session.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned()))).await.is_ok();
    let after: Result<String, sqlx::Error> = sqlx::query_scalar(ID).fetch_one(&mut *session).await;
    match after {
        Ok(after) => assert!(ran && after == before, "escaped: {text:?}"),
        Err(error) => {
            let code = error.as_database_error().and_then(|it| it.code().map(|code| code.into_owned()));
            assert!(!ran && code.as_deref() == Some("25P02"), "escaped: {text:?}: {error}");
        }
    }
    session.execute("ROLLBACK").await.expect("a session");
    ran
}

/// Beside the harness's capture, so that a run shows what was measured.
fn say(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{text}").expect("standard error is open");
}
