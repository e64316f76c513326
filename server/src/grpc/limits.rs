//! What one peer, one principal and all of them together may hold of the daemon. Must not know what is called.
//!
//! The numbers are chosen so that the memory they add up to can be stated; `docs/security.md` does the sum.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use model::fault::{Fault, Reason};

/// Connections on TCP listeners, in all and of one address (of one /64 network with IPv6).
pub(super) const TCP_CONNECTIONS: Most = Most { all: 1024, each: 256 };
/// Connections on unix sockets, in all and of one user. They are counted apart: who floods a port locks nobody out here.
pub(super) const UNIX_CONNECTIONS: Most = Most { all: 512, each: 256 };
/// Open calls, streams included, in all and of one principal.
pub(super) const CALLS: Most = Most { all: 1024, each: 256 };
/// Open calls of Health, in all and of one origin. They prove nothing, so they have room of their own, and take nobody's.
pub(super) const HEALTH_CALLS: Most = Most { all: 256, each: 32 };
/// Calls whose caller is not proved yet, or is refused, in all and of one origin.
pub(super) const UNPROVED_CALLS: Most = Most { all: 512, each: 64 };
/// How many of them may ask the control database at a time; the others wait for their turn.
pub(super) const PROVING: usize = 2;
/// Open calls on one connection.
pub(super) const CALLS_PER_CONNECTION: u32 = 64;
/// Bytes of large requests that are being received or handled, in all and of one principal. What a request has below
/// [`SMALL_REQUEST`] does not count: large ones compete among themselves.
pub(super) const REQUEST_BYTES_IN_FLIGHT: Most = Most { all: 64 * 1024 * 1024, each: 32 * 1024 * 1024 };
/// How long a TLS handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be open before its first call.
pub(super) const FIRST_CALL: Duration = Duration::from_secs(10);
/// How long a connection may be open without any call.
pub(super) const IDLE: Duration = Duration::from_secs(300);
/// How long a request may take to arrive.
pub(super) const REQUEST: Duration = Duration::from_secs(60);
/// What a peer may send before it is read: of one call, of all calls of a connection.
pub(super) const WINDOWS: (u32, u32) = (64 * 1024, 128 * 1024);
/// The size of all headers of one call.
pub(super) const HEADER_BYTES: u32 = 16 * 1024;
/// Calls that were reset before they were looked at, and by us: more of them close the connection.
pub(super) const RESETS: (usize, usize) = (20, 100);
/// How often a quiet peer is asked whether it lives, and how long it may take to answer.
pub(super) const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));
/// The largest request of the services that take no chains.
pub(super) const SMALL_REQUEST: usize = 64 * 1024;
/// The largest request of Health: the name of a service.
pub(super) const HEALTH_REQUEST: usize = 1024;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// In all.
    pub(super) all: usize,
    /// Of one.
    pub(super) each: usize,
}

/// Which of the two was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Full {
    /// One's own.
    Each(usize),
    /// Everybody's.
    All(usize),
}

/// Counts what is open, by whom.
#[derive(Debug)]
pub(super) struct Counter {
    most: Most,
    open: Mutex<(usize, HashMap<String, usize>)>,
}

/// One that is open; a drop closes it.
#[derive(Debug)]
pub(super) struct Counted {
    counter: Arc<Counter>,
    whose: String,
}

impl Counter {
    pub(super) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// One more, if there is room for it.
    pub(super) fn enter(self: &Arc<Self>, whose: &str) -> Result<Counted, Full> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.1.get(whose).copied().unwrap_or_default();
        if own >= self.most.each {
            return Err(Full::Each(self.most.each));
        }
        if open.0 >= self.most.all {
            return Err(Full::All(self.most.all));
        }
        open.0 += 1;
        open.1.insert(whose.to_owned(), own + 1);
        Ok(Counted { counter: Arc::clone(self), whose: whose.to_owned() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.counter.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.0 -= 1;
        if let Some(own) = open.1.get_mut(&self.whose) {
            *own -= 1;
            if *own == 0 {
                open.1.remove(&self.whose);
            }
        }
    }
}

/// The bytes of large requests that are held now, by whom.
#[derive(Debug, Default)]
pub(super) struct Bytes(Mutex<(usize, HashMap<String, usize>)>);

/// The bytes of one request; a drop gives them back.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Arc<Bytes>,
    whose: String,
    size: AtomicUsize,
}

impl Bytes {
    pub(super) fn hold(self: &Arc<Self>, whose: String) -> Arc<Held> {
        Arc::new(Held { bytes: Arc::clone(self), whose, size: AtomicUsize::new(0) })
    }

