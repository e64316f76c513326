//! The same on a newer major version of PostgreSQL, which has what the machine's own may lack: pgvector, a provider of
//! security labels, and a background worker that holds a connection.

use harness::{
    Because, Make, Newer, Setup, TestTarget,
    commands::{RUN, UNDO},
    database::{RUN as REPLACE, generated, oid},
    finding,
    migrations::with_vectors,
};

async fn embeddings(target: &TestTarget) -> Vec<Vec<String>> {
    target
        .rows(
            "SELECT attrelid::regclass::text, format_type(atttypid, atttypmod),
                    (SELECT count(*) FROM pg_index WHERE indrelid = attrelid AND attnum = ANY (indkey))
               FROM pg_attribute WHERE attname = 'embedding' AND attrelid::regclass::text ~ '^health[.](episodes|facts|rules)$'
              ORDER BY 1",
        )
        .await
}

/// One server for all of it: it takes a second to make.
#[tokio::test]
async fn a_newer_server_does_the_same_and_more() {
    let newer = Newer::start().await;
    let on = |make| TestTarget::make_on(&newer.postgres, make);
    tokio::join!(
        async { vectors(&on(Make::superuser(Because::ExtensionsMove)).await).await },
        async { labels(&on(Make::superuser(Because::APropertyIsASuperusers)).await).await },
        async { a_worker(&on(Make::superuser(Because::AWorkerIsInTheWay)).await, &newer.library).await },
        async { settings_of_another_role(&on(Make { restricted: true, ..Make::migrated() }).await).await },
    );
}

/// The optional chain of vectors, in both scopes; the extension comes and stays outside the managed schemas, with what
/// others have built on it.
async fn vectors(target: &TestTarget) {
    let daemon = Setup::of(target).with(&with_vectors()).start().await;
    let expected: Vec<Vec<String>> = ["episodes", "facts", "rules"]
        .iter()
        .map(|t| vec![format!("health.{t}"), "extensions.vector(384)".to_owned(), "1".to_owned()])
        .collect();
    // Somebody else had put it into a managed schema, and uses it.
    target
        .sql(
            "CREATE EXTENSION vector SCHEMA general; CREATE TABLE public.mine (v general.vector(3));
             INSERT INTO public.mine VALUES ('[1,2,3]')",
        )
        .await;
    let out = daemon.ctl(RUN).await;
    out.expect(0);
    assert_eq!(out.text("/plan/extension_moves/0/extension"), "vector", "{out}");
    assert_eq!(embeddings(target).await, expected, "{out}");
    let nearest = "SELECT v::text, v OPERATOR(extensions.<->) '[1,2,4]'::extensions.vector FROM public.mine";
    assert_eq!(target.rows(nearest).await, [["[1,2,3]", "1"]]);

    daemon.ctl(REPLACE).await.expect(0);
    assert_eq!(embeddings(target).await, expected);
    let home = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'";
    assert_eq!(target.value(home).await, "extensions");
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(target.rows(nearest).await, [["[1,2,3]", "1"]]);
    daemon.ctl("validate").await.expect(0);
}

/// Labels of the schemas and of the database come back, and a changed one changes the digest.
async fn labels(target: &TestTarget) {
    let d = &target.database;
    target
        .sql(&format!(
            "SECURITY LABEL FOR tests ON SCHEMA health IS 'it''s secret';
             SECURITY LABEL FOR tests ON DATABASE {d} IS 'of the \"database\"'"
        ))
        .await;
    let all = "SELECT objtype, provider, label FROM pg_seclabels WHERE objtype IN ('schema', 'database')
                AND (objtype = 'schema' AND objname NOT LIKE 'resetd\\_kept\\_%' OR objname = current_database()) ORDER BY 1";
    let before = target.rows(all).await;
    assert_eq!(before.len(), 2, "{before:?}");
    let daemon = Setup::of(target).start().await;
    let digest = daemon.ctl("run --dry-run").await.text("/plan/digest").to_owned();
    let out = daemon.ctl(&format!("{RUN} --plan-digest {digest}")).await;
    out.expect(0);
    assert_eq!(target.rows(all).await, before, "{out}");
    let replaced = daemon.ctl(REPLACE).await;
    replaced.expect(0);
    assert_eq!(target.rows(all).await, before, "{replaced}");
    daemon.ctl(UNDO).await.expect(0);
    assert_eq!(target.rows(all).await, before);

    target.sql("SECURITY LABEL FOR tests ON SCHEMA health IS 'another'").await;
    let stale = daemon.ctl(&format!("{RUN} --plan-digest {digest}")).await;
    stale.refused("PLAN_CHANGED");
    assert!(stale.text("/error").contains("another"), "{stale}");
}

