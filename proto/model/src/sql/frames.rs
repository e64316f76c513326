//! Transactions of several sessions inside one transaction: each is a savepoint of it, a frame.
//!
//! A pure state machine: what sessions ask for goes in, what is to be said to the one real session comes out, with what each
//! is answered. One session at a time holds frames, and so may write; whoever asks for something meanwhile reads, in a frame
//! that PostgreSQL itself keeps from writing. It must not know SQL, nor how anything is sent.

use std::collections::BTreeMap;

/// A session, by its number.
pub type Session = u32;

/// What is to be said to the real session, in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Opens a frame.
    Open(u64),
    /// What is done in the innermost frame only reads.
    ReadOnly,
    /// Keeps what was done in a frame and those above it, and closes it.
    Release(u64),
    /// Takes back what was done in a frame and those above it; it stays open.
    TakeBack(u64),
}

/// Where a session is, as the protocol tells it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Status {
    /// In no transaction.
    #[default]
    Idle,
    /// In a transaction.
    Open,
    /// In a transaction that failed.
    Failed,
}

impl Status {
    /// The protocol's letter.
    #[must_use]
    pub fn letter(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Open => b'T',
            Self::Failed => b'E',
        }
    }
}

/// Why a session's wish is not granted: PostgreSQL's code and words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The code.
    pub sqlstate: &'static str,
    /// The words.
    pub message: String,
}

fn refused(sqlstate: &'static str, message: &str) -> Refused {
    Refused { sqlstate, message: message.to_owned() }
}

fn failed_transaction() -> Refused {
    refused("25P02", "current transaction is aborted, commands ignored until end of transaction block")
}

/// What a session is answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// What is to be said to the real session before anything else.
    pub commands: Vec<Command>,
    /// The command's tag.
    pub tag: &'static str,
    /// A warning: its code and words.
    pub warning: Option<(&'static str, &'static str)>,
}

impl Answer {
    fn of(tag: &'static str, commands: Vec<Command>) -> Self {
        Self { commands, tag, warning: None }
    }

    fn warn(tag: &'static str, sqlstate: &'static str, text: &'static str) -> Self {
        Self { commands: Vec::new(), tag, warning: Some((sqlstate, text)) }
    }
}

const NONE_OPEN: (&str, &str) = ("25P01", "there is no transaction in progress");

/// A transaction, or a savepoint in one.
#[derive(Clone, Debug, Default)]
struct Level {
    /// The savepoint's name; none for the transaction itself.
    name: String,
    /// Its frame, once something was done in it.
    frame: Option<u64>,
}

/// One session's transaction.
#[derive(Clone, Debug, Default)]
struct Transaction {
    status: Status,
    /// The transaction and its savepoints; empty while the session is idle.
    levels: Vec<Level>,
    /// What holds together a unit outside a transaction.
    auto: Option<u64>,
    /// What a reader's unit is done in.
    guard: Option<u64>,
}

impl Transaction {
    fn holds(&self) -> bool {
        self.auto.is_some() || self.levels.iter().any(|level| level.frame.is_some())
    }

    fn outermost(&self) -> Option<u64> {
        self.auto.or_else(|| self.levels.iter().find_map(|level| level.frame))
    }

    fn end(&mut self, chain: bool) {
        self.levels.clear();
        self.auto = None;
        self.status = Status::Idle;
        if chain {
            self.begin();
        }
    }

    fn begin(&mut self) {
        self.status = Status::Open;
        // What was done before it in the same unit belongs to it.
        self.levels.push(Level { name: String::new(), frame: self.auto.take() });
    }

    fn find(&self, name: &str) -> Result<usize, Refused> {
        let found = self.levels.iter().rposition(|level| level.name == name).filter(|at| *at > 0);
        found.ok_or_else(|| refused("3B001", &format!("savepoint \"{name}\" does not exist")))
    }
}

/// The frames of all sessions.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    sessions: BTreeMap<Session, Transaction>,
    last: u64,
}

