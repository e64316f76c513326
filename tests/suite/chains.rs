//! Chains that cannot be replayed as they are: refused before anything happens, by file and line; and extensions, which a chain
//! may require but never keep in a managed schema.

use harness::{Migrations, Scene, commands::RUN};

/// Files that would end the transaction, or need what only psql has, are refused before anything happens, by file and line.
#[tokio::test]
async fn statements_that_may_not_be_in_a_chain_are_refused_with_their_line() {
    let scene = Scene::new().await;
    for (sql, words) in [
        ("CREATE TABLE a (n int);\nCOMMIT;", "transaction"),
        ("CREATE TABLE a (n int);\nROLLBACK;", "transaction"),
        ("CREATE TABLE a (n int);\nBEGIN;", "transaction"),
        ("CREATE TABLE a (n int);\nEND;", "transaction"),
        ("CREATE TABLE a (n int);\nABORT;", "transaction"),
        ("CREATE TABLE a (n int);\nPREPARE TRANSACTION 'x';", "transaction"),
        ("CREATE TABLE a (n int);\nROLLBACK AND CHAIN;", "transaction"),
        ("CREATE TABLE a (n int);\nCOPY a FROM STDIN;", "data stream"),
        ("CREATE TABLE a (n int);\nINSERT INTO alembic_version VALUES ('x');", "alembic_version"),
    ] {
        scene.second(sql);
        let out = scene.no_trace("CHAINS_INVALID").await;
        assert!(out.text("/error").contains("core/core_002.sql:5"), "{sql}\n{out}");
        assert!(out.text("/error").contains(words), "{sql}\n{out}");
        assert!(out.at("/operation").is_null(), "no operation came of it\n{out}");
    }
}

/// What the parser cannot see PostgreSQL itself forbids inside a transaction block.
#[tokio::test]
async fn a_commit_hidden_in_code_fails_and_leaves_no_trace() {
    let scene = Scene::new().await;
    for sql in [
        "CREATE TABLE a (n int);\nDO $$ BEGIN INSERT INTO a VALUES (1); COMMIT; END $$;",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';\nCALL p();",
    ] {
        scene.second(sql);
        let out = scene.no_trace("REVISION_FAILED").await;
        assert_eq!(out.text("/error_detail/sqlstate"), "2D000", "{out}");
        assert_eq!(out.at("/error_detail/line"), 5, "{out}");
    }
}

/// What cannot be in one transaction is refused before anything is dropped, and the dry run says so.
#[tokio::test]
async fn revisions_that_need_no_transaction_are_refused_before_anything_is_dropped() {
    let enum_value = "CREATE TYPE mood AS ENUM ('fine');\nALTER TYPE mood ADD VALUE 'grand';\nCREATE TABLE day (mood mood DEFAULT 'grand');";
    let scene = Scene::new().await;
    for (sql, line, words) in [
        ("CREATE INDEX CONCURRENTLY late ON state (updated_at);", 4, "CREATE INDEX CONCURRENTLY"),
        ("SELECT 1;\nVACUUM state;", 5, "VACUUM"),
        ("-- transaction: none\nSELECT 1;", 1, "transaction: none"),
        (enum_value, 6, "'grand'"),
    ] {
        scene.second(sql);
        let out = scene.no_trace("NOT_TRANSACTIONAL").await;
        assert_eq!(out.text("/outcome"), "refused", "{out}");
        assert!(out.text("/error").contains(&format!("core/core_002.sql:{line}")), "{sql}\n{out}");
        assert!(out.text("/error").contains(words), "{sql}\n{out}");
        for verb in ["run", "migrate"] {
            let dry = scene.daemon.ctl(&format!("{verb} --dry-run")).await;
            dry.expect(0);
            assert_eq!(dry.text("/plan/refusal/reason"), "NOT_TRANSACTIONAL", "{dry}");
        }
    }
    // A reset replays nothing: it is not refused.
    scene.daemon.ctl("reset --confirm-destructive-reset RESET").await.expect(0);
}

/// An enum value that is added and not used is no obstacle.
#[tokio::test]
async fn an_enum_value_that_is_only_added_is_fine() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    chains.revision("core/core_002.sql", "core_002", "core_001", "CREATE TYPE mood AS ENUM ('fine');");
    chains.revision("core/core_003.sql", "core_003", "core_002", "ALTER TYPE mood ADD VALUE 'grand';");
    daemon.ctl(RUN).await.expect(0);
    assert_eq!(
        target.value("SELECT array_to_string(enum_range(NULL::general.mood), ',')").await,
        "fine,grand"
    );
}

