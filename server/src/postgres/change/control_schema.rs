//! Opening the control database: created where it is missing and the role may, and brought to its head by the engine
//! that migrates targets as well.

use std::time::Duration;

use model::{
    chain::Chain,
    fault::{Fault, Reason},
    history::History,
    lock::{Holder, LockKey},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::replay::{self, ReplayTarget};
use crate::postgres::{
    catalog::versions,
    control::{
        adopt, audit_guard,
        given_up::{self, GivenUp},
        keys::{self, Bound},
        neighbours::{self, ControlDatabase},
        pool::Control,
    },
    session::{advisory, connect, identity},
    sql::{
        error::{ControlError, condition::Condition, message},
        ident::Ident,
    },
};

/// Where the control database is, and other databases of the same cluster from which it can be made, as its own role.
pub(crate) struct Site {
    pub(crate) options: PgConnectOptions,
    pub(crate) others: Vec<String>,
}

/// Opens the control database, creates it where it is missing and the role may, and migrates it.
///
/// # Errors
/// What is missing, with the statement that mends it; `CONTROL_FOREIGN`.
pub(crate) async fn open(site: &Site) -> Result<Control, Fault> {
    let control = open_foreign(site).await?;
    let name = site.options.get_database().unwrap_or_default();
    let mut connection = control.connection().await?;
    adopt::check(&mut connection, name, &control.identity()).await?;
    neighbours::mark(&mut connection, name).await?;
    drop(connection);
    Ok(control)
}

/// As [`open`], also where it was written elsewhere: only to be adopted.
///
/// # Errors
/// What is missing, with the statement that mends it.
pub(crate) async fn open_foreign(site: &Site) -> Result<Control, Fault> {
    let options = connect::options(&site.options, "resetd control", &[("lock_timeout", "0")]);
    let mut connection = match connect::open(&options).await {
        Err(fault) if Condition::of_fault(&fault) == Some(Condition::UndefinedDatabase) => {
            create(&options, &site.others).await?;
            connect::open(&options).await?
        }
        opened => opened?,
    };
    let database = options.get_database().unwrap_or_default().to_owned();
    connect::refuse_pooler(&mut connection, &format!("the control database {database}")).await?;
    migrate(&mut connection).await?;
    Ok(Control::of(options, &mut connection).await?)
}

/// How long another daemon may take to migrate the control schema.
const OTHERS_LIMIT: Duration = Duration::from_secs(15);

/// What a control database says when it is only looked at.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// What an admin should know.
    pub(crate) warnings: Vec<String>,
    /// The control databases of the cluster.
    pub(crate) databases: Vec<ControlDatabase>,
}

/// Looks at a control database that is there, and changes nothing; `targets` are the databases to be served.
///
/// # Errors
/// `CONTROL_NEWER`, `CONTROL_FOREIGN`; it cannot be reached.
pub(crate) async fn inspect(
    options: &PgConnectOptions,
    targets: &[String],
) -> Result<Inspection, ControlError> {
    let options = connect::options(options, "resetd check", &[]);
    let mut connection = connect::open(&options).await?;
    let here = identity::of(&mut connection).await?;
    refuse_newer(&history(&mut connection).await?)?;
    let mut found = Inspection {
        databases: neighbours::all(&mut connection, here.database_oid, targets).await?,
        ..Inspection::default()
    };
    found.warnings.extend(found.databases.iter().filter_map(ControlDatabase::shared));
    let there: bool = sqlx::query_scalar("SELECT pg_catalog.to_regclass('resetd.identity') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    if there {
        adopt::check(&mut connection, options.get_database().unwrap_or_default(), &here).await?;
        let guard = audit_guard::look(&mut connection).await?;
        found.warnings.extend(guard.map(|what| format!("audit record: {what}")));
        for database in targets {
            let given_up = given_up::of(&mut connection, database).await?;
            found.warnings.extend(given_up.iter().map(GivenUp::phrase));
        }
    }
    Ok(found)
}

