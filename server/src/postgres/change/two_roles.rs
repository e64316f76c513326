//! The recommended roles as SQL: one that owns the control database, one for each target that owns that. The statements can
//! be run again and again, and hold no password.

use model::fault::{Fault, Reason};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgConnectOptions};

use super::lock_waits::GRANTED_SETTINGS;
use crate::postgres::{
    session::connect,
    sql::{
        error::message,
        ident::{Ident, Literal},
    },
};

/// A role that logs in to a database, and what it is to own there.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) role: String,
    pub(crate) database: String,
    pub(crate) schemas: Vec<String>,
}

/// Who owns what.
#[derive(Clone, Debug)]
pub(crate) struct TwoRoles {
    pub(crate) control: Owner,
    pub(crate) targets: Vec<Owner>,
}

/// Statements for one database; `None`: for whichever.
struct Section {
    title: String,
    database: Option<String>,
    steps: Vec<Step>,
}

enum Step {
    Run(String),
    /// The database is made where it is missing; no transaction can hold that.
    Create {
        database: String,
        options: String,
    },
}

impl TwoRoles {
    fn roles(&self) -> Vec<&str> {
        let mut roles: Vec<&str> = self.targets.iter().map(|target| target.role.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        roles.insert(0, &self.control.role);
        roles
    }

    fn sections(&self) -> Vec<Section> {
        let control = &self.control;
        let unicode = " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'";
        let mut all = vec![
            Section { title: "the roles".to_owned(), database: None, steps: self.role_steps() },
            Section {
                title: "the control database: nobody else is let in".to_owned(),
                database: None,
                steps: vec![
                    create(control, unicode),
                    Step::Run(format!("REVOKE ALL ON DATABASE {} FROM PUBLIC;", Ident(&control.database))),
                ],
            },
            Section {
                title: "what a control database of before holds".to_owned(),
                database: Some(control.database.clone()),
                steps: vec![
                    Step::Run("REVOKE ALL ON SCHEMA public FROM PUBLIC;".to_owned()),
                    Step::Run(hand_over(control)),
                ],
            },
        ];
        for target in &self.targets {
            all.push(Section {
                title: format!("database {}", target.database),
                database: None,
                steps: vec![create(target, "")],
            });
            all.push(Section {
                title: "its managed schemas, as far as they are there".to_owned(),
                database: Some(target.database.clone()),
                steps: vec![Step::Run(hand_over(target))],
            });
        }
        all
    }

    fn role_steps(&self) -> Vec<Step> {
        let roles = self.roles();
        let names: Vec<String> = roles.iter().map(|role| Literal(role).to_string()).collect();
        let mut sql = vec![format!(
            "DO $resetd$ DECLARE it pg_catalog.text; BEGIN
  FOR it IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolsuper AND rolname IN ({}) LOOP
    RAISE EXCEPTION 'role % is a superuser: name another one in the URL', it;
  END LOOP;
END $resetd$;",
            names.join(", ")
        )];
        for role in &roles {
            sql.push(format!(
                "DO $resetd$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN CREATE ROLE {} LOGIN; END IF;
END $resetd$;",
                Literal(role),
                Ident(role)
            ));
        }
        let control = Ident(&self.control.role);
        sql.push(format!("ALTER ROLE {control} LOGIN CREATEDB;"));
        for role in roles.iter().skip(1) {
            sql.push(format!("GRANT {} TO {control};", Ident(role)));
            sql.push(looks_first(role));
        }
        // Sessions of other roles are ended and seen with these.
        sql.push(format!("GRANT pg_signal_backend, pg_read_all_stats TO {control};"));
        sql.into_iter().map(Step::Run).collect()
    }

    /// For psql, as a superuser.
    pub(crate) fn script(&self) -> String {
        let mut text =
            "-- For psql, as a superuser. It can be run again and again.\n\\set ON_ERROR_STOP on\n"
                .to_owned();
        for section in self.sections() {
            text.push_str(&format!("\n-- {}\n", section.title));
            if let Some(database) = &section.database {
                text.push_str(&format!(
                    "\\connect {}\nSET search_path = pg_catalog, pg_temp;\n",
                    Ident(database)
                ));
            }
            for step in section.steps {
                match step {
                    Step::Run(sql) => text.push_str(&format!("{sql}\n")),
                    Step::Create { database, options } => text.push_str(&format!(
                        "SELECT {} WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = {}) \\gexec\n",
                        Literal(&format!("CREATE DATABASE {}{options}", Ident(&database))),
                        Literal(&database)
                    )),
                }
            }
        }
        text.push_str("\n-- The passwords, as the URLs have them:\n");
        for role in self.roles() {
            text.push_str(&format!("-- \\password {}\n", Ident(role)));
        }
        text
    }

    /// Executes it all, and says what still needs a person.
    ///
    /// # Errors
    /// What PostgreSQL said, and to what.
    pub(crate) async fn apply(&self, admin: &PgConnectOptions) -> Result<String, Fault> {
        let admin = connect::options(admin, "resetd setup", &[("search_path", "pg_catalog,pg_temp")]);
        let mut first = connect::open(&admin).await?;
        let known = roles_without_password(&mut first, &self.roles()).await?;
        for section in self.sections() {
            let mut other;
            let connection = match &section.database {
                None => &mut first,
                Some(database) => {
                    other = connect::open(&admin.clone().database(database)).await?;
                    &mut other
                }
            };
            for step in &section.steps {
                step.execute(connection).await.map_err(|error| {
                    Fault::new(Reason::PreflightFailed, format!("{}: {}", section.title, message(&error)))
                        .hint("everything before it is done; fix this, then run it again")
                })?;
            }
        }
        let left = match known {
            roles if roles.is_empty() => String::new(),
            roles => {
                format!("; these roles have no password yet (psql: \\password ROLE): {}", roles.join(", "))
            }
        };
        Ok(format!("the roles, the control database and {} targets are set up{left}\n", self.targets.len()))
    }
}

/// With it a run looks for deadlocks before anybody else does, and is itself the victim. Settings can be granted since
/// PostgreSQL 15.
fn looks_first(role: &str) -> String {
    let grant = format!("GRANT SET ON PARAMETER deadlock_timeout TO {}", Ident(role));
    format!(
        "DO $resetd$ BEGIN
  IF pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= {GRANTED_SETTINGS} THEN EXECUTE {}; END IF;
END $resetd$;",
        Literal(&grant)
    )
}

impl Step {
    async fn execute(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let sql = match self {
            Self::Run(sql) => sql.clone(),
            Self::Create { database, options } => {
                let there: bool = sqlx::query_scalar(
                    "SELECT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = $1)",
                )
                .bind(database)
                .fetch_one(&mut *connection)
                .await?;
                if there {
                    return Ok(());
                }
                format!("CREATE DATABASE {}{options}", Ident(database))
            }
        };
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ())
    }
}

