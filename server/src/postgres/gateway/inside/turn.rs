//! The shared session in the hands of one of those who share it: its settings, its frames, and what the end of a transaction
//! does beside keeping.

use std::collections::{BTreeSet, HashMap};

use model::sql::{
    Control, Meaning,
    frames::{Answer, Frames, Refused, Session, Status},
};

use super::{
    super::frame::Message,
    Poison,
    backend::Backend,
    messages::{self, complete, error, notice},
    settings::{self, Settings},
    tool::Own,
};
use crate::postgres::{change::deferred::DEFERRABLE, session::relay::ServerStream, sql::ident::Ident};

/// What is answered: messages, or the error that the rest of a unit is skipped for.
pub(super) type Answered = Result<Vec<Message>, Message>;

/// The most settings that are remembered by name.
const MOST_CUSTOMS: usize = 200;

/// The shared session.
pub(super) struct Turn {
    pub(super) backend: Backend,
    pub(super) frames: Frames,
    /// Whose settings are in force.
    current: Option<Session>,
    settings: HashMap<Session, Settings>,
    /// Settings that PostgreSQL does not list, by name.
    customs: BTreeSet<String>,
    /// Somebody is in the middle of a unit.
    pub(super) busy: bool,
}

impl Turn {
    pub(super) fn new(backend: Backend) -> Self {
        let (frames, settings, customs) = (Frames::default(), HashMap::new(), BTreeSet::new());
        Self { backend, frames, current: None, settings, customs, busy: false }
    }

    /// Gives the session its own settings, if somebody else's are in force.
    pub(super) async fn enter(&mut self, own: &Own) -> Result<(), Poison> {
        if self.current == Some(own.session) {
            return Ok(());
        }
        if let Some(left) = self.current.take() {
            let theirs = settings::of(&mut self.backend, &self.customs).await?;
            self.settings.insert(left, theirs);
        }
        let wanted = self.settings.remove(&own.session);
        let sql = settings::exactly(wanted.as_ref().unwrap_or(&own.defaults));
        self.backend.must(&sql).await?;
        self.current = Some(own.session);
        Ok(())
    }

    /// What a statement sets has to be there when its session comes back.
    pub(super) fn names(&mut self, custom: Option<String>) {
        self.customs.extend(custom.filter(|_| self.customs.len() < MOST_CUSTOMS));
    }

    /// Makes room for a statement.
    pub(super) fn statement(&mut self, own: &Own) -> Result<(), Message> {
        match self.frames.statement(own.session) {
            Ok(commands) => {
                self.backend.later(&commands);
                Ok(())
            }
            Err(refused) => Err(self.refuse(own, &refused)),
        }
    }

    fn refuse(&mut self, own: &Own, refused: &Refused) -> Message {
        self.failed(own);
        error(refused.sqlstate, &refused.message, "")
    }

    /// What was run has failed, or was refused.
    pub(super) fn failed(&mut self, own: &Own) {
        let commands = self.frames.failed(own.session);
        self.backend.later(&commands);
    }

    /// Refuses what nobody can do here.
    pub(super) fn refused(&mut self, own: &Own, sqlstate: &str, text: &str) -> Message {
        self.failed(own);
        error(sqlstate, text, "")
    }

    /// Transaction control.
    pub(super) async fn control(&mut self, own: &mut Own, control: &Control) -> Result<Answered, Poison> {
        let session = own.session;
        let answer = match control {
            Control::Begin => self.frames.begin(session),
            Control::Commit { chain } => {
                if let Some(failed) = self.settle(own).await? {
                    return Ok(Err(failed));
                }
                self.frames.commit(session, *chain)
            }
            Control::Rollback { chain } => {
                own.locals.clear();
                self.frames.rollback(session, *chain)
            }
            Control::Savepoint(name) => self.frames.savepoint(session, name),
            Control::Release(name) => self.frames.release(session, name),
            Control::RollbackTo(name) => self.frames.rollback_to(session, name),
            // The modes are the operation's: they cannot be changed in the middle.
            Control::SetTransaction => Ok(Answer { tag: "SET", ..Answer::default() }),
            Control::TwoPhase => {
                return Ok(Err(self.refused(
                    own,
                    "0A000",
                    "two-phase transactions cannot be used within resetd's transaction",
                )));
            }
            Control::Malformed => {
                return Ok(Err(self.refused(own, "42601", "syntax error in transaction control")));
            }
        };
        Ok(match answer {
            Ok(answer) => {
                self.backend.later(&answer.commands);
                let warning = answer.warning.map(|(code, text)| notice("WARNING", code, text));
                Ok(warning.into_iter().chain([complete(answer.tag)]).collect())
            }
            Err(refused) => Err(self.refuse(own, &refused)),
        })
    }

