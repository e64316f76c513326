//! Ctrl-C and SIGTERM. They end the watching, never the operation.

use model::fault::exit;
use tokio::signal::unix::{self, SignalKind};

/// A signal that detaches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A supervisor's wish.
    Terminate,
}

impl Signal {
    /// The exit code of a client that ends by it.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => exit::SIGINT,
            Self::Terminate => exit::SIGTERM,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// The signals of this process.
pub(crate) struct Signals {
    interrupt: Option<unix::Signal>,
    terminate: Option<unix::Signal>,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process without a word. Where that is not
    /// possible the default stays.
    pub(crate) fn catch() -> Self {
        Self {
            interrupt: unix::signal(SignalKind::interrupt()).ok(),
            terminate: unix::signal(SignalKind::terminate()).ok(),
        }
    }

    /// The next signal; may be dropped without losing one.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            () = received(&mut self.interrupt) => Signal::Interrupt,
            () = received(&mut self.terminate) => Signal::Terminate,
        }
    }
}

async fn received(signal: &mut Option<unix::Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending().await
}