impl Frames {
    fn of(&mut self, session: Session) -> &mut Transaction {
        self.sessions.entry(session).or_default()
    }

    /// Where a session is.
    #[must_use]
    pub fn status(&self, session: Session) -> Status {
        self.sessions.get(&session).map(|it| it.status).unwrap_or_default()
    }

    /// Whether the session reads while another one holds a transaction.
    #[must_use]
    pub fn reads(&self, session: Session) -> bool {
        self.sessions.get(&session).is_some_and(|it| it.guard.is_some())
    }

    /// The session that holds frames.
    #[must_use]
    pub fn holder(&self) -> Option<Session> {
        self.sessions.iter().find(|(_, it)| it.holds()).map(|(session, _)| *session)
    }

    /// Whether an end of what the session does would keep anything: then it is to be settled first.
    #[must_use]
    pub fn keeps(&self, session: Session) -> bool {
        self.sessions.get(&session).is_some_and(|it| it.status != Status::Failed && it.holds())
    }

    /// A statement is about to be run.
    ///
    /// # Errors
    /// The session's transaction has failed.
    pub fn statement(&mut self, session: Session) -> Result<Vec<Command>, Refused> {
        let reads = self.holder().is_some_and(|holder| holder != session);
        let mut last = self.last;
        let mut open = || {
            last += 1;
            last
        };
        let mut commands = Vec::new();
        let it = self.of(session);
        match it.status {
            Status::Failed => return Err(failed_transaction()),
            _ if reads => {
                if it.guard.is_none() {
                    let frame = open();
                    it.guard = Some(frame);
                    commands.extend([Command::Open(frame), Command::ReadOnly]);
                }
            }
            Status::Idle if it.auto.is_none() => {
                let frame = open();
                it.auto = Some(frame);
                commands.push(Command::Open(frame));
            }
            _ => {
                for level in it.levels.iter_mut().filter(|level| level.frame.is_none()) {
                    let frame = open();
                    level.frame = Some(frame);
                    commands.push(Command::Open(frame));
                }
            }
        }
        self.last = last;
        Ok(commands)
    }

    /// What was run has failed, or a wish was refused before anything was run. What is lost for good is taken back at once, so
    /// that the real session is free for others.
    pub fn failed(&mut self, session: Session) -> Vec<Command> {
        let it = self.of(session);
        if it.status == Status::Failed {
            return Vec::new();
        }
        let alone = it.guard.take().or_else(|| it.auto.take());
        if it.status == Status::Open {
            it.status = Status::Failed;
        }
        if let Some(frame) = alone {
            return vec![Command::TakeBack(frame), Command::Release(frame)];
        }
        // In a savepoint without a frame nothing was done.
        it.levels.last().and_then(|level| level.frame).map(Command::TakeBack).into_iter().collect()
    }

    /// `BEGIN`.
    ///
    /// # Errors
    /// The session's transaction has failed.
    pub fn begin(&mut self, session: Session) -> Result<Answer, Refused> {
        let it = self.of(session);
        match it.status {
            Status::Idle => it.begin(),
            Status::Open => {
                return Ok(Answer::warn("BEGIN", "25001", "there is already a transaction in progress"));
            }
            Status::Failed => return Err(failed_transaction()),
        }
        Ok(Answer::of("BEGIN", Vec::new()))
    }

    /// `COMMIT`, once what it keeps is settled.
    ///
    /// # Errors
    /// A chain without a transaction.
    pub fn commit(&mut self, session: Session, chain: bool) -> Result<Answer, Refused> {
        let it = self.of(session);
        match it.status {
            Status::Failed => self.rollback(session, chain),
            Status::Idle if chain => Err(chained("COMMIT")),
            status => {
                let commands = it.outermost().map(Command::Release).into_iter().collect();
                it.end(chain);
                let warning = (status == Status::Idle).then_some(NONE_OPEN);
                Ok(Answer { warning, ..Answer::of("COMMIT", commands) })
            }
        }
    }