    /// Does what a commit does beside keeping: what was put off fires, cursors are closed, local settings end. The error of what
    /// fired, if one failed: then all is taken back.
    async fn settle(&mut self, own: &mut Own) -> Result<Option<Message>, Poison> {
        if !self.frames.keeps(own.session) {
            own.locals.clear();
            return Ok(None);
        }
        if std::mem::take(&mut own.fires) | own.sets_constraints
            && let Some(failed) = self.fire(std::mem::take(&mut own.sets_constraints)).await?
        {
            let commands = self.frames.unsettled(own.session);
            self.backend.later(&commands);
            own.locals.clear();
            return Ok(Some(failed));
        }
        if std::mem::take(&mut own.cursors) {
            let open = "SELECT name FROM pg_catalog.pg_cursors WHERE NOT is_holdable AND name <> ''";
            for name in self.backend.must(open).await?.into_iter().flatten().flatten() {
                self.backend.later_sql(&format!("CLOSE {}", Ident(&name)));
            }
        }
        for (name, value) in std::mem::take(&mut own.locals) {
            self.backend.later_sql(&settings::set(&name, &value));
        }
        Ok(None)
    }

    /// Fires what was put off, constraint by constraint, and puts off again what is so by itself.
    async fn fire(&mut self, all: bool) -> Result<Option<Message>, Poison> {
        let sql = DEFERRABLE.replace("{role}", "NULL").replace("{all}", if all { "true" } else { "false" });
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for row in self.backend.must(&sql).await? {
            let [Some(schema), Some(name), Some(deferred), _] = &row[..] else { continue };
            let constraint = format!("{}.{}", Ident(schema), Ident(name));
            if deferred == "t" {
                later.push(constraint.clone());
            }
            now.push(constraint);
        }
        if now.is_empty() {
            return Ok(None);
        }
        let mut sql = format!("SET CONSTRAINTS {} IMMEDIATE", now.join(", "));
        if !later.is_empty() {
            sql.push_str(&format!("; SET CONSTRAINTS {} DEFERRED", later.join(", ")));
        }
        Ok(self.backend.ask(&sql).await?.err())
    }

    /// The end of a unit; the error of what it put off, if that failed.
    pub(super) async fn end_of_unit(&mut self, own: &mut Own) -> Result<Option<Message>, Poison> {
        if self.frames.status(own.session) == Status::Idle
            && !self.frames.reads(own.session)
            && let Some(failed) = self.settle(own).await?
        {
            return Ok(Some(failed));
        }
        let commands = self.frames.end_of_unit(own.session);
        self.backend.later(&commands);
        Ok(None)
    }

    /// The shared session ends: what nobody has committed is taken back, and what is temporary goes, the latch with it.
    pub(super) async fn end(mut self) -> Result<ServerStream, Poison> {
        while let Some(session) = self.frames.holder() {
            let commands = self.frames.gone(session);
            self.backend.later(&commands);
        }
        self.backend.later_sql("RESET ROLE");
        self.backend.later_sql("RESET ALL");
        self.backend.later_sql("CLOSE ALL");
        self.backend.must("DISCARD TEMP").await?;
        self.backend.end().await
    }

    /// The session is over.
    pub(super) async fn gone(&mut self, own: &Own) -> Result<(), Poison> {
        self.enter(own).await?;
        let commands = self.frames.gone(own.session);
        self.backend.later(&commands);
        self.backend.settle_first().await?;
        self.close(own, own.statements.keys()).await?;
        self.settings.remove(&own.session);
        self.current = None;
        Ok(())
    }

