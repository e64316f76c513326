//! Databases of one test each.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use crate::{
    cleanup::Cleanup,
    eventually,
    postgres::{MIGRATED, Postgres},
    sql::{self, Session},
};

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// The password of restricted roles.
const PASSWORD: &str = "restricted-secret";
/// The password of the roles of control databases.
const CONTROL_PASSWORD: &str = "control-secret";

/// Why a test needs a superuser: what it is about is no plain role's to have. All reasons there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// It is about superusers: what they mean is shown or told.
    ItIsAboutSuperusers,
    /// It is about a daemon without a configuration, or with one of its own: one role.
    ItHasOneRole,
    /// The daemon looks at the server's disk: only a superuser, or `pg_read_server_files`, which leads out of a target, may.
    ItLooksAtTheDisk,
    /// It has extensions that are not trusted: only a superuser creates them.
    AnExtensionIsNotTrusted,
    /// A background worker holds a connection: only a superuser ends it.
    AWorkerIsInTheWay,
    /// Extensions move: what an extension made is the bootstrap superuser's, also where another role created it.
    ExtensionsMove,
    /// Whole-schema publications, security labels or default privileges that a superuser made: only one puts them back.
    APropertyIsASuperusers,
}

/// As which roles the daemons of a target work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Roles {
    /// What `RESETD_TEST_ROLE` says: `superuser`, which is the default, or `least`.
    #[default]
    OfTheSuite,
    /// PostgreSQL's own superuser does everything, in whatever mode the suite runs, for this reason.
    Superuser(Because),
    /// The recommended ones, without a right too many: one owns the control database and may create databases, the other
    /// one owns the target.
    Least,
}

impl Roles {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the suite says it")]
    fn are_least(self) -> bool {
        match self {
            Self::Superuser(_) => false,
            Self::Least => true,
            Self::OfTheSuite => match std::env::var("RESETD_TEST_ROLE").as_deref() {
                Err(_) | Ok("" | "superuser") => false,
                Ok("least") => true,
                Ok(other) => panic!("RESETD_TEST_ROLE is superuser or least, not {other:?}"),
            },
        }
    }
}

/// What a target shall be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Make<'a> {
    /// The template database; `template0` when not said.
    pub template: Option<&'a str>,
    /// A part of the name, for guards that look at it.
    pub named: Option<&'a str>,
    /// The daemon's role is no superuser: it owns the database and what is in it, and may create databases.
    pub restricted: bool,
    /// The daemon's roles, unless it is `restricted` to one.
    pub roles: Roles,
}

impl Make<'_> {
    /// From the template with six schemas at their heads and a few rows.
    #[must_use]
    pub fn migrated() -> Self {
        Self { template: Some(MIGRATED), ..Self::default() }
    }

    /// The same for two roles with the least privileges.
    #[must_use]
    pub fn least() -> Self {
        Self { roles: Roles::Least, ..Self::migrated() }
    }

    /// The same for a superuser, in whatever mode the suite runs, and why.
    #[must_use]
    pub fn superuser(because: Because) -> Self {
        Self { roles: Roles::Superuser(because), ..Self::migrated() }
    }
}

/// A database of one test.
#[derive(Clone, Debug)]
pub struct TestTarget {
    /// The target's name: that of the database.
    pub name: String,
    /// The database.
    pub database: String,
    /// The name of the control database that this test's daemons share.
    pub control: String,
    /// The role that daemons work as in the target.
    pub role: String,
    /// The role that daemons work as in the control database, where it is another one.
    pub control_role: Option<String>,
    /// The server.
    pub postgres: Postgres,
    password: String,
    /// On the shared server; a server of one's own goes as a whole.
    _cleanup: Option<Arc<Cleanup>>,
}

impl TestTarget {
    /// A new, empty database.
    pub async fn empty() -> Self {
        Self::make(Make::default()).await
    }

    /// A database with six schemas at their heads and three rows in each `state`.
    pub async fn migrated() -> Self {
        Self::make(Make::migrated()).await
    }

