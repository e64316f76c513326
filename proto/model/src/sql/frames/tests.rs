//! Random interleavings, compared with sessions of their own by PostgreSQL's own rules.

use fastrand::Rng;

use super::*;

/// The real session, as far as frames go: what was written, and where each frame begins.
#[derive(Default)]
struct Server {
    written: Vec<u32>,
    frames: Vec<(u64, usize, bool)>,
}

impl Server {
    fn obey(&mut self, commands: Vec<Command>) {
        let at = |frames: &[(u64, usize, bool)], frame| {
            frames.iter().position(|(it, ..)| *it == frame).expect("a frame that is open")
        };
        for command in commands {
            match command {
                Command::Open(frame) => {
                    let read_only = self.frames.last().is_some_and(|it| it.2);
                    self.frames.push((frame, self.written.len(), read_only));
                }
                Command::ReadOnly => self.frames.last_mut().expect("a frame").2 = true,
                Command::Release(frame) => self.frames.truncate(at(&self.frames, frame)),
                Command::TakeBack(frame) => {
                    let at = at(&self.frames, frame);
                    self.frames.truncate(at + 1);
                    self.written.truncate(self.frames[at].1);
                }
            }
        }
    }

    /// `false`: it is refused.
    fn write(&mut self, what: u32) -> bool {
        let may = !self.frames.last().expect("nothing is written outside a frame").2;
        if may {
            self.written.push(what);
        }
        may
    }
}

/// A session as PostgreSQL has it, alone in its own world: what it wrote, and where its savepoints are.
#[derive(Clone, Default)]
struct Alone {
    status: Status,
    pending: Vec<u32>,
    savepoints: Vec<(&'static str, usize)>,
}

/// What must be there: written by PostgreSQL's own rules, without any frames.
#[derive(Default)]
struct Oracle {
    committed: Vec<u32>,
    sessions: [Alone; SESSIONS],
}

const SESSIONS: usize = 3;
const NAMES: [&str; 3] = ["a", "b", "c"];

impl Alone {
    fn fail(&mut self) {
        match self.status {
            Status::Idle => self.pending.clear(),
            _ => {
                // What comes after the last savepoint is lost, whatever comes.
                self.pending.truncate(self.savepoints.last().map_or(0, |(_, at)| *at));
                self.status = Status::Failed;
            }
        }
    }
}

impl Oracle {
    fn end(&mut self, at: usize, keep: bool) {
        let it = std::mem::take(&mut self.sessions[at]);
        if keep {
            self.committed.extend(it.pending);
        }
    }
}

/// Both worlds, and the machine between them.
#[derive(Default)]
struct World {
    frames: Frames,
    server: Server,
    oracle: Oracle,
    next: u32,
}

impl World {
    fn statement(&mut self, at: usize, writes: bool, fails: bool) -> bool {
        let session = u32::try_from(at).expect("few");
        let commands = match self.frames.statement(session) {
            Ok(commands) => commands,
            Err(refused) => {
                assert_eq!(self.oracle.sessions[at].status, Status::Failed, "{refused:?}");
                let commands = self.frames.failed(session);
                self.server.obey(commands);
                return false;
            }
        };
        assert_ne!(self.oracle.sessions[at].status, Status::Failed);
        self.server.obey(commands);
        self.next += 1;
        let others =
            (0..SESSIONS).any(|other| other != at && !self.oracle.sessions[other].pending.is_empty());
        let wrote = writes && self.server.write(self.next);
        assert!(!(wrote && others), "two sessions write at a time");
        if fails || writes && !wrote {
            let commands = self.frames.failed(session);
            self.server.obey(commands);
            self.oracle.sessions[at].fail();
            return false;
        }
        if wrote {
            self.oracle.sessions[at].pending.push(self.next);
        }
        true
    }

    /// A wish of transaction control; `false`: the rest of the unit is skipped.
    fn control(&mut self, rng: &mut Rng, at: usize) -> bool {
        let session = u32::try_from(at).expect("few");
        let name = NAMES[rng.usize(..NAMES.len())];
        let chain = rng.u8(..6) == 0;
        let before = self.oracle.sessions[at].status;
        let (answer, expected) = match rng.u8(..12) {
            0..4 => (self.frames.begin(session), self.begin(at)),
            4..6 => {
                if self.frames.keeps(session) && rng.u8(..8) == 0 {
                    let commands = self.frames.unsettled(session);
                    self.server.obey(commands);
                    self.oracle.end(at, false);
                    return false;
                }
                (self.frames.commit(session, chain), self.end(at, chain, before != Status::Failed))
            }
            6 => (self.frames.rollback(session, chain), self.end(at, chain, false)),
            7..9 => (self.frames.savepoint(session, name), self.savepoint(at, name)),
            9 => (self.frames.release(session, name), self.release(at, name)),
            _ => (self.frames.rollback_to(session, name), self.rollback_to(at, name)),
        };
        assert_eq!(answer.is_ok(), expected, "{answer:?}");
        match answer {
            Ok(answer) => self.server.obey(answer.commands),
            Err(_) => {
                let commands = self.frames.failed(session);
                self.server.obey(commands);
                self.oracle.sessions[at].fail();
            }
        }
        expected
    }

    fn begin(&mut self, at: usize) -> bool {
        let it = &mut self.oracle.sessions[at];
        let ok = it.status != Status::Failed;
        if it.status == Status::Idle {
            it.status = Status::Open;
        }
        ok
    }

    fn end(&mut self, at: usize, chain: bool, keep: bool) -> bool {
        if chain && self.oracle.sessions[at].status == Status::Idle {
            return false;
        }
        self.oracle.end(at, keep);
        if chain {
            self.oracle.sessions[at].status = Status::Open;
        }
        true
    }

