//! The migration tool in a report: what began, and how it ended.

use super::{Report, ToolEntry, between};
use crate::{
    event::{Event, ToolStarted},
    tool::ToolEnded,
};

impl Report {
    pub(super) fn tool_ended(&mut self, event: &Event, it: &ToolEnded) {
        let reset = self.timings.reset_ms.unwrap_or(0);
        self.timings.migrate_ms = between(self.phase_start(), Some(event.at)).map(|ms| ms - reset);
        let entry = self.tool.get_or_insert_default();
        entry.exit_code = it.exit.code;
        entry.signal = it.exit.signal;
        entry.connections = it.connections;
        entry.statements = it.statements;
        entry.output.clone_from(&it.exit.output);
    }
}

pub(super) fn started(it: &ToolStarted) -> ToolEntry {
    let tool = it.tool.clone();
    ToolEntry {
        program: tool.program,
        command_sha256: tool.command_sha256,
        commit: tool.commit,
        clean: tool.clean,
        files_sha256: tool.files_sha256,
        role: it.role.clone(),
        ..ToolEntry::default()
    }
}
