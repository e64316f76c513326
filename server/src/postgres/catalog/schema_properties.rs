//! The properties of a schema: owner, grants, comment, security labels, default privileges, and the publications that
//! publish all of it; captured before a drop, restored after it, and compared.

pub(in crate::postgres) mod grant;

use model::{
    blast::{OutsideObject, SchemaProperty},
    fault::Fault,
};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::postgres::sql::{error::work_fault, version};
use grant::Grant;

/// Since then a publication can publish whole schemas.
pub(crate) const SCHEMA_PUBLICATIONS: i32 = 150_000;

/// The properties of one schema.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SchemaProperties {
    pub(in crate::postgres) schema: String,
    pub(in crate::postgres) owner: String,
    pub(in crate::postgres) comment: Option<String>,
    /// `None`: the schema never had an access list.
    pub(in crate::postgres) rights: Option<Vec<Grant>>,
    pub(in crate::postgres) defaults: Vec<Grant>,
    /// Provider and label.
    pub(in crate::postgres) labels: Vec<(String, String)>,
    /// Publications that publish all of it.
    pub(in crate::postgres) publications: Vec<String>,
    /// Only a superuser can put a schema back into a publication.
    pub(in crate::postgres) restores_publications: bool,
}

/// A schema's own row of the catalog.
#[derive(sqlx::FromRow)]
struct HeadRow {
    schema: String,
    owner: String,
    comment: Option<String>,
    has_acl: bool,
    restores_publications: bool,
}

#[derive(sqlx::FromRow)]
struct GrantRow {
    schema: String,
    #[sqlx(flatten)]
    grant: Grant,
}

/// A security label with its provider, or a publication.
#[derive(sqlx::FromRow)]
struct ExtraRow {
    schema: String,
    kind: String,
    name: String,
    label: String,
}

/// Captures the properties of those schemas that exist.
pub(crate) async fn capture(
    connection: &mut PgConnection,
    schemas: &[String],
) -> Result<Vec<SchemaProperties>, Fault> {
    let lost = |e: sqlx::Error| work_fault("reading grants and defaults of the schemas", &e);
    let heads: Vec<HeadRow> = sqlx::query_as(
        "SELECT n.nspname::text AS schema, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
                pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment, n.nspacl IS NOT NULL AS has_acl,
                r.rolsuper AS restores_publications
           FROM pg_catalog.pg_namespace n, pg_catalog.pg_roles r
          WHERE n.nspname = ANY($1) AND r.rolname = session_user ORDER BY 1",
    )
    .bind(schemas)
    .fetch_all(&mut *connection)
    .await
    .map_err(lost)?;
    let rights: Vec<GrantRow> = sqlx::query_as(
        // In the order of the access lists: restored in it, they are the same to the letter.
        "SELECT x.schema, x.grantor, x.grantee, x.privilege_type AS privilege, x.is_grantable AS grantable, x.objects FROM (
            SELECT n.nspname::text AS schema, pg_catalog.pg_get_userbyid(a.grantor)::text AS grantor,
                   CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END AS grantee,
                   a.privilege_type, a.is_grantable, NULL::text AS objects, a.place
              FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl)
                   WITH ORDINALITY a(grantor, grantee, privilege_type, is_grantable, place)
             WHERE n.nspname = ANY($1)
            UNION ALL
            SELECT n.nspname::text, pg_catalog.pg_get_userbyid(d.defaclrole)::text,
                   CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee)::text END,
                   a.privilege_type, a.is_grantable, d.defaclobjtype::text, a.place
              FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_default_acl d ON d.defaclnamespace = n.oid
             CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl)
                   WITH ORDINALITY a(grantor, grantee, privilege_type, is_grantable, place) WHERE n.nspname = ANY($1)
         ) x ORDER BY 1, 6 NULLS FIRST, x.place",
    )
    .bind(schemas)
    .fetch_all(&mut *connection)
    .await
    .map_err(lost)?;
    let extras = extras(connection, schemas).await?;
    Ok(heads.into_iter().map(|head| assemble(head, &rights, &extras)).collect())
}

/// Security labels and publications.
async fn extras(connection: &mut PgConnection, schemas: &[String]) -> Result<Vec<ExtraRow>, Fault> {
    let mut sql = "SELECT n.nspname::text AS schema, 'label' AS kind, l.provider AS name, l.label FROM pg_catalog.pg_seclabel l
           JOIN pg_catalog.pg_namespace n ON l.classoid = 'pg_catalog.pg_namespace'::regclass AND l.objoid = n.oid
          WHERE n.nspname = ANY($1)"
        .to_owned();
    if version::of(connection).await? >= SCHEMA_PUBLICATIONS {
        sql.push_str(
            " UNION ALL SELECT n.nspname::text, 'publication', p.pubname::text, ''
                FROM pg_catalog.pg_publication_namespace x JOIN pg_catalog.pg_publication p ON p.oid = x.pnpubid
                JOIN pg_catalog.pg_namespace n ON n.oid = x.pnnspid WHERE n.nspname = ANY($1)",
        );
    }
    sql.push_str(" ORDER BY 1, 2, 3");
    sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(schemas)
        .fetch_all(connection)
        .await
        .map_err(|e| work_fault("reading labels and publications of the schemas", &e))
}