    fn savepoint(&mut self, at: usize, name: &'static str) -> bool {
        let it = &mut self.oracle.sessions[at];
        let ok = it.status == Status::Open;
        if ok {
            it.savepoints.push((name, it.pending.len()));
        }
        ok
    }

    fn release(&mut self, at: usize, name: &str) -> bool {
        let it = &mut self.oracle.sessions[at];
        let found = it.savepoints.iter().rposition(|(known, _)| *known == name);
        match found.filter(|_| it.status == Status::Open) {
            Some(found) => it.savepoints.truncate(found),
            None => return false,
        }
        true
    }

    fn rollback_to(&mut self, at: usize, name: &str) -> bool {
        let it = &mut self.oracle.sessions[at];
        let found = it.savepoints.iter().rposition(|(known, _)| *known == name);
        let Some(found) = found.filter(|_| it.status != Status::Idle) else { return false };
        it.savepoints.truncate(found + 1);
        it.pending.truncate(it.savepoints[found].1);
        it.status = Status::Open;
        true
    }

    /// The end of a unit: what stands outside a transaction is committed.
    fn end_of_unit(&mut self, rng: &mut Rng, at: usize) {
        let session = u32::try_from(at).expect("few");
        let idle = self.oracle.sessions[at].status == Status::Idle;
        let unsettled = idle && self.frames.keeps(session) && rng.u8(..8) == 0;
        let commands = match unsettled {
            true => self.frames.unsettled(session),
            false => self.frames.end_of_unit(session),
        };
        self.server.obey(commands);
        if idle {
            self.oracle.end(at, !unsettled);
        }
    }

    fn unit(&mut self, rng: &mut Rng) {
        let at = rng.usize(..SESSIONS);
        if rng.u8(..30) == 0 {
            let commands = self.frames.gone(u32::try_from(at).expect("few"));
            self.server.obey(commands);
            self.oracle.end(at, false);
        } else {
            for _ in 0..rng.usize(1..5) {
                let goes_on = match rng.u8(..5) {
                    0 | 1 => self.statement(at, true, rng.u8(..6) == 0),
                    2 => self.statement(at, false, rng.u8(..6) == 0),
                    _ => self.control(rng, at),
                };
                self.compare();
                if !goes_on {
                    break;
                }
            }
            self.end_of_unit(rng, at);
        }
        self.compare();
    }

    fn compare(&self) {
        let pending = self.oracle.sessions.iter().flat_map(|it| &it.pending);
        let all: Vec<u32> = self.oracle.committed.iter().chain(pending).copied().collect();
        assert_eq!(self.server.written, all);
        for (session, it) in (0..).zip(&self.oracle.sessions) {
            assert_eq!(self.frames.status(session), it.status, "session {session}");
        }
    }

    fn end_all(&mut self) {
        for session in 0..SESSIONS {
            let commands = self.frames.gone(u32::try_from(session).expect("few"));
            self.server.obey(commands);
            self.oracle.end(session, false);
        }
        self.compare();
        assert!(self.server.frames.is_empty(), "no frame stays open");
    }
}

fn interleavings(seed: u64, count: usize) -> usize {
    let mut rng = Rng::with_seed(seed);
    let mut committed = 0;
    for _ in 0..count {
        let mut world = World::default();
        for _ in 0..rng.usize(4..24) {
            world.unit(&mut rng);
        }
        world.end_all();
        committed += world.oracle.committed.len();
    }
    committed
}

#[test]
fn what_stays_is_what_sessions_of_their_own_would_leave() {
    assert!(interleavings(1, 20_000) > 20_000, "something is committed");
}

#[test]
#[ignore = "a million interleavings: make fuzz"]
fn a_million_interleavings_leave_what_sessions_of_their_own_would() {
    let seed = fastrand::u64(..);
    assert!(interleavings(seed, 1_000_000) > 1_000_000, "something is committed: {seed}");
}

#[test]
fn a_second_writer_is_kept_from_writing() {
    let mut frames = Frames::default();
    frames.begin(1).expect("a transaction");
    assert_eq!(frames.statement(1), Ok(vec![Command::Open(1)]));
    assert_eq!(frames.statement(2), Ok(vec![Command::Open(2), Command::ReadOnly]));
    assert!(frames.reads(2) && !frames.reads(1));
    assert_eq!(frames.end_of_unit(2), [Command::Release(2)]);
    assert_eq!(frames.commit(1, false).expect("committed").commands, [Command::Release(1)]);
    assert_eq!(frames.statement(2), Ok(vec![Command::Open(3)]));
}

#[test]
fn warnings_and_refusals_are_postgresqls() {
    let mut frames = Frames::default();
    let state = |answer: Result<Answer, Refused>| answer.map_or_else(|e| e.sqlstate, |_| "");
    let warning = |answer: Result<Answer, Refused>| answer.expect("an answer").warning.map(|it| it.0);
    assert_eq!(warning(frames.commit(1, false)), Some("25P01"));
    assert_eq!(warning(frames.rollback(1, false)), Some("25P01"));
    assert_eq!(state(frames.commit(1, true)), "25P01");
    assert_eq!(state(frames.savepoint(1, "a")), "25P01");
    assert_eq!(warning(frames.begin(1)), None);
    assert_eq!(warning(frames.begin(1)), Some("25001"));
    assert_eq!(state(frames.release(1, "a")), "3B001");
    assert!(frames.failed(1).is_empty());
    assert_eq!(state(frames.savepoint(1, "a")), "25P02");
    assert_eq!(frames.commit(1, false).expect("it ends").tag, "ROLLBACK");
}