    /// A database as wished, on the shared server.
    pub async fn make(make: Make<'_>) -> Self {
        let postgres = Postgres::shared().await;
        let it = Self::make_on(postgres, make).await;
        let cleanup = Cleanup {
            server: postgres.url("postgres"),
            control_url: postgres.url(&it.control),
            database: it.database.clone(),
            control: it.control.clone(),
        };
        Self { _cleanup: Some(Arc::new(cleanup)), ..it }
    }

    /// A database as wished.
    pub async fn make_on(postgres: &Postgres, make: Make<'_>) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("butlers_{}{number}", make.named.map(|n| format!("{n}_")).unwrap_or_default());
        let template = make.template.unwrap_or("template0");
        let mut it = Self {
            name: database.clone(),
            control: format!("resetd_{number}"),
            role: "postgres".to_owned(),
            control_role: None,
            password: postgres.password.clone(),
            postgres: postgres.clone(),
            database,
            _cleanup: None,
        };
        sql::run(&postgres.url("postgres"), &format!("CREATE DATABASE {} TEMPLATE {template}", it.database))
            .await;
        if make.restricted {
            it.role = format!("app_{number}");
            it.password = PASSWORD.to_owned();
            it.sql(&restrict(&it.role, &it.database, "CREATEDB")).await;
        } else if make.roles.are_least() {
            it.role = format!("app_{number}");
            it.password = PASSWORD.to_owned();
            it.control_role = Some(format!("control_{number}"));
            it.make_roles().await;
        }
        it
    }

    /// Makes the two roles, where it has two: they belong to the whole server, and another one has none of them.
    pub async fn make_roles(&self) {
        if let Some(control) = &self.control_role {
            self.sql(&restrict(&self.role, &self.database, "")).await;
            self.sql(&control_role(control, &self.role)).await;
        }
    }

    /// Makes its control database before any daemon does, as an admin would: it belongs to the role that works in it.
    pub async fn make_control(&self) {
        let owner = self.control_owner();
        let make = format!("CREATE DATABASE {} TEMPLATE template0 OWNER {owner}", self.control);
        sql::run(&self.postgres.url("postgres"), &make).await;
    }

    /// The role that daemons work as in the control database.
    #[must_use]
    pub fn control_owner(&self) -> &str {
        self.control_role.as_deref().unwrap_or(&self.role)
    }

    /// What a daemon connects with.
    #[must_use]
    pub fn url(&self) -> String {
        self.postgres.url_of(&self.role, &self.password, &self.database)
    }

    /// What a daemon connects to its control database with, where that is another role's.
    #[must_use]
    pub fn control_url(&self) -> Option<String> {
        let role = self.control_role.as_ref()?;
        Some(self.postgres.url_of(role, CONTROL_PASSWORD, &self.control))
    }

    /// The section of a configuration that names its control database; the URL, where there is one, is in `CONTROL_URL`.
    #[must_use]
    pub fn control_section(&self) -> String {
        match self.control_role {
            Some(_) => "[control]\ndatabase_url_env = \"CONTROL_URL\"\n".to_owned(),
            None => format!("[control]\ndatabase = \"{}\"\n", self.control),
        }
    }

    /// The same over TCP, where the password is proved.
    #[must_use]
    pub fn tcp_url(&self) -> String {
        self.postgres.tcp_url_of(&self.role, &self.password, &self.database)
    }

    /// The same as its control role, where that is another one.
    #[must_use]
    pub fn control_tcp_url(&self) -> Option<String> {
        let role = self.control_role.as_ref()?;
        Some(self.postgres.tcp_url_of(role, CONTROL_PASSWORD, &self.control))
    }

    /// Lets the daemon's roles act as others that a test makes, as an admin would; a superuser may anyway.
    pub async fn let_act_as(&self, roles: &[&str]) {
        if let Some(control) = &self.control_role {
            let roles = roles.join(", ");
            self.sql(&format!("GRANT {roles} TO {}, {control}", self.role)).await;
        }
    }

    /// Gives the database, made anew from a template, to the daemon's role, where that is no superuser.
    pub(crate) async fn hand_over(&self) {
        if self.control_role.is_some() {
            self.sql(&hand_over(&self.role, &self.database)).await;
        }
    }

