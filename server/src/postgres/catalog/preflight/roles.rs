//! What the daemon's role may do, and to whom things belong.

use model::{fault::Fault, finding::Finding};
use sqlx::PgConnection;

use crate::postgres::{
    catalog::{dependencies::Radius, schema_properties::OWNED_PUBLIC},
    sql::{
        error::work_fault,
        ident::Ident,
        version::{assume, may_act},
    },
};

/// How many objects of one owner are named.
const NAMED: usize = 5;

/// Roles that the daemon must be able to act as to drop the schemas and to restore their properties.
pub(super) async fn memberships(
    connection: &mut PgConnection,
    version: i32,
    reset: &[String],
    migrated: &[&str],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<Missing> = sqlx::query_as(
        "WITH needed(schema, role, why, privilege) AS (
            SELECT n.nspname, n.nspowner, 'owns the schema', p FROM pg_catalog.pg_namespace n, (VALUES ('USAGE'), ($3)) v(p)
             WHERE n.nspname = ANY($1) OR n.nspname = ANY($2) AND p <> 'USAGE'
            UNION SELECT n.nspname, a.grantor, 'granted rights on the schema', $3 FROM pg_catalog.pg_namespace n
              CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) a WHERE n.nspname = ANY($1)
            UNION SELECT n.nspname, d.defaclrole, 'has default privileges in the schema', $3
              FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_default_acl d ON d.defaclnamespace = n.oid
             WHERE n.nspname = ANY($1))
         SELECT schema::pg_catalog.text, pg_catalog.pg_get_userbyid(role)::pg_catalog.text,
                coalesce((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = role), false),
                pg_catalog.string_agg(DISTINCT why, ', ' ORDER BY why), current_user::pg_catalog.text,
                pg_catalog.current_database()::pg_catalog.text,
                (SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba
                  WHERE d.datname = pg_catalog.current_database() AND NOT r.rolsuper)
           FROM needed WHERE NOT pg_catalog.pg_has_role(current_user, role, privilege)
          GROUP BY schema, role ORDER BY 1, 2",
    )
    .bind(reset)
    .bind(migrated.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    .bind(assume(version))
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at memberships", &e))?;
    Ok(rows.into_iter().map(|row| membership_missing(version, row)).collect())
}

/// Schema, role, whether that is a superuser, why it is needed, the daemon's role, the database, and its owner if that is no
/// superuser.
type Missing = (String, String, bool, String, String, String, Option<String>);

fn membership_missing(
    version: i32,
    (schema, role, superuser, why, own, database, owner): Missing,
) -> Finding {
    let grant = |role: &str| {
        let (role, own) = (Ident(role), Ident(&own));
        format!("GRANT {role} TO {own}{}; (a member that inherits)", may_act(version))
    };
    let hint = match (role.as_str(), superuser) {
        // Nobody can be made its member: whoever owns the database is.
        ("pg_database_owner", _) => {
            let make_owner = format!("ALTER DATABASE {} OWNER TO {};", Ident(&database), Ident(&own));
            match owner {
                Some(owner) => format!("{make_owner} or {}", grant(&owner)),
                None => make_owner,
            }
        }
        (_, true) if why.contains("owns the schema") => format!(
            "{role} is a superuser: ALTER SCHEMA {} OWNER TO {}; or to a role that {own} may act as",
            Ident(&schema),
            Ident(&own)
        ),
        (_, true) => format!(
            "{role} is a superuser: let it give what it granted there to a role that {own} may act as"
        ),
        _ => grant(&role),
    };
    Finding::error(
        "MEMBERSHIP_MISSING",
        format!("schema {schema}"),
        format!("role {role} {why}, and the daemon's role cannot act as it"),
        hint,
    )
}

/// The right to create schemas in the database.
pub(super) async fn may_create(connection: &mut PgConnection) -> Result<Option<Finding>, Fault> {
    let (may, database, role): (bool, String, String) = sqlx::query_as(
        "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
                pg_catalog.current_database()::pg_catalog.text, current_user::pg_catalog.text",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| work_fault("looking at rights", &e))?;
    Ok((!may).then(|| {
        Finding::error(
            "CREATE_DENIED",
            format!("database {database}"),
            format!("role {role} may not create schemas in it"),
            format!("GRANT CREATE ON DATABASE {} TO {};", Ident(&database), Ident(&role)),
        )
    }))
}

/// A new database is born with `public`. Where the old one has none it is dropped, and where it has another it is changed,
/// which may take a superuser.
pub(super) async fn may_change_public(
    connection: &mut PgConnection,
    version: i32,
    drops: bool,
) -> Result<Option<Finding>, Fault> {
    let superuser: bool =
        sqlx::query_scalar("SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user")
            .fetch_one(connection)
            .await
            .map_err(|e| work_fault("looking at rights", &e))?;
    Ok((!superuser && version < OWNED_PUBLIC).then(|| match drops {
        true => Finding::error(
            "PUBLIC_RETURNS",
            "schema public",
            "is not there; a new database has one that belongs to a superuser and is open to everybody, and the daemon's \
             role may not drop it",
            "CREATE SCHEMA public; or let a superuser's daemon replace the database",
        ),
        false => Finding::error(
            "PUBLIC_NOT_OWNED",
            "schema public",
            "is not as in a new database, where it belongs to a superuser before PostgreSQL 15, and the daemon's role may not \
             change it there",
            "give it the owner, rights and comment of a new database's, or use scope managed-schemas; or let a superuser's \
             daemon replace the database",
        ),
    }))
}

/// The owner of a schema may drop what others made in it; they are told, and what is recreated belongs to the schema's
/// owner.
pub(super) fn foreign_owners(radius: &Radius) -> Vec<Finding> {
    let finding = |(owner, objects): (&String, &Vec<String>)| {
        let more = objects.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = objects[..objects.len().min(NAMED)].join(", ");
        Finding::warning(
            "FOREIGN_OWNER",
            format!("role {owner}"),
            format!(
                "owns {names}{more} inside the schemas; that goes too, and comes back as the schema owner's if at all"
            ),
            "tell its owner, or move it out of the managed schemas",
        )
    };
    radius.owners.iter().map(finding).collect()
}

/// Only a superuser can put a schema back into a publication of whole schemas.
pub(super) async fn publications(
    connection: &mut PgConnection,
    reset: &[String],
) -> Result<Vec<Finding>, Fault> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT p.pubname::pg_catalog.text, n.nspname::pg_catalog.text FROM pg_catalog.pg_publication_namespace x
           JOIN pg_catalog.pg_publication p ON p.oid = x.pnpubid
           JOIN pg_catalog.pg_namespace n ON n.oid = x.pnnspid, pg_catalog.pg_roles r
          WHERE n.nspname = ANY($1) AND r.rolname = current_user AND NOT r.rolsuper ORDER BY 1, 2",
    )
    .bind(reset)
    .fetch_all(connection)
    .await
    .map_err(|e| work_fault("looking at publications", &e))?;
    Ok(rows
        .into_iter()
        .map(|(publication, schema)| {
            Finding::warning(
                "PUBLICATION_STUCK",
                format!("publication {publication}"),
                format!("publishes schema {schema}, and only a superuser can put the schema back into it"),
                format!(
                    "afterwards, as a superuser: ALTER PUBLICATION {} ADD TABLES IN SCHEMA {};",
                    Ident(&publication),
                    Ident(&schema)
                ),
            )
        })
        .collect())
}
