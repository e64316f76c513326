//! A random world: principals reserve, extend, release and change one target while the clock goes on. Whatever they do, no
//! change commits inside a foreign window, and none without its own where one is required.

use super::{
    tests::{at, rules, window},
    *,
};
use crate::{operation::Verb, profile::Builtin};

const PRINCIPALS: [&str; 3] = ["unix:alice", "unix:bob", "unix:carol"];

/// A small generator of its own: the model has no other source of chance, and a seed repeats its world.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

struct Running {
    principal: &'static str,
    /// The commit is prepared, and good until this edge.
    prepared: Option<Option<Timestamp>>,
}

struct World {
    now: i64,
    rules: Rules,
    windows: Vec<Window>,
    running: Option<Running>,
    commits: usize,
    /// Commits inside a foreign window, or without an own one that was required.
    violations: usize,
    /// The guards, or some of them, are taken away: to see that the invariant is looked at.
    careless: bool,
}

impl World {
    fn changes(&self) -> Vec<Change> {
        let one = |r: &Running| Change {
            operation: Uuid::nil(),
            verb: Verb::Run,
            principal: r.principal.into(),
            committing: r.prepared.is_some(),
        };
        self.running.iter().map(one).collect()
    }

    fn reserve(&mut self, principal: &'static str, ahead: u64, length: u64) {
        let asked = Reservation {
            start: Start::In(Duration::from_secs(ahead)),
            duration: Duration::from_secs(length),
            reason: "why".into(),
        };
        let Ok((from, to)) = self.rules.place(&asked, at(self.now)) else { return };
        // The database refuses overlap; here this line does.
        if self.windows.iter().any(|w| w.overlaps(from, to)) {
            return;
        }
        if self.rules.beside(&self.changes(), principal, from, at(self.now)).is_ok() {
            let id = Uuid::from_u128(self.windows.len() as u128);
            let new = Window { id, starts_at: from, ends_at: to, ..window(principal, 0, 1) };
            self.windows.push(new);
        }
    }

    /// As the engine does: not under a change of one's own.
    fn shorten(&mut self, which: usize, release: bool) {
        let Some(window) = self.windows.get_mut(which) else { return };
        if self.running.as_ref().is_some_and(|r| r.principal == window.principal) {
            return;
        }
        if release && !window.is_past(at(self.now)) {
            window.released_at = Some(at(self.now));
        }
    }

    fn extend(&mut self, which: usize, by: i64) {
        let Some(window) = self.windows.get(which) else { return };
        let to = window.ends_at + SignedDuration::from_secs(by);
        let others = self.windows.iter().filter(|w| w.id != window.id);
        let free = !others.clone().any(|w| w.overlaps(window.starts_at, to));
        if free && self.rules.extend(window, to, at(self.now)).is_ok() {
            self.windows[which].ends_at = to;
        }
    }

    fn judged(&self, principal: &str) -> Verdict {
        judge(&self.windows, principal, &self.rules, at(self.now))
    }

    fn start(&mut self, principal: &'static str) {
        if self.running.is_none() && matches!(self.judged(principal), Verdict::Free(_)) {
            self.running = Some(Running { principal, prepared: None });
        }
    }

    fn go_on(&mut self) {
        let Some(running) = self.running.take() else { return };
        match running.prepared {
            None => match self.judged(running.principal) {
                Verdict::Free(edge) => {
                    let prepared = Some(edge.map(|e| e.at()));
                    self.running = Some(Running { prepared, ..running });
                }
                _ if self.careless => self.running = Some(Running { prepared: Some(None), ..running }),
                _ => {}
            },
            // What the server checks in the message of the COMMIT: the edge, by its own clock.
            Some(edge) if self.careless || edge.is_none_or(|edge| at(self.now) < edge) => {
                self.commit(running.principal);
            }
            Some(_) => {}
        }
    }

    fn step(&mut self, chance: &mut Chance) {
        let principal = PRINCIPALS[usize::try_from(chance.below(3)).unwrap_or_default()];
        let which = usize::try_from(chance.below(self.windows.len().max(1) as u64)).unwrap_or_default();
        match chance.below(12) {
            0..3 => self.reserve(principal, chance.below(3) * chance.below(20), 1 + chance.below(30)),
            3 => self.shorten(which, true),
            4 => self.extend(which, 1 + i64::try_from(chance.below(20)).unwrap_or_default()),
            5..7 => self.start(principal),
            7..10 => self.go_on(),
            _ => self.now += i64::try_from(chance.below(8)).unwrap_or_default(),
        }
    }

    /// Looked at as the commit happens, by a rule of its own.
    fn commit(&mut self, who: &'static str) {
        let now = at(self.now);
        let holds = |w: &&Window| w.released_at.is_none() && w.starts_at <= now && now < w.ends_at;
        let owners: Vec<&str> = self.windows.iter().filter(holds).map(|w| w.principal.as_str()).collect();
        let foreign = owners.iter().any(|owner| *owner != who);
        let without = self.rules.required() && !owners.contains(&who);
        self.commits += 1;
        self.violations += usize::from(foreign || without);
    }
}

fn live(seed: u64, builtin: Builtin, careless: bool) -> World {
    let mut chance = Chance(seed);
    let mut world = World {
        now: 0,
        rules: rules(builtin),
        windows: Vec::new(),
        running: None,
        commits: 0,
        violations: 0,
        careless,
    };
    for _ in 0..400 {
        world.step(&mut chance);
    }
    world
}

#[test]
fn no_change_commits_inside_a_foreign_window_or_without_its_own() {
    let mut commits = 0;
    for seed in 0..2_000 {
        for builtin in [Builtin::Local, Builtin::Staging] {
            let world = live(seed, builtin, false);
            assert_eq!(world.violations, 0, "seed {seed}, {builtin:?}");
            commits += world.commits;
        }
    }
    assert!(commits > 5_000, "the worlds do too little: {commits} commits");
}

#[test]
fn without_the_guards_the_worlds_are_broken() {
    let broken: usize = (0..200).map(|seed| live(seed, Builtin::Local, true).violations).sum();
    assert!(broken > 100, "only {broken}");
}