    /// This target's control role serves another target.
    pub(crate) async fn serve_as_well(&self, other: &Self) {
        if let (Some(control), Some(_)) = (&self.control_role, &other.control_role) {
            self.sql(&format!("GRANT {} TO {control}", other.role)).await;
        }
    }

    /// The superuser's URL of this database.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Any number of statements, as the superuser.
    pub async fn sql(&self, sql: &str) {
        sql::run(&self.admin_url(), sql).await;
    }

    /// The same as the daemon's role: what they make is its own.
    pub async fn role_sql(&self, sql: &str) {
        sql::run(&self.url(), sql).await;
    }

    /// Any number of statements whose error is the caller's business.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn try_sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        sql::try_run(&self.admin_url(), sql).await
    }

    /// The rows of a query, as text; NULL is `NULL`.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        sql::rows(&self.admin_url(), sql).await
    }

    /// The first column of a query.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        let first = |row: Vec<String>| row.into_iter().next().expect("a query has columns");
        self.rows(sql).await.into_iter().map(first).collect()
    }

    /// The first cell of a query.
    pub async fn value(&self, sql: &str) -> String {
        self.column(sql).await.into_iter().next().unwrap_or_else(|| panic!("no row: {sql}"))
    }

    /// The server's major version.
    pub async fn major(&self) -> u32 {
        let number = self.value("SELECT current_setting('server_version_num')").await;
        number.parse::<u32>().expect("a number") / 10_000
    }

    /// Whether a condition holds now.
    pub async fn holds(&self, sql: &str) -> bool {
        self.value(sql).await == "t"
    }

    /// Waits, bounded, until a condition holds.
    pub async fn until(&self, sql: &str) {
        let mut session = self.session().await;
        let session = &mut session;
        let cell = tokio::sync::Mutex::new(session);
        eventually(sql, || async {
            let rows = cell.lock().await.rows(sql).await;
            rows.first().and_then(|row| row.first()).is_some_and(|cell| cell == "t")
        })
        .await;
    }

    /// The rows of a query in the control database.
    pub async fn control_rows(&self, sql: &str) -> Vec<Vec<String>> {
        sql::rows(&self.postgres.url(&self.control), sql).await
    }

    /// Statements in the control database.
    pub async fn control_sql(&self, sql: &str) {
        sql::run(&self.postgres.url(&self.control), sql).await;
    }

    /// A session of the superuser.
    pub async fn session(&self) -> Session {
        Session::open(&self.admin_url()).await
    }

    /// A session in the control database.
    pub async fn control_session(&self) -> Session {
        Session::open(&self.postgres.url(&self.control)).await
    }

    /// A session of the daemon's role.
    pub async fn role_session(&self) -> Session {
        Session::open(&self.url()).await
    }

    /// Waits until a session of the target waits for a lock behind the given backend.
    pub async fn until_blocked_by(&self, pid: i32) {
        self.until(&format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity a WHERE {pid} = ANY (pg_blocking_pids(a.pid)))"
        ))
        .await;
    }
}

/// A role of its own that owns the database and everything in it.
fn restrict(role: &str, database: &str, may: &str) -> String {
    format!("CREATE ROLE {role} LOGIN {may} PASSWORD '{PASSWORD}'; {}", hand_over(role, database))
}

fn hand_over(role: &str, database: &str) -> String {
    format!(
        "ALTER DATABASE {database} OWNER TO {role};
         DO $$ DECLARE it record; BEGIN
           FOR it IN SELECT nspname FROM pg_namespace
             WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public') LOOP
             EXECUTE format('ALTER SCHEMA %I OWNER TO {role}', it.nspname);
           END LOOP;
           FOR it IN SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm') LOOP
             EXECUTE format('ALTER TABLE %s OWNER TO {role}', it.name);
           END LOOP;
         END $$"
    )
}

/// A role that owns a control database, and may act as the owner of the target.
fn control_role(role: &str, target: &str) -> String {
    format!(
        "CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{CONTROL_PASSWORD}';
         GRANT {target} TO {role}; GRANT pg_signal_backend, pg_read_all_stats TO {role}"
    )
}
