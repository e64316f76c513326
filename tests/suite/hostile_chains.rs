//! Chains made to hurt the daemon that reads them: deep, wide, endless. It answers, and goes on.

use harness::{Daemon, Migrations, Setup, TestTarget, collect, operations::fault, request};
use model::{
    event::EventKind,
    operation::{ChainFile, Request, Verb, limits},
};

/// Deeper than any grammar that calls itself, on the stack of a runtime's thread, survives.
const DEEP: usize = 4_000;

fn around(head: &str, before: &str, inside: &str, after: &str, tail: &str) -> String {
    format!("{head}{}{inside}{}{tail}", before.repeat(DEEP), after.repeat(DEEP))
}

/// What PostgreSQL lets be put inside itself.
fn deep() -> Vec<(&'static str, String)> {
    vec![
        ("parentheses", around("SELECT ", "(", "1", ")", ";")),
        ("CASE", around("SELECT ", "CASE WHEN true THEN ", "1", " END", ";")),
        ("subselects", around("SELECT ", "(SELECT ", "1", ")", ";")),
        ("arrays", around("SELECT ", "ARRAY[", "1", "]", ";")),
        ("rows", around("SELECT ", "ROW(", "1", ")", ";")),
        ("calls", around("SELECT ", "abs(", "1", ")", ";")),
        ("casts", around("SELECT ", "CAST(", "1", " AS int)", ";")),
        ("NOT", around("SELECT ", "NOT ", "true", "", ";")),
        ("minus", around("SELECT ", "- ", "1", "", ";")),
        ("EXISTS", around("SELECT ", "EXISTS (SELECT ", "1", ")", ";")),
        ("joins", around("SELECT 1 FROM ", "(", "a", " JOIN b ON true)", ";")),
        ("WITH", around("", "WITH a AS (", "SELECT 1", ") SELECT 1", ";")),
        ("subscripts", around("SELECT ", "a[", "1", "]", ";")),
        ("sums", around("SELECT 1", " + 1", "", "", ";")),
        ("UNION", around("SELECT 1", " UNION SELECT 1", "", "", ";")),
        ("defaults", around("CREATE TABLE t (a int DEFAULT ", "(", "1", ")", ");")),
        ("conditions", around("SELECT 1 WHERE ", "(true AND ", "true", ")", ";")),
        ("comments", around("", "/* ", "", " */", " SELECT 1;")),
        ("rules", around("CREATE RULE r AS ON INSERT TO t DO ALSO ", "(", "SELECT 1", ")", ";")),
        (
            "BEGIN ATOMIC",
            around("", "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ", "SELECT 1;", " END;", ""),
        ),
    ]
}

/// The shipped chains with one more revision.
fn chains(sql: &str) -> Vec<ChainFile> {
    let shipped = Migrations::shipped();
    let file = |path: &str| ChainFile { path: path.to_owned(), content: shipped.read(path).into_bytes() };
    let more = format!("-- revision: core_002\n-- revises: core_001\n{sql}\n");
    vec![
        file("core/core_001.sql"),
        ChainFile { path: "core/core_002.sql".to_owned(), content: more.into_bytes() },
        file("memory/mem_001.sql"),
    ]
}

fn migrate(target: &TestTarget, sql: &str) -> Request {
    Request { client_chains: chains(sql), ..request(Verb::Migrate, target) }
}

/// What came of it: the reason of a refusal, or of the operation's end.
async fn reason(daemon: &Daemon, request: &Request) -> String {
    let mut api = daemon.api().await;
    let stream = match api.begin(request).await {
        Ok(stream) => stream,
        Err(status) => return fault(&status).reason.name().to_owned(),
    };
    let events = collect(stream).await;
    let Some(EventKind::Finished(end)) = events.last().and_then(|e| e.kind.clone()) else {
        panic!("no end in {events:?}");
    };
    end.error.map_or_else(|| "none".to_owned(), |fault| fault.reason.name().to_owned())
}

#[tokio::test]
async fn no_depth_of_a_chain_ends_the_daemon() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let mut accepted = Vec::new();
    for (what, sql) in deep() {
        // A dry run: what PostgreSQL takes at this depth changes nothing either.
        let found = reason(&daemon, &Request { dry_run: true, ..migrate(&target, &sql) }).await;
        assert!(["CHAINS_INVALID", "none"].contains(&&*found), "{what}: {found}");
        if found == "none" {
            accepted.push((what, sql));
        }
        daemon.ctl("validate").await.expect(0);
    }
    let before = target.state().await;
    for (what, sql) in accepted {
        let sql = format!("{sql}\nSELECT 1 / 0;");
        assert_eq!(reason(&daemon, &migrate(&target, &sql)).await, "REVISION_FAILED", "{what}");
    }
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn more_statements_than_the_bound_are_refused_by_file_and_line() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).spawn().await;
    let refused = |sql: String| {
        let (daemon, request) = (&daemon, migrate(&target, &sql));
        async move { fault(&daemon.api().await.begin(&request).await.expect_err("too much")) }
    };
    let wide = refused("SELECT 1;\n".repeat(limits::STATEMENTS + 1)).await;
    assert_eq!(wide.reason.name(), "CHAINS_INVALID");
    assert!(wide.message.contains(&limits::STATEMENTS.to_string()), "{wide}");
    assert_eq!(wide.sql.file.as_deref(), Some("core/core_002.sql"), "{wide}");
    assert!(wide.sql.line.is_some_and(|line| line > 90_000), "{wide}");
    // Faults without end are told in a message that has one.
    let faulty = refused("COMMIT;".repeat(limits::STATEMENTS / 2)).await;
    assert_eq!(faulty.reason.name(), "CHAINS_INVALID");
    assert!(faulty.message.len() < 16 * 1024, "{} bytes", faulty.message.len());
    daemon.ctl("validate").await.expect(0);
}