fn create(owner: &Owner, options: &str) -> Step {
    Step::Create {
        database: owner.database.clone(),
        options: format!(" OWNER {}{options}", Ident(&owner.role)),
    }
}

/// Roles that have no password, or are not there yet.
async fn roles_without_password(connection: &mut PgConnection, roles: &[&str]) -> Result<Vec<String>, Fault> {
    sqlx::query_scalar(
        "SELECT w.name FROM unnest($1::pg_catalog.text[]) WITH ORDINALITY w(name, place)
          WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_authid a WHERE a.rolname = w.name AND a.rolpassword IS NOT NULL)
          ORDER BY w.place",
    )
    .bind(roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(|error| {
        Fault::new(Reason::PreflightFailed, format!("looking at the roles: {}", message(&error)))
            .hint("the admin's URL must be a superuser's")
    })
}

/// Gives a database, and what migrations change in the named schemas, to its role. What an extension made stays with it.
fn hand_over(owner: &Owner) -> String {
    let schemas: Vec<String> = owner.schemas.iter().map(|schema| Literal(schema).to_string()).collect();
    let (database, role, name) = (Ident(&owner.database), Ident(&owner.role), Literal(&owner.role));
    format!(
        "ALTER DATABASE {database} OWNER TO {role};
DO $resetd$ DECLARE it pg_catalog.text; BEGIN
  FOR it IN
    WITH schemas AS (SELECT n.* FROM pg_catalog.pg_namespace n WHERE n.nspname IN ({}))
    SELECT pg_catalog.format('SCHEMA %I', s.nspname) FROM schemas s
    UNION ALL SELECT pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
        WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, s.nspname, c.relname)
      FROM pg_catalog.pg_class c JOIN schemas s ON s.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
          AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
    UNION ALL SELECT pg_catalog.format('ROUTINE %s', p.oid::pg_catalog.regprocedure)
      FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL SELECT pg_catalog.format('TYPE %I.%I', s.nspname, t.typname)
      FROM pg_catalog.pg_type t JOIN schemas s ON s.oid = t.typnamespace LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
     WHERE (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')
  LOOP
    EXECUTE pg_catalog.format('ALTER %s OWNER TO %I', it, {name});
  END LOOP;
END $resetd$;",
        if schemas.is_empty() { "NULL".to_owned() } else { schemas.join(", ") }
    )
}
