//! Plain SQL on a connection per call, and sessions held open.

use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Executor as _, PgConnection, Row as _,
    TypeInfo as _, ValueRef as _,
    postgres::{PgConnectOptions, PgRow},
};

use crate::wait::soon;

/// A connection that stays open until it is dropped.
#[derive(Debug)]
pub struct Session {
    connection: PgConnection,
    /// Its backend.
    pub pid: i32,
}

impl Session {
    /// A session at a URL.
    pub async fn open(url: &str) -> Self {
        let mut connection = connect(url).await;
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await;
        Self { pid: pid.expect("a backend has a pid"), connection }
    }

    /// Any number of statements.
    pub async fn sql(&mut self, sql: &str) {
        if let Err(error) = self.try_sql(sql).await {
            panic!("{error}\nin: {sql}");
        }
    }

    /// Any number of statements, whose error is the caller's business.
    ///
    /// # Errors
    /// What PostgreSQL said.
    pub async fn try_sql(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let text = AssertSqlSafe(sql.to_owned());
        soon(sql, self.connection.execute(sqlx::raw_sql(text))).await.map(|_| ())
    }

    /// The rows of one query as text.
    pub async fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let text = AssertSqlSafe(sql.to_owned());
        match soon(sql, sqlx::raw_sql(text).fetch_all(&mut self.connection)).await {
            Ok(rows) => rows.iter().map(cells).collect(),
            Err(error) => panic!("{error}\nin: {sql}"),
        }
    }

    /// Ends the session in order.
    pub async fn close(self) {
        // A session that the server ended is closed as well.
        drop(self.connection.close().await);
    }
}

async fn connect(url: &str) -> PgConnection {
    match try_connect(url).await {
        Ok(connection) => connection,
        Err(error) => panic!("cannot connect: {error}"),
    }
}

async fn try_connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    let options: PgConnectOptions = url.parse().expect("the harness makes URLs");
    options.application_name("harness").disable_statement_logging().connect().await
}

/// The first column of each row of some statements, for a caller who lives without.
pub(crate) async fn names(url: &str, statements: &[String]) -> Result<Vec<String>, sqlx::Error> {
    let mut connection = try_connect(url).await?;
    let mut found = Vec::new();
    for sql in statements {
        let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(&mut connection).await?;
        found.extend(rows.iter().map(|row| cells(row).swap_remove(0)));
    }
    connection.close().await?;
    Ok(found)
}

fn cells(row: &PgRow) -> Vec<String> {
    let cell = |at: usize| {
        let value = row.try_get_raw(at).expect("a column");
        let text = (!value.is_null()).then(|| value.as_str().map(str::to_owned));
        match text {
            None => "NULL".to_owned(),
            Some(Ok(text)) => text,
            Some(Err(error)) => {
                let column = row.column(at);
                panic!("column {} of type {} is no text: {error}", column.name(), column.type_info().name())
            }
        }
    };
    (0..row.len()).map(cell).collect()
}

pub(crate) async fn run(url: &str, sql: &str) {
    let mut session = Session::open(url).await;
    session.sql(sql).await;
    session.close().await;
}

pub(crate) async fn try_run(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut session = Session::open(url).await;
    let result = session.try_sql(sql).await;
    session.close().await;
    result
}

pub(crate) async fn rows(url: &str, sql: &str) -> Vec<Vec<String>> {
    let mut session = Session::open(url).await;
    let rows = session.rows(sql).await;
    session.close().await;
    rows
}
