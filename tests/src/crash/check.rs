//! What must hold after a fault, whatever struck and where.

use std::{
    collections::BTreeMap,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::{Kind, Lane};
use crate::{eventually, snapshot::Relation};

/// Schemas that the matrix's operations recreate.
const MANAGED: [&str; 3] = ["shared", "general", "health"];

/// A target with the identities of everything in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Picture {
    oid: String,
    schemas: BTreeMap<String, String>,
    relations: Vec<Relation>,
}

/// What a target looks like, without identities.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shape {
    schemas: Vec<String>,
    relations: Vec<(String, String)>,
}

impl Picture {
    pub(crate) async fn of(lane: &Lane) -> Self {
        let mut session = lane.target.session().await;
        let oid = session.rows("SELECT oid FROM pg_database WHERE datname = current_database()").await;
        let schemas = session.rows(crate::snapshot::SCHEMAS).await;
        let relations = session.rows(crate::snapshot::RELATIONS).await;
        session.close().await;
        Self {
            oid: oid[0][0].clone(),
            schemas: schemas.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect(),
            relations: relations.into_iter().map(Relation::of).collect(),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape {
            schemas: self.schemas.keys().map(|name| plain(name)).collect(),
            relations: self.relations.iter().map(|r| (plain(&r.name), r.rows.clone())).collect(),
        }
    }

    /// It is what the operation makes of `before`, and not a mixture: `shape`, where that is not `None`.
    fn is_made_of(&self, before: &Self, kind: Kind, shape: Option<&Shape>) -> bool {
        let moved = |name: &str| self.schemas.get(name) != before.schemas.get(name);
        let identities = match kind {
            Kind::Validate | Kind::DryRun => return self == before,
            Kind::Reset | Kind::Run | Kind::UndoSchemas => {
                self.oid == before.oid && MANAGED.iter().all(|name| moved(name))
            }
            Kind::Migrate | Kind::MigratePhased => {
                before.schemas.keys().all(|name| !moved(name))
                    && before.relations.iter().all(|r| self.relations.contains(r))
            }
            Kind::ResetDatabase | Kind::RunDatabase | Kind::Undo => self.oid != before.oid,
        };
        identities && shape.is_some_and(|shape| self.shape() == *shape)
    }
}

/// A name without the part that is each operation's own.
fn plain(name: &str) -> String {
    match name.strip_prefix("resetd_kept_") {
        Some(rest) => format!("kept{}", rest.get(16..).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// An operation as it was stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) outcome: String,
    pub(crate) reason: String,
    pub(crate) summary: String,
    last_sequence: String,
    pub(crate) report: String,
}

impl Stored {
    /// The operation that carries the cell's label, once it has ended; `None` when there is none. Where it is `certain` that
    /// one comes, it is waited for.
    pub(crate) async fn of(lane: &Lane, label: &str, certain: bool) -> Option<Self> {
        let sql = format!(
            "SELECT id, state, coalesce(outcome, ''), coalesce(reason, ''), coalesce(summary, ''), last_sequence,
                    coalesce(report, '') FROM resetd.operation WHERE labels->>'cell' = '{label}'"
        );
        let found = tokio::sync::Mutex::new(Vec::new());
        eventually("the operation ends", || async {
            let rows = lane.target.control_rows(&sql).await;
            let ended = rows.iter().all(|row| row[1] == "finished") && !(certain && rows.is_empty());
            *found.lock().await = rows;
            ended
        })
        .await;
        let mut found = found.into_inner();
        assert!(found.len() <= 1, "one request made {} operations", found.len());
        let [id, _, outcome, reason, summary, last_sequence, report] =
            <[String; 7]>::try_from(found.pop()?).expect("seven columns");
        Some(Self { id, outcome, reason, summary, last_sequence, report })
    }

    /// The words by which its sessions are known.
    pub(crate) fn tag(id: &str) -> String {
        let hex: String = id.chars().filter(|c| *c != '-').collect();
        format!("op={}", &hex[hex.len() - 12..])
    }
}

/// The target is the old or the new state, as the end says. `shapes` are those that a run without a fault goes through.
pub(crate) fn state(
    kind: Kind,
    before: &Picture,
    after: &Picture,
    shapes: &[Shape],
    stored: Option<&Stored>,
    wrong: &mut Vec<String>,
) {
    if kind == Kind::MigratePhased {
        return steps(before, after, shapes, stored, wrong);
    }
    let shape = shapes.last();
    // It happened as well where nobody could look at it again after its commit.
    let succeeded = stored.is_some_and(|it| it.outcome == "succeeded" || it.reason == "VALIDITY_UNKNOWN");
    let (old, new) = (after == before, after.is_made_of(before, kind, shape));
    if !old && !new {
        wrong.push("state: the target is neither the old nor the new one".to_owned());
    }
    if succeeded && !new {
        wrong.push("truth: it says that it succeeded, and the target is the old one".to_owned());
    }
    if !succeeded && !old {
        wrong.push(format!("truth: it says {stored:.300?}, and the target is the new one"));
    }
}

/// The target is at one of the steps that stay, what the report lists is there, and nobody says that nothing changed
/// where something did.
fn steps(
    before: &Picture,
    after: &Picture,
    shapes: &[Shape],
    stored: Option<&Stored>,
    wrong: &mut Vec<String>,
) {
    let now = after.shape();
    let Some(step) = shapes.iter().position(|shape| *shape == now) else {
        return wrong.push(format!("state: the target is between two steps: {now:?}"));
    };
    if !after.is_made_of(before, Kind::MigratePhased, Some(&now)) {
        wrong.push("state: what was there before is not as it was".to_owned());
    }
    let Some(stored) = stored else {
        if step > 0 {
            wrong.push("truth: nobody tells of what was changed".to_owned());
        }
        return;
    };
    let report: serde_json::Value = serde_json::from_str(&stored.report).unwrap_or_default();
    let listed = report["revisions"]
        .as_array()
        .map_or(0, |all| all.iter().filter(|r| r["status"] == "applied").count());
    // The first step makes the schemas, each further one a revision.
    if listed > 0 && step < listed + 1 {
        wrong.push(format!("truth: {listed} revisions are listed, and the target is at step {step}"));
    }
    if stored.outcome == "succeeded" && step + 1 != shapes.len() {
        wrong.push(format!("truth: it says that it succeeded, and the target is at step {step}"));
    }
    let told = format!("{} {}", report["error"], report["error_detail"]);
    if step > 0 && ["rolled back", "nothing was", "nothing had"].iter().any(|words| told.contains(words)) {
        wrong.push(format!("truth: the target is at step {step}, and it says {told}"));
    }
}

/// Sequences 1…n, one terminal event, at the end, and a reason that is one.
pub(crate) async fn events(lane: &Lane, stored: &Stored, wrong: &mut Vec<String>) {
    let sql = format!(
        "SELECT sequence, terminal, code FROM resetd.event WHERE operation = '{}' ORDER BY sequence",
        stored.id
    );
    let rows = lane.target.control_rows(&sql).await;
    let numbered = rows.iter().enumerate().all(|(at, row)| row[0] == (at + 1).to_string());
    let terminal: Vec<usize> =
        rows.iter().enumerate().filter(|(_, row)| row[1] == "t").map(|(at, _)| at + 1).collect();
    if !numbered || terminal != [rows.len()] || stored.last_sequence != rows.len().to_string() {
        wrong.push(format!("events: {rows:?}, the last is {}", stored.last_sequence));
    }
    if ["INTERNAL", "OUTCOME_UNKNOWN"].contains(&stored.reason.as_str()) {
        wrong.push(format!("truth: it ended with {}: {}", stored.reason, stored.summary));
    }
}

/// Where the lock's session was not struck, nobody else got the lock before the end was written.
pub(crate) async fn end_before_grant(lane: &Lane, old: &str, successor: &str, wrong: &mut Vec<String>) {
    let sql = format!(
        "SELECT f.at <= g.at FROM resetd.event f, resetd.event g WHERE f.operation = '{old}' AND f.terminal
            AND g.operation = '{successor}' AND g.code = 'LOCK_ACQUIRED'"
    );
    if lane.target.control_rows(&sql).await != [["t"]] {
        wrong.push("lock: somebody else had it before the end was written".to_owned());
    }
}

/// Nothing is left: no lock, no session, no database but those that are kept.
pub(crate) async fn leftovers(lane: &Lane, ids: &[&str], wrong: &mut Vec<String>) {
    let tags: Vec<String> =
        ids.iter().map(|id| format!("application_name LIKE '%{}%'", Stored::tag(id))).collect();
    let (high, low) = model::lock::LockKey::target(&lane.target.database).halves();
    let sql = format!(
        "SELECT 'session ' || pid || ' ' || application_name || ' ' || coalesce(datname, '') || ' ' || coalesce(state, '') || ' ' || left(query, 80)
           FROM pg_stat_activity WHERE {}
         UNION ALL SELECT 'lock ' || pid || ' ' || mode FROM pg_locks
          WHERE locktype = 'advisory' AND classid = {high} AND objid = {low}",
        if tags.is_empty() { "false".to_owned() } else { tags.join(" OR ") }
    );
    let limit = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let left = lane.server_rows(&sql).await;
        if left.is_empty() {
            break;
        }
        if tokio::time::Instant::now() > limit {
            wrong.push(format!("leftovers: {left:?}"));
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    loop {
        let mut left = Vec::new();
        databases(lane, ids, &mut left).await;
        schemas(lane, &mut left).await;
        if left.is_empty() || tokio::time::Instant::now() > limit {
            wrong.extend(left);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn databases(lane: &Lane, ids: &[&str], wrong: &mut Vec<String>) {
    let there = lane
        .server_rows("SELECT datname, oid, datallowconn FROM pg_database WHERE datname LIKE 'resetd\\_%'")
        .await;
    let kept = lane.target.control_rows("SELECT oid, name, state FROM resetd.kept_database").await;
    for id in ids {
        let hex: String = id.chars().filter(|c| *c != '-').collect();
        let mine = there.iter().filter(|row| row[0].ends_with(&hex[hex.len() - 16..]));
        for row in mine {
            let in_ledger = kept.iter().any(|k| k[0] == row[1] && k[1] == row[0] && k[2] == "kept");
            if !in_ledger || row[2] != "f" {
                wrong.push(format!("leftovers: database {row:?}; the ledger has {kept:?}"));
            }
        }
    }
    for row in &kept {
        if row[2] != "kept" || !there.iter().any(|t| t[1] == row[0]) {
            wrong.push(format!("leftovers: the ledger has {row:?}, of {there:?}"));
        }
    }
    let open = lane
        .server_rows(&format!(
            "SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = '{}'",
            lane.target.database
        ))
        .await;
    if open != [["t", "-1"]] {
        wrong.push(format!("leftovers: the target is {open:?}"));
    }
}

/// What is set aside is listed, and what is listed is there.
async fn schemas(lane: &Lane, wrong: &mut Vec<String>) {
    let listed = lane
        .target
        .control_rows(
            "SELECT s->'aside'->>'oid', s->'aside'->>'name', k.state
               FROM resetd.kept_schemas k CROSS JOIN LATERAL json_array_elements(k.body->'schemas') s
              WHERE s->'aside'->>'oid' IS NOT NULL ORDER BY 2",
        )
        .await;
    let there = lane
        .target
        .rows("SELECT oid, nspname FROM pg_namespace WHERE nspname LIKE 'resetd\\_kept\\_%' ORDER BY 2")
        .await;
    let same = listed.iter().map(|row| &row[..2]).eq(there.iter().map(|row| &row[..2]));
    if !same || listed.iter().any(|row| row[2] != "kept") {
        wrong.push(format!("leftovers: set aside are {there:?}, and the ledger has {listed:?}"));
    }
}

/// One line of the server's log.
struct Line {
    pid: String,
    database: String,
    name: String,
    text: String,
}

fn read_log(path: &Path, from: u64) -> Vec<Line> {
    let mut file = std::fs::File::open(path).expect("the server has a log");
    file.seek(SeekFrom::Start(from)).expect("a file");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("a file");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = |line: &str| {
        let mut parts = line.splitn(5, '|');
        let (_, pid, database, name, text) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Line { pid: pid.into(), database: database.into(), name: name.into(), text: text.into() })
    };
    text.lines().filter_map(line).collect()
}

/// What a session may say before it knows whether its lock is held, and when it is not.
const HARMLESS: [&str; 6] = [
    "SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_locks t",
    "SELECT pg_catalog.pg_backend_pid()",
    "BEGIN",
    "SELECT pg_catalog.pg_advisory_xact_lock_shared",
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks t",
    "ROLLBACK",
];

fn statement(text: &str) -> Option<&str> {
    let text = text.strip_prefix("LOG:  ")?;
    if let Some(rest) = text.strip_prefix("statement: ") {
        return Some(rest);
    }
    text.strip_prefix("execute ").and_then(|rest| rest.split_once(": ")).map(|(_, sql)| sql)
}

/// Whether the first operation got the lock before the second one.
pub(crate) async fn granted_first(lane: &Lane, one: &str, two: &str) -> bool {
    let sql = format!(
        "SELECT operation FROM resetd.event WHERE operation IN ('{one}', '{two}') AND code = 'LOCK_ACQUIRED' ORDER BY at"
    );
    lane.target.control_rows(&sql).await.first().is_some_and(|row| row[0] == one)
}

/// No statement of the old owner after a new owner passed the barrier.
pub(crate) fn log(lane: &Lane, from: u64, old: &str, successor: &str, wrong: &mut Vec<String>) {
    let lines = read_log(&lane.site.log, from);
    let (old, successor) = (Stored::tag(old), Stored::tag(successor));
    let target = &lane.target.database;
    let recovery = |l: &Line| l.name.contains(&old) && l.name.contains("by=recovery");
    let stale = |l: &Line| l.name.contains(&old) && !recovery(l);
    let next = |l: &Line| l.name.contains(&successor);
    let mut granted = Vec::new();
    let there = |l: &Line| next(l) && l.database == *target;
    if let Some(barrier) = lines.iter().find(|l| there(l)).map(|l| l.pid.clone()) {
        let worked = lines.iter().position(|l| there(l) && l.pid != barrier);
        let passed = || lines.iter().position(|l| l.pid == barrier && l.text.contains("disconnection"));
        granted.extend(worked.or_else(passed));
    }
    granted.extend(
        lines.iter().position(|l| recovery(l) && l.database == *target && l.text.contains("disconnection")),
    );
    let Some(granted) = granted.into_iter().min() else {
        wrong.push("log: no new owner was seen to pass the barrier".to_owned());
        return;
    };
    for line in lines[granted..].iter().filter(|l| stale(l)) {
        let Some(sql) = statement(&line.text) else { continue };
        let in_control = line.database == lane.target.control;
        let on_databases =
            ["CREATE DATABASE", "ALTER DATABASE", "DROP DATABASE"].iter().any(|w| sql.contains(w));
        let harmless = match in_control {
            true => !on_databases,
            // What it built aside is its own until it is dropped; nobody else sees it.
            false if line.database.starts_with("resetd_new_") => true,
            false => HARMLESS.iter().any(|h| sql.trim_start().starts_with(h)),
        };
        if !harmless {
            wrong.push(format!("log: the old owner ran after the grant: {} {sql:.120}", line.database));
        }
    }
}
