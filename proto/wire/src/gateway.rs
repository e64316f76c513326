//! The gateway of migration tools, and what is told of them.

use model::{
    event::{EventKind, ToolStarted},
    tool::{Exit, OUTPUT_BYTES, ServerError, Tool, ToolEnded, tail},
};
use v1::operation_event::Payload;

use crate::{operation::some, request::DecodeError, v1};

/// A tool as the contract sends it.
#[must_use]
pub fn encode_tool(it: &Tool) -> v1::Tool {
    v1::Tool {
        program: it.program.clone(),
        command_sha256: it.command_sha256.clone(),
        commit: it.commit.clone().unwrap_or_default(),
        clean: it.clean,
        files_sha256: it.files_sha256.clone().unwrap_or_default(),
    }
}

pub(crate) fn decode_tool(it: v1::Tool) -> Tool {
    Tool {
        program: it.program,
        command_sha256: it.command_sha256,
        commit: some(it.commit),
        clean: it.clean,
        files_sha256: some(it.files_sha256),
    }
}

/// A tool of a request: its digests are digests, its words short.
pub(crate) fn check_tool(it: v1::Tool) -> Result<Tool, DecodeError> {
    let tool = decode_tool(it);
    let wrong = |field, text: &str| Err(DecodeError::wrong(field, text));
    match &tool {
        _ if !model::is_sha256(&tool.command_sha256) => {
            wrong("tool.command_sha256", "is not `sha256:` and 64 lower-case hex digits")
        }
        _ if tool.files_sha256.as_ref().is_some_and(|text| !model::is_sha256(text)) => {
            wrong("tool.files_sha256", "is not `sha256:` and 64 lower-case hex digits")
        }
        _ if tool.program.len() > 255 => wrong("tool.program", "is longer than 255 bytes"),
        _ if tool.commit.as_ref().is_some_and(|text| text.len() > 64) => {
            wrong("tool.commit", "is longer than 64 bytes")
        }
        _ => Ok(tool),
    }
}

/// How a tool ended, as the contract sends it.
#[must_use]
pub fn encode_exit(it: &Exit) -> v1::ToolExit {
    v1::ToolExit { code: it.code, signal: it.signal, output: tail(&it.output, OUTPUT_BYTES).to_owned() }
}

/// How a tool ended; of its output no more than is kept.
#[must_use]
pub fn decode_exit(it: &v1::ToolExit) -> Exit {
    Exit { code: it.code, signal: it.signal, output: tail(&it.output, OUTPUT_BYTES).to_owned() }
}

pub(crate) fn encode_started(it: &ToolStarted) -> Payload {
    Payload::ToolStarted(v1::ToolStarted { tool: Some(encode_tool(&it.tool)), role: it.role.clone() })
}

pub(crate) fn decode_started(it: v1::ToolStarted) -> Option<EventKind> {
    Some(EventKind::ToolStarted(ToolStarted { tool: decode_tool(it.tool?), role: it.role }))
}

pub(crate) fn encode_connected(application_name: &str) -> Payload {
    Payload::ToolConnected(v1::ToolConnected { application_name: application_name.to_owned() })
}

pub(crate) fn encode_ended(it: &ToolEnded) -> Payload {
    Payload::ToolEnded(v1::ToolEnded {
        exit: Some(encode_exit(&it.exit)),
        connections: it.connections,
        statements: it.statements,
        last_error: it.last_error.as_ref().map(|e| v1::ServerError {
            sqlstate: e.sqlstate.clone(),
            message: e.message.clone(),
            statement: e.statement.clone().unwrap_or_default(),
        }),
    })
}

pub(crate) fn decode_ended(it: v1::ToolEnded) -> Option<EventKind> {
    Some(EventKind::ToolEnded(Box::new(ToolEnded {
        exit: decode_exit(&it.exit?),
        connections: it.connections,
        statements: it.statements,
        last_error: it.last_error.map(|e| ServerError {
            sqlstate: e.sqlstate,
            message: e.message,
            statement: some(e.statement),
        }),
    })))
}
