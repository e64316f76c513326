//! One right on a schema, or one that objects made in it will carry by default.

use serde::{Deserialize, Serialize};

use crate::postgres::sql::ident::Ident;

/// One right on a schema, or by default on what will be made in it.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::FromRow)]
pub(in crate::postgres) struct Grant {
    pub(in crate::postgres) grantor: String,
    /// `None`: PUBLIC.
    pub(in crate::postgres) grantee: Option<String>,
    pub(in crate::postgres) privilege: String,
    pub(in crate::postgres) grantable: bool,
    /// `None` for the schema itself, else the kind of objects a default is for: `r S f T`.
    objects: Option<String>,
}

impl Grant {
    /// A right on a schema that may not be granted on.
    pub(in crate::postgres) fn on_schema(grantor: &str, grantee: Option<&str>, privilege: &str) -> Self {
        Self {
            grantor: grantor.to_owned(),
            grantee: grantee.map(str::to_owned),
            privilege: privilege.to_owned(),
            grantable: false,
            objects: None,
        }
    }

    /// What the owner of a schema has without any access list.
    pub(in crate::postgres) fn of_owner(owner: &str) -> Vec<Self> {
        ["CREATE", "USAGE"].map(|privilege| Self::on_schema(owner, Some(owner), privilege)).to_vec()
    }

    pub(in crate::postgres) fn is_on_schema(&self) -> bool {
        self.objects.is_none()
    }

    fn to(&self) -> String {
        self.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), |g| Ident(g).to_string())
    }

    fn option(&self) -> &'static str {
        if self.grantable { " WITH GRANT OPTION" } else { "" }
    }

    fn kind(&self) -> &'static str {
        match self.objects.as_deref() {
            Some("S") => "SEQUENCES",
            Some("f") => "FUNCTIONS",
            Some("T") => "TYPES",
            _ => "TABLES",
        }
    }

    /// For a person.
    pub(in crate::postgres) fn phrase(&self) -> String {
        let on =
            if self.is_on_schema() { String::new() } else { format!(" on {}", self.kind().to_lowercase()) };
        let to = self.grantee.as_deref().unwrap_or("PUBLIC");
        format!("{}{on} to {to}{} by {}", self.privilege, self.option().to_lowercase(), self.grantor)
    }

    /// The grant, made as its grantor.
    pub(in crate::postgres) fn grant(&self, schema: &str) -> String {
        format!(
            "SET LOCAL ROLE {}; GRANT {} ON SCHEMA {} TO {}{};\n",
            Ident(&self.grantor),
            self.privilege,
            Ident(schema),
            self.to(),
            self.option()
        )
    }

    /// The default privilege.
    pub(in crate::postgres) fn alter_default(&self, schema: &str) -> String {
        format!(
            "ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {} GRANT {} ON {} TO {}{};\n",
            Ident(&self.grantor),
            Ident(schema),
            self.privilege,
            self.kind(),
            self.to(),
            self.option()
        )
    }
}

/// The grants on a schema, each after those that it depends on.
pub(in crate::postgres) fn in_dependency_order<'a>(owner: &str, rights: &'a [Grant]) -> Vec<&'a Grant> {
    ordered(
        rights,
        |right| right.grantor == owner,
        |given, right| {
            given.grantable
                && given.privilege == right.privilege
                && given.grantee.as_deref() == Some(right.grantor.as_str())
        },
    )
}

/// A right can only be granted by who holds it with the option to grant: the owner's come first, then those that
/// others `enable`.
pub(in crate::postgres) fn ordered<T>(
    rights: &[T],
    by_owner: impl Fn(&T) -> bool,
    enables: impl Fn(&T, &T) -> bool,
) -> Vec<&T> {
    let mut waiting: Vec<&T> = rights.iter().collect();
    let mut ordered: Vec<&T> = Vec::new();
    loop {
        let may = |right: &&T| by_owner(right) || ordered.iter().any(|given| enables(given, right));
        let (now, later): (Vec<&T>, Vec<&T>) = waiting.into_iter().partition(may);
        if now.is_empty() {
            // What is left has no grantor that could have granted it; PostgreSQL says so when it is tried.
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(now);
        waiting = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_follow_those_they_depend_on() {
        let right = |grantor: &str, grantee: &str| Grant {
            grantor: grantor.to_owned(),
            grantee: Some(grantee.to_owned()),
            privilege: "USAGE".to_owned(),
            grantable: true,
            objects: None,
        };
        let rights = [right("b", "c"), right("a", "b"), right("owner", "a")];
        let order: Vec<&str> =
            in_dependency_order("owner", &rights).iter().map(|r| r.grantor.as_str()).collect();
        assert_eq!(order, ["owner", "a", "b"]);
        assert_eq!(rights[0].phrase(), "USAGE to c with grant option by b");
    }
}
