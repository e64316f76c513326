//! The properties of a database's row, piece by piece in words, so that what changed can be named; and whether they
//! changed at all.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::database::{DatabaseGrant, DatabaseRow};
use crate::postgres::sql::error::ControlError;

impl DatabaseRow {
    /// Piece by piece, in words. Each is there once; what comes and goes is known by its text.
    fn pieces(&self) -> Vec<String> {
        let mut all = vec![format!("owner {}", self.owner), format!("creation options{}", self.creation)];
        all.extend(self.rights.iter().map(|DatabaseGrant { grantor, grantee, privilege, grantable }| {
            let to = grantee.as_deref().unwrap_or("PUBLIC");
            let option = if *grantable { " with grant option" } else { "" };
            format!("grant {privilege} to {to}{option} by {grantor}")
        }));
        all.extend(self.settings.iter().map(|(role, setting)| match role {
            Some(role) => format!("setting of {role} {setting}"),
            None => format!("setting {setting}"),
        }));
        if self.connection_limit >= 0 {
            all.push(format!("connection limit {}", self.connection_limit));
        }
        if self.is_template {
            all.push("template mark".to_owned());
        }
        all.extend(self.comment.iter().map(|comment| format!("comment {comment}")));
        all.extend(self.labels.iter().map(|(provider, label)| format!("security label {provider}: {label}")));
        all
    }

    /// What this row has and `before` had not (`+`), and the other way round (`-`), whatever they are called.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let count = |row: &Self, by: i32, into: &mut BTreeMap<String, i32>| {
            for piece in row.pieces() {
                *into.entry(piece).or_default() += by;
            }
        };
        let mut found = BTreeMap::new();
        count(self, 1, &mut found);
        count(before, -1, &mut found);
        let line = |(piece, times): (String, i32)| match times {
            0 => None,
            1.. => Some(format!("+ {piece}")),
            _ => Some(format!("- {piece}")),
        };
        found.into_iter().filter_map(line).collect()
    }
}

/// One text that differs as soon as a property of the database does: cheaper to ask for than the properties. An expression.
pub(crate) fn fingerprint_of(oid: u32) -> String {
    format!(
        "(SELECT pg_catalog.concat_ws('|', d.datdba, d.datacl, d.datconnlimit, d.datistemplate,
                pg_catalog.shobj_description(d.oid, 'pg_database'),
                (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', s.setrole, s.setconfig), ';' ORDER BY s.setrole)
                   FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid),
                (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', l.provider, l.label), ';' ORDER BY l.provider)
                   FROM pg_catalog.pg_shseclabel l
                  WHERE l.objoid = d.oid AND l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass))
           FROM pg_catalog.pg_database d WHERE d.oid = {oid})"
    )
}

/// The same, asked for in the control database.
///
/// # Errors
/// The database of that oid is not there, or the control database does not answer.
pub(crate) async fn fingerprint(connection: &mut PgConnection, oid: u32) -> Result<String, ControlError> {
    let asked = AssertSqlSafe(format!("SELECT {}", fingerprint_of(oid)));
    Ok(sqlx::query_scalar(asked).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(grantee: Option<&str>, grantable: bool) -> DatabaseGrant {
        DatabaseGrant {
            grantor: "owner".to_owned(),
            grantee: grantee.map(str::to_owned),
            privilege: "CONNECT".to_owned(),
            grantable,
        }
    }

    fn row() -> DatabaseRow {
        DatabaseRow {
            oid: 1,
            name: "a".to_owned(),
            owner: "owner".to_owned(),
            tablespace: None,
            creation: " ENCODING 'UTF8'".to_owned(),
            connection_limit: -1,
            is_template: false,
            comment: Some("mine".to_owned()),
            rights: vec![connect(None, false)],
            settings: vec![(None, "work_mem=7MB".to_owned())],
            labels: Vec::new(),
        }
    }

    #[test]
    fn what_came_and_what_went_is_named_and_the_name_is_no_property() {
        assert_eq!(DatabaseRow { oid: 2, name: "b".to_owned(), ..row() }.changes_since(&row()), [""; 0]);
        let now = DatabaseRow {
            comment: None,
            connection_limit: 5,
            settings: vec![(Some("app".to_owned()), "work_mem=7MB".to_owned())],
            rights: vec![connect(Some("app"), true)],
            ..row()
        };
        assert_eq!(
            now.changes_since(&row()),
            [
                "- comment mine",
                "+ connection limit 5",
                "- grant CONNECT to PUBLIC by owner",
                "+ grant CONNECT to app with grant option by owner",
                "+ setting of app work_mem=7MB",
                "- setting work_mem=7MB",
            ]
        );
    }
}
