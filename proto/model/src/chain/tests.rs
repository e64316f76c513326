//! Order, heads, faults, fingerprints and obstacles of chains.

use super::*;

fn file(name: &str, id: &str, revises: &str, body: &str) -> (String, Vec<u8>) {
    (format!("core/{name}.sql"), format!("-- revision: {id}\n-- revises: {revises}\n{body}").into_bytes())
}

fn plain(name: &str, id: &str, revises: &str) -> (String, Vec<u8>) {
    file(name, id, revises, "select 1;")
}

fn chain(files: Vec<(String, Vec<u8>)>) -> Chain {
    Chain::assemble("core", files).expect("a chain")
}

fn ids(revisions: &[Revision]) -> Vec<&str> {
    revisions.iter().map(|revision| revision.id.as_str()).collect()
}

#[test]
fn the_order_is_revises_not_the_file_name() {
    let files = vec![plain("a", "r3", "r2"), plain("b", "r1", "none"), plain("c", "r2", "r1")];
    let mut with_noise = files.clone();
    with_noise.push(("core/README.md".to_owned(), b"# words".to_vec()));
    let chain = chain(with_noise);
    assert_eq!(ids(&chain.revisions), ["r1", "r2", "r3"]);
    assert_eq!(chain.head().id, "r3");
    assert_eq!(chain.position("r2"), Some(1));
    assert_eq!(chain.position("rx"), None);
    assert_eq!(ids(chain.pending(None)), ["r1", "r2", "r3"]);
    assert_eq!(ids(chain.pending(Some("r1"))), ["r2", "r3"]);
    assert_eq!(ids(chain.pending(Some("r3"))), [""; 0]);
    assert_eq!(ids(chain.pending(Some("rx"))), [""; 0]);
}

#[test]
fn what_is_wrong_with_the_order_is_said_with_both_files() {
    let cases = [
        (vec![], vec!["core: chain \"core\" has no revisions"]),
        (
            vec![plain("a", "r1", "none"), plain("b", "r1", "none")],
            vec!["core/a.sql and core/b.sql: both are revision \"r1\""],
        ),
        (
            vec![plain("a", "r1", "none"), plain("b", "r1", "none"), plain("c", "r1", "none")],
            vec!["core/a.sql and core/b.sql: both are", "core/a.sql and core/c.sql: both are"],
        ),
        (
            vec![plain("a", "r1", "none"), plain("b", "r2", "none")],
            vec!["core/a.sql and core/b.sql: both revise none, so the chain has two beginnings"],
        ),
        (
            vec![plain("a", "r1", "none"), plain("b", "r2", "r1"), plain("c", "r3", "r1")],
            vec!["core/b.sql and core/c.sql: both revise \"r1\", so the chain has two heads"],
        ),
        (
            vec![plain("a", "core_001", "none"), plain("b", "core_002", "cor_001")],
            vec![
                "core/b.sql: revises \"cor_001\", which is in no file of this chain: there is a gap; did you mean \"core_001\"?",
            ],
        ),
        (
            vec![plain("a", "r1", "none"), plain("b", "second", "nowhere")],
            vec![
                "core/b.sql: revises \"nowhere\", which is in no file of this chain: there is a gap; add the missing",
            ],
        ),
        (
            vec![plain("a", "r1", "r2"), plain("b", "r2", "r1")],
            vec!["core/a.sql and core/b.sql: the revisions go round in a circle (r1 → r2 → r1)"],
        ),
        (
            vec![
                plain("a", "r1", "none"),
                plain("b", "r2", "r3"),
                plain("c", "r3", "r4"),
                plain("d", "r4", "r2"),
            ],
            vec!["core/b.sql and core/c.sql: the revisions go round in a circle (r2 → r3 → r4 → r2)"],
        ),
        (vec![plain("a", "r1", "r1")], vec!["core/a.sql: the revisions go round in a circle (r1 → r1)"]),
        // a bad body takes nothing from the order, a bad header only the search for gaps
        (
            vec![file("a", "r1", "none", ""), plain("b", "r2", "r1")],
            vec!["core/a.sql: the revision is empty"],
        ),
        (
            vec![plain("a", "r 1", "none"), plain("b", "r2", "r1")],
            vec!["core/a.sql:1: `revision: r 1` is not allowed"],
        ),
        (
            vec![
                file("a", "r1", "none", "commit;"),
                plain("b", "r2", "r1"),
                plain("c", "r3", "r1"),
                plain("d", "r9", "r7"),
            ],
            vec![
                "core/a.sql:3: `commit` is a transaction",
                "core/b.sql and core/c.sql: both revise",
                "core/d.sql: revises \"r7\"",
            ],
        ),
    ];
    for (files, expected) in cases {
        let names: Vec<String> =
            files.iter().map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect();
        let faults = Chain::assemble("core", files).expect_err("faults were expected");
        let found: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{names:?}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{names:?}\nwanted: {expected}\nfound:  {found}");
        }
    }
}

