//! What a reset takes, and what it must leave as it was: roles, grants, schema properties, schemas that were not named.

use harness::{Because, Make, Relation, Setup, TestTarget, commands::CONFIRMED};
use serde_json::json;

/// Everything on a schema that a drop loses: owner, grants with their grantors, comment, default privileges.
const SCHEMA_PROPERTIES: &str = "
SELECT 'owner', n.nspname, pg_get_userbyid(n.nspowner), '', '', '' FROM pg_namespace n WHERE n.nspname !~ '^(pg|resetd_kept)_'
UNION ALL
SELECT 'grant', n.nspname, pg_get_userbyid(a.grantor), CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
       a.privilege_type, a.is_grantable::text
  FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.nspname !~ '^(pg|resetd_kept)_'
UNION ALL
SELECT 'comment', n.nspname, obj_description(n.oid, 'pg_namespace'), '', '', '' FROM pg_namespace n WHERE n.nspname !~ '^(pg|resetd_kept)_'
UNION ALL
SELECT 'default', coalesce(n.nspname, '*'), pg_get_userbyid(d.defaclrole),
       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END,
       d.defaclobjtype::text || ' ' || a.privilege_type || ' by ' || pg_get_userbyid(a.grantor), a.is_grantable::text
  FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) a
 WHERE n.nspname IS NULL OR n.nspname !~ '^resetd_kept_'
ORDER BY 1, 2, 3, 4, 5, 6";

/// Everything on the database itself, and every role.
const DATABASE: &str = "
SELECT 'database', d.oid::text, pg_get_userbyid(d.datdba), d.datacl::text, shobj_description(d.oid, 'pg_database'), d.datconnlimit::text
  FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT 'setting', s.setrole::regrole::text, array_to_string(s.setconfig, ','), '', '', ''
  FROM pg_db_role_setting s WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'public', n.oid::text, pg_get_userbyid(n.nspowner), n.nspacl::text, '', '' FROM pg_namespace n WHERE n.nspname = 'public'
ORDER BY 1, 2, 3";

/// Roles of one test: roles belong to the whole server.
fn roles(target: &TestTarget) -> [String; 4] {
    ["owner", "grantor", "reader", "writer"].map(|name| format!("{name}_{}", target.database))
}

async fn furnish(target: &TestTarget) {
    let [owner, grantor, reader, writer] = roles(target);
    let database = &target.database;
    target
        .sql(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {grantor}; CREATE ROLE {reader}; CREATE ROLE {writer} LOGIN;
             GRANT CREATE ON DATABASE {database} TO {owner};
             GRANT USAGE ON SCHEMA public TO {owner};
             ALTER SCHEMA general OWNER TO {owner};
             SET ROLE {owner};
             GRANT USAGE, CREATE ON SCHEMA general TO {grantor} WITH GRANT OPTION;
             SET ROLE {grantor};
             GRANT USAGE ON SCHEMA general TO {reader} WITH GRANT OPTION;
             SET ROLE {reader};
             GRANT USAGE ON SCHEMA general TO {writer};
             RESET ROLE;
             GRANT USAGE ON SCHEMA shared TO PUBLIC;
             GRANT USAGE ON SCHEMA health TO {reader};
             REVOKE ALL ON SCHEMA messenger FROM CURRENT_USER;
             COMMENT ON SCHEMA general IS 'it''s the \"general\" one; $$';
             COMMENT ON SCHEMA shared IS 'what all share';
             ALTER DEFAULT PRIVILEGES IN SCHEMA general GRANT SELECT ON TABLES TO {reader};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA general GRANT SELECT, INSERT ON TABLES TO {writer} WITH GRANT OPTION;
             ALTER DEFAULT PRIVILEGES FOR ROLE {grantor} IN SCHEMA health GRANT EXECUTE ON FUNCTIONS TO {reader};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SEQUENCES TO {reader};"
        ))
        .await;
}

