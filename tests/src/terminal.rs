//! `resetctl` at a terminal of its own: what a person sees, and the keys that they press. `script` makes the terminal.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin},
};

use crate::{client::Ear, process, soon};

/// A client at a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    folder: PathBuf,
    keys: Option<ChildStdin>,
    seen: Ear,
}

impl Terminal {
    /// Starts `resetctl WORDS` in `folder`, which is its home as well, in a terminal of so many columns. The words are a
    /// shell's.
    ///
    /// # Panics
    /// There is no `script`.
    #[must_use]
    pub fn start(folder: &Path, env: &[(&str, &str)], columns: usize, words: &str) -> Self {
        let program = process::binary("resetctl");
        let line = format!("stty rows 40 cols {columns}; tty >.tty; exec {} {words}", program.display());
        let mut command = process::command("script");
        command.args(["-qec", &line, "/dev/null"]).current_dir(folder);
        command.env("HOME", folder).env("TERM", "xterm").env("SHELL", "/bin/sh").envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("`script` can be run (package bsdutils)");
        let seen = Ear::of_bytes(child.stdout.take().expect("a pipe"));
        Self { keys: child.stdin.take(), child, folder: folder.to_owned(), seen }
    }

    /// Presses keys.
    ///
    /// # Panics
    /// Nobody reads them any more.
    pub async fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().expect("open until the end");
        pipe.write_all(keys.as_bytes()).await.expect("the terminal reads");
        pipe.flush().await.expect("the terminal reads");
    }

    /// Makes it so many columns wide, as a person does with the window.
    ///
    /// # Panics
    /// There is no such terminal any more.
    pub async fn resize(&self, columns: usize) {
        let tty = std::fs::read_to_string(self.folder.join(".tty")).expect("it was written first");
        let mut command = process::command("stty");
        command.args(["-F", tty.trim(), "cols", &columns.to_string()]);
        let status = command.status().await.expect("`stty` can be run");
        assert!(status.success(), "{tty}");
    }

    /// Waits until these words are on the screen.
    pub async fn shows(&self, words: &str) {
        crate::eventually(&format!("the terminal shows `{words}`: {}", self.text()), || async {
            self.text().contains(words)
        })
        .await;
    }

    /// Everything that was written to it.
    #[must_use]
    pub fn text(&self) -> String {
        self.seen.heard()
    }

    /// Waits for the end: the exit code, and everything that was written.
    ///
    /// # Panics
    /// It does not end.
    pub async fn finish(mut self) -> (i32, String) {
        let status = soon("the end of resetctl at its terminal", self.child.wait()).await;
        drop(self.keys.take());
        let text = self.seen.all().await;
        (status.expect("a child can be waited for").code().unwrap_or(-1), text)
    }
}

impl Ear {
    /// Listens to what need not be lines.
    fn of_bytes(mut stream: impl tokio::io::AsyncRead + Unpin + Send + 'static) -> Self {
        Self::listening(|text| async move {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                let heard = String::from_utf8_lossy(&bytes[..n]).into_owned();
                text.lock().expect("nobody panics with it").push_str(&heard);
            }
        })
    }
}