    /// Closes prepared statements of the session's; one that is not there is none to be closed.
    async fn close<'a>(
        &mut self,
        own: &Own,
        names: impl IntoIterator<Item = &'a Vec<u8>>,
    ) -> Result<(), Poison> {
        let close = |name: &Vec<u8>| messages::of_kind(b'C', b'S', &own.name(name));
        let mut all: Vec<u8> = names.into_iter().flat_map(close).collect();
        if all.is_empty() {
            return Ok(());
        }
        all.extend(messages::sync());
        self.backend.send(all).await?;
        while self.backend.next().await?.kind != b'Z' {}
        Ok(())
    }

    /// What the gateway does by itself; `None`: the statement is the server's.
    pub(super) async fn own(
        &mut self,
        own: &mut Own,
        meaning: &Meaning,
        text: &[u8],
    ) -> Result<Option<Answered>, Poison> {
        if let Meaning::Control(control) = meaning {
            return self.control(own, control).await.map(Some);
        }
        if !is_own(own, meaning) {
            return Ok(None);
        }
        if self.frames.status(own.session) == Status::Failed {
            let refused = self.frames.statement(own.session).err();
            return Ok(refused.map(|refused| Err(self.refuse(own, &refused))));
        }
        let idle = self.frames.status(own.session) == Status::Idle;
        let mut sql = Vec::new();
        let tag = match meaning {
            Meaning::Vacuum | Meaning::DiscardAll if !idle => {
                let text = "it cannot run inside a transaction block";
                return Ok(Some(Err(self.refused(own, "25001", text))));
            }
            Meaning::ResetAll => {
                sql.push(settings::exactly(&own.defaults).replacen("RESET ROLE; ", "", 1));
                "RESET"
            }
            Meaning::Reset(name) => {
                sql.extend(own.defaults.get(name).map(|value| settings::set(name, value)));
                if text.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"set")) {
                    "SET"
                } else {
                    "RESET"
                }
            }
            Meaning::Deallocate(name) => {
                let known: Vec<Vec<u8>> = match name {
                    Some(name) => vec![name.clone().into_bytes()],
                    None => own.statements.keys().cloned().collect(),
                };
                for name in known {
                    own.statements.remove(&name);
                    self.close(own, [&name]).await?;
                }
                if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }
            }
            Meaning::DiscardAll => {
                sql.push(settings::exactly(&own.defaults));
                let known: Vec<Vec<u8>> = own.statements.drain().map(|(name, _)| name).collect();
                self.close(own, &known).await?;
                "DISCARD ALL"
            }
            // What is temporary goes with the operation.
            Meaning::DiscardTemp => "DISCARD TEMP",
            _ => "VACUUM",
        };
        if !sql.is_empty() {
            if let Err(refused) = self.statement(own) {
                return Ok(Some(Err(refused)));
            }
            self.backend.must(&sql.join(";")).await?;
        }
        Ok(Some(Ok(vec![complete(tag)])))
    }
}

/// Whether the gateway does it by itself.
pub(super) fn is_own(own: &Own, meaning: &Meaning) -> bool {
    match meaning {
        Meaning::Control(_)
        | Meaning::ResetAll
        | Meaning::DiscardAll
        | Meaning::DiscardTemp
        | Meaning::Vacuum
        | Meaning::Deallocate(None) => true,
        Meaning::Reset(name) => own.defaults.contains_key(name),
        Meaning::Deallocate(Some(name)) => own.statements.contains_key(name.as_bytes()),
        _ => false,
    }
}

impl Turn {
    /// What has to be known before a statement is run.
    pub(super) async fn before(&mut self, own: &mut Own, meaning: &Meaning) -> Result<(), Poison> {
        match meaning {
            Meaning::SetLocal(name) if !own.locals.contains_key(name) => {
                let sql = format!("SELECT pg_catalog.current_setting({}, true)", settings::literal(name));
                let rows = self.backend.ask(&sql).await?;
                // A setting that nobody knows: PostgreSQL refuses what follows as well.
                let Ok(rows) = rows else { return Err(Poison(format!("the setting {name} cannot be read"))) };
                let value = rows.into_iter().flatten().flatten().next().unwrap_or_default();
                own.locals.insert(name.clone(), value);
            }
            Meaning::SetConstraints => own.sets_constraints = true,
            Meaning::OnCommit => {
                return Err(Poison(
                    "a temporary table with ON COMMIT DROP or DELETE ROWS lasts to the operation's commit, not to the tool's"
                        .to_owned(),
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The letter of a session's state.
pub(super) fn ready(turn: &Turn, own: &Own) -> Message {
    messages::ready(turn.frames.status(own.session).letter())
}
