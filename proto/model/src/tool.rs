//! A migration tool that fills a database through the gateway: what was asked, and how it ended. Must not know how its bytes
//! are carried.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Reason, SqlSite};

/// The most of a tool's output that is kept, in bytes: its end.
pub const OUTPUT_BYTES: usize = crate::text_limit::LIMIT;

/// A command of the caller's, as the daemon is told of it: never the command itself, which may hold secrets.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tool {
    /// Its program, without folder and arguments.
    pub program: String,
    /// `sha256:…` of the command line.
    pub command_sha256: String,
    /// The git commit of the folder it runs in.
    pub commit: Option<String>,
    /// Nothing in that folder differs from the commit; `None` where there is none.
    pub clean: Option<bool>,
    /// `sha256:…` over the files of the folder that the caller named.
    pub files_sha256: Option<String>,
}

impl Tool {
    /// A tool of this command line.
    #[must_use]
    pub fn of(command: &str) -> Self {
        let assigns = |word: &&str| word.contains('=');
        let program = command.split_whitespace().find(|word| !assigns(word)).unwrap_or_default();
        let program: String = program.rsplit('/').next().unwrap_or_default().chars().take(63).collect();
        let digest = crate::hex_sha256(command.as_bytes());
        Self { program, command_sha256: format!("sha256:{digest}"), ..Self::default() }
    }
}

/// How the child of the caller ended.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exit {
    /// Its exit code; `None` where a signal ended it, or where it could not be started.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The end of its output.
    pub output: String,
}

/// A migration tool has ended.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ToolEnded {
    /// How.
    pub exit: Exit,
    /// Connections that it made.
    pub connections: u32,
    /// Statements that it sent.
    pub statements: u64,
    /// The last error that PostgreSQL answered with, and its statement.
    pub last_error: Option<ServerError>,
}

/// An error of PostgreSQL, as it went to the tool.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerError {
    /// PostgreSQL's code.
    pub sqlstate: String,
    /// Its message.
    pub message: String,
    /// The statement, shortened.
    pub statement: Option<String>,
}

impl ToolEnded {
    /// Why nothing is taken over of what the tool did; `None` where it succeeded.
    #[must_use]
    pub fn fault(&self, tool: &Tool) -> Option<Fault> {
        let program = &tool.program;
        let how = match (self.exit.code, self.exit.signal) {
            (Some(0), _) if self.connections == 0 => {
                let text = format!("{program} ended with exit code 0 and never connected to its database");
                return Some(
                    Fault::new(Reason::ToolFailed, text)
                        .hint("let it read DATABASE_URL or PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE; nothing was changed")
                        .with("program", program),
                );
            }
            (Some(0), _) => return None,
            (Some(code), _) => format!("{program} ended with exit code {code}"),
            (None, Some(signal)) => format!("{program} was ended by signal {signal}"),
            (None, None) => format!("{program} could not be run"),
        };
        let cause = self.last_error.as_ref();
        let said = cause.map(|e| format!("; PostgreSQL said last: {} ({})", e.message, e.sqlstate));
        let site = cause.map(|e| SqlSite {
            sqlstate: Some(e.sqlstate.clone()),
            statement: e.statement.clone(),
            ..SqlSite::default()
        });
        let fault = Fault::new(Reason::ToolFailed, format!("{how}{}", said.unwrap_or_default()))
            .hint("its output is in the report; nothing is left of what it did")
            .with("program", program)
            .at(site.unwrap_or_default());
        Some(match self.exit.code {
            Some(code) => fault.with("exit_code", code),
            None => fault,
        })
    }
}

/// The end of a text, of at most so many bytes.
#[must_use]
pub fn tail(text: &str, bytes: usize) -> &str {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_its_program_and_its_digest() {
        let tool = Tool::of("SECRET=x /opt/venv/bin/alembic upgrade head");
        assert_eq!(tool.program, "alembic");
        assert!(crate::is_sha256(&tool.command_sha256));
        assert_ne!(tool.command_sha256, Tool::of("alembic upgrade head").command_sha256);
    }

    #[test]
    fn only_a_tool_that_connected_and_ended_with_0_succeeded() {
        let ended = |code, signal, connections| ToolEnded {
            exit: Exit { code, signal, output: String::new() },
            connections,
            ..ToolEnded::default()
        };
        let tool = Tool::of("alembic upgrade head");
        assert_eq!(ended(Some(0), None, 1).fault(&tool), None);
        for (ended, word) in [
            (ended(Some(0), None, 0), "never connected"),
            (ended(Some(3), None, 1), "exit code 3"),
            (ended(None, Some(9), 1), "signal 9"),
            (ended(None, None, 0), "could not be run"),
        ] {
            let fault = ended.fault(&tool).expect("a fault");
            assert_eq!(fault.reason, Reason::ToolFailed);
            assert!(fault.message.contains(word), "{fault}");
        }
    }

    #[test]
    fn the_last_error_of_postgresql_is_the_cause() {
        let last_error = ServerError {
            sqlstate: "42P01".to_owned(),
            message: "relation \"x\" does not exist".to_owned(),
            statement: Some("SELECT * FROM x".to_owned()),
        };
        let ended = ToolEnded {
            exit: Exit { code: Some(1), ..Exit::default() },
            connections: 1,
            statements: 5,
            last_error: Some(last_error),
        };
        let fault = ended.fault(&Tool::of("alembic")).expect("a fault");
        assert_eq!(fault.sql.sqlstate.as_deref(), Some("42P01"));
        assert_eq!(fault.sql.statement.as_deref(), Some("SELECT * FROM x"));
        assert!(fault.message.contains("does not exist"), "{fault}");
    }

    #[test]
    fn the_end_of_a_text_is_cut_between_characters() {
        assert_eq!(tail("abc", 5), "abc");
        assert_eq!(tail("abc", 2), "bc");
        assert_eq!(tail("aéc", 2), "c");
    }
}