/// Makes sure that no newer daemon has migrated the control database since this one opened it.
///
/// # Errors
/// `CONTROL_NEWER`; it does not answer.
pub(crate) async fn is_current(control: &Control) -> Result<(), Fault> {
    refuse_newer(&history(&mut *control.connection().await?).await?)
}

fn refuse_newer(history: &History) -> Result<(), Fault> {
    let known =
        |version: &String| REVISIONS.iter().any(|(path, _)| *path == format!("control/{version}.sql"));
    match history.versions.iter().find(|version| !known(version)) {
        None => Ok(()),
        Some(unknown) => Err(Fault::new(
            Reason::ControlNewer,
            format!("the control schema holds revision {unknown}, which this version does not know"),
        )
        .hint("a newer daemon migrated it: start that version, or a newer one")
        .with("revision", unknown)),
    }
}

/// The schema of the daemon's own tables.
const SCHEMA: &str = "resetd";

/// The daemon's own chain, compiled in.
const REVISIONS: [(&str, &[u8]); 8] = [
    ("control/control_001.sql", include_bytes!("../../../../migrations/control/control_001.sql")),
    ("control/control_002.sql", include_bytes!("../../../../migrations/control/control_002.sql")),
    ("control/control_003.sql", include_bytes!("../../../../migrations/control/control_003.sql")),
    ("control/control_004.sql", include_bytes!("../../../../migrations/control/control_004.sql")),
    ("control/control_005.sql", include_bytes!("../../../../migrations/control/control_005.sql")),
    ("control/control_006.sql", include_bytes!("../../../../migrations/control/control_006.sql")),
    ("control/control_007.sql", include_bytes!("../../../../migrations/control/control_007.sql")),
    ("control/control_008.sql", include_bytes!("../../../../migrations/control/control_008.sql")),
];

/// The chain that is compiled in.
fn chain() -> Result<Chain, Fault> {
    let files = REVISIONS.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    Chain::assemble("control", files).map_err(|faults| {
        let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Fault::new(Reason::Internal, format!("the daemon's own chain is broken: {}", all.join("; ")))
    })
}

/// Creates the control database from another one of the cluster.
async fn create(options: &PgConnectOptions, others: &[String]) -> Result<(), Fault> {
    let database = options.get_database().unwrap_or_default();
    let mut last = None;
    for other in others {
        match create_database(&options.clone().database(other), database).await {
            Err(fault) if fault.reason == Reason::TargetUnreachable => last = Some(fault),
            created => return created,
        }
    }
    Err(last.unwrap_or_else(|| {
        Fault::new(Reason::ControlUnavailable, "no database of the cluster can be reached")
    }))
}

/// Somebody else made it, before or at the same moment.
fn is_there(error: &sqlx::Error) -> bool {
    matches!(Condition::of_error(error), Some(Condition::DuplicateDatabase | Condition::UniqueViolation))
}

/// Creates a database where it is missing, from another one of the cluster. Two daemons may do so at once: the second
/// one's error means that it exists.
///
/// # Errors
/// The other one cannot be reached, or the role may not: then with the statement that mends it.
pub(crate) async fn create_database(from: &PgConnectOptions, database: &str) -> Result<(), Fault> {
    let mut connection = connect::open(&connect::options(from, "resetd control", &[])).await?;
    // What people write is kept as they wrote it, whatever encoding and locale the cluster was made with.
    let statement = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
        Ident(database)
    );
    match sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut connection).await {
        Ok(_) => Ok(()),
        Err(error) if is_there(&error) => Ok(()),
        Err(error) => Err(Fault::new(
            Reason::ControlUnavailable,
            format!("database {database} is missing and cannot be created: {}", message(&error)),
        )
        .hint(format!("let a role that may do it run: {statement} OWNER {};", Ident(from.get_username())))
        .with("database", database)),
    }
}

