//! Which events were seen: repeated ones are dropped, a gap is noticed.

/// What to do with an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrival {
    /// It is the next one, or an ephemeral one.
    Next,
    /// It was seen before.
    Repeated,
    /// One or more before it are missing.
    Gap,
}

/// The events seen of one operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    last: u64,
}

impl Sequence {
    /// Begins with the event `first`; 0 and 1 are the beginning.
    pub(crate) fn starting_at(first: u64) -> Self {
        Self { last: first.saturating_sub(1) }
    }

    /// The first event that was not seen.
    pub(crate) fn wanted(self) -> u64 {
        self.last + 1
    }

    /// Judges an event by its number and remembers it.
    pub(crate) fn accept(&mut self, sequence: u64) -> Arrival {
        match sequence {
            0 => Arrival::Next,
            seen if seen <= self.last => Arrival::Repeated,
            next if next == self.wanted() => {
                self.last = next;
                Arrival::Next
            }
            _ => Arrival::Gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milestones_pass_once_in_order_and_ephemeral_events_always() {
        let mut seen = Sequence::default();
        let arrivals: Vec<Arrival> =
            [1, 0, 2, 2, 1, 4, 3, 0, 4].into_iter().map(|n| seen.accept(n)).collect();
        use Arrival::{Gap, Next, Repeated};
        assert_eq!(arrivals, [Next, Next, Next, Repeated, Repeated, Gap, Next, Next, Next]);
        assert_eq!(seen.wanted(), 5);
    }

    #[test]
    fn a_watch_may_begin_in_the_middle() {
        for (first, wanted) in [(0, 1), (1, 1), (7, 7)] {
            assert_eq!(Sequence::starting_at(first).wanted(), wanted);
        }
        assert_eq!(Sequence::starting_at(7).accept(6), Arrival::Repeated);
        assert_eq!(Sequence::starting_at(7).accept(8), Arrival::Gap);
    }
}
