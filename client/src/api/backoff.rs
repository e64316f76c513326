//! How long is waited before something is tried again. It must not know what.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses between attempts: each up to twice as long as the one before, and never the same for all clients of a daemon
/// that comes back.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Backoff {
    /// The next pause.
    pub(crate) fn pause(&mut self) -> Duration {
        self.next(fastrand::f64())
    }

    /// The next pause, somewhere in the upper half of its length; `chance` is from 0 to 1.
    fn next(&mut self, chance: f64) -> Duration {
        let longest = self.0;
        self.0 = LONGEST_PAUSE.min(longest * 2);
        longest.mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_chance_spreads_them() {
        let pauses = |chance: f64| {
            let mut backoff = Backoff::default();
            (0..8).map(|_| backoff.next(chance).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1.0), [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(pauses(0.0), [50, 100, 200, 400, 800, 1_600, 2_500, 2_500]);
    }
}