/// A background worker that holds a connection is named, is no idle client, and is ended where ending is allowed.
async fn a_worker(target: &TestTarget, library: &str) {
    target
        .sql(&format!(
            "CREATE FUNCTION public.start_worker(text, oid) RETURNS int LANGUAGE c AS '{library}', 'provider_start_worker';
             SELECT public.start_worker('{library}', oid) FROM pg_database WHERE datname = current_database()"
        ))
        .await;
    let here = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'tests'' worker'
                 AND datid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let worker = target.value(here).await;
    let daemon = Setup::of(target).with("[profile.local]\nsessions = \"idle-only\"\n").start().await;
    let before = oid(target).await;
    let out = daemon.ctl(REPLACE).await;
    out.refused("PREFLIGHT_FAILED");
    assert!(out.text("/error").contains(&worker) && out.text("/error").contains("tests' worker"), "{out}");
    assert_eq!(out.text("/plan/sessions/0/state"), "tests' worker", "{out}");
    assert_eq!(oid(target).await, before);
    assert_eq!(generated(target, "new").await, [""; 0]);

    daemon.ctl(&format!("{REPLACE} --terminate-sessions")).await.expect(0);
    assert_ne!(oid(target).await, before);
    let alive = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {worker}");
    assert_eq!(target.value(&alive).await, "0");
}

/// From version 16 on a role that may create roles may not yet set what belongs to another one.
async fn settings_of_another_role(target: &TestTarget) {
    let (d, role) = (&target.database, &target.role);
    target
        .sql(&format!(
            "ALTER ROLE {role} CREATEROLE; CREATE ROLE other_{d}; ALTER ROLE other_{d} IN DATABASE {d} SET work_mem = '7MB'"
        ))
        .await;
    let daemon = Setup::of(target).start().await;
    let before = oid(target).await;
    let out = daemon.ctl(REPLACE).await;
    out.refused("PREFLIGHT_FAILED");
    let hint = finding(&out, "ROLE_SETTINGS")["hint"].as_str().unwrap_or_default().to_owned();
    let grant = format!("GRANT \"other_{d}\" TO \"{role}\" WITH ADMIN OPTION");
    assert!(hint.contains(&grant), "{out}");
    assert_eq!(oid(target).await, before);
    target.sql(&grant).await;
    daemon.ctl(REPLACE).await.expect(0);
    assert_ne!(oid(target).await, before);
    let kept = "SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
                 WHERE datname = current_database() AND setrole <> 0";
    assert_eq!(target.value(kept).await, "{work_mem=7MB}");

    // A grantor whom the role is a member of, but may not act as.
    target
        .sql(&format!(
            "CREATE ROLE grantor_{d}; GRANT CONNECT ON DATABASE {d} TO grantor_{d} WITH GRANT OPTION;
             SET ROLE grantor_{d}; GRANT CONNECT ON DATABASE {d} TO other_{d}; RESET ROLE;
             GRANT grantor_{d} TO {role} WITH SET FALSE, INHERIT TRUE"
        ))
        .await;
    let out = daemon.ctl(REPLACE).await;
    out.refused("PREFLIGHT_FAILED");
    let hint = finding(&out, "GRANTOR_MISSING")["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint.ends_with("WITH INHERIT TRUE, SET TRUE"), "{out}");
    target.sql(&hint).await;
    daemon.ctl(REPLACE).await.expect(0);
}
