//! Splitting and classifying SQL, on single statements and on a zoo of them.

use super::*;

fn split(text: &str) -> Script {
    super::split(text, &mut Budget::new(&|| false))
}

fn kinds(text: &str) -> Vec<StatementKind> {
    split(text).statements.into_iter().map(|statement| statement.kind).collect()
}

fn texts(text: &str) -> Vec<&str> {
    split(text).statements.into_iter().map(|statement| &text[statement.range]).collect()
}

fn blocked(what: &str) -> StatementKind {
    StatementKind::NoTransaction { what: what.to_owned() }
}

#[test]
fn statements_end_at_semicolons_that_are_not_inside_anything() {
    let text = "-- head; line\n;;select ';' as \"a;b\", $t$;$t$, E'\\';' /* ; /* ; */ */ ;\n\
                create rule r as on insert to t do instead (delete from t; notify x);\n\
                do $$ begin commit; end $$;\n\
                create function f(a int) returns int language sql begin atomic\n\
                  select case when a > 1 then 1 else 2 end as end; select 2; end;\n\
                select 1 -- no semicolon; here\n";
    let found = texts(text);
    let heads: Vec<String> = found.iter().map(|text| text.chars().take(9).collect()).collect();
    assert_eq!(heads, ["select ';", "create ru", "do $$ beg", "create fu", "select 1"]);
    assert_eq!(split(text).errors, []);
    let lines: Vec<u32> = split(text).statements.iter().map(|statement| statement.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 7]);
}