/// Every fault of the files, both files named where two quarrel; all faults at once.
#[tokio::test]
async fn chains_that_are_no_line_are_refused_by_file() {
    type Break = fn(&Migrations);
    let cases: [(&str, Break, &[&str]); 9] = [
        (
            "two heads",
            |c| {
                c.revision("core/left.sql", "left", "core_001", "SELECT 1;");
                c.revision("core/right.sql", "right", "core_001", "SELECT 1;");
            },
            &["core/left.sql", "core/right.sql", "two heads"],
        ),
        (
            "two beginnings",
            |c| {
                c.revision("core/other.sql", "other", "none", "SELECT 1;");
            },
            &["core/other.sql", "core/core_001.sql"],
        ),
        (
            "a gap",
            |c| {
                c.revision("core/core_003.sql", "core_003", "core_002", "SELECT 1;");
            },
            &["core/core_003.sql", "core_002", "gap"],
        ),
        (
            "a cycle",
            |c| {
                c.revision("core/a.sql", "a", "b", "SELECT 1;");
                c.revision("core/b.sql", "b", "a", "SELECT 1;");
            },
            &["core/a.sql", "circle"],
        ),
        (
            "a duplicate",
            |c| {
                c.revision("core/again.sql", "core_001", "none", "SELECT 1;");
            },
            &["core/again.sql", "core/core_001.sql"],
        ),
        (
            "the same id in two chains",
            |c| {
                c.revision("memory/mem_002.sql", "core_001", "mem_001", "SELECT 1;");
            },
            &["memory/mem_002.sql", "core/core_001.sql"],
        ),
        (
            "an empty revision",
            |c| {
                c.revision("core/core_002.sql", "core_002", "core_001", "-- nothing yet");
            },
            &["core/core_002.sql", "empty"],
        ),
        (
            "a file that cannot be parsed",
            |c| {
                c.revision(
                    "core/core_002.sql",
                    "core_002",
                    "core_001",
                    "SELECT 1;\nCREATE TABLE oops (n int;",
                );
                c.write_bytes(
                    "memory/mem_002.sql",
                    b"-- revision: mem_002\n-- revises: mem_001\nSELECT '\xff';\n",
                );
                c.write("memory/mem_003.sql", "SELECT 1;\n");
            },
            &["core/core_002.sql:5", "memory/mem_002.sql", "UTF-8", "memory/mem_003.sql"],
        ),
        (
            "a chain without files",
            |c| {
                c.remove("memory/mem_001.sql");
            },
            &["memory"],
        ),
    ];
    let scene = Scene::new().await;
    for (what, broken, words) in cases {
        scene.chains.restore();
        broken(&scene.chains);
        let out = scene.no_trace("CHAINS_INVALID").await;
        out.expect(4);
        for word in words {
            assert!(out.text("/error").contains(word), "{what}: {word}\n{out}");
            assert!(out.stderr.contains(word), "{what}: {word}\n{out}");
        }
    }
}

#[tokio::test]
async fn required_extensions_are_made_where_a_reset_does_not_take_them() {
    let Scene { target, chains, daemon, .. } = Scene::new().await;
    chains.write(
        "core/core_002.sql",
        "-- revision: core_002\n-- revises: core_001\n-- requires-extension: citext\n\
         CREATE EXTENSION IF NOT EXISTS citext;\nCREATE TABLE person (name citext UNIQUE);\n",
    );
    for _ in 0..2 {
        daemon.ctl(RUN).await.expect(0);
        let home = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'citext'";
        assert_eq!(target.column(home).await, ["extensions"]);
    }
    // One that a revision creates without saying so in its header goes there as well.
    chains.revision(
        "core/core_003.sql",
        "core_003",
        "core_002",
        "CREATE EXTENSION hstore;\nCREATE TABLE tagged (tags hstore);",
    );
    daemon.ctl(RUN).await.expect(0);
    let homes = "SELECT DISTINCT extnamespace::regnamespace::text FROM pg_extension WHERE extname IN ('citext', 'hstore')";
    assert_eq!(target.column(homes).await, ["extensions"]);
    // One that the parser cannot see lands in a managed schema: the run fails instead of laying the trap.
    let hidden = "DO $$ BEGIN EXECUTE 'CREATE EXTENSION IF NOT EXISTS pg_trgm'; END $$;";
    chains.revision("core/core_003.sql", "core_003", "core_002", hidden);
    let before = target.state().await;
    daemon.ctl(RUN).await.refused("EXTENSION_MISPLACED");
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn an_extension_the_server_does_not_have_is_told_before_anything_is_dropped() {
    let scene = Scene::new().await;
    scene.chains.write(
        "core/core_002.sql",
        "-- revision: core_002\n-- revises: core_001\n-- requires-extension: no_such_extension\nSELECT 1;\n",
    );
    let out = scene.no_trace("PREFLIGHT_FAILED").await;
    assert!(out.text("/error").contains("no_such_extension"), "{out}");
}

/// What is no SQL in the target's own version of PostgreSQL is refused before anything happens, by its own words.
#[tokio::test]
async fn what_postgresql_does_not_understand_is_refused_before_there_is_an_operation() {
    let scene = Scene::new().await;
    for (sql, line, words) in [
        ("CREATE TABLE fine (n int);\nCREAT TABLE x (a int);", 5, "syntax error at or near \"CREAT\""),
        ("CREATE TABLE fine (n int);\nSELECT 'ä',\n  1 FROM FROM x;", 6, "at or near \"FROM\""),
        ("SELECT E'\\uZZZZ';", 4, "invalid Unicode escape"),
        ("CREATE TABLE t (a int,,);", 4, "at or near \",\""),
        ("SELECT 1; -- syntax: unchecked\nfrobnicate;", 5, "at or near \"frobnicate\""),
    ] {
        scene.second(sql);
        let out = scene.no_trace("CHAINS_INVALID").await;
        assert!(out.text("/error").contains(&format!("core/core_002.sql:{line}:")), "{sql}\n{out}");
        assert!(out.text("/error").contains(words), "{sql}\n{out}");
        assert!(out.at("/operation").is_null(), "no operation came of it\n{out}");
        scene.daemon.ctl("run --dry-run").await.refused("CHAINS_INVALID");
    }
    // What it understands is not looked up before its time: nothing of this is there yet.
    let merge = match scene.target.major().await {
        ..15 => "",
        _ => "MERGE INTO later USING later AS l ON true WHEN MATCHED THEN DELETE;",
    };
    scene.second(&format!(
        "EXPLAIN SELECT * FROM later;\nCREATE TABLE copied AS SELECT * FROM later;\nCALL later();\n\
         DECLARE c CURSOR FOR SELECT * FROM later;\n{merge}"
    ));
    let out = scene.no_trace("REVISION_FAILED").await;
    assert_eq!(out.text("/error_detail/sqlstate"), "42P01", "{out}");
}