    fn take(&self, whose: &str, size: usize) -> Result<(), Full> {
        let most = REQUEST_BYTES_IN_FLIGHT;
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.1.get(whose).copied().unwrap_or_default() + size;
        if own > most.each {
            return Err(Full::Each(most.each));
        }
        if held.0 + size > most.all {
            return Err(Full::All(most.all));
        }
        held.0 += size;
        held.1.insert(whose.to_owned(), own);
        Ok(())
    }

    fn give_back(&self, whose: &str, size: usize) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 -= size;
        if let Some(own) = held.1.get_mut(whose) {
            *own -= size;
            if *own == 0 {
                held.1.remove(whose);
            }
        }
    }
}

impl Held {
    /// Some more; `LIMIT_EXCEEDED` when this request is large, and all large ones together have become too large.
    pub(super) fn more(&self, size: usize) -> Result<(), Fault> {
        let before = self.size.load(Ordering::Relaxed);
        let counts = large(before + size) - large(before);
        if counts > 0 {
            self.bytes.take(&self.whose, counts).map_err(|full| too_many_bytes(&self.whose, full))?;
        }
        self.size.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }
}

/// How much of a request counts.
fn large(size: usize) -> usize {
    size.saturating_sub(SMALL_REQUEST)
}

impl Drop for Held {
    fn drop(&mut self) {
        let counted = large(*self.size.get_mut());
        if counted > 0 {
            self.bytes.give_back(&self.whose, counted);
        }
    }
}

fn too_many_bytes(whose: &str, full: Full) -> Fault {
    let text = match full {
        Full::Each(most) => format!("the daemon receives more than {most} bytes of {whose} at this moment"),
        Full::All(most) => format!("the daemon receives more than {most} bytes of requests at this moment"),
    };
    let hint = "try again in a moment; without --chains a request is small";
    Fault::new(Reason::LimitExceeded, text).hint(hint).with("principal", whose)
}

/// Too many open calls.
pub(super) fn too_many_calls(whose: &str, full: Full) -> Fault {
    let (text, hint) = match full {
        Full::Each(most) => (
            format!("{whose} has {most} open calls, and one principal may have no more"),
            "end some of them: watchers that nobody looks at, or clients that were forgotten",
        ),
        Full::All(most) => (
            format!("the daemon has {most} open calls, and may have no more"),
            "try again when other clients have ended",
        ),
    };
    Fault::new(Reason::LimitExceeded, text).hint(hint).with("principal", whose)
}

/// Too many calls whose caller is not known.
pub(super) fn too_many_unproved(origin: &str, full: Full) -> Fault {
    let (Full::Each(most) | Full::All(most)) = full;
    let text = format!("{most} calls wait to be authenticated, this one comes from {origin}");
    Fault::new(Reason::LimitExceeded, text).hint("try again in a moment, with fewer calls at a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_may_be_full_while_others_are_not() {
        let counter = Counter::new(Most { all: 3, each: 2 });
        let first = counter.enter("a").expect("room");
        let _second = counter.enter("a").expect("room");
        assert_eq!(counter.enter("a").expect_err("full"), Full::Each(2));
        let _third = counter.enter("b").expect("room for another");
        assert_eq!(counter.enter("c").expect_err("full"), Full::All(3));
        drop(first);
        counter.enter("c").expect("room again");
        assert_eq!(counter.open.lock().expect("no panic").1.len(), 2, "who is gone is forgotten");
    }

    #[test]
    fn large_requests_compete_by_principal_and_in_all_and_are_given_back() {
        let Most { all, each } = REQUEST_BYTES_IN_FLIGHT;
        let bytes = Arc::new(Bytes::default());
        let held = |whose: &str| bytes.hold(whose.to_owned());
        let (first, second) = (held("a"), held("b"));
        first.more(1).expect("small");
        first.more(each + SMALL_REQUEST - 1).expect("just so");
        assert_eq!(first.more(1).expect_err("too much of one").reason, Reason::LimitExceeded);
        assert!(held("a").more(SMALL_REQUEST + 1).is_err(), "another request of the same principal");
        second.more(all - each + SMALL_REQUEST).expect("another principal has its own part");
        let third = held("c");
        third.more(SMALL_REQUEST).expect("a small request is never refused");
        assert_eq!(third.more(1).expect_err("too much of all").reason, Reason::LimitExceeded);
        held("a").more(SMALL_REQUEST).expect("nor one of who has used up their part");
        drop((first, second));
        third.more(each).expect("all was given back");
        drop(third);
        let left = bytes.0.lock().expect("no panic");
        assert!(left.0 == 0 && left.1.is_empty(), "{left:?}");
    }
}
