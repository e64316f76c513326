//! The API: connections come in, are told who calls, pass the auth layer, are authorized, and become calls of the engine.
//!
//! Nothing is decided here but who may pass; wire types do not go further in.

mod acceptor;
mod admin;
mod auth;
mod authority;
mod body;
mod certificate;
mod connection;
mod framing;
mod gateway;
mod identity;
mod limits;
mod listen;
mod operations;
mod serve;
mod system;
mod targets;
mod tls;
mod windows;

use std::sync::Arc;

use model::{
    audit::Decision,
    authorization::{Authorization, Role, Subject},
    fault::{Fault, Reason},
};
use tonic::{Request, Status};

use crate::engine::Engine;
use identity::Caller;

pub(crate) use listen::{Bound, bind_all, unreachable_sockets};
pub(crate) use serve::serve;
pub(crate) use tls::{Certificates, keep_fresh};

/// What every service holds.
#[derive(Clone)]
pub(crate) struct Api {
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

impl Api {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Decides whether the caller that the auth layer proved may do this. Every method passes here first, and every decision is on record
    /// before anything else happens.
    async fn authorize<T: Sync>(
        &self,
        method: &str,
        request: &Request<T>,
        about: About<'_>,
        lesser: Option<Role>,
    ) -> Result<Authorization, Status> {
        let (authorization, asked) = self.decide(method, request, about, lesser).await?;
        self.engine.record(asked).await.map_err(status)?;
        Ok(authorization)
    }

    /// As [`Api::authorize`], for who has more to say on the record: a denial is recorded here, what was allowed is the
    /// caller's to record before it does anything.
    async fn decide<T: Sync>(
        &self,
        method: &str,
        request: &Request<T>,
        about: About<'_>,
        lesser: Option<Role>,
    ) -> Result<(Authorization, Decision), Status> {
        let Caller { principal, peer } = identity::caller(request)?;
        let asked = Decision { peer, method: format!("resetd.v1.{method}"), ..Decision::default() };
        let subjects = self.engine.subjects();
        let subject = match about {
            About::Nothing => None,
            About::Target(name) => Some(self.subject(name, &subjects)),
            About::Known(name) if self.engine.target(name).is_err() => {
                Some(Subject { target: name.to_owned(), local: false })
            }
            About::Known(name) => Some(self.subject(name, &subjects)),
        };
        let decision =
            self.engine.policy.authorize(&asked.method, &principal, subject.as_ref(), &subjects, lesser);
        let target = subject.map(|s| s.target).filter(|t| !t.is_empty());
        let asked = Decision { principal: Some(principal), target, ..asked };
        match decision {
            Ok(authorization) => Ok((authorization, Decision { allowed: true, ..asked })),
            Err(fault) => self.deny(asked, fault).await,
        }
    }

    /// The answer to what was asked; what the engine refused is on record with its reason.
    async fn settle<T>(&self, asked: Decision, done: Result<T, Fault>) -> Result<T, Status> {
        match done {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(status(self.engine.refused(asked, fault).await)),
        }
    }

    async fn deny<T>(&self, asked: Decision, fault: Fault) -> Result<T, Status> {
        tracing::info!(peer = asked.peer, method = asked.method, reason = %fault.reason, "denied");
        let reason = Some(fault.reason);
        self.engine.record(Decision { allowed: false, reason, ..asked }).await.map_err(status)?;
        Err(status(fault))
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

    /// The names of the targets on which the caller of `authorization` has at least the role of a viewer.
    fn visible(&self, authorization: &Authorization) -> Vec<String> {
        let sees = |s: &Subject| self.engine.policy.role(authorization.principal(), s).is_some();
        self.engine.subjects().into_iter().filter(sees).map(|s| s.target).collect()
    }

    /// The same, or only the one that is named: in the same words whether it does not exist or may not be seen.
    fn visible_of(&self, authorization: &Authorization, named: &str) -> Result<Vec<String>, Status> {
        let mut targets = self.visible(authorization);
        if named.is_empty() {
            return Ok(targets);
        }
        targets.retain(|target| target == named);
        match targets.is_empty() {
            false => Ok(targets),
            true => Err(status(
                Fault::new(
                    Reason::TargetNotFound,
                    format!("the daemon has no target `{named}` that you may see"),
                )
                .hint("`resetctl targets` lists them")
                .with("target", named),
            )),
        }
    }
}

/// A fault as the end of a call.
fn status(fault: impl Into<Fault>) -> Status {
    wire::encode_fault(&fault.into())
}