#[test]
fn fingerprints_follow_ids_contents_and_order_not_file_names() {
    let base = chain(vec![plain("a", "r1", "none"), plain("b", "r2", "r1")]);
    let renamed = chain(vec![plain("z", "r1", "none"), plain("y", "r2", "r1")]);
    let changed = chain(vec![plain("a", "r1", "none"), file("b", "r2", "r1", "select 2;")]);
    let shorter = chain(vec![plain("a", "r1", "none")]);
    assert_eq!(base.fingerprint(), renamed.fingerprint());
    assert_ne!(base.fingerprint(), changed.fingerprint());
    assert_ne!(base.fingerprint(), shorter.fingerprint());
    assert_eq!(base.fingerprint().len(), "sha256:".len() + 64);

    let other = Chain { name: "memory".to_owned(), ..changed.clone() };
    let set = ChainSet { chains: vec![base.clone(), other.clone()], ..ChainSet::default() };
    let turned = ChainSet { chains: vec![other.clone(), base.clone()], ..ChainSet::default() };
    let swapped_names = ChainSet {
        chains: vec![
            Chain { name: "memory".to_owned(), ..base.clone() },
            Chain { name: "core".to_owned(), ..changed },
        ],
        ..ChainSet::default()
    };
    assert_eq!(set.fingerprint(), turned.fingerprint());
    assert_ne!(set.fingerprint(), swapped_names.fingerprint());
    assert_eq!(set.get("memory"), Some(&other));
    let faults = set.check_shared_ids(|_, _| true).expect_err("ids are shared");
    assert_eq!(set.check_shared_ids(|_, _| false), Ok(()), "they never meet");
    assert_eq!(faults.len(), 2);
    assert!(
        faults[0]
            .to_string()
            .starts_with("core/a.sql and core/a.sql: both are revision \"r1\", in two chains")
    );
    assert_eq!(ChainSet { chains: vec![base], ..ChainSet::default() }.check_shared_ids(|_, _| true), Ok(()));
}

#[test]
fn obstacles_to_one_transaction_are_found() {
    let create =
        "create type s.mood as enum ('a');\ncreate table person (m mood);\ncreate table other (m text);\n";
    let add = "alter type s.mood add value 'it''s';\n";
    let cases = [
        ("select 1;", None),
        (
            "create index concurrently i on t (a);",
            Some("core/b.sql:3: CREATE INDEX CONCURRENTLY cannot run inside"),
        ),
        ("select 1;\nvacuum t;", Some("core/b.sql:4: VACUUM cannot run")),
        (
            "insert into person values ('it''s');",
            Some("core/b.sql:3: uses the value 'it's' of type mood, which core/a.sql:6 adds"),
        ),
        ("select 'it''s'::s.mood;", Some("core/b.sql:3: uses")),
        ("do $$ begin update person set m = 'it''s'; end $$;", Some("core/b.sql:3: uses")),
        ("alter table person alter m set default 'it''s';", Some("core/b.sql:3: uses")),
        ("insert into other values ('it''s');", None),
        ("insert into person values ('a');", None),
        ("alter type s.mood add value 'c' after 'it''s';", None),
        ("comment on table person is 'it''s';", None),
    ];
    for (body, expected) in cases {
        let files = vec![file("a", "r1", "none", &format!("{create}{add}")), file("b", "r2", "r1", body)];
        let found: Vec<String> =
            chain(files).transaction_obstacles().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{body}: {found:?}");
        if let Some(expected) = expected {
            assert!(found[0].starts_with(expected), "{body}: {found:?}");
        }
    }
    let marked =
        chain(vec![file("a", "r1", "none", "-- transaction: none\nselect 1;")]).transaction_obstacles();
    assert_eq!(marked.len(), 1);
    assert_eq!((marked[0].statement, &marked[0].kind), (None, &ObstacleKind::MarkedNone));
}

#[test]
fn extensions_are_gathered_once() {
    let chain = chain(vec![
        file("a", "r1", "none", "-- requires-extension: vector\nselect 1;"),
        file("b", "r2", "r1", "create extension hstore; create extension if not exists vector;"),
    ]);
    assert_eq!(chain.extensions(), [("vector", None), ("hstore", None)]);
}
