//! A backend that neither works nor ends.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A backend in the hands of the kernel: it neither works nor ends, until this is dropped.
pub struct Frozen(Pid);

impl Frozen {
    /// Stops a backend.
    ///
    /// # Panics
    /// There is no such process.
    #[must_use]
    pub fn new(pid: &str) -> Self {
        let pid = Pid::from_raw(pid.parse().expect("a pid"));
        kill(pid, Signal::SIGSTOP).expect("a backend can be stopped");
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may be gone; nobody waits for it then.
        let _gone = kill(self.0, Signal::SIGCONT);
    }
}
