//! Holding a daemon still at a known step: before it stores one kind of event it waits for a lock of the test.

use crate::{eventually, sql::Session, target::TestTarget};

/// The advisory lock in the control database. It is nobody else's.
const KEY: i64 = 4711;

/// A closed gate in a control database.
#[derive(Debug)]
pub struct Gate {
    session: Session,
    target: TestTarget,
}

impl Gate {
    /// Every daemon of this control database waits before it stores an event of this code. It holds the operation's row
    /// meanwhile: a cancel waits as well. The control database must be there: start a daemon first.
    pub async fn before(target: &TestTarget, code: &str) -> Self {
        let mut session = target.control_session().await;
        session
            .sql(&format!(
                "CREATE FUNCTION public.gate() RETURNS trigger LANGUAGE plpgsql
                     AS 'BEGIN PERFORM pg_advisory_xact_lock_shared({KEY}); RETURN NEW; END';
                 CREATE TRIGGER gate BEFORE INSERT ON resetd.event FOR EACH ROW WHEN (NEW.code = '{code}')
                     EXECUTE FUNCTION public.gate();
                 SELECT pg_advisory_lock({KEY})"
            ))
            .await;
        Self { session, target: target.clone() }
    }

    /// Waits until a daemon stands before it. Asked in the control database: the target's may be on its way to another name.
    pub async fn reached(&self) {
        let mut session = self.target.control_session().await;
        let cell = tokio::sync::Mutex::new(&mut session);
        let pid = self.session.pid;
        let sql =
            format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid)))");
        eventually("a daemon before the gate", || async { cell.lock().await.rows(&sql).await[0][0] == "t" })
            .await;
    }

    /// Waits until so many sessions stand behind each other before it.
    pub async fn reached_by(&self, sessions: usize) {
        self.target
            .until(&format!(
                "WITH RECURSIVE waits(pid) AS (
                     SELECT pid FROM pg_stat_activity WHERE {0} = ANY (pg_blocking_pids(pid))
                     UNION SELECT a.pid FROM pg_stat_activity a, waits w WHERE w.pid = ANY (pg_blocking_pids(a.pid)))
                 SELECT count(*) >= {sessions} FROM waits",
                self.session.pid
            ))
            .await;
    }

    /// Opens it for good.
    pub async fn open(self) {
        self.session.close().await;
    }
}
