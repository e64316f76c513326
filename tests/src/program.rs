//! `resetd` itself as a program that ends: `check`, `control adopt`, and a `serve` that refuses to start.

use std::process::Stdio;

use crate::{Migrations, Setup, process, soon};

/// What the program said.
#[derive(Clone, Debug)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Said {
    /// It ended with this code.
    ///
    /// # Panics
    /// It ended with another one; everything it said is shown.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// It said these words, on whichever stream.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Self {
        assert!(self.stdout.contains(words) || self.stderr.contains(words), "`{words}` is not in\n{self}");
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, stdout, stderr } = self;
        write!(f, "exit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

impl Setup {
    /// Runs `resetd` with this setup's configuration and environment, to its end.
    ///
    /// # Panics
    /// It was not built, or does not end.
    pub async fn resetd(&self, words: &[&str]) -> Said {
        let mut command = process::command(process::binary("resetd"));
        command.current_dir(self.folder()).envs(self.environment()).args(words);
        if let Some(config) = self.write_config() {
            command.arg("--config").arg(config);
        }
        let chains = Migrations::shipped();
        if ["check", "serve"].contains(&words[0]) {
            command.arg("--migrations").arg(chains.path());
        }
        command.stdin(Stdio::null());
        let output = soon(&format!("the end of resetd {words:?}"), command.output()).await;
        let output = output.expect("resetd can be run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
        Said {
            code: output.status.code().expect("it was not ended by a signal"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