fn assemble(head: HeadRow, rows: &[GrantRow], extras: &[ExtraRow]) -> SchemaProperties {
    let HeadRow { schema, owner, comment, has_acl, restores_publications } = head;
    let here = || rows.iter().filter(|row| row.schema == schema).map(|row| row.grant.clone());
    let rights = has_acl.then(|| here().filter(Grant::is_on_schema).collect());
    let defaults = here().filter(|r| !r.is_on_schema()).collect();
    let of =
        |kind: &'static str| extras.iter().filter(|e| e.schema == schema).filter(move |e| e.kind == kind);
    let labels = of("label").map(|e| (e.name.clone(), e.label.clone())).collect();
    let publications = of("publication").map(|e| e.name.clone()).collect();
    SchemaProperties { schema, owner, comment, rights, defaults, labels, publications, restores_publications }
}

/// Since then `public` belongs to whoever owns the database, and only they may create in it.
pub(in crate::postgres) const OWNED_PUBLIC: i32 = 150_000;

/// Schema `public` as a new database has it.
///
/// # Errors
/// The session was lost.
pub(in crate::postgres) async fn fresh_public(
    connection: &mut PgConnection,
) -> Result<SchemaProperties, Fault> {
    let owned = version::of(connection).await? >= OWNED_PUBLIC;
    // The cluster's first superuser.
    let first: String = sqlx::query_scalar("SELECT pg_catalog.pg_get_userbyid(10)::pg_catalog.text")
        .fetch_one(connection)
        .await
        .map_err(|e| work_fault("looking at the cluster's first role", &e))?;
    let owner = if owned { "pg_database_owner".to_owned() } else { first };
    let mut rights = Grant::of_owner(&owner);
    rights.push(Grant::on_schema(&owner, None, "USAGE"));
    if !owned {
        rights.push(Grant::on_schema(&owner, None, "CREATE"));
    }
    let comment = Some("standard public schema".to_owned());
    let schema = "public".to_owned();
    Ok(SchemaProperties { schema, owner, comment, rights: Some(rights), ..SchemaProperties::default() })
}

/// Takes out of the blast radius what comes back as schema_properties.
pub(crate) fn spare(schema_properties: &[SchemaProperties], outside: &mut Vec<OutsideObject>) {
    if schema_properties.iter().any(|f| f.restores_publications) {
        outside.retain(|object| object.kind != "publication namespace");
    }
}

impl SchemaProperties {
    /// The same for another database: publications are of one database.
    pub(in crate::postgres) fn elsewhere(self) -> Self {
        Self { publications: Vec::new(), restores_publications: false, ..self }
    }

    /// The schema.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// The schema's owner.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// The publications that it is put back into.
    pub(crate) fn restored_publications(&self) -> impl Iterator<Item = &String> {
        self.publications.iter().filter(|_| self.restores_publications)
    }

    /// The roles that have, or gave, rights on it.
    pub(crate) fn roles(&self) -> Vec<String> {
        let rights = self.rights.iter().flatten();
        rights.flat_map(|right| right.grantee.iter().chain([&right.grantor])).cloned().collect()
    }

    /// Piece by piece, in words.
    pub(crate) fn pieces(&self) -> Vec<SchemaProperty> {
        let mut all = vec![("owner", self.owner.clone())];
        all.extend(self.effective().iter().map(|right| ("grant", right.phrase())));
        all.extend(self.defaults.iter().map(|right| ("default privilege", right.phrase())));
        all.extend(self.comment.iter().map(|comment| ("comment", comment.clone())));
        all.extend(self.labels.iter().map(|(by, label)| ("security label", format!("{by}: {label}"))));
        if self.restores_publications {
            all.extend(self.publications.iter().map(|name| ("publication", name.clone())));
        }
        let piece = |(kind, text): (&str, String)| SchemaProperty {
            schema: self.schema.clone(),
            kind: kind.to_owned(),
            text,
        };
        all.into_iter().map(piece).collect()
    }

    /// The access list; one that was never written means that the owner has every right.
    pub(in crate::postgres) fn effective(&self) -> Vec<Grant> {
        self.rights.clone().unwrap_or_else(|| Grant::of_owner(&self.owner))
    }

    /// What is not as it was, in words.
    pub(crate) fn difference(&self, now: &Self) -> Option<String> {
        let (before, after) = (self.pieces(), now.pieces());
        let lost = before.iter().filter(|p| !after.contains(p)).map(|p| format!("- {p}"));
        let new = after.iter().filter(|p| !before.contains(p)).map(|p| format!("+ {p}"));
        let all: Vec<String> = lost.chain(new).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}
