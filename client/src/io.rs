//! The terminal, or what stands in for it: writers, lines read from a person, and what is known about both.

use std::{
    io::{BufRead, IsTerminal, Write},
    sync::{Arc, Mutex},
};

use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use tokio::sync::oneshot;

use crate::environment::Environment;

/// Where lines of a person come from.
#[derive(Clone)]
pub(crate) struct Keyboard(Arc<Mutex<Box<dyn BufRead + Send>>>);

impl Keyboard {
    /// Reads one line. The thread that waits for it is left behind when nobody wants the answer any more: a read from
    /// a terminal cannot be taken back.
    pub(crate) fn line(&self) -> oneshot::Receiver<Option<String>> {
        let (sender, receiver) = oneshot::channel();
        let source = self.0.clone();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = source.lock().ok().and_then(|mut from| from.read_line(&mut line).ok());
            let answer = read.filter(|n| *n > 0).map(|_| line);
            // Nobody waits any more: the answer is not needed.
            let _ = sender.send(answer);
        });
        receiver
    }

    /// Reads one key; the thread is left behind as that of a line is.
    pub(crate) fn key(&self) -> KeyPress {
        let keys = SingleKeys::begin();
        let (sender, key) = oneshot::channel();
        let source = self.0.clone();
        std::thread::spawn(move || {
            let pressed = source.lock().ok().and_then(|mut from| {
                let first = from.fill_buf().ok().and_then(|bytes| bytes.first().copied());
                from.consume(usize::from(first.is_some()));
                first
            });
            // Nobody waits any more: the key is not needed.
            let _ = sender.send(pressed);
        });
        KeyPress { key, _keys: keys }
    }
}

/// The terminal gives each key at once and shows none, for as long as this lives.
pub(crate) struct SingleKeys(Option<Termios>);

impl SingleKeys {
    fn begin() -> Self {
        let stdin = std::io::stdin();
        let Some(before) = termios::tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal()) else {
            return Self(None);
        };
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        // Where that is not possible a key counts with the end of its line.
        let set = termios::tcsetattr(&stdin, SetArg::TCSANOW, &keys);
        Self(set.is_ok().then_some(before))
    }
}

impl Drop for SingleKeys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that is gone needs nothing.
            let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// A key that is waited for: what it will be, and the terminal's way to give it.
pub(crate) struct KeyPress {
    pub(crate) key: oneshot::Receiver<Option<u8>>,
    _keys: SingleKeys,
}

/// The client's ends to the outside.
pub struct Io {
    /// Data.
    pub stdout: Box<dyn Write + Send>,
    /// Progress and talk.
    pub stderr: Box<dyn Write + Send>,
    /// Where a person's answers come from.
    pub(crate) keyboard: Keyboard,
    /// A person sits at stdin and stderr and can be asked.
    pub interactive: bool,
    /// Stderr is a terminal.
    pub stderr_is_terminal: bool,
    /// The width of the terminal at stderr, in columns, where there is one.
    pub stderr_width: Option<usize>,
    /// The width of the terminal at stdout, in columns, where there is one.
    pub stdout_width: Option<usize>,
    /// What the environment says.
    pub environment: Environment,
}

impl Io {
    /// The ends of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let stderr_is_terminal = std::io::stderr().is_terminal();
        let width = |term: console::Term| term.size_checked().map(|(_, columns)| usize::from(columns));
        Self {
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
            keyboard: Keyboard(Arc::new(Mutex::new(Box::new(std::io::BufReader::new(std::io::stdin()))))),
            interactive: stderr_is_terminal && std::io::stdin().is_terminal(),
            stderr_is_terminal,
            stderr_width: width(console::Term::stderr()),
            stdout_width: width(console::Term::stdout()),
            environment: Environment::of_process(),
        }
    }

    /// Ends for a caller that is no terminal: a pipeline, a test.
    #[must_use]
    pub fn piped(
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
        stdin: Box<dyn BufRead + Send>,
        environment: Environment,
    ) -> Self {
        Self {
            stdout,
            stderr,
            keyboard: Keyboard(Arc::new(Mutex::new(stdin))),
            interactive: false,
            stderr_is_terminal: false,
            stderr_width: None,
            stdout_width: None,
            environment,
        }
    }
}
