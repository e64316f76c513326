//! Where the audit record is written: the control database, and lines beside it. A decision stands when both have it.
//!
//! It must not know who decides, nor when.

use model::{
    audit::Decision,
    fault::{Fault, Reason},
};

use crate::{
    audit_lines::AuditLines,
    postgres::control::{audit, pool::Control},
};

/// The two places of the audit record.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) control: Control,
    pub(crate) lines: AuditLines,
}

impl Ledger {
    /// Writes decisions as one, each with how many it stands for. The file is opened first, then the control database is
    /// written, then the file: what is in the file is in the control database, too.
    ///
    /// # Errors
    /// `AUDIT_UNAVAILABLE`
    pub(crate) async fn write(&self, decisions: &[(Decision, u64)]) -> Result<(), Fault> {
        let open = self.lines.open().await?;
        let records = audit::append(&self.control.pool, decisions, self.lines.key()).await?;
        let lines = records.iter().map(|record| record.line()).collect();
        let Err(fault) = open.append(lines).await else { return Ok(()) };
        // What was recorded as allowed is refused after all.
        let bound = records.iter().zip(decisions).filter(|(_, (it, _))| it.binds());
        let refusals: Vec<(Decision, u64)> = bound
            .map(|(record, (it, _))| {
                let detail =
                    format!("refused after record {}: the audit file cannot be written", record.sequence);
                let reason = Some(Reason::AuditUnavailable);
                (Decision { allowed: false, reason, detail: Some(detail), ..it.clone() }, 1)
            })
            .collect();
        if !refusals.is_empty()
            && let Err(second) = audit::append(&self.control.pool, &refusals, self.lines.key()).await
        {
            tracing::warn!(fault = %second, "what the audit file did not take is recorded as allowed");
        }
        Err(fault)
    }
}