#[tokio::test]
async fn schema_properties_survive_their_recreation() {
    let target = TestTarget::make(Make::superuser(Because::APropertyIsASuperusers)).await;
    furnish(&target).await;
    let daemon = Setup::of(&target).start().await;
    let before = target.rows(SCHEMA_PROPERTIES).await;
    assert!(before.iter().filter(|row| row[0] == "grant" && row[1] == "general").count() == 6, "{before:?}");

    for verb in ["reset", "run"] {
        let out = daemon.ctl(&format!("{verb} {CONFIRMED}")).await;
        out.expect(0);
        assert_eq!(before, target.rows(SCHEMA_PROPERTIES).await, "after {verb}");
        assert_eq!(out.at("/findings"), &json!([]), "{out}");
    }

    // The default privileges did their work: the new tables carry them.
    let [owner, _, reader, writer] = roles(&target);
    assert_eq!(
        target.value("SELECT tableowner FROM pg_tables WHERE schemaname = 'general' LIMIT 1").await,
        owner
    );
    assert!(
        target.holds(&format!("SELECT has_table_privilege('{writer}', 'general.state', 'INSERT')")).await
    );
    assert!(
        !target.holds(&format!("SELECT has_table_privilege('{reader}', 'general.state', 'INSERT')")).await
    );
}

#[tokio::test]
async fn a_role_without_superuser_resets_what_it_owns_and_keeps_its_properties() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    furnish(&target).await;
    let [owner, grantor, reader, _] = roles(&target);
    // Default privileges that the superuser declared could not be restored by anybody else.
    target
        .sql(&format!(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA general REVOKE SELECT ON TABLES FROM {reader};
             GRANT {owner}, {grantor}, {reader} TO {}",
            target.role
        ))
        .await;
    let daemon = Setup::of(&target).start().await;
    let before = target.rows(SCHEMA_PROPERTIES).await;

    daemon.ctl(&format!("run {CONFIRMED}")).await.expect(0);

    assert_eq!(before, target.rows(SCHEMA_PROPERTIES).await);
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'health'";
    assert_eq!(target.column(owners).await, [target.role.as_str()]);
}

#[tokio::test]
async fn memberships_that_are_missing_are_all_told_before_anything_is_dropped() {
    let target = TestTarget::make(Make { restricted: true, ..Make::migrated() }).await;
    furnish(&target).await;
    let daemon = Setup::of(&target).start().await;
    let before = target.state().await;

    let out = daemon.ctl(&format!("run {CONFIRMED}")).await;

    out.refused("PREFLIGHT_FAILED");
    let [owner, grantor, reader, _] = roles(&target);
    for role in [&owner, &grantor, &reader, "postgres"] {
        assert!(out.text("/error_detail/message").contains(role), "{role}\n{out}");
    }
    assert_eq!(before, target.state().await);
}

#[tokio::test]
async fn the_database_its_settings_and_roles_stay() {
    let target = TestTarget::migrated().await;
    let [owner, _, reader, writer] = roles(&target);
    let database = &target.database;
    target
        .sql(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {reader}; CREATE ROLE {writer} LOGIN;
             REVOKE CONNECT ON DATABASE {database} FROM PUBLIC; GRANT CONNECT, TEMP ON DATABASE {database} TO {reader};
             ALTER DATABASE {database} SET statement_timeout = '61s';
             ALTER ROLE {writer} IN DATABASE {database} SET work_mem = '7MB';
             COMMENT ON DATABASE {database} IS 'everybody''s'; ALTER DATABASE {database} CONNECTION LIMIT 77;
             GRANT CREATE ON SCHEMA public TO {reader};
             CREATE TABLE public.mine (n int); INSERT INTO public.mine VALUES (1), (2);
             CREATE SCHEMA other; CREATE TABLE other.t AS SELECT 1 AS n;"
        ))
        .await;
    let daemon = Setup::of(&target).start().await;
    let outside = async || {
        let mut relations = target.snapshot().await;
        relations.retain(|r| r.name.starts_with("public.") || r.name.starts_with("other."));
        (
            target.rows(DATABASE).await,
            target.column("SELECT rolname FROM pg_roles WHERE rolname ~ current_database() ORDER BY 1").await,
            relations,
        )
    };
    let before = outside().await;
    assert_eq!((before.0.len(), before.1.len(), before.2.len()), (4, 3, 2), "{before:?}");

    for verb in ["reset", "run"] {
        daemon.ctl(&format!("{verb} {CONFIRMED}")).await.expect(0);
        assert_eq!(before, outside().await, "after {verb}");
    }
}