/// Takes from everybody what a new database and its `public` schema give to everybody, as far as the role may.
///
/// # Errors
/// What PostgreSQL said.
async fn close(connection: &mut PgConnection) -> Result<(), ControlError> {
    let statements: Vec<String> = sqlx::query_scalar(
        "SELECT pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC', d.datname) FROM pg_catalog.pg_database d
          WHERE d.datname = pg_catalog.current_database() AND pg_catalog.pg_has_role(d.datdba, 'USAGE')
         UNION ALL
         SELECT pg_catalog.format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', n.nspname) FROM pg_catalog.pg_namespace n
          WHERE n.nspname = 'public' AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')",
    )
    .fetch_all(&mut *connection)
    .await?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The revisions that a control database holds, as it is now.
async fn history(connection: &mut PgConnection) -> Result<History, ControlError> {
    let mut within = connection.begin().await?;
    let versions = versions::of_schema(&mut within, SCHEMA).await?;
    within.rollback().await?;
    Ok(History { versions })
}

/// Brings the control schema to its head. Daemons that start at once take turns.
async fn migrate(connection: &mut PgConnection) -> Result<(), ControlError> {
    let chain = chain()?;
    run(connection, "BEGIN").await?;
    take_its_key(connection).await?;
    let there: bool = sqlx::query_scalar("SELECT pg_catalog.to_regnamespace('resetd') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !there {
        close(connection).await?;
        run(connection, "CREATE SCHEMA resetd").await?;
    }
    refuse_strangers(connection).await?;
    let history = History { versions: versions::of_schema(connection, SCHEMA).await? };
    refuse_newer(&history)?;
    let mut before = history.head_of(&chain).map(|r| r.id.clone());
    let place = ReplayTarget { schema: SCHEMA, search_path: &[SCHEMA], owner: None, role: None };
    for revision in history.pending(&chain) {
        replay::apply_plain(connection, &place, before.as_deref(), revision).await?;
        before = Some(revision.id.clone());
    }
    run(connection, "COMMIT").await
}

/// Daemons that migrate at once take turns.
async fn take_its_key(connection: &mut PgConnection) -> Result<(), ControlError> {
    let (key, until) = (LockKey::control_schema(), keys::Until::Transaction);
    if keys::take(connection, key, until, Bound { limit: OTHERS_LIMIT, interrupt: None }).await? {
        return Ok(());
    }
    let holders = advisory::holders(connection, None, key).await?;
    let named: Vec<String> = holders.iter().map(Holder::phrase).collect();
    let seconds = OTHERS_LIMIT.as_secs();
    Err(Fault::new(
        Reason::ControlUnavailable,
        format!(
            "the control schema cannot be migrated: its key was held for {seconds} s by {}",
            named.join(", ")
        ),
    )
    .hint("another daemon migrates it, or that session is a stranger's: end it")
    .into())
}

/// What in the schema belongs to somebody who could have the daemon call a function: made before its first start, say.
async fn refuse_strangers(connection: &mut PgConnection) -> Result<(), ControlError> {
    let strange: Option<(String, String)> = sqlx::query_as(
        "SELECT coalesce(pg_catalog.pg_describe_object(x.class, x.object, 0), 'an object'), r.rolname::pg_catalog.text FROM (
            SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass AS class, n.oid AS object, n.nspowner AS owner
              FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
            UNION ALL
            SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relowner
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1
            UNION ALL
            SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, f.oid, f.proowner
              FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = $1
            UNION ALL
            SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, f.proowner
              FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid WHERE n.nspname = $1
         ) x JOIN pg_catalog.pg_roles r ON r.oid = x.owner
          WHERE NOT r.rolsuper AND r.rolname <> current_user ORDER BY 1 LIMIT 1",
    )
    .bind(SCHEMA)
    .fetch_optional(connection)
    .await?;
    let Some((object, owner)) = strange else { return Ok(()) };
    Err(Fault::new(
        Reason::ControlUnavailable,
        format!("the control database is not the daemon's alone: {object} belongs to {owner}, whose functions it would call"),
    )
    .hint(format!(
        "find out what {owner} does there, then drop it or make the daemon's role its owner; a new control database \
         (`[control] database`) does as well"
    ))
    .with("object", object)
    .with("owner", owner)
    .into())
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<(), ControlError> {
    Ok(sqlx::raw_sql(sql).execute(connection).await.map(|_| ())?)
}