    /// What a commit, or the end of a unit, would keep could not be settled: it is taken back.
    pub fn unsettled(&mut self, session: Session) -> Vec<Command> {
        let it = self.of(session);
        let back = it.outermost();
        it.end(false);
        back.map_or_else(Vec::new, |frame| vec![Command::TakeBack(frame), Command::Release(frame)])
    }

    /// `ROLLBACK`.
    ///
    /// # Errors
    /// A chain without a transaction.
    pub fn rollback(&mut self, session: Session, chain: bool) -> Result<Answer, Refused> {
        let idle = self.status(session) == Status::Idle;
        if idle && chain {
            return Err(chained("ROLLBACK"));
        }
        let commands = self.unsettled(session);
        if chain {
            self.of(session).begin();
        }
        Ok(Answer { warning: idle.then_some(NONE_OPEN), ..Answer::of("ROLLBACK", commands) })
    }

    fn inside(&mut self, session: Session, what: &str) -> Result<&mut Transaction, Refused> {
        let it = self.of(session);
        match it.status {
            Status::Idle => Err(refused("25P01", &format!("{what} can only be used in transaction blocks"))),
            _ => Ok(it),
        }
    }

    /// `SAVEPOINT`.
    ///
    /// # Errors
    /// There is no transaction, or it has failed.
    pub fn savepoint(&mut self, session: Session, name: &str) -> Result<Answer, Refused> {
        let it = self.inside(session, "SAVEPOINT")?;
        if it.status == Status::Failed {
            return Err(failed_transaction());
        }
        it.levels.push(Level { name: name.to_owned(), frame: None });
        Ok(Answer::of("SAVEPOINT", Vec::new()))
    }

    /// `RELEASE SAVEPOINT`.
    ///
    /// # Errors
    /// There is no such savepoint, or the transaction has failed.
    pub fn release(&mut self, session: Session, name: &str) -> Result<Answer, Refused> {
        let it = self.inside(session, "RELEASE SAVEPOINT")?;
        if it.status == Status::Failed {
            return Err(failed_transaction());
        }
        let at = it.find(name)?;
        let gone = it.levels.split_off(at);
        let frame = gone.iter().find_map(|level| level.frame);
        Ok(Answer::of("RELEASE", frame.map(Command::Release).into_iter().collect()))
    }

    /// `ROLLBACK TO SAVEPOINT`.
    ///
    /// # Errors
    /// There is no such savepoint.
    pub fn rollback_to(&mut self, session: Session, name: &str) -> Result<Answer, Refused> {
        let it = self.inside(session, "ROLLBACK TO SAVEPOINT")?;
        let at = it.find(name)?;
        let gone = it.levels.split_off(at + 1);
        let own = it.levels[at].frame;
        it.status = Status::Open;
        // Its own frame is the lower one; above a savepoint in which nothing was done nothing was done either.
        let frame = own.or_else(|| gone.iter().find_map(|level| level.frame));
        Ok(Answer::of("ROLLBACK", frame.map(Command::TakeBack).into_iter().collect()))
    }

    /// A unit has ended, and what it keeps outside a transaction is settled.
    pub fn end_of_unit(&mut self, session: Session) -> Vec<Command> {
        let it = self.of(session);
        it.guard.take().or_else(|| it.auto.take()).map(Command::Release).into_iter().collect()
    }

    /// The session is over: what it has not committed is taken back.
    pub fn gone(&mut self, session: Session) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        if let Some(guard) = self.of(session).guard.take() {
            commands.extend([Command::TakeBack(guard), Command::Release(guard)]);
        }
        commands.extend(self.unsettled(session));
        self.sessions.remove(&session);
        commands
    }
}

fn chained(what: &str) -> Refused {
    refused("25P01", &format!("{what} AND CHAIN can only be used in transaction blocks"))
}

#[cfg(test)]
mod tests;