fn of_schemas(relations: Vec<Relation>, schemas: &[&str]) -> Vec<Relation> {
    let inside = |r: &Relation| schemas.iter().any(|s| r.name.starts_with(&format!("{s}.")));
    relations.into_iter().filter(inside).collect()
}

#[tokio::test]
async fn managed_schema_limits_the_reset() {
    let target = TestTarget::migrated().await;
    let daemon = Setup::of(&target).start().await;
    let others = ["shared", "general", "messenger", "relationship"];
    let before = of_schemas(target.snapshot().await, &others);

    // The plan keeps the matrix's order, whatever the caller's.
    let flags = "--managed-schema switchboard --managed-schema health";
    let out = daemon.ctl(&format!("reset {flags} {CONFIRMED}")).await;

    out.expect(0);
    let names: Vec<&str> = out.list("/details/reset").iter().map(|e| e["schema"].as_str().unwrap()).collect();
    assert_eq!(names, ["health", "switchboard"], "{out}");
    assert_eq!(of_schemas(target.snapshot().await, &["health", "switchboard"]), []);
    assert_eq!(before, of_schemas(target.snapshot().await, &others));
}

#[tokio::test]
async fn run_with_managed_schema_resets_some_and_migrates_and_validates_all() {
    let target = TestTarget::migrated().await;
    // Behind in a schema that is not reset, and one that is not there at all.
    target.sql("DROP SCHEMA messenger CASCADE; DROP TABLE relationship.facts CASCADE").await;
    let daemon = Setup::of(&target).start().await;
    let others = ["general", "relationship", "switchboard"];
    let before = target.state().await;

    let out = daemon.ctl(&format!("run --managed-schema health {CONFIRMED}")).await;
    out.refused("VALIDATION_DIFFERENCES");
    let facts = json!([{"schema": "relationship", "table": "facts", "group": "memory", "exists": false}]);
    assert_eq!(out.at("/details/validation/missing/tables"), &facts, "{out}");
    assert_eq!(before, target.state().await);

    target.sql("CREATE TABLE relationship.facts ()").await;
    let before = of_schemas(target.snapshot().await, &others);
    let out = daemon.ctl(&format!("run --managed-schema health {CONFIRMED}")).await;
    out.expect(0);
    assert_eq!(out.at("/plan/created_schemas"), &json!(["messenger"]), "{out}");
    assert_eq!(out.list("/details/reset").len(), 1, "{out}");
    assert_eq!(out.list("/details/migrations").len(), 9, "{out}");
    let applied: Vec<&str> = out.list("/revisions").iter().map(|r| r["schema"].as_str().unwrap()).collect();
    assert_eq!(applied, ["health", "messenger", "health"], "{out}");
    assert_eq!(before, of_schemas(target.snapshot().await, &others));
    assert_eq!(target.value("SELECT count(*) FROM health.state").await, "0");
    assert_eq!(target.value("SELECT count(*) FROM general.state").await, "3");
}

/// What hangs between managed schemas goes with them and is nobody's loss.
#[tokio::test]
async fn objects_between_managed_schemas_are_inside() {
    let target = TestTarget::migrated().await;
    target
        .sql(
            "CREATE VIEW shared.all_state AS SELECT * FROM general.state UNION ALL SELECT * FROM health.state;
             CREATE TYPE shared.mood AS ENUM ('fine'); ALTER TABLE general.sessions ADD mood shared.mood;
             CREATE FUNCTION shared.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER touch BEFORE INSERT ON health.state FOR EACH ROW EXECUTE FUNCTION shared.touch();
             CREATE MATERIALIZED VIEW general.seen AS SELECT * FROM shared.all_state",
        )
        .await;
    let daemon = Setup::of(&target).start().await;
    let out = daemon.ctl(&format!("run {CONFIRMED}")).await;
    out.expect(0);
    assert_eq!(out.at("/plan/outside"), &json!([]), "{out}");

    // But a reset of one of them alone would take something out of another: outside the schemas that are reset.
    target.sql("CREATE VIEW shared.all_state AS SELECT * FROM general.state").await;
    let before = target.state().await;
    let out = daemon.ctl(&format!("reset --managed-schema general {CONFIRMED}")).await;
    out.refused("BLAST_RADIUS");
    assert!(out.text("/error_detail/message").contains("shared.all_state"), "{out}");
    assert_eq!(before, target.state().await);
}