#[test]
fn statements_are_classified() {
    let extension = |name: &str, if_not_exists, schema: Option<&str>| StatementKind::CreateExtension {
        name: name.to_owned(),
        if_not_exists,
        schema: schema.map(str::to_owned),
    };
    let enum_value = |type_name: &str, value: &str| StatementKind::AddEnumValue {
        type_name: type_name.to_owned(),
        value: value.to_owned(),
    };
    let role = |name: &str| StatementKind::CreateRole { name: name.to_owned() };
    use StatementKind::{CopyStream, Ordinary, Transaction, VersionTable};
    let cases = [
        ("BEGIN", Transaction),
        ("/* x */ begin isolation level serializable", Transaction),
        ("START TRANSACTION", Transaction),
        ("Commit and chain", Transaction),
        ("COMMIT PREPARED 'x'", Transaction),
        ("END", Transaction),
        ("ROLLBACK TO SAVEPOINT a", Transaction),
        ("ROLLBACK PREPARED 'x'", Transaction),
        ("ABORT", Transaction),
        ("SAVEPOINT a", Transaction),
        ("RELEASE a", Transaction),
        ("PREPARE TRANSACTION 'x'", Transaction),
        ("PREPARE p AS SELECT 1", Ordinary),
        ("COPY t (a, b) FROM stdin", CopyStream),
        ("COPY t TO STDOUT WITH (FORMAT csv)", CopyStream),
        ("COPY (SELECT 1) TO STDOUT", CopyStream),
        ("COPY t FROM stdout", CopyStream),
        ("COPY t TO stdin", CopyStream),
        ("COPY (SELECT * FROM stdin) TO '/tmp/x.csv'", Ordinary),
        ("COPY t FROM '/tmp/x.csv'", Ordinary),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", blocked("CREATE INDEX CONCURRENTLY")),
        ("create unique index concurrently i on t (a)", blocked("CREATE INDEX CONCURRENTLY")),
        ("CREATE INDEX i ON t (a)", Ordinary),
        ("DROP INDEX CONCURRENTLY i", blocked("DROP INDEX CONCURRENTLY")),
        ("REINDEX INDEX CONCURRENTLY i", blocked("REINDEX CONCURRENTLY")),
        ("REINDEX (VERBOSE) DATABASE d", blocked("REINDEX DATABASE")),
        ("REINDEX SCHEMA s", blocked("REINDEX SCHEMA")),
        ("REINDEX TABLE t", Ordinary),
        ("VACUUM (ANALYZE) t", blocked("VACUUM")),
        ("ALTER SYSTEM SET work_mem = '1MB'", blocked("ALTER SYSTEM")),
        ("CREATE DATABASE d", blocked("CREATE DATABASE")),
        ("DROP TABLESPACE x", blocked("DROP TABLESPACE")),
        ("ALTER DATABASE d SET TABLESPACE x", blocked("ALTER DATABASE SET TABLESPACE")),
        ("ALTER DATABASE d SET work_mem = '1MB'", Ordinary),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", blocked("DETACH PARTITION CONCURRENTLY")),
        ("ALTER TABLE t DETACH PARTITION p", Ordinary),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", Ordinary),
        ("CLUSTER", blocked("CLUSTER without a table")),
        ("CLUSTER t USING i", Ordinary),
        ("DISCARD ALL", blocked("DISCARD ALL")),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", blocked("CREATE SUBSCRIPTION")),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)", Ordinary),
        ("DROP SUBSCRIPTION s", blocked("DROP SUBSCRIPTION")),
        ("ALTER SUBSCRIPTION s REFRESH PUBLICATION", blocked("ALTER SUBSCRIPTION … PUBLICATION")),
        ("ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)", Ordinary),
        (
            "CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public",
            extension("uuid-ossp", true, Some("public")),
        ),
        ("CREATE EXTENSION HStore", extension("hstore", false, None)),
        ("ALTER TYPE s.mood ADD VALUE 'it''s' AFTER 'b'", enum_value("mood", "it's")),
        ("ALTER TYPE \"Mood\" ADD VALUE IF NOT EXISTS 'c'", enum_value("Mood", "c")),
        ("ALTER TYPE mood RENAME VALUE 'a' TO 'b'", Ordinary),
        ("ALTER TYPE pair ADD ATTRIBUTE c int", Ordinary),
        ("CREATE ROLE app LOGIN", role("app")),
        ("CREATE USER \"App\"", role("App")),
        ("CREATE USER MAPPING FOR app SERVER s", Ordinary),
        ("INSERT INTO alembic_version (version_num) VALUES ('x')", VersionTable),
        ("CREATE TABLE IF NOT EXISTS public.alembic_version (version_num text)", VersionTable),
        ("UPDATE alembic_version SET version_num='x'", VersionTable),
        ("DELETE FROM \"alembic_version\"", VersionTable),
        ("SELECT * FROM alembic_version", Ordinary),
        ("SET CONSTRAINTS ALL DEFERRED", Ordinary),
    ];
    for (text, expected) in cases {
        assert_eq!(kinds(text), [expected], "{text}");
        assert_eq!(split(text).errors, [], "{text}");
    }
}

#[test]
fn transaction_statements_are_found_in_text_that_is_not_understood() {
    let cases = [
        "FROBNICATE THE TABLE; COMMIT; select 1",
        "create table t (a int,,); commit",
        "create table t (a int; ); commit",
        "select 1 from from; /* ; */ rollback;",
        "\\echo hello\nselect 1;\nBEGIN;",
    ];
    for text in cases {
        assert!(kinds(text).contains(&StatementKind::Transaction), "{text}: {:?}", kinds(text));
    }
}

#[test]
fn errors_say_what_and_where() {
    let cases = [
        ("select 1;\nselect 'open;\n", 2, 8, "this string has no end: `'` is missing"),
        ("select \"open;\n", 1, 8, "this quoted name has no end"),
        ("do $x$ begin end;\n", 1, 4, "its closing tag is missing"),
        ("select 1; /* open", 1, 11, "this comment has no end"),
        ("select 1; /* open /* */", 1, 11, "this comment has no end"),
        ("create function f() returns int begin atomic select 1;", 1, 33, "has no END"),
        ("select ä, (1 + (2);\nselect 2;", 1, 11, "this `(` is not closed"),
        ("select 1;\n  \\connect foo\nselect 2;", 2, 3, "`\\connect` is a command of psql"),
    ];
    for (text, line, column, message) in cases {
        let errors = split(text).errors;
        let first = errors.first().unwrap_or_else(|| panic!("no error in {text}"));
        assert_eq!((first.line, first.column), (line, column), "{text}: {errors:?}");
        assert!(first.message.contains(message), "{text}: {}", first.message);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    }
}

