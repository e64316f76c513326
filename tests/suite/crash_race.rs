//! A stalled owner against who takes its lock, driven at random.

use std::io::Write as _;

use harness::TestTarget;
use resetd::{
    config::DatabaseUrl,
    race::{Race, leave_locks_unchecked},
};

/// How many of `trials` the stalled owner committed in, and in how many of them too late.
async fn races(race: &Race, trials: u32) -> (u32, u32) {
    let (mut committed, mut late) = (0, 0);
    for _ in 0..trials {
        let ran = race.run().await.unwrap();
        committed += u32::from(ran.committed);
        late += u32::from(ran.late);
    }
    (committed, late)
}

/// A race, and the target that it runs in: its database goes with it.
async fn open() -> (TestTarget, Race) {
    let target = TestTarget::empty().await;
    let url = DatabaseUrl::parse(&target.admin_url()).unwrap();
    let race = Race::open(&url, &target.control).await.unwrap();
    (target, race)
}

#[tokio::test]
async fn a_stalled_owner_never_commits_after_the_barrier() {
    let (_target, race) = open().await;
    let (_, late) = races(&race, 40).await;
    race.close().await.unwrap();
    assert_eq!(late, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make crash-matrix"]
async fn a_thousand_races_and_as_many_as_it_takes_without_the_look_at_the_locks() {
    let (_target, race) = open().await;
    let (committed, late) = races(&race, 1_000).await;
    leave_locks_unchecked(true);
    let (free, found) = races(&race, 300).await;
    leave_locks_unchecked(false);
    race.close().await.unwrap();
    writeln!(
        std::io::stdout(),
        "races 1000 ({committed} of the stalled owner's commits in time), late {late}; without the look at pg_locks: \
         races 300 ({free} commits), late {found}"
    )
    .unwrap();
    assert_eq!(late, 0);
    assert!(found > 0, "the race is not found even without the look at pg_locks");
}
