//! The door: gRPC calls come in, are told who asks, are authorized, and become calls of the engine.
//!
//! Nothing is decided here but who may pass; wire types do not go further in.

mod admin;
mod identity;
mod listen;
mod operations;
mod serve;
mod system;
mod targets;
mod windows;

use std::sync::Arc;

use model::{
    audit::Decision,
    fault::Fault,
    permit::{Permit, Principal, Role, Subject},
};
use tonic::{Request, Status};

use crate::engine::Engine;

pub(crate) use listen::{Bound, bind};
pub(crate) use serve::serve;

/// What every service holds.
#[derive(Clone)]
pub(crate) struct Door {
    engine: Arc<Engine>,
}

/// What a call is about, for its permission.
enum About<'a> {
    /// No target, or all of them.
    Nothing,
    /// One target, by name; it may not exist.
    Target(&'a str),
    /// The target of an operation that was found; it may be another daemon's, whose rules are not known here.
    Known(&'a str),
}

impl Door {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Proves who asks and decides whether they may. Every method passes here first, and every decision is on record
    /// before anything else happens.
    async fn authorize<T: Sync>(
        &self,
        method: &str,
        request: &Request<T>,
        about: About<'_>,
        lesser: Option<Role>,
    ) -> Result<Permit, Status> {
        let decided = |decision: &Result<Permit, Fault>, principal: Option<&Principal>, target| Decision {
            principal: principal.cloned(),
            peer: identity::peer(request),
            method: format!("resetd.v1.{method}"),
            target,
            allowed: decision.is_ok(),
            reason: decision.as_ref().err().map(|fault| fault.reason),
            ..Decision::default()
        };
        let principal = match identity::of(request) {
            Ok(principal) => principal,
            Err(fault) => {
                let decision = Err(fault);
                self.engine.record(decided(&decision, None, None)).await.map_err(status)?;
                return decision.map_err(status);
            }
        };
        let subjects = self.engine.subjects();
        let subject = match about {
            About::Nothing => None,
            About::Target(name) => Some(self.subject(name, &subjects)),
            About::Known(name) if self.engine.target(name).is_err() => {
                Some(Subject { target: name.to_owned(), local: false })
            }
            About::Known(name) => Some(self.subject(name, &subjects)),
        };
        let full = format!("resetd.v1.{method}");
        let decision = self.engine.policy.authorize(&full, &principal, subject.as_ref(), &subjects, lesser);
        match &decision {
            Ok(_) => tracing::debug!(%principal, method, "allowed"),
            Err(fault) => tracing::info!(%principal, method, reason = %fault.reason, "denied"),
        }
        let target = subject.map(|s| s.target).filter(|t| !t.is_empty());
        self.engine.record(decided(&decision, Some(&principal), target)).await.map_err(status)?;
        decision.map_err(status)
    }

    /// The target of a name as far as permission goes. One that does not exist is judged like the others, so that the
    /// answer does not tell whether it exists.
    fn subject(&self, name: &str, subjects: &[Subject]) -> Subject {
        let known = match self.engine.target(name) {
            Ok(target) => Some(target.subject()),
            Err(_) => None,
        };
        known.unwrap_or_else(|| Subject { target: name.to_owned(), local: subjects.iter().all(|s| s.local) })
    }

    /// The names of the targets on which the caller of `permit` has at least the role of a viewer.
    fn visible(&self, permit: &Permit) -> Vec<String> {
        let sees = |s: &Subject| self.engine.policy.role(permit.principal(), s).is_some();
        self.engine.subjects().into_iter().filter(sees).map(|s| s.target).collect()
    }
}

/// A fault as the end of a call.
fn status(fault: impl Into<Fault>) -> Status {
    wire::encode_fault(&fault.into())
}

/// What a later version offers.
fn not_implemented(what: &str) -> Status {
    status(
        Fault::new(model::fault::Reason::NotImplemented, format!("this version does not offer {what}"))
            .hint("nothing was changed; look at the changelog for the version that does")
            .with("feature", what),
    )
}