/// Each text with its statements, as PostgreSQL 15 to 18 read them: see the suite's test of pieces.
#[test]
fn what_hides_a_semicolon_is_what_hides_it_from_postgresql() {
    let body = "create function f() returns int begin atomic";
    let whole = |text: &str| vec![text.to_owned()];
    let cases: Vec<(String, Vec<String>)> = vec![
        ("select E'a\\'; b'; c".into(), vec!["select E'a\\'; b'".into(), "c".into()]),
        ("select 'a\\'; b".into(), vec!["select 'a\\'".into(), "b".into()]),
        ("select E'a' \n 'b\\'; c'".into(), whole("select E'a' \n 'b\\'; c'")),
        ("select E'a' -- x\n 'b\\'; c'".into(), whole("select E'a' -- x\n 'b\\'; c'")),
        ("select E'a' /* x\n */ 'b\\'; c".into(), vec!["select E'a' /* x\n */ 'b\\'".into(), "c".into()]),
        ("select E'a' 'b\\'; c".into(), vec!["select E'a' 'b\\'".into(), "c".into()]),
        ("select xe'a\\'; b".into(), vec!["select xe'a\\'".into(), "b".into()]),
        ("select U&'a\\'; b".into(), vec!["select U&'a\\'".into(), "b".into()]),
        ("select U&\"a;\"\"b\"; c".into(), vec!["select U&\"a;\"\"b\"".into(), "c".into()]),
        ("select $a$;$A$;$a$; b".into(), vec!["select $a$;$A$;$a$".into(), "b".into()]),
        ("select a$a$; b$a$".into(), vec!["select a$a$".into(), "b$a$".into()]),
        ("select $1$a$; b$a$".into(), whole("select $1$a$; b$a$")),
        ("select 1$$;$$".into(), whole("select 1$$;$$")),
        ("select 1 -- a\r; b".into(), vec!["select 1".into(), "b".into()]),
        ("select 1 /* /* ; */ ; */ + 2".into(), whole("select 1 /* /* ; */ ; */ + 2")),
        ("select 1 */*;*/ 2".into(), whole("select 1 */*;*/ 2")),
        ("select 1 +--;\n 2".into(), whole("select 1 +--;\n 2")),
        (
            format!("{body} select 1 end; select 2; end; b"),
            vec![format!("{body} select 1 end; select 2; end"), "b".into()],
        ),
        (format!("{body} select 1 case; end; b"), vec![format!("{body} select 1 case; end"), "b".into()]),
        (
            format!("{body} select case when true then 1 end; end; b"),
            vec![format!("{body} select case when true then 1 end; end"), "b".into()],
        ),
        (format!("{body} {body} end; end; b"), vec![format!("{body} {body} end; end"), "b".into()]),
        (
            "create function begin(begin atomic) returns atomic return begin; b".into(),
            vec!["create function begin(begin atomic) returns atomic return begin".into(), "b".into()],
        ),
        ("select begin atomic; b".into(), vec!["select begin atomic".into(), "b".into()]),
        ("create table begin atomic; b".into(), vec!["create table begin atomic".into(), "b".into()]),
        (
            "\u{feff}commit; \u{a0}commit; ſtart".into(),
            vec!["\u{feff}commit".into(), "\u{a0}commit".into(), "ſtart".into()],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(texts(&text), expected, "{text}");
    }
    assert_eq!(kinds("\u{feff}commit; \u{a0}commit; ſtart"), vec![StatementKind::Ordinary; 3]);
    let off: Vec<Piece> = Cutter::new("select 'a\\'; b'; c", Strings::Backslash).collect();
    assert_eq!(off.len(), 2, "{off:?}");
}

#[test]
fn each_bound_is_named_where_it_is_reached() {
    use limits::{NESTING, STATEMENTS};
    let nested = |depth: usize| format!("select {}1{};", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(split(&nested(NESTING)).errors, []);
    assert_eq!(split(&"select 1;\n".repeat(STATEMENTS)).errors, []);
    let cases = [
        (format!("select 1;\n{}", nested(NESTING + 1)), 2, "more than 1000 parentheses in one another"),
        (
            "select 1;\n".repeat(STATEMENTS + 2),
            u32::try_from(STATEMENTS).unwrap_or_default() + 1,
            "more than 100000 statements in one chain",
        ),
    ];
    for (text, line, message) in cases {
        let errors = split(&text).errors;
        let Some(first) = errors.first() else { panic!("no error, wanted: {message}") };
        assert!(first.message.contains(message), "{first:?}");
        assert_eq!((first.line, errors.len()), (line, 1), "{first:?}");
    }
    let mut few = Budget { tokens: 7, ..Budget::new(&|| false) };
    let errors = super::split("select 1;\nselect 2, 3;", &mut few).errors;
    assert_eq!((errors[0].line, errors.len()), (2, 1), "{errors:?}");
    assert!(errors[0].message.contains("more than 8000000 words and signs"), "{errors:?}");
    let given_up = super::split("select 1; select 2;", &mut Budget::new(&|| true));
    assert_eq!((given_up.statements.len(), given_up.errors.len()), (0, 1));
}

/// What people write, pg_dump prints and Alembic generates; each line is one statement.
const ZOO: &str = include_str!("zoo.sql");

#[test]
fn ordinary_sql_is_cut_into_its_statements() {
    let script = split(ZOO);
    assert_eq!(script.errors, []);
    let transaction = script.statements.iter().filter(|s| s.kind == StatementKind::Transaction).count();
    assert_eq!((script.statements.len(), transaction), (68, 0));
}

#[test]
fn positions_are_characters_and_lead_to_line_column_and_statement() {
    let text = "-- ü\nselect 'ä';\n  select é;\n";
    let script = split(text);
    let cases = [
        (1, (1, 1, None)),
        (6, (2, 1, Some(0))),
        (14, (2, 9, Some(0))),
        (20, (3, 3, Some(1))),
        (27, (3, 10, Some(1))),
        (0, (1, 1, None)),
        (9999, (4, 1, Some(1))),
    ];
    for (position, (line, column, statement)) in cases {
        assert_eq!(
            locate(text, &script.statements, position),
            Location { line, column, statement },
            "{position}"
        );
    }
    assert_eq!(locate("", &[], 5), Location { line: 1, column: 1, statement: None });
}

#[test]
fn excerpts_are_one_short_line() {
    let text = "\n-- why\ncreate   table\n\té (a int)\n;";
    let statement = &split(text).statements[0];
    let cases = [
        (80, "create table é (a int)"),
        (22, "create table é (a int)"),
        (15, "create table é…"),
        (13, "create table…"),
        (1, "…"),
        (0, ""),
    ];
    for (max, expected) in cases {
        assert_eq!(excerpt(text, statement, max), expected, "{max}");
    }
}

#[test]
fn blanking_keeps_every_position() {
    let text = "create extension\n \"é\"; select 1; create extension b;";
    let script = split(text);
    let blanked = blank(text, [&script.statements[0], &script.statements[2]]);
    assert_eq!(blanked, "                \n    ; select 1;                   ;");
    assert_eq!(blanked.chars().count(), text.chars().count());
}

#[test]
fn names_are_found_as_whole_words() {
    let cases = [
        ("insert into s.mood values (1)", "mood", true),
        ("insert into \"Mood\" values (1)", "Mood", true),
        ("insert into moods values (1)", "mood", false),
        ("insert into _mood values (1)", "mood", false),
        ("anything", "", false),
    ];
    for (text, name, expected) in cases {
        assert_eq!(mentions_name(text, name), expected, "{text}");
    }
    assert_eq!(table_of("create table if not exists s.\"T\" (a int)").as_deref(), Some("T"));
    assert_eq!(table_of("ALTER TABLE ONLY t ADD a int").as_deref(), Some("t"));
    assert_eq!(table_of("select 1"), None);
}
