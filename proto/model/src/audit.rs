//! The audit record: what is written down about a decision.
//!
//! It must not know where records are kept, nor how a decision was reached.

use uuid::Uuid;

use crate::{fault::Reason, permit::Principal};

/// One decision, before it has a place in the record.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Who asked, where that was proved.
    pub principal: Option<Principal>,
    /// From where: a socket or an address.
    pub peer: String,
    /// The full name of the method, `resetd.v1.Service/Method`.
    pub method: String,
    /// The target, where there is one.
    pub target: Option<String>,
    /// It was allowed.
    pub allowed: bool,
    /// Why it was not.
    pub reason: Option<Reason>,
    /// The operation, where there is one.
    pub operation: Option<Uuid>,
    /// What else there is to say: which token, an admin's reason. Never a secret, never SQL.
    pub detail: Option<String>,
}
